//! What is wrong with an operator's file, and where: every problem at once, one line each.
//!
//! `config/polyport.toml:41:17: services.ftp.settings.passive_ports: expected "low-high", got "2000"`
//!
//! Knows nothing of TOML or INI: their readers say the place and the key.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, as the operator spelt its path. Lines and columns count from 1, columns in characters.
    File {
        /// The file.
        file: Arc<Path>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// In a `--set KEY=VALUE` of the command line.
    Override {
        /// The key before the equals sign.
        key: Arc<str>,
    },
}

/// Whether a problem stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file is used; somebody should look at it.
    Warning,
}

/// One problem: a place, the key it is about (may be empty) and a lowercase message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the load.
    pub severity: Severity,
    /// Where it was written.
    pub place: Place,
    /// The dotted key, or empty where there is none.
    pub key: String,
    /// What was expected, what was found, what to do.
    pub message: String,
}

/// Every problem of a load, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Place {
    /// A place in `file`, given the byte `offset` into its `text`.
    pub fn at(file: &Arc<Path>, text: &str, offset: usize) -> Self {
        let offset = (0..=offset.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..]
            .chars()
            .filter(|c| *c != '\u{feff}')
            .count()
            + 1;
        Self::File {
            file: Arc::clone(file),
            line,
            column,
        }
    }

    /// For sorting: a file's lines first, in order, then the command line's overrides.
    fn order(&self) -> (usize, usize) {
        match self {
            Self::File { line, column, .. } => (*line, *column),
            Self::Override { .. } => (usize::MAX, 0),
        }
    }
}

impl Diagnostic {
    /// A problem that stops the load.
    pub fn error(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place,
            key: key.into(),
            message: message.into(),
        }
    }

    /// Whether it stops the load.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// A problem that does not.
    pub fn warning(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            place,
            key: key.into(),
            message: message.into(),
        }
    }
}

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// Adds `KEY: expected EXPECTED, got GOT`.
    pub fn expected(&mut self, place: &Place, key: &str, expected: &str, got: impl fmt::Display) {
        self.push(Diagnostic::error(
            place.clone(),
            key,
            format!("expected {expected}, got {got}"),
        ));
    }

    /// Whether any of them stops the load.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Diagnostic::is_error)
    }

    /// All of them, in the order of their lines.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Sorted by place; problems of one place keep the order in which they were found.
    pub fn sorted(mut self) -> Self {
        self.list.sort_by_key(|one| one.place.order());
        self
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(list: I) -> Self {
        Self {
            list: list.into_iter().collect(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(out, "{}:{line}:{column}", file.display()),
            Self::Override { key } => write!(out, "--set {key}"),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.place)?;
        if self.severity == Severity::Warning {
            out.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.message)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.list.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            one.fmt(out)?;
        }
        Ok(())
    }
}

impl Error for Diagnostics {}

/// `path` as it is shown: short where it lies beneath the current folder.
pub fn shown(path: &Path) -> Arc<Path> {
    let here = std::env::current_dir().unwrap_or_default();
    // From the root folder, every absolute path would look like a relative one.
    Arc::from(
        path.strip_prefix(&here)
            .ok()
            .filter(|_| here.parent().is_some())
            .unwrap_or(path),
    )
}

/// The one of `known` that `word` was most likely meant to be, if any is close enough.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = if word.chars().count() <= 4 { 1 } else { 2 };
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let file: Arc<Path> = Arc::from(Path::new("a.toml"));
        assert_eq!(
            Place::at(&file, "ä = 1\nböse = x", "ä = 1\nböse = ".len()).to_string(),
            "a.toml:2:8"
        );
        assert_eq!(Place::at(&file, "", 0).to_string(), "a.toml:1:1");
        assert_eq!(
            Place::at(&file, "\u{feff}a = 1", 3).to_string(),
            "a.toml:1:1"
        );
        assert_eq!(Place::at(&file, "ä", 999).to_string(), "a.toml:1:2");
    }

    #[test]
    fn problems_print_one_line_each_in_the_order_of_the_file() {
        let file: Arc<Path> = Arc::from(Path::new("a.toml"));
        let at = |line| Place::File {
            file: Arc::clone(&file),
            line,
            column: 1,
        };
        let mut all = Diagnostics::new();
        all.expected(&Place::Override { key: "a.b".into() }, "a.b", "a string", 5);
        all.push(Diagnostic::warning(at(9), "x", "is odd"));
        all.expected(&at(2), "y", "\"low-high\"", "\"2000\"");
        assert_eq!(
            all.sorted().to_string(),
            "a.toml:2:1: y: expected \"low-high\", got \"2000\"\n\
             a.toml:9:1: warning: x: is odd\n\
             --set a.b: a.b: expected a string, got 5"
        );
    }

    #[test]
    fn suggestions_are_close_ones_only() {
        let known = ["listen", "plugin", "tls", "settings"];
        assert_eq!(did_you_mean("lisetn", known), Some("listen"));
        assert_eq!(did_you_mean("setings", known), Some("settings"));
        assert_eq!(did_you_mean("colour", known), None);
    }
}
