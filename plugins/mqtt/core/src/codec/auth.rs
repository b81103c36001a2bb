//! AUTH (section 3.15).

use super::Error;
use super::primitives::{Reader, put_packet, put_variable};
use super::property::{self, Property, read_properties};

/// What an AUTH is for (table 3-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AuthReason {
    /// Of a server whose client proved who it is again.
    Success = 0x00,
    /// The exchange goes on.
    ContinueAuthentication = 0x18,
    /// Of a client that begins to prove who it is again.
    ReAuthenticate = 0x19,
}

/// An AUTH packet as a view over its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// What it is for.
    pub reason: AuthReason,
    /// Authentication method; an AUTH without one is a protocol error (3.15.2.2.2) wherever it comes.
    pub method: Option<&'a str>,
    /// Authentication data.
    pub data: Option<&'a [u8]>,
}

impl<'a> Auth<'a> {
    /// Decodes the bytes after the fixed header. None at all are success without properties (3.15.2.1).
    pub fn decode(body: &'a [u8]) -> Result<Auth<'a>, Error> {
        let mut reader = Reader::new(body);
        let mut auth = Auth {
            reason: AuthReason::Success,
            method: None,
            data: None,
        };
        if !reader.is_empty() {
            auth.reason = match reader.byte()? {
                0x00 => AuthReason::Success,
                0x18 => AuthReason::ContinueAuthentication,
                0x19 => AuthReason::ReAuthenticate,
                _ => return Err(Error::Protocol("reason code not allowed in AUTH")),
            };
            if !reader.is_empty() {
                read_properties(&mut reader, property::AUTH, |property| {
                    match property {
                        Property::AuthenticationMethod(method) => auth.method = Some(method),
                        Property::AuthenticationData(data) => auth.data = Some(data),
                        _ => {}
                    }
                    Ok(())
                })?;
            }
        }
        reader.finish()?;
        Ok(auth)
    }
}

/// Appends an AUTH.
pub fn encode(out: &mut Vec<u8>, reason: AuthReason, method: &str, data: Option<&[u8]>) {
    let mut properties = Vec::new();
    Property::AuthenticationMethod(method).write(&mut properties);
    if let Some(data) = data {
        Property::AuthenticationData(data).write(&mut properties);
    }
    let mut body = vec![reason as u8];
    put_variable(&mut body, properties.len() as u32);
    body.extend_from_slice(&properties);
    put_packet(out, 0xf0, &body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_shorter_is() {
        for (reason, data) in [
            (AuthReason::ContinueAuthentication, Some(&b"\x00\xff"[..])),
            (AuthReason::Success, None),
            (AuthReason::ReAuthenticate, Some(b"")),
        ] {
            let mut out = Vec::new();
            encode(&mut out, reason, "M", data);
            let auth = Auth {
                reason,
                method: Some("M"),
                data,
            };
            assert_eq!(Auth::decode(&out[2..]), Ok(auth));
            for end in 4..out.len() {
                assert!(Auth::decode(&out[2..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn no_bytes_are_success_and_other_codes_are_protocol_errors() {
        for body in [&b""[..], b"\x00", b"\x00\x00"] {
            let auth = Auth::decode(body).unwrap();
            assert_eq!((auth.reason, auth.method), (AuthReason::Success, None));
        }
        for reason in [0x01, 0x17, 0x1a, 0x80, 0x8c] {
            let error = Auth::decode(&[reason]).unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{reason:#x}");
        }
    }
}
