//! Command lines become [`Command`]s: verbs, aliases and the syntax of arguments.
//!
//! Owns what can be refused without knowing the session's state.

use std::net::SocketAddr;

use crate::address::{self, BadAddress, NetworkProtocol};
use crate::calendar;
use crate::request::Representation;

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "named and argued as in RFC 959, 2228, 2389, 2428 and 3659"
)]
pub enum Command {
    User(String),
    Pass(Vec<u8>),
    Quit,
    Rein,
    Cwd(String),
    Cdup,
    Pwd,
    Mkd(String),
    Rmd(String),
    Dele(String),
    Rnfr(String),
    Rnto(String),
    Type(Representation),
    ModeStream,
    StruFile,
    Allo,
    Pasv,
    Epsv(ExtendedPassive),
    Port(SocketAddr),
    Eprt(SocketAddr),
    Rest(u64),
    Retr(String),
    Stor(String),
    Appe(String),
    Stou,
    List(ListArgument),
    Nlst(ListArgument),
    Mlsd(String),
    Mlst(String),
    Size(String),
    Mdtm(String),
    Mfmt { time: i64, path: String },
    Stat(Option<ListArgument>),
    Abor,
    Noop,
    Syst,
    Help,
    Feat,
    OptsUtf8,
    OptsMlst(String),
    Auth(String),
    Pbsz(String),
    Prot(String),
    Ccc,
}

/// The argument of EPSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedPassive {
    /// None: the protocol of the control connection.
    Default,
    /// `1` or `2`.
    Protocol(NetworkProtocol),
    /// `ALL`
    All,
}

/// The argument of LIST and its kin: flags as of `ls`, and a path that may hold a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListArgument {
    /// `-a`
    pub hidden: bool,
    /// Empty for the current directory.
    pub path: String,
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// 500
    UnknownVerb,
    /// 500: longer than a line may be.
    TooLong,
    /// 500: a SITE command nobody has.
    UnknownSite,
    /// 502: known, and deliberately not offered.
    NotImplemented,
    /// 501: how the command is written.
    Usage(&'static str),
    /// 501: OPTS for something without options.
    UnknownOption,
    /// 501
    NotUtf8,
    /// 504: TYPE E and the like.
    UnknownType,
    /// 504: MODE other than S.
    UnknownMode,
    /// 504: STRU other than F.
    UnknownStructure,
    /// 500: as the texts of vsftpd have it.
    IllegalPort,
    /// 500
    IllegalEprt,
    /// 522
    UnknownProtocol,
}

/// The verbs HELP names, without the X aliases.
pub const VERBS: &[&str] = &[
    "ABOR", "ALLO", "APPE", "AUTH", "CDUP", "CWD", "DELE", "EPRT", "EPSV", "FEAT", "HELP", "LIST",
    "MDTM", "MFMT", "MKD", "MLSD", "MLST", "MODE", "NLST", "NOOP", "OPTS", "PASS", "PASV", "PBSZ",
    "PORT", "PROT", "PWD", "QUIT", "REIN", "REST", "RETR", "RMD", "RNFR", "RNTO", "SIZE", "STAT",
    "STOR", "STOU", "STRU", "SYST", "TYPE", "USER",
];

/// Parses a line without its end.
///
/// # Errors
/// [`BadCommand`], from which the reply follows.
pub fn parse(line: &[u8]) -> Result<Command, BadCommand> {
    let (verb, argument) = match line.iter().position(|&byte| byte == b' ') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[][..]),
    };
    // a password is bytes of whatever encoding
    if verb.eq_ignore_ascii_case(b"PASS") {
        return Ok(Command::Pass(argument.to_vec()));
    }
    let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
    let text = std::str::from_utf8(argument).map_err(|_| BadCommand::NotUtf8);
    let path = |usage| match text.clone()? {
        "" => Err(BadCommand::Usage(usage)),
        path => Ok(path.to_owned()),
    };
    let word = || text.clone().map(str::trim);
    Ok(match verb.as_str() {
        "USER" => Command::User(path("USER name")?),
        "QUIT" => Command::Quit,
        "REIN" => Command::Rein,
        "CWD" | "XCWD" => Command::Cwd(text?.to_owned()),
        "CDUP" | "XCUP" => Command::Cdup,
        "PWD" | "XPWD" => Command::Pwd,
        "MKD" | "XMKD" => Command::Mkd(path("MKD path")?),
        "RMD" | "XRMD" => Command::Rmd(path("RMD path")?),
        "DELE" => Command::Dele(path("DELE path")?),
        "RNFR" => Command::Rnfr(path("RNFR path")?),
        "RNTO" => Command::Rnto(path("RNTO path")?),
        "TYPE" => Command::Type(parse_type(word()?)?),
        "MODE" if word()?.eq_ignore_ascii_case("S") => Command::ModeStream,
        "MODE" => return Err(BadCommand::UnknownMode),
        "STRU" if word()?.eq_ignore_ascii_case("F") => Command::StruFile,
        "STRU" => return Err(BadCommand::UnknownStructure),
        "ALLO" => Command::Allo,
        "PASV" => Command::Pasv,
        "EPSV" => Command::Epsv(parse_epsv(word()?)?),
        "PORT" => Command::Port(address::parse_host_port(word()?).ok_or(BadCommand::IllegalPort)?),
        "EPRT" => Command::Eprt(address::parse_extended(word()?).map_err(|bad| match bad {
            BadAddress::Syntax => BadCommand::IllegalEprt,
            BadAddress::Protocol => BadCommand::UnknownProtocol,
        })?),
        "REST" => Command::Rest(parse_offset(word()?)?),
        "RETR" => Command::Retr(path("RETR path")?),
        "STOR" => Command::Stor(path("STOR path")?),
        "APPE" => Command::Appe(path("APPE path")?),
        "STOU" => Command::Stou,
        "LIST" => Command::List(parse_list(text?)),
        "NLST" => Command::Nlst(parse_list(text?)),
        "MLSD" => Command::Mlsd(text?.to_owned()),
        "MLST" => Command::Mlst(text?.to_owned()),
        "SIZE" => Command::Size(path("SIZE path")?),
        "MDTM" => Command::Mdtm(path("MDTM path")?),
        "MFMT" => parse_mfmt(text?)?,
        "STAT" => Command::Stat(match word()? {
            "" => None,
            argument => Some(parse_list(argument)),
        }),
        "ABOR" => Command::Abor,
        "NOOP" => Command::Noop,
        "SYST" => Command::Syst,
        "HELP" => Command::Help,
        "FEAT" => Command::Feat,
        "OPTS" => parse_opts(word()?)?,
        "SITE" => return Err(BadCommand::UnknownSite),
        "AUTH" => Command::Auth(word()?.to_owned()),
        "PBSZ" => Command::Pbsz(word()?.to_owned()),
        "PROT" => Command::Prot(word()?.to_owned()),
        "CCC" => Command::Ccc,
        "ACCT" | "SMNT" | "ADAT" | "MIC" | "CONF" | "ENC" | "LANG" | "HOST" => {
            return Err(BadCommand::NotImplemented);
        }
        _ => return Err(BadCommand::UnknownVerb),
    })
}

/// A, A N, I, L 8 (RFC 959 section 3.1.1); `L8` as some clients write it.
fn parse_type(argument: &str) -> Result<Representation, BadCommand> {
    match argument.to_ascii_uppercase().as_str() {
        "A" | "A N" => Ok(Representation::Ascii),
        "I" | "L 8" | "L8" => Ok(Representation::Image),
        "" => Err(BadCommand::Usage("TYPE A, TYPE I or TYPE L 8")),
        _ => Err(BadCommand::UnknownType),
    }
}

fn parse_epsv(argument: &str) -> Result<ExtendedPassive, BadCommand> {
    if argument.is_empty() {
        return Ok(ExtendedPassive::Default);
    }
    if argument.eq_ignore_ascii_case("ALL") {
        return Ok(ExtendedPassive::All);
    }
    match address::parse_protocol(argument) {
        Ok(protocol) => Ok(ExtendedPassive::Protocol(protocol)),
        Err(BadAddress::Protocol) => Err(BadCommand::UnknownProtocol),
        Err(BadAddress::Syntax) => Err(BadCommand::Usage("EPSV, EPSV 1, EPSV 2 or EPSV ALL")),
    }
}

/// Offsets stay below 2^63, the largest file position of POSIX.
fn parse_offset(argument: &str) -> Result<u64, BadCommand> {
    const USAGE: BadCommand = BadCommand::Usage("REST offset, 0 to 9223372036854775807");
    if argument.is_empty() || !argument.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(USAGE);
    }
    argument
        .parse::<u64>()
        .ok()
        .filter(|offset| i64::try_from(*offset).is_ok())
        .ok_or(USAGE)
}

/// `-la path`: leading words that begin with a dash are flags, after `--` there are none.
fn parse_list(argument: &str) -> ListArgument {
    let mut list = ListArgument::default();
    let mut rest = argument.trim_start();
    while rest.starts_with('-') {
        let (flags, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        if flags == "--" {
            break;
        }
        list.hidden |= flags.contains(['a', 'A']);
    }
    rest.clone_into(&mut list.path);
    list
}

fn parse_mfmt(argument: &str) -> Result<Command, BadCommand> {
    const USAGE: BadCommand = BadCommand::Usage("MFMT YYYYMMDDHHMMSS path");
    let (time, path) = argument.split_once(' ').ok_or(USAGE)?;
    match calendar::parse_time_val(time) {
        Some(time) if !path.is_empty() => Ok(Command::Mfmt {
            time,
            path: path.to_owned(),
        }),
        _ => Err(USAGE),
    }
}

fn parse_opts(argument: &str) -> Result<Command, BadCommand> {
    let (name, value) = argument.split_once(' ').unwrap_or((argument, ""));
    match name.to_ascii_uppercase().as_str() {
        // names are sent and taken as they are; switching that off has no meaning
        "UTF8" if !value.eq_ignore_ascii_case("OFF") => Ok(Command::OptsUtf8),
        "MLST" => Ok(Command::OptsMlst(value.to_owned())),
        _ => Err(BadCommand::UnknownOption),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_in_any_case_and_their_aliases() {
        for (line, expected) in [
            ("user xzz", Command::User("xzz".into())),
            ("PASS  p w ", Command::Pass(b" p w ".to_vec())),
            ("pAsV", Command::Pasv),
            ("XPWD", Command::Pwd),
            ("XCUP", Command::Cdup),
            ("XMKD a b", Command::Mkd("a b".into())),
            ("RETR  leading", Command::Retr(" leading".into())),
            ("TYPE a n", Command::Type(Representation::Ascii)),
            ("TYPE L 8", Command::Type(Representation::Image)),
            ("REST 9223372036854775807", Command::Rest(i64::MAX as u64)),
            (
                "EPSV 2",
                Command::Epsv(ExtendedPassive::Protocol(NetworkProtocol::Ipv6)),
            ),
            ("OPTS utf8 on", Command::OptsUtf8),
            ("STAT", Command::Stat(None)),
            ("auth tls", Command::Auth("tls".into())),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn listing_flags() {
        for (line, hidden, path) in [
            ("LIST", false, ""),
            ("LIST -a", true, ""),
            ("LIST -la sub dir", true, "sub dir"),
            ("LIST -l -A x", true, "x"),
            ("LIST -- -a", false, "-a"),
            ("LIST a -b", false, "a -b"),
        ] {
            let expected = ListArgument {
                hidden,
                path: path.into(),
            };
            assert_eq!(
                parse(line.as_bytes()),
                Ok(Command::List(expected)),
                "{line}"
            );
        }
    }

    #[test]
    fn refusals() {
        for (line, expected) in [
            (&b"FOO"[..], BadCommand::UnknownVerb),
            (b"", BadCommand::UnknownVerb),
            (b"\xff\xfe x", BadCommand::UnknownVerb),
            (b"RETR", BadCommand::Usage("RETR path")),
            (b"RETR \xff", BadCommand::NotUtf8),
            (b"TYPE E", BadCommand::UnknownType),
            (b"MODE B", BadCommand::UnknownMode),
            (b"STRU R", BadCommand::UnknownStructure),
            (b"PORT 1,2,3", BadCommand::IllegalPort),
            (b"EPRT |9|x|1|", BadCommand::UnknownProtocol),
            (b"EPSV 3", BadCommand::UnknownProtocol),
            (b"ADAT x", BadCommand::NotImplemented),
            (b"SITE CHMOD 777 x", BadCommand::UnknownSite),
            (b"OPTS UTF8 OFF", BadCommand::UnknownOption),
        ] {
            assert_eq!(
                parse(line),
                Err(expected),
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
        for line in [
            "REST",
            "REST -1",
            "REST 9223372036854775808",
            "REST 1x",
            "MFMT 2015 x",
        ] {
            assert!(
                matches!(parse(line.as_bytes()), Err(BadCommand::Usage(_))),
                "{line}"
            );
        }
    }
}
