//! `?pretty`: the same tokens, one a line.

use super::lexer::{Kind, Lexer};
use super::syntax_error::SyntaxError;

const INDENT: &str = "  ";

/// `text` laid out in lines indented by two spaces, ending in a newline.
///
/// Only whitespace changes: every string, number and key keeps its spelling and its place.
pub fn pretty(text: &str) -> Result<String, SyntaxError> {
    let mut lexer = Lexer::trusted(text);
    let mut out = String::with_capacity(text.len() * 3 / 2);
    let mut before = None;
    while let Some(token) = lexer.token()? {
        let closes = matches!(token.kind, Kind::ObjectEnd | Kind::ArrayEnd);
        match before {
            None => {}
            Some(Kind::Key) => out.push(' '),
            Some(Kind::ObjectStart | Kind::ArrayStart) if closes => {}
            Some(Kind::ObjectStart | Kind::ArrayStart) => break_line(&mut out, &lexer, token.kind),
            Some(_) => {
                if !closes {
                    out.push(',');
                }
                break_line(&mut out, &lexer, token.kind);
            }
        }
        out.push_str(&text[token.start..token.end]);
        if token.kind == Kind::Key {
            out.push(':');
        }
        before = Some(token.kind);
    }
    out.push('\n');
    Ok(out)
}

fn break_line(out: &mut String, lexer: &Lexer<'_>, kind: Kind) {
    // The lexer has already counted a container that this token opens.
    let opens = matches!(kind, Kind::ObjectStart | Kind::ArrayStart);
    out.push('\n');
    for _ in 0..lexer.depth() - usize::from(opens) {
        out.push_str(INDENT);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    fn minify(text: &str) -> String {
        let mut lexer = Lexer::trusted(text);
        let (mut out, mut before) = (String::new(), None);
        while let Some(token) = lexer.token().unwrap() {
            let closes = matches!(token.kind, Kind::ObjectEnd | Kind::ArrayEnd);
            let first = matches!(
                before,
                None | Some(Kind::Key | Kind::ObjectStart | Kind::ArrayStart)
            );
            if !first && !closes {
                out.push(',');
            }
            out.push_str(&text[token.start..token.end]);
            if token.kind == Kind::Key {
                out.push(':');
            }
            before = Some(token.kind);
        }
        out
    }

    #[test]
    fn spelling_and_order_stay() {
        let text = r#"{"z":5.7865,"a":[1e2,1.0,{}, [ ]],"n":null,"s":"\u00e4\/","z":{"k":-0}}"#;
        let lines = [
            "{",
            r#"  "z": 5.7865,"#,
            r#"  "a": ["#,
            "    1e2,",
            "    1.0,",
            "    {},",
            "    []",
            "  ],",
            r#"  "n": null,"#,
            r#"  "s": "\u00e4\/","#,
            r#"  "z": {"#,
            r#"    "k": -0"#,
            "  }",
            "}",
            "",
        ];
        assert_eq!(pretty(text).unwrap(), lines.join("\n"));
        assert_eq!(pretty(" 1.50 ").unwrap(), "1.50\n");
    }

    proptest! {
        #[test]
        fn pretty_then_minify_equals_minify(text in strategies::text()) {
            let laid_out = pretty(&text).unwrap();
            prop_assert_eq!(minify(&laid_out), minify(&text));
            prop_assert_eq!(pretty(&laid_out).unwrap(), laid_out);
        }
    }
}
