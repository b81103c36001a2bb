//! The trust boundary: everything a control connection may ask for, and what it may be told.
//!
//! Parsing lives on one side, sockets, files and account checks on the other; nothing else
//! passes between them.

use std::net::SocketAddr;

use crate::address::NetworkProtocol;
use crate::listing::{Entry, Facts};
use crate::path::VirtualPath;

/// Something to carry out for the client.
///
/// All but [`Request::Abort`] and [`Request::Logout`] are answered by exactly one [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// PASS: [`Answer::LoggedIn`] or [`Answer::Denied`].
    Login {
        /// The name of USER.
        user: String,
        /// The bytes of PASS.
        password: Vec<u8>,
    },
    /// USER over TLS with a client certificate: [`Answer::LoggedIn`] if it stands for this account,
    /// else [`Answer::Denied`].
    Identify {
        /// The name of USER.
        user: String,
    },
    /// AUTH: hold the TLS handshake on the control connection, once all output has been sent.
    /// [`Answer::Secured`]; if the handshake fails, the connection is at its end.
    ///
    /// What was read and not yet handed over must be thrown away: it came in clear.
    Secure,
    /// The account is left (REIN, AUTH, a new USER). Not answered.
    Logout,
    /// PASV, EPSV: listen for one data connection on the control connection's own address, in
    /// place of any listened for before. [`Answer::Listening`] or [`Answer::Failed`].
    Listen(NetworkProtocol),
    /// CWD, CDUP: [`Answer::Done`] if the client may go there.
    Enter(VirtualPath),
    /// SIZE, MDTM, MLST, RNFR: [`Answer::Entry`].
    Facts(VirtualPath),
    /// STAT with a path: [`Answer::Listing`] with the lines of LIST.
    Show(Listing),
    /// MKD: [`Answer::Done`].
    MakeDirectory(VirtualPath),
    /// RMD: [`Answer::Done`].
    RemoveDirectory(VirtualPath),
    /// DELE: [`Answer::Done`].
    Delete(VirtualPath),
    /// RNTO: [`Answer::Done`].
    Rename {
        /// The path of RNFR.
        from: VirtualPath,
        /// The path of RNTO.
        to: VirtualPath,
    },
    /// MFMT: [`Answer::Done`].
    SetModified {
        /// The file or directory.
        path: VirtualPath,
        /// Unix time in seconds.
        time: i64,
    },
    /// LIST, NLST, MLSD: [`Answer::Opened`], then the lines over the data connection.
    List {
        /// What to list, and how.
        listing: Listing,
        /// Where the lines go.
        endpoint: Endpoint,
        /// In clear or over TLS.
        protection: Protection,
    },
    /// RETR: [`Answer::Opened`], then the file over the data connection.
    Retrieve {
        /// The file.
        path: VirtualPath,
        /// REST: octets of the transferred stream to leave out.
        offset: u64,
        /// TYPE asked for; [`Opened::representation`] says which is used.
        representation: Representation,
        /// Where the data goes.
        endpoint: Endpoint,
        /// In clear or over TLS.
        protection: Protection,
    },
    /// STOR, APPE, STOU: [`Answer::Opened`], then the file from the data connection.
    Store {
        /// The file, or for [`Placement::Unique`] its directory.
        path: VirtualPath,
        /// Where in the file.
        placement: Placement,
        /// TYPE asked for.
        representation: Representation,
        /// Where the data comes from.
        endpoint: Endpoint,
        /// In clear or over TLS.
        protection: Protection,
    },
    /// ABOR or a time-out: end the running transfer soon. Not answered; the transfer's own end
    /// follows.
    Abort,
}

/// TYPE: how a file's bytes go over the data connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Representation {
    /// TYPE A: lines end in CRLF. The default of RFC 959 section 5.1.
    #[default]
    Ascii,
    /// TYPE I and L 8: byte for byte.
    Image,
}

/// How the data connection comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The client connects to what [`Request::Listen`] opened.
    Passive,
    /// Connect to this address of the client.
    Active(SocketAddr),
}

/// Data channel protection level (RFC 2228 section 3, as RFC 4217 section 9 has it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// PROT C: in clear.
    #[default]
    Clear,
    /// PROT P: TLS.
    Private,
}

/// What the TLS of the control connection has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured {
    /// Whether the client showed a certificate that the operator's authorities vouch for.
    pub certified: bool,
}

/// Where uploaded data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// STOR: a new file, or in place of the old one once all has arrived.
    Replace,
    /// REST, STOR: onto the file at hand, from this octet on.
    At(u64),
    /// APPE: behind what is there.
    Append,
    /// STOU: under a name that no file has.
    Unique,
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// A directory, or a file to list alone.
    pub path: VirtualPath,
    /// Names in `path` to list, with `*` and `?`; all when absent.
    pub pattern: Option<String>,
    /// Whether names beginning with a dot are listed.
    pub hidden: bool,
    /// The form of the lines.
    pub style: ListStyle,
}

/// The form of a listing's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListStyle {
    /// LIST: as `ls -l`.
    Long,
    /// NLST: names, each behind the prefix that makes it a path from the current directory.
    Names {
        /// Empty, or ending in `/`.
        prefix: String,
    },
    /// MLSD: facts of RFC 3659.
    Facts(Facts),
}

/// What became of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is not.
    Failed(Failure),
    /// The password was right; the session begins in this directory.
    LoggedIn(VirtualPath),
    /// The login was refused.
    Denied(Denial),
    /// The control connection has TLS now.
    Secured(Secured),
    /// Where the data connection is listened for. An IPv4 address here is told by 227 unless
    /// the options name another.
    Listening(SocketAddr),
    /// The facts of one file or directory.
    Entry(Box<Entry>),
    /// Finished lines, each ending in CRLF.
    Listing(Vec<u8>),
    /// The file is open and the transfer begins.
    Opened(Opened),
}

/// What a transfer that begins is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Size of the file in bytes, for RETR.
    pub size: Option<u64>,
    /// The representation that is used.
    pub representation: Representation,
    /// The name found for STOU.
    pub name: Option<String>,
}

/// Why a login was refused. A wrong password and an unknown user are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No such user, or a wrong password.
    Credentials,
    /// The password was right, but not for this service, network or time.
    NotHere,
    /// The account has as many sessions as it may. Not counted as a failure.
    TooManySessions,
    /// The password was not looked at, as it came in clear. Not counted as a failure.
    NeedsTls,
    /// Too many logins are being checked: later perhaps. Not counted as a failure.
    Busy,
    /// `allow_writeable_chroot` is off and the account's root can be written.
    WriteableRoot,
    /// The account's folder cannot be opened.
    NoFolder,
}

/// Why a request failed; the text tells the user what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No such file or directory.
    NotFound,
    /// The account's rights do not allow it.
    Forbidden,
    /// The operating system's file rights do not allow it.
    Permission,
    /// A directory was needed.
    NotADirectory,
    /// A file was needed.
    NotAFile,
    /// There is already one.
    Exists,
    /// The directory still holds something.
    NotEmpty,
    /// The disk is full.
    NoSpace,
    /// The account's quota is used up.
    OverQuota,
    /// The new name is in another of the folders that are shown as one tree.
    OtherFolder,
    /// REST beyond the end of the file.
    BeyondEnd,
    /// REST with an ASCII upload.
    AsciiResume,
    /// No file can have that name.
    BadName,
    /// Anything else, in words.
    Other(String),
}

/// Why a transfer ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The data connection did not come about: 425.
    NoConnection(String),
    /// The data connection broke: 426.
    Broken,
    /// TLS did not come about on the data connection: 522. Why, in words.
    NoTls(String),
    /// The data connection ended without close_notify: what arrived may not be all (RFC 8446
    /// section 6.1). 426.
    Truncated,
    /// [`Request::Abort`]: 426.
    Aborted,
    /// Reading or writing the file failed: 451 or 452.
    File(Failure),
}
