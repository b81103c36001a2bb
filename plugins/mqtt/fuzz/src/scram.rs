//! The messages of a client that logs in with SCRAM-SHA-256. The host reads them, in a file that stands alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[path = "../../../../host/src/accounts/scram/message.rs"]
mod message;

use message::{ClientFinal, ClientFirst};

/// Bytes of a proof, as in the host.
const KEY_LENGTH: usize = 32;

/// Both messages, a line each. What was read, written as RFC 5802 (7) has it, is what was sent: no message has two
/// readings.
pub fn scram(data: &[u8]) {
    let mut messages = data.splitn(2, |byte| *byte == b'\n');
    let first = messages.next().unwrap_or_default();
    let mut header = "n,,";
    if let Ok(read) = ClientFirst::parse(first) {
        assert_eq!([read.header, read.bare].concat().as_bytes(), first);
        let user = read.user.replace('=', "=3D").replace(',', "=2C");
        assert!(!user.is_empty() && !read.nonce.is_empty());
        let headers = ["n,,", "y,,"].map(str::to_owned);
        let named = ["n", "y"].map(|binding| format!("{binding},a={user},"));
        assert!(
            headers.iter().chain(&named).any(|one| one == read.header),
            "{read:?}"
        );
        begins(read.bare, &format!("n={user},r={}", read.nonce));
        header = read.header;
    }
    let last = messages.next().unwrap_or_default();
    if let Ok(read) = ClientFinal::parse(last, header) {
        let proof = STANDARD.encode(read.proof);
        let whole = format!("{},p={proof}", read.without_proof);
        assert_eq!(whole.as_bytes(), last);
        let binding = STANDARD.encode(header);
        begins(read.without_proof, &format!("c={binding},r={}", read.nonce));
    }
}

/// Only extensions come behind what has to be there.
fn begins(text: &str, with: &str) {
    let rest = text.strip_prefix(with);
    assert!(
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(',')),
        "{text:?} has to begin with {with:?}"
    );
}
