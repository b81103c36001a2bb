//! The messages of SCRAM (RFC 5802, 7), without channel binding, read and written as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::KEY_LENGTH;

/// The longest message of a client, in bytes: none needs a tenth of it.
const MAX_MESSAGE: usize = 4096;

/// What a client begins with.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// What it says of channel binding and of whom it wants to be, as sent.
    pub header: &'a str,
    /// The rest, as sent.
    pub bare: &'a str,
    /// The login.
    pub user: String,
    /// Its nonce.
    pub nonce: &'a str,
}

/// What a client answers the challenge with.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// Both nonces.
    pub nonce: &'a str,
    /// All before the proof, as sent.
    pub without_proof: &'a str,
    /// The proof.
    pub proof: [u8; KEY_LENGTH],
}

/// Why a message is none; for the log.
type Wrong = &'static str;

impl<'a> ClientFirst<'a> {
    /// Reads `[n|y],[a=USER],n=USER,r=NONCE[,EXTENSIONS]`.
    pub fn parse(message: &'a [u8]) -> Result<Self, Wrong> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(identity), Some(bare)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err("the message is no SCRAM message");
        };
        match binding {
            // "y": the client could bind and believes that the server cannot, which is so.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => {
                return Err("channel binding is asked for, which is not offered");
            }
            _ => return Err("the message is no SCRAM message"),
        }
        let header = &text[..text.len() - bare.len()];
        let mut attributes = bare.split(',');
        let first = attributes.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err("the message asks for an extension that is not known");
        }
        let user = first.strip_prefix("n=").and_then(name);
        let user = user.ok_or("the message has no user")?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce));
        let nonce = nonce.ok_or("the message has no nonce")?;
        if !attributes.all(is_extension) {
            return Err("the message has more than a SCRAM message may");
        }
        let whom = match identity.strip_prefix("a=") {
            Some(identity) => name(identity),
            None if identity.is_empty() => Some(user.clone()),
            None => None,
        };
        if whom.as_deref() != Some(&*user) {
            return Err("the client wants to be somebody else than its user");
        }
        Ok(Self {
            header,
            bare,
            user,
            nonce,
        })
    }
}

impl<'a> ClientFinal<'a> {
    /// Reads `c=HEADER,r=NONCE[,EXTENSIONS],p=PROOF`; `header` is that of the first message.
    pub fn parse(message: &'a [u8], header: &str) -> Result<Self, Wrong> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or("the message has no proof")?;
        let proof = STANDARD.decode(proof).ok();
        let proof = proof.and_then(|proof| proof.try_into().ok());
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c="));
        if binding
            .and_then(|text| STANDARD.decode(text).ok())
            .as_deref()
            != Some(header.as_bytes())
        {
            return Err("the channel binding is not that of the first message");
        }
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        let nonce = nonce.ok_or("the message has no nonce")?;
        if !attributes.all(is_extension) {
            return Err("the message has more than a SCRAM message may");
        }
        Ok(Self {
            nonce,
            without_proof,
            proof: proof.ok_or("the proof is none")?,
        })
    }
}

fn text(message: &[u8]) -> Result<&str, Wrong> {
    if message.len() > MAX_MESSAGE {
        return Err("the message is too long");
    }
    let text = std::str::from_utf8(message).ok();
    text.filter(|text| !text.contains(char::is_control))
        .ok_or("the message is not UTF-8 text")
}

/// `=2C` is a comma, `=3D` an equals sign, and neither stands for itself.
fn name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    (!name.is_empty()).then_some(name)
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

/// A letter, `=` and something: extensions that a server need not know are passed over (RFC 5802, 5.1).
fn is_extension(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(text: &str) -> Result<(String, &str, &str), Wrong> {
        let read = ClientFirst::parse(text.as_bytes())?;
        Ok((read.user, read.header, read.bare))
    }

    #[test]
    fn a_first_message_is_read_and_names_are_unescaped() {
        for (text, user, header, bare) in [
            ("n,,n=user,r=abc", "user", "n,,", "n=user,r=abc"),
            ("y,,n=user,r=abc,x=1", "user", "y,,", "n=user,r=abc,x=1"),
            (
                "n,a=us=2Cer,n=us=2Cer,r=a%b",
                "us,er",
                "n,a=us=2Cer,",
                "n=us=2Cer,r=a%b",
            ),
            ("n,,n=a=3D=3Db,r=c", "a==b", "n,,", "n=a=3D=3Db,r=c"),
            ("n,,n=j\u{f6}rg,r=c", "j\u{f6}rg", "n,,", "n=j\u{f6}rg,r=c"),
        ] {
            assert_eq!(first(text), Ok((user.to_owned(), header, bare)), "{text}");
        }
    }

    #[test]
    fn a_first_message_that_asks_for_what_is_not_there_is_refused() {
        for text in [
            "",
            "n",
            "n,",
            "n,,",
            "x,,n=u,r=a",
            "p=tls-unique,,n=u,r=a",
            "n,a=other,n=u,r=a",
            "n,b,n=u,r=a",
            "n,,m=x,n=u,r=a",
            "n,,n=,r=a",
            "n,,n=u=2c,r=a",
            "n,,n=u=,r=a",
            "n,,n=u,r=",
            "n,,n=u,r=a b",
            "n,,n=u,r=\u{e4}",
            "n,,n=u",
            "n,,r=a,n=u",
            "n,,n=u,r=a,",
            "n,,n=u,r=a,1=x",
            "n,,n=u\0,r=a",
        ] {
            assert!(first(text).is_err(), "{text}");
        }
        assert!(ClientFirst::parse(b"n,,n=\xff,r=a").is_err());
        let long = format!("n,,n=u,r={}", "a".repeat(MAX_MESSAGE));
        assert!(first(&long).is_err());
    }

    #[test]
    fn a_final_message_is_read_with_the_header_of_the_first() {
        let proof = STANDARD.encode([7; KEY_LENGTH]);
        let text = format!("c=biws,r=ab,x=1,p={proof}");
        let read = ClientFinal::parse(text.as_bytes(), "n,,").unwrap();
        assert_eq!((read.nonce, read.without_proof), ("ab", "c=biws,r=ab,x=1"));
        assert_eq!(read.proof, [7; KEY_LENGTH]);
        assert!(ClientFinal::parse(text.as_bytes(), "y,,").is_err());
        for wrong in [
            text.replace("c=", "d="),
            text.replace("r=", "s="),
            text.replace(",x=1", ",1"),
            text.replace("p=", "q="),
            text.replace("p=", "p=AA"),
            format!("{text},x=1"),
            "c=biws,r=ab,p=AAAA".to_owned(),
        ] {
            assert!(
                ClientFinal::parse(wrong.as_bytes(), "n,,").is_err(),
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), near in "[nyp],(a=)?[a=2C3D]{0,6},[nrm]=[a-c=23CD]{0,4}(,[rxp]=[a-c=]{0,9}){0,3}") {
            let _ = ClientFirst::parse(&bytes);
            let _ = ClientFirst::parse(near.as_bytes());
            let _ = ClientFinal::parse(&bytes, "n,,");
            let _ = ClientFinal::parse(near.as_bytes(), "n,,");
        }
    }
}
