//! The table in docs/reload.md.

/// Above the table.
const HEADING: &str = "## What survives what";

/// A table as it stands in the document.
pub struct Table {
    /// The head, without its first cell.
    pub columns: Vec<String>,
    /// The first cell of each row, and the others.
    pub rows: Vec<(String, Vec<String>)>,
}

/// Reads it; panics where it is not.
pub fn table() -> Table {
    let text = include_str!("../../../docs/reload.md");
    let (_, after) = text.split_once(HEADING).expect("the heading of the table");
    let mut lines = after
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .map(cells);
    let mut head = lines.next().expect("the table's head");
    head.remove(0);
    let rows = lines
        .skip(1)
        .map(|mut cells| (cells.remove(0), cells))
        .collect();
    Table {
        columns: head,
        rows,
    }
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}
