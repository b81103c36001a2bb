//! What one instance says to the next of a connection that it passes, beside its bytes.

use polyport_mqtt_core::codec::Error;
use polyport_mqtt_core::codec::primitives::Reader;
use polyport_mqtt_core::store::record::{bytes, put_bytes, put_u64, text, u64};
use polyport_mqtt_core::{Authentication, LoginRefusal, LoginRequest};

/// A connection that passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// No engine knows of it.
    Fresh,
    /// One that the engine handed over.
    Open {
        /// What it is called there.
        number: u64,
        /// Its login, if that is under way.
        login: Option<Login>,
    },
}

/// A login that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// It is not answered.
    Asked(LoginRequest),
    /// With the account that passes along.
    Accepted,
    /// Refused, and the client was not told.
    Refused(LoginRefusal),
}

const REFUSALS: [LoginRefusal; 6] = [
    LoginRefusal::BadUserNameOrPassword,
    LoginRefusal::NotAuthorized,
    LoginRefusal::Insecure,
    LoginRefusal::QuotaExceeded,
    LoginRefusal::Busy,
    LoginRefusal::BadAuthenticationMethod,
];

impl Passed {
    /// As bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let Passed::Open { number, login } = self else {
            return out;
        };
        put_u64(&mut out, *number);
        match login {
            None => {}
            Some(Login::Accepted) => out.push(1),
            Some(Login::Refused(refusal)) => {
                out.push(2);
                let code = REFUSALS.iter().position(|known| known == refusal);
                out.extend(code.map(|code| code as u8));
            }
            Some(Login::Asked(request)) => {
                out.push(3);
                put_bytes(&mut out, request.client_id.as_bytes());
                let username = request.username.as_ref().map(String::as_bytes);
                for part in [username, request.password.as_deref()] {
                    put_part(&mut out, part);
                }
                if let Some(step) = &request.authentication {
                    put_bytes(&mut out, step.method.as_bytes());
                    out.push(step.again.into());
                    put_part(&mut out, step.data.as_deref());
                    put_part(&mut out, step.state.as_deref());
                }
            }
        }
        out
    }

    /// What [`Passed::encode`] wrote.
    pub(crate) fn decode(encoded: &[u8]) -> Result<Passed, Error> {
        if encoded.is_empty() {
            return Ok(Passed::Fresh);
        }
        let mut reader = Reader::new(encoded);
        let number = u64(&mut reader)?;
        let login = if reader.is_empty() {
            None
        } else {
            Some(login(&mut reader)?)
        };
        reader.finish()?;
        Ok(Passed::Open { number, login })
    }
}

fn login(reader: &mut Reader<'_>) -> Result<Login, Error> {
    Ok(match reader.byte()? {
        1 => Login::Accepted,
        2 => {
            let refusal = REFUSALS.get(usize::from(reader.byte()?));
            Login::Refused(*refusal.ok_or(Error::Malformed("unknown refusal"))?)
        }
        3 => Login::Asked(LoginRequest {
            client_id: text(reader)?.to_owned(),
            username: part(reader, text)?.map(str::to_owned),
            password: part(reader, bytes)?.map(<[u8]>::to_vec),
            authentication: match reader.is_empty() {
                true => None,
                false => Some(Authentication {
                    method: text(reader)?.to_owned(),
                    again: reader.byte()? != 0,
                    data: part(reader, bytes)?.map(<[u8]>::to_vec),
                    state: part(reader, bytes)?.map(<[u8]>::to_vec),
                }),
            },
        }),
        _ => return Err(Error::Malformed("unknown login")),
    })
}

fn put_part(out: &mut Vec<u8>, part: Option<&[u8]>) {
    out.push(part.is_some().into());
    put_bytes(out, part.unwrap_or_default());
}

fn part<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let present = reader.byte()? != 0;
    let part = read(reader)?;
    Ok(present.then_some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_as_it_was_written_and_nothing_shorter_is() {
        let open = |login| Passed::Open { number: 7, login };
        let asked = |username: Option<&str>, password: Option<&[u8]>| {
            Login::Asked(LoginRequest {
                client_id: "c".into(),
                username: username.map(str::to_owned),
                password: password.map(<[u8]>::to_vec),
                authentication: None,
            })
        };
        let mut all = vec![
            open(None),
            open(Some(Login::Accepted)),
            open(Some(asked(Some("alice"), Some(b"\xff")))),
            open(Some(asked(None, Some(b"")))),
            open(Some(asked(Some(""), None))),
        ];
        for (data, state, again) in [
            (None, None, false),
            (Some(b"n,,n=a,r=b".to_vec()), None, true),
            (Some(b"c=biws".to_vec()), Some(b"{}".to_vec()), false),
        ] {
            let authentication = Some(Authentication {
                method: "SCRAM-SHA-256".into(),
                data,
                state,
                again,
            });
            all.push(open(Some(Login::Asked(LoginRequest {
                client_id: "c".into(),
                username: None,
                password: None,
                authentication,
            }))));
        }
        all.extend(REFUSALS.map(|refusal| open(Some(Login::Refused(refusal)))));
        for passed in all {
            let encoded = passed.encode();
            assert_eq!(Passed::decode(&encoded), Ok(passed.clone()));
            for end in 1..encoded.len() {
                assert_ne!(Passed::decode(&encoded[..end]), Ok(passed.clone()), "{end}");
            }
        }
        assert_eq!(Passed::decode(&Passed::Fresh.encode()), Ok(Passed::Fresh));
    }
}
