//! Writes figures into docs/benchmarks.md, each table between its own pair of markers.

use crate::{Outcome, workspace};

const FILE: &str = "docs/benchmarks.md";

/// Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
pub fn write(name: &str, body: &str) -> Outcome {
    let path = workspace::root().join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{FILE}: {e}"))?;
    let text =
        replace(&text, name, body).ok_or_else(|| format!("{FILE}: no markers for {name:?}"))?;
    std::fs::write(&path, text).map_err(|e| format!("{FILE}: {e}"))?;
    println!("written to {FILE}");
    Ok(())
}

/// What stands there.
pub fn read(name: &str) -> Outcome<String> {
    let path = workspace::root().join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{FILE}: {e}"))?;
    let section = section(&text, name).map(str::to_owned);
    section.ok_or_else(|| format!("{FILE}: no markers for {name:?}"))
}

fn section<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<!-- begin {name} -->"))?;
    Some(rest.split_once(&format!("<!-- end {name} -->"))?.0)
}

fn replace(text: &str, name: &str, body: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- begin {name} -->"),
        format!("<!-- end {name} -->"),
    );
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", body.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let new = replace(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(replace(&new, "x", "new").unwrap(), new);
        assert_eq!(replace(text, "y", "new"), None);
        assert_eq!(section(&new, "x"), Some("\nnew\n"));
    }
}
