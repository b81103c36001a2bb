//! One control connection: its input, its session and what it waits for.
//!
//! Commands are carried out one after the other. While one waits for its [`Answer`], later ones
//! stay queued; while a transfer runs, only ABOR, STAT, NOOP and QUIT are looked at (RFC 959
//! section 4.1.3, RFC 1123 section 4.1.3.5), the others wait for its end.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::command::{self, BadCommand, Command};
use crate::commands::{self, Pending};
use crate::line::{Line, LineReader};
use crate::listing::Facts;
use crate::path::VirtualPath;
use crate::reply::{self, Reply};
use crate::request::{
    Answer, Endpoint, Opened, Protection, Representation, Request, Secured, Stopped,
};

/// Commands a client may send ahead; more end the connection.
const MAX_QUEUED: usize = 1000;

/// What the operator chose, for one connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Text of the 220 greeting; may have several lines.
    pub banner: String,
    /// The client's address; none on a Unix socket, where no data connection is possible.
    pub peer: Option<IpAddr>,
    /// The server's address on this connection.
    pub local: Option<IpAddr>,
    /// Whether PASV and EPSV are offered.
    pub pasv_enable: bool,
    /// Whether PORT and EPRT are offered.
    pub port_enable: bool,
    /// The address told by 227, where it is not `local` (behind address translation).
    pub pasv_address: Option<Ipv4Addr>,
    /// Whether any command may change files.
    pub write_enable: bool,
    /// Time from the connection to the login, until 421.
    pub login_timeout: Duration,
    /// Longest command line in bytes.
    pub max_line: usize,
    /// Time without a command, and without a transfer, until 421.
    pub idle_timeout: Duration,
    /// Time without progress of a transfer until it is ended.
    pub data_timeout: Duration,
    /// Failed logins on one connection until it is closed.
    pub max_login_failures: u32,
    /// Whether `anonymous` and `ftp` are names of clients without an account.
    pub anonymous_enable: bool,
    /// What is offered and demanded.
    pub tls: TlsPolicy,
    /// Where the connection began with TLS (implicit FTPS).
    pub secured: Option<Secured>,
}

/// TLS as the operator wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// Whether AUTH is offered: there is a certificate.
    pub offered: bool,
    /// Who may log in only over TLS.
    pub logins: TlsDemand,
    /// Whose data connections must have TLS if the control connection has it.
    pub data: TlsDemand,
}

/// Of whom TLS is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsDemand {
    /// Of clients with an account.
    pub accounts: bool,
    /// Of clients without.
    pub anonymous: bool,
}

/// Whether a name given to USER is one of clients without an account (RFC 1635).
pub fn is_anonymous(name: &str) -> bool {
    name.eq_ignore_ascii_case("anonymous") || name.eq_ignore_ascii_case("ftp")
}

/// Who is at the other end.
#[derive(Debug, Default)]
pub(crate) enum Session {
    /// Nobody yet.
    #[default]
    Anyone,
    /// USER was given, PASS is awaited.
    Named { user: String },
    /// Logged in.
    User(User),
}

/// What a login owns; gone with it.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) directory: VirtualPath,
    pub(crate) rename_from: Option<VirtualPath>,
}

/// Transfer parameters (RFC 959 section 4.1.2) and their kin.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pub(crate) representation: Representation,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) restart: u64,
    pub(crate) epsv_all: bool,
    pub(crate) facts: Facts,
}

/// A transfer that was opened.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// The command, for STAT.
    pub(crate) what: String,
    pub(crate) complete: Reply,
    pub(crate) octets: u64,
    /// ABOR was given and wants its own reply.
    pub(crate) aborted: bool,
    /// Aborted by us: no progress within `data_timeout`.
    timed_out: bool,
    progress_at: Instant,
}

/// How the connection goes on once what is running has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Course {
    #[default]
    Open,
    /// No more commands; this reply is the last once the transfer has ended.
    Closing(Option<Reply>),
    /// Only the output is left.
    Closed,
}

/// One control connection.
#[derive(Debug)]
pub struct Control {
    pub(crate) options: Options,
    pub(crate) session: Session,
    pub(crate) parameters: Parameters,
    /// Whether the control connection has TLS, and what that proved.
    pub(crate) secured: Option<Secured>,
    pub(crate) protection: Protection,
    pub(crate) login_failures: u32,
    pub(crate) pending: Option<Pending>,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) output: Vec<u8>,
    pub(crate) reader: LineReader,
    queue: VecDeque<Result<Command, BadCommand>>,
    requests: VecDeque<Request>,
    course: Course,
    end_of_input: bool,
    quit: bool,
    pub(crate) connected_at: Instant,
    pub(crate) active_at: Instant,
}

impl Control {
    /// A new connection; the greeting is ready to be sent.
    pub fn new(options: Options, now: Instant) -> Self {
        let mut output = Vec::new();
        reply::write_banner(&mut output, &options.banner);
        // draft-murray-auth-ftp-ssl: implicit TLS covers the data connections as well
        let protection = match options.secured {
            Some(_) => Protection::Private,
            None => Protection::Clear,
        };
        let reader = LineReader::new(options.max_line);
        Self {
            secured: options.secured,
            protection,
            options,
            session: Session::default(),
            parameters: Parameters::default(),
            login_failures: 0,
            pending: None,
            transfer: None,
            output,
            reader,
            queue: VecDeque::new(),
            requests: VecDeque::new(),
            course: Course::default(),
            end_of_input: false,
            quit: false,
            active_at: now,
            connected_at: now,
        }
    }

    /// Other options, from the next command on. Whether it has TLS and can have it stays what it was.
    pub fn set_options(&mut self, options: Options) {
        self.options = Options {
            secured: self.options.secured,
            tls: TlsPolicy {
                offered: self.options.tls.offered,
                ..options.tls
            },
            ..options
        };
    }

    // What it is.

    /// The name logged in with.
    pub fn user(&self) -> Option<&str> {
        match &self.session {
            Session::User(user) => Some(&user.name),
            _ => None,
        }
    }

    /// Whether a transfer is running.
    pub fn is_transferring(&self) -> bool {
        self.transfer.is_some()
    }

    /// Whether the connection can be closed once the output has been sent.
    pub fn is_closed(&self) -> bool {
        self.course == Course::Closed
    }

    /// Whether the client is still there, or took its leave by QUIT.
    ///
    /// An upload whose control connection broke off may be half a file; its end cannot be told
    /// from the data connection.
    pub fn is_attended(&self) -> bool {
        self.quit || !self.end_of_input
    }

    /// Whether nothing is under way and all that was to be said has been taken.
    pub(crate) fn is_between_commands(&self) -> bool {
        self.course == Course::Open
            && !self.end_of_input
            && self.pending.is_none()
            && self.transfer.is_none()
            && self.queue.is_empty()
            && self.requests.is_empty()
            && self.output.is_empty()
    }

    // What happens to it.

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let mut lines = Vec::new();
        self.reader.feed(bytes, &mut lines);
        if lines.is_empty() || self.course == Course::Closed {
            return;
        }
        self.active_at = now;
        for line in lines {
            let command = match line {
                Line::Command(line) => command::parse(&line),
                Line::TooLong => Err(BadCommand::TooLong),
            };
            // ABOR ends the running transfer at once, whatever was sent ahead of it
            if self.transfer.is_some() && command == Ok(Command::Abor) {
                commands::abort::abor(self);
            } else {
                self.queue.push_back(command);
            }
        }
        self.advance();
        if self.queue.len() > MAX_QUEUED {
            self.queue.clear();
            self.end(Some(reply::TOO_MANY_QUEUED));
            self.advance();
        }
    }

    /// The client sends no more; what it sent is still carried out.
    pub fn handle_end_of_input(&mut self) {
        self.end_of_input = true;
        self.advance();
    }

    /// The oldest unanswered request was answered.
    pub fn handle_answer(&mut self, now: Instant, answer: Answer) {
        if let Some(pending) = self.pending.take() {
            commands::finish(self, now, pending, answer);
        }
        self.active_at = now;
        self.advance();
    }

    /// The transfer has moved this many octets in all.
    pub fn handle_progress(&mut self, now: Instant, octets: u64) {
        if let Some(transfer) = &mut self.transfer
            && octets != transfer.octets
        {
            transfer.octets = octets;
            transfer.progress_at = now;
        }
    }

    /// The transfer that was opened has ended.
    pub fn handle_transfer_end(&mut self, now: Instant, result: Result<(), Stopped>) {
        let Some(transfer) = self.transfer.take() else {
            return;
        };
        match result {
            Ok(()) => self.reply(&transfer.complete),
            Err(Stopped::Aborted) if transfer.timed_out => self.reply(&reply::BROKEN),
            Err(stopped) => self.reply(&reply::stopped(&stopped)),
        }
        // RFC 959 section 4.1.3: first the transfer's own reply, then that of ABOR
        if transfer.aborted {
            self.reply(&reply::ABORTED);
        }
        self.active_at = now;
        self.advance();
    }

    /// The time given by [`Self::poll_deadline`] has come. Report progress first.
    pub fn handle_deadline(&mut self, now: Instant) {
        if let Some(transfer) = &mut self.transfer {
            if !transfer.timed_out && now >= transfer.progress_at + self.options.data_timeout {
                transfer.timed_out = true;
                self.request(Request::Abort);
            }
        } else if self.pending.is_none() && now >= self.patience_ends() {
            self.end(Some(reply::IDLE_TIMEOUT));
        }
        self.advance();
    }

    /// The service is to end: what runs is finished, then the client is sent away.
    pub fn handle_drain(&mut self) {
        self.end(Some(reply::DRAINING));
        self.advance();
    }

    /// The account was removed or changed: its transfer is stopped and the client sent away.
    pub fn handle_revoked(&mut self) {
        if self.transfer.is_some() {
            self.request(Request::Abort);
        }
        self.end(Some(reply::ACCOUNT_CHANGED));
        self.advance();
    }

    // What it wants.

    /// Bytes to send to the client.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if self.output.is_empty() {
            None
        } else {
            Some(std::mem::take(&mut self.output))
        }
    }

    /// The next thing to carry out.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// When to call [`Self::handle_deadline`].
    pub fn poll_deadline(&self) -> Option<Instant> {
        match &self.transfer {
            _ if self.is_closed() => None,
            Some(transfer) if transfer.timed_out => None,
            Some(transfer) => Some(transfer.progress_at + self.options.data_timeout),
            None if self.pending.is_some() => None,
            None => Some(self.patience_ends()),
        }
    }

    /// When a client that is neither served nor waited for is sent away.
    fn patience_ends(&self) -> Instant {
        let idle = self.active_at + self.options.idle_timeout;
        match self.user() {
            Some(_) => idle,
            None => idle.min(self.connected_at + self.options.login_timeout),
        }
    }

    // For the commands.

    pub(crate) fn reply(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
    }

    /// Asks for something without an answer.
    pub(crate) fn request(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// Asks for something whose answer [`commands::finish`] will get with `pending`.
    pub(crate) fn ask(&mut self, request: Request, pending: Pending) {
        self.requests.push_back(request);
        self.pending = Some(pending);
    }

    /// A transfer was opened.
    pub(crate) fn begin_transfer(
        &mut self,
        now: Instant,
        what: String,
        complete: Reply,
        opened: &Opened,
    ) {
        // a name of STOU is told in the reply that ends the transfer as well
        let complete = match &opened.name {
            Some(name) => Reply::new(226, format!("Transfer complete, stored as {name}.")),
            None => complete,
        };
        self.transfer = Some(Transfer {
            what,
            complete,
            octets: 0,
            aborted: false,
            timed_out: false,
            progress_at: now,
        });
    }

    /// Whether the client has sent nothing beyond the command being carried out.
    pub(crate) fn is_all_read(&self) -> bool {
        self.queue.is_empty() && self.reader.is_at_line_start()
    }

    /// Throws away what was sent and not carried out yet.
    pub(crate) fn discard_input(&mut self) {
        self.queue.clear();
        self.reader = LineReader::new(self.options.max_line);
    }

    /// QUIT: 221 comes when the transfer has ended.
    pub(crate) fn quit(&mut self) {
        self.quit = true;
        self.end(Some(reply::GOODBYE));
    }

    /// No more commands.
    pub(crate) fn end(&mut self, last: Option<Reply>) {
        if self.course == Course::Open {
            self.course = Course::Closing(last);
        }
    }

    /// Carries out what can be carried out now.
    fn advance(&mut self) {
        while self.course == Course::Open && self.pending.is_none() {
            let waits =
                self.transfer.is_some() && !self.queue.front().is_some_and(runs_beside_a_transfer);
            if waits {
                break;
            }
            let Some(command) = self.queue.pop_front() else {
                break;
            };
            match command {
                Ok(command) => commands::execute(self, command),
                Err(bad) => commands::refuse(self, &bad),
            }
        }
        if self.end_of_input && self.queue.is_empty() {
            self.end(None);
        }
        if self.pending.is_none()
            && self.transfer.is_none()
            && let Course::Closing(last) = &mut self.course
        {
            if let Some(last) = last.take() {
                self.reply(&last);
            }
            self.course = Course::Closed;
        }
    }
}

fn runs_beside_a_transfer(command: &Result<Command, BadCommand>) -> bool {
    matches!(
        command,
        Ok(Command::Abor | Command::Stat(_) | Command::Noop | Command::Quit)
    )
}

/// The address this control connection can be reached at by IPv4.
pub(crate) fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Whether the client may name this address for an active data connection: its own, and no
/// port of a system service (RFC 2577 section 3).
pub(crate) fn is_own_address(address: SocketAddr, peer: Option<IpAddr>) -> bool {
    peer.is_some_and(|peer| peer.to_canonical() == address.ip().to_canonical())
        && address.port() >= 1024
}
