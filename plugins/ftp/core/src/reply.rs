//! Every reply: the codes of RFC 959 section 4.2 with the texts clients already parse.
//!
//! Texts follow vsftpd's, because scripts slice them; what is added stands behind them.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use crate::address::{NetworkProtocol, format_host_port};
use crate::request::{Failure, Representation, Stopped};

/// One reply, of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    text: Cow<'static, str>,
}

macro_rules! replies {
    ($($name:ident = $code:literal $text:literal;)*) => {
        $(pub(crate) const $name: Reply = Reply { code: $code, text: Cow::Borrowed($text) };)*
    };
}

/// What a client reads for which there is no place (RFC 959 section 4.2: 421 may be the reply to any command, and to
/// the connection itself).
pub fn too_many_connections() -> Vec<u8> {
    let mut output = Vec::new();
    TOO_MANY_CONNECTIONS.write(&mut output);
    output
}

replies! {
    LISTING_FOLLOWS        = 150 "Here comes the directory listing.";
    SEND_DATA              = 150 "Ok to send data.";
    ASCII                  = 200 "Switching to ASCII mode.";
    BINARY                 = 200 "Switching to Binary mode.";
    BUFFER_SIZE            = 200 "PBSZ set to 0.";
    PROTECTION_CLEAR       = 200 "PROT now Clear.";
    PROTECTION_PRIVATE     = 200 "PROT now Private.";
    MODE_STREAM            = 200 "Mode set to S.";
    STRUCTURE_FILE         = 200 "Structure set to F.";
    PORT_OK                = 200 "PORT command successful. Consider using PASV.";
    EPRT_OK                = 200 "EPRT command successful. Consider using EPSV.";
    EPSV_ALL_OK            = 200 "EPSV ALL ok.";
    UTF8_ALWAYS            = 200 "Always in UTF8 mode.";
    NOOP_OK                = 200 "NOOP ok.";
    ALLO_IGNORED           = 202 "ALLO command ignored.";
    SYSTEM                 = 215 "UNIX Type: L8";
    GOODBYE                = 221 "Goodbye.";
    NO_TRANSFER            = 225 "No transfer to ABOR.";
    TRANSFER_COMPLETE      = 226 "Transfer complete.";
    LISTING_SENT           = 226 "Directory send OK.";
    ABORTED                = 226 "ABOR successful.";
    LOGGED_IN              = 230 "Login successful.";
    CERTIFIED              = 232 "Login successful, authorized by certificate.";
    BEGIN_TLS              = 234 "Proceed with negotiation.";
    DIRECTORY_CHANGED      = 250 "Directory successfully changed.";
    DIRECTORY_REMOVED      = 250 "Remove directory operation successful.";
    DELETED                = 250 "Delete operation successful.";
    RENAMED                = 250 "Rename successful.";
    GIVE_PASSWORD          = 331 "Please specify the password.";
    READY_FOR_RNTO         = 350 "Ready for RNTO.";
    IDLE_TIMEOUT           = 421 "Timeout.";
    DRAINING               = 421 "Service closing, please connect again.";
    ACCOUNT_CHANGED        = 421 "The account was changed, please log in again.";
    TOO_MANY_CONNECTIONS   = 421 "Too many connections, please try again later.";
    TOO_MANY_QUEUED        = 421 "Too many commands without waiting for replies.";
    NO_DATA_PORT           = 425 "Use PORT or PASV first.";
    NEED_EPSV              = 425 "PASV needs IPv4, use EPSV.";
    NO_NETWORK             = 425 "No data connections on this listener.";
    BROKEN                 = 426 "Failure on the data connection.";
    TRANSFER_ABORTED       = 426 "Transfer aborted.";
    TRUNCATED              = 426 "The data connection ended without TLS close_notify: not all may have arrived.";
    LOCAL_ERROR            = 451 "Local error in processing.";
    UNKNOWN                = 500 "Unknown command.";
    LINE_TOO_LONG          = 500 "Command line too long.";
    ILLEGAL_PORT           = 500 "Illegal PORT command.";
    ILLEGAL_EPRT           = 500 "Illegal EPRT command.";
    UNKNOWN_SITE           = 500 "Unknown SITE command.";
    WRITEABLE_ROOT         = 500 "OOPS: refusing to run with writable root inside chroot()";
    NOT_UTF8               = 501 "The argument is not valid UTF-8.";
    BAD_NAME               = 501 "No file can have that name.";
    UNKNOWN_OPTION         = 501 "Option not understood.";
    BAD_BUFFER_SIZE        = 501 "Syntax: PBSZ 0";
    NOT_IMPLEMENTED        = 502 "Command not implemented.";
    NO_REIN_OVER_TLS       = 502 "REIN not implemented over TLS.";
    NEED_USER              = 503 "Login with USER first.";
    NEED_RNFR              = 503 "RNFR required first.";
    ONLY_EPSV              = 503 "Only EPSV after EPSV ALL.";
    ALREADY_LOGGED_IN      = 503 "Already logged in.";
    ALREADY_SECURE         = 503 "The control connection is encrypted already.";
    MORE_BEHIND_AUTH       = 503 "Nothing may be sent behind AUTH before the negotiation.";
    PBSZ_NEEDS_TLS         = 503 "PBSZ needs a secure connection.";
    PROT_NEEDS_TLS         = 503 "PROT needs a secure connection.";
    BAD_MECHANISM          = 504 "Unknown AUTH type.";
    BAD_PROTECTION         = 504 "PROT not recognized.";
    BAD_TYPE               = 504 "Unrecognised TYPE command.";
    BAD_MODE               = 504 "Bad MODE command.";
    BAD_STRUCTURE          = 504 "Bad STRU command.";
    DATA_NEEDS_TLS         = 522 "Data connections must be encrypted.";
    NEED_LOGIN             = 530 "Please login with USER and PASS.";
    LOGIN_INCORRECT        = 530 "Login incorrect.";
    ACCOUNTS_NEED_TLS      = 530 "Non-anonymous sessions must use encryption.";
    ANONYMOUS_NEED_TLS     = 530 "Anonymous sessions must use encryption.";
    NOT_HERE               = 530 "The account may not log in here and now.";
    TOO_MANY_SESSIONS      = 530 "The account has too many sessions, end one or try again later.";
    LOGIN_LATER            = 530 "Too many logins at the moment, try again later.";
    NO_FOLDER              = 530 "The account's folder cannot be opened.";
    CCC_UNPROTECTED        = 533 "CCC needs a secure connection.";
    CCC_REFUSED            = 534 "The control connection stays encrypted.";
    CLEAR_REFUSED          = 534 "Data connections must be encrypted.";
    PROTECTION_UNSUPPORTED = 536 "PROT not supported.";
    PASV_DISABLED          = 550 "Passive mode is switched off (pasv_enable).";
    PORT_DISABLED          = 550 "Active mode is switched off (port_enable).";
    WRITE_DISABLED         = 550 "Permission denied. Writing is switched off (write_enable).";
    STORE_DISABLED         = 553 "Could not create file. Writing is switched off (write_enable).";
    NOT_PLAIN_FILE         = 550 "Could not get file size. Not a plain file.";

    CANNOT_ENTER           = 550 "Failed to change directory.";
    CANNOT_LIST            = 550 "Could not list.";
    CANNOT_OPEN            = 550 "Failed to open file.";
    CANNOT_SIZE            = 550 "Could not get file size.";
    CANNOT_MDTM            = 550 "Could not get file modification time.";
    CANNOT_SET_TIME        = 550 "Could not set file modification time.";
    CANNOT_FACTS           = 550 "Could not get facts.";
    CANNOT_MAKE            = 550 "Create directory operation failed.";
    CANNOT_REMOVE          = 550 "Remove directory operation failed.";
    CANNOT_DELETE          = 550 "Delete operation failed.";
    CANNOT_RNFR            = 550 "RNFR command failed.";
    CANNOT_RENAME          = 550 "Rename failed.";
    CANNOT_STORE           = 553 "Could not create file.";
    CANNOT_LISTEN          = 425 "Could not open a port for the data connection.";
}

impl Reply {
    pub(crate) fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// Appends why.
    #[must_use]
    pub(crate) fn because(self, failure: &Failure) -> Self {
        let code = match failure {
            Failure::NoSpace => 452,
            Failure::OverQuota => 552,
            Failure::BeyondEnd => 554,
            Failure::AsciiResume => 504,
            _ => self.code,
        };
        Self::new(code, format!("{} {}", self.text, reason(failure)))
    }

    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        write_line(output, self.code, ' ', &self.text);
    }
}

/// A reply of several lines; the inner ones are indented, so that none can look like the end.
pub(crate) fn write_block(
    output: &mut Vec<u8>,
    code: u16,
    first: &str,
    lines: impl IntoIterator<Item = impl AsRef<[u8]>>,
    last: &str,
) {
    write_line(output, code, '-', first);
    for line in lines {
        output.push(b' ');
        push_clean(output, line.as_ref());
        output.extend_from_slice(b"\r\n");
    }
    write_line(output, code, ' ', last);
}

fn write_line(output: &mut Vec<u8>, code: u16, separator: char, text: &str) {
    output.extend_from_slice(format!("{code}{separator}").as_bytes());
    push_clean(output, text.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// A name with a line end in it must not forge a reply.
fn push_clean(output: &mut Vec<u8>, text: &[u8]) {
    output.extend(text.iter().map(|&byte| {
        if matches!(byte, b'\r' | b'\n' | 0) {
            b'?'
        } else {
            byte
        }
    }));
}

/// 220 with the operator's text, several lines where it has several.
pub(crate) fn write_banner(output: &mut Vec<u8>, banner: &str) {
    let mut lines: Vec<&str> = banner.lines().collect();
    match (lines.pop(), lines.is_empty()) {
        (last, true) => write_line(output, 220, ' ', last.unwrap_or_default()),
        (last, false) => {
            write_block(output, 220, lines[0], &lines[1..], last.unwrap_or_default());
        }
    }
}

/// 257 with the path in quotes, its own quotes doubled (RFC 959 appendix II).
pub(crate) fn quoted_path(path: &str, rest: &str) -> Reply {
    Reply::new(257, format!("\"{}\"{rest}", path.replace('"', "\"\"")))
}

/// 150 for RETR.
pub(crate) fn opening(representation: Representation, name: &str, size: Option<u64>) -> Reply {
    let mode = match representation {
        Representation::Ascii => "ASCII",
        Representation::Image => "BINARY",
    };
    let size = size
        .map(|size| format!(" ({size} bytes)"))
        .unwrap_or_default();
    Reply::new(
        150,
        format!("Opening {mode} mode data connection for {name}{size}."),
    )
}

/// 227; the numbers begin at byte 26 of the line, where scripts slice it.
pub(crate) fn passive(address: Ipv4Addr, port: u16) -> Reply {
    Reply::new(
        227,
        format!(
            "Entering Passive Mode ({}).",
            format_host_port(address, port)
        ),
    )
}

/// 229 (RFC 2428 section 3).
pub(crate) fn extended_passive(port: u16) -> Reply {
    Reply::new(229, format!("Entering Extended Passive Mode (|||{port}|)"))
}

/// 522, naming the protocol that can be used.
pub(crate) fn bad_protocol(usable: Option<NetworkProtocol>) -> Reply {
    match usable {
        Some(usable) => Reply::new(
            522,
            format!("Bad network protocol, use ({})", usable.number()),
        ),
        None => Reply::new(522, "Bad network protocol, use (1,2)"),
    }
}

/// The reply to a transfer that ended early.
pub(crate) fn stopped(stopped: &Stopped) -> Reply {
    match stopped {
        Stopped::NoConnection(why) => {
            Reply::new(425, format!("Failed to establish connection: {why}."))
        }
        Stopped::Broken => BROKEN,
        Stopped::NoTls(why) => Reply::new(522, format!("TLS connection failed: {why}.")),
        Stopped::Truncated => TRUNCATED,
        Stopped::Aborted => TRANSFER_ABORTED,
        Stopped::File(Failure::NoSpace) => Reply::new(452, "No space left for the file."),
        Stopped::File(Failure::OverQuota) => {
            Reply::new(552, "Storage exceeded. The account's quota is used up.")
        }
        Stopped::File(failure) => Reply::new(
            451,
            format!("Failure with the local file. {}", reason(failure)),
        ),
    }
}

fn reason(failure: &Failure) -> Cow<'static, str> {
    Cow::Borrowed(match failure {
        Failure::NotFound => "No such file or directory.",
        Failure::Forbidden => "Your account has no right to do that here.",
        Failure::Permission => {
            "Permission denied by the rights of the file or its folder on the server."
        }
        Failure::NotADirectory => "Not a directory.",
        Failure::NotAFile => "Not a plain file.",
        Failure::Exists => "It already exists.",
        Failure::NotEmpty => "Directory not empty.",
        Failure::NoSpace => "No space left.",
        Failure::OverQuota => "The account's quota is used up.",
        Failure::OtherFolder => {
            "The two names are in different folders of the server: copy it, then remove the old one."
        }
        Failure::BeyondEnd => "The restart position lies beyond the end of the file.",
        Failure::AsciiResume => "An upload can only be resumed in TYPE I.",
        Failure::BadName => "No file can have that name.",
        Failure::Other(words) => return Cow::Owned(format!("{words}.")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut output = Vec::new();
        write(&mut output);
        String::from_utf8(output).unwrap()
    }

    /// T27: the script evaluates what stands behind byte 26, less the full stop and line end.
    #[test]
    fn t27_passive_reply_can_be_sliced_at_byte_26() {
        let line = written(|output| passive(Ipv4Addr::new(192, 168, 0, 112), 42914).write(output));
        assert_eq!(
            line[26..].trim_end_matches(['.', '\r', '\n']),
            "(192,168,0,112,167,162)"
        );
    }

    #[test]
    fn quotes_in_a_path_are_doubled() {
        let line = written(|output| quoted_path("/a\"b", "").write(output));
        assert_eq!(line, "257 \"/a\"\"b\"\r\n");
    }

    #[test]
    fn a_name_cannot_forge_a_reply() {
        let line = written(|output| {
            opening(Representation::Image, "x\r\n226 done", Some(1)).write(output)
        });
        assert_eq!(
            line,
            "150 Opening BINARY mode data connection for x??226 done (1 bytes).\r\n"
        );
        let block = written(|output| write_block(output, 213, "Status:", [b"213 End"], "End"));
        assert_eq!(block, "213-Status:\r\n 213 End\r\n213 End\r\n");
    }

    #[test]
    fn banner_of_one_and_of_three_lines() {
        assert_eq!(
            written(|output| write_banner(output, "(polyport 0.1.0)")),
            "220 (polyport 0.1.0)\r\n"
        );
        assert_eq!(written(|output| write_banner(output, "")), "220 \r\n");
        assert_eq!(
            written(|output| write_banner(output, "a\nb\nc")),
            "220-a\r\n b\r\n220 c\r\n"
        );
    }
}
