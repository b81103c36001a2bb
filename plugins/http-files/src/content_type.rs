//! `Content-Type` by the ending of the name.

/// The media type of a file, with the charset of text.
pub fn of(name: &str) -> String {
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    let essence = kind.essence_str();
    let text = kind.type_() == mime_guess::mime::TEXT
        || kind.suffix() == Some(mime_guess::mime::XML)
        || matches!(
            essence,
            "application/json" | "application/javascript" | "application/xml"
        );
    if text && kind.get_param("charset").is_none() {
        format!("{essence}; charset=utf-8")
    } else {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_ending_tells_the_type() {
        for (name, kind) in [
            ("a.txt", "text/plain; charset=utf-8"),
            ("index.HTML", "text/html; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("favicon.ico", "image/x-icon"),
            ("a.png", "image/png"),
            ("a.tar.gz", "application/gzip"),
            ("a.mp4", "video/mp4"),
            ("a.nothing", "application/octet-stream"),
            ("README", "application/octet-stream"),
        ] {
            assert_eq!(of(name), kind, "{name}");
        }
    }
}
