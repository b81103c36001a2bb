//! What a request is about, read from its path.

use std::fmt;

use polyport_sdk::http::{Problem, Request};

use crate::config::Config;

/// The root, a collection or a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/`
    Root,
    /// `/COLLECTION`
    Collection(CollectionName),
    /// `/COLLECTION/ID`
    Document(DocumentName),
}

/// A name that keeps the rules; shown as its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionName(pub String);

/// A collection and an id that keep the rules; shown as their path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentName {
    pub collection: String,
    pub id: String,
}

impl Target {
    /// Reads the path. Errors: 404 for a path of another form, 400 for names that break the rules.
    pub fn read(request: &Request, rules: &Config) -> Result<Self, Problem> {
        let segments: Vec<_> = request.segments().collect();
        Self::from_segments(&segments, rules)
    }

    fn from_segments(segments: &[impl AsRef<[u8]>], rules: &Config) -> Result<Self, Problem> {
        match segments {
            [only] if only.as_ref().is_empty() => Ok(Self::Root),
            [collection] => Ok(Self::Collection(CollectionName(name(
                "a collection's name",
                collection,
                rules,
            )?))),
            [collection, id] if !id.as_ref().is_empty() => Ok(Self::Document(DocumentName {
                collection: name("a collection's name", collection, rules)?,
                id: name("an id", id, rules)?,
            })),
            [_, _] => {
                Err(Problem::not_found()
                    .detail("expected no '/' at the end of a collection's path"))
            }
            _ => {
                let text = format!(
                    "expected /, /COLLECTION or /COLLECTION/ID, got {} segments",
                    segments.len()
                );
                Err(Problem::not_found().detail(text))
            }
        }
    }

    /// The methods it knows, as `Allow` lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Root => "GET, HEAD, OPTIONS",
            Self::Collection(_) => "GET, HEAD, POST, OPTIONS",
            Self::Document(_) => "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        }
    }

    /// What it is, for error texts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Root => "the list of collections",
            Self::Collection(_) => "a collection",
            Self::Document(_) => "a document",
        }
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.collection, self.id)
    }
}

/// Names go into paths, headers, pages and rights as they are, hence the narrow rules.
fn name(what: &str, segment: &impl AsRef<[u8]>, rules: &Config) -> Result<String, Problem> {
    let got = String::from_utf8_lossy(segment.as_ref());
    let fits = |c: char| c.is_ascii_alphanumeric() || rules.name_characters.contains(c);
    if got.len() <= rules.max_name_length
        && got.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && got.chars().all(fits)
    {
        return Ok(got.into_owned());
    }
    let (most, more) = (rules.max_name_length, &rules.name_characters);
    let shown: String = got.chars().take(most).collect();
    Err(Problem::bad_request(format!(
        "expected {what} of 1 to {most} ASCII letters, digits and characters out of {more:?}, \
         beginning with a letter, a digit or '_', got {shown:?}"
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &str) -> Result<Target, u16> {
        let segments: Vec<&str> = path.split('/').collect();
        Target::from_segments(&segments, &Config::default())
            .map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn paths_have_three_forms() {
        assert_eq!(read(""), Ok(Target::Root));
        assert_eq!(
            read("devices"),
            Ok(Target::Collection(CollectionName("devices".to_owned())))
        );
        let name = DocumentName {
            collection: "devices".to_owned(),
            id: "0A0USZ095".to_owned(),
        };
        assert_eq!(name.to_string(), "/devices/0A0USZ095");
        assert_eq!(read("devices/0A0USZ095"), Ok(Target::Document(name)));
        for other in ["devices/", "a/b/c", "a/b/"] {
            assert_eq!(read(other), Err(404), "{other}");
        }
    }

    #[test]
    fn names_keep_the_rules() {
        let longest = "x".repeat(128);
        for good in ["a", "9", "_x", "a.b_c~d:e@f-g", &longest] {
            assert!(read(good).is_ok(), "{good}");
        }
        let longer = "x".repeat(129);
        for bad in [
            ".", "..", ".a", "-a", "a b", "a\0", "ä", "a\n", "<a>", "a%2F", &longer,
        ] {
            assert_eq!(read(bad), Err(400), "{bad:?}");
            assert_eq!(read(&format!("c/{bad}")), Err(400), "{bad:?}");
        }
        assert_eq!(read("/a"), Err(400), "an empty collection name");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_a_path_that_says_the_same_again(path in "[a-c.~:@/%_\\-\u{0}-\u{20}ä]{0,20}") {
            let Ok(target) = read(&path) else { return Ok(()) };
            let told = match &target {
                Target::Root => "/".to_owned(),
                Target::Collection(name) => name.to_string(),
                Target::Document(name) => name.to_string(),
            };
            prop_assert_eq!(&told, &format!("/{path}"));
            prop_assert!(!told.contains(['%', ' ', '\\']) && !told.contains("/.") && told.is_ascii());
        }
    }
}
