//! What of a control connection another engine goes on with, while nothing is under way on it.
//!
//! Knows no socket: what carries it there is for whoever drives the engines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::control::{Control, Options, Parameters, Session, User, is_own_address};
use crate::listing::Facts;
use crate::path::VirtualPath;
use crate::request::{Endpoint, Representation};

/// The version of [`Carried`].
pub const VERSION: u32 = 1;

/// A control connection between two commands. Not in it: STRU, MODE and UTF-8, which have one value each; PBSZ and
/// PROT, which are of TLS; a port of PASV, which is the other engine's to open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The name of USER.
    pub user: Option<String>,
    /// The current directory, where that name is logged in.
    pub directory: Option<String>,
    /// The path of RNFR.
    pub rename_from: Option<String>,
    /// TYPE I.
    pub image: bool,
    /// The address of PORT or EPRT.
    pub active: Option<SocketAddr>,
    /// The position of REST.
    pub restart: u64,
    /// EPSV ALL.
    pub epsv_all: bool,
    /// The facts of OPTS MLST.
    pub facts: String,
    /// Whether the line that comes in is too long already.
    pub line_too_long: bool,
    /// Failed logins.
    pub login_failures: u32,
    /// Milliseconds since it connected.
    pub connected: u64,
    /// Milliseconds since its last command.
    pub idle: u64,
}

/// A state in which no control connection can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadState(
    /// What is wrong with it.
    pub &'static str,
);

impl Control {
    /// What another engine has to know, and the bytes of a command that has begun; none while a command is carried
    /// out, a transfer runs or the connection ends, and none over TLS.
    pub fn carry(&self, now: Instant) -> Option<(Carried, Vec<u8>)> {
        if !self.is_between_commands() || self.secured.is_some() {
            return None;
        }
        let active = match self.parameters.endpoint {
            None => None,
            Some(Endpoint::Active(address)) => Some(address),
            Some(Endpoint::Passive) => return None,
        };
        let text = |path: &VirtualPath| path.as_str().to_owned();
        let (user, login) = match &self.session {
            Session::Anyone => (None, None),
            Session::Named { user } => (Some(user.clone()), None),
            Session::User(user) => (Some(user.name.clone()), Some(user)),
        };
        let since = |then: Instant| {
            let time = now.saturating_duration_since(then).as_millis();
            u64::try_from(time).unwrap_or(u64::MAX)
        };
        let (line, line_too_long) = self.reader.begun();
        let carried = Carried {
            user,
            directory: login.map(|login| text(&login.directory)),
            rename_from: login.and_then(|login| login.rename_from.as_ref()).map(text),
            image: self.parameters.representation == Representation::Image,
            active,
            restart: self.parameters.restart,
            epsv_all: self.parameters.epsv_all,
            facts: self.parameters.facts.chosen(),
            line_too_long,
            login_failures: self.login_failures,
            connected: since(self.connected_at),
            idle: since(self.active_at),
        };
        Some((carried, line))
    }

    /// A connection that goes on where another engine left it; nothing is said to the client. The bytes of a command
    /// that has begun are to be handed over as any others.
    ///
    /// # Errors
    /// [`BadState`] when the connection cannot have been so.
    pub fn resume(options: Options, now: Instant, carried: Carried) -> Result<Self, BadState> {
        let path = |text: String| {
            let path = VirtualPath::root().join(&text);
            path.ok()
                .filter(|path| path.as_str() == text)
                .ok_or(BadState("a path is none"))
        };
        let rename_from = carried.rename_from.map(path).transpose()?;
        let session = match (carried.user, carried.directory) {
            (Some(name), Some(directory)) => Session::User(User {
                name,
                directory: path(directory)?,
                rename_from,
            }),
            (_, None) if rename_from.is_some() => {
                return Err(BadState("RNFR without a login"));
            }
            (Some(user), None) => Session::Named { user },
            (None, None) => Session::Anyone,
            (None, Some(_)) => return Err(BadState("a login without a name")),
        };
        let active = carried
            .active
            .filter(|address| options.port_enable && is_own_address(*address, options.peer));
        let before = |millis| {
            let then = now.checked_sub(Duration::from_millis(millis));
            then.unwrap_or(now)
        };
        let mut control = Self::new(options, now);
        control.output.clear();
        control.session = session;
        control.parameters = Parameters {
            representation: match carried.image {
                true => Representation::Image,
                false => Representation::Ascii,
            },
            endpoint: active.map(Endpoint::Active),
            restart: carried.restart,
            epsv_all: carried.epsv_all,
            facts: Facts::parse(&carried.facts),
        };
        control.login_failures = carried.login_failures;
        control.connected_at = before(carried.connected);
        control.active_at = before(carried.idle);
        if carried.line_too_long {
            control.reader.skip_line();
        }
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            banner: "(polyport)".into(),
            peer: Some([127, 0, 0, 1].into()),
            local: Some([127, 0, 0, 1].into()),
            pasv_enable: true,
            port_enable: true,
            pasv_address: None,
            write_enable: true,
            login_timeout: Duration::from_secs(60),
            max_line: 512,
            idle_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(60),
            max_login_failures: 3,
            anonymous_enable: true,
            tls: crate::TlsPolicy::default(),
            secured: None,
        }
    }

    fn session() -> Carried {
        Carried {
            user: Some("xzz".into()),
            directory: Some("/a b/ä".into()),
            rename_from: Some("/old".into()),
            image: true,
            active: Some("127.0.0.1:4000".parse().unwrap()),
            restart: 77,
            epsv_all: true,
            facts: "size;".into(),
            line_too_long: false,
            login_failures: 2,
            connected: 20_000,
            idle: 7000,
        }
    }

    #[test]
    fn what_is_carried_comes_out_as_it_was() {
        let now = Instant::now() + Duration::from_secs(1000);
        let mut control = Control::resume(options(), now, session()).unwrap();
        assert_eq!(control.poll_transmit(), None);
        control.handle_bytes(now, b"NO\xff");
        assert_eq!(control.carry(now), Some((session(), b"NO\xff".to_vec())));
        let seconds = |control: &Control| control.poll_deadline().unwrap() - now;
        assert_eq!(seconds(&control), Duration::from_secs(293));

        let nobody = Carried {
            user: None,
            directory: None,
            rename_from: None,
            ..session()
        };
        let control = Control::resume(options(), now, nobody).unwrap();
        assert_eq!(seconds(&control), Duration::from_secs(40));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let now = Instant::now();
        for bad in [
            Carried {
                user: None,
                ..session()
            },
            Carried {
                directory: None,
                ..session()
            },
            Carried {
                directory: Some("a".into()),
                ..session()
            },
            Carried {
                directory: Some("/a/../b".into()),
                ..session()
            },
            Carried {
                rename_from: Some("/\0".into()),
                ..session()
            },
        ] {
            assert!(
                Control::resume(options(), now, bad.clone()).is_err(),
                "{bad:?}"
            );
        }
        // a bounce to somebody else's address is no more possible than by PORT
        let bounce = Carried {
            active: Some("192.0.2.1:4000".parse().unwrap()),
            ..session()
        };
        let control = Control::resume(options(), now, bounce).unwrap();
        assert_eq!(control.carry(now).unwrap().0.active, None);
    }
}
