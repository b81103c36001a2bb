//! One connection at work: reads, hands bytes to the engine, writes what comes out, and keeps still while the engine
//! does.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use polyport_mqtt_core::codec::FixedHeader;
use polyport_mqtt_core::message::SHARED_PAYLOAD;
use polyport_mqtt_core::store::Sequence;
use polyport_mqtt_core::{AuthAnswer, Authorizer, LoginRefusal, LoginRequest};
use polyport_sdk::Context;
use polyport_sdk::accounts::Account;
use polyport_sdk::handover::{Crossing, Luggage, Refused};
use polyport_sdk::net::{Origin, Pacer, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::{Attached, linger};
use crate::engine::{Begun, Standing};
use crate::login::{self, Answer, Unanswered};
use crate::luggage;
use crate::outbound::{Outbound, Piece, Pieces, Writing};
use crate::websocket::WebSocket;

/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Pieces written at once.
const SLICES: usize = 32;
/// Room for a long packet at first: it is made as it comes, not as it is announced.
const FIRST_ROOM: usize = 1024 * 1024;
/// A client with more unsent output than this is not read from: it has to take answers first.
const UNSENT_MAX: usize = 1024 * 1024;

thread_local! {
    static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ]);
}

/// What was received and is not used yet.
pub(super) enum Unread {
    /// Less than a packet, or packets behind a login that is not answered.
    Small(Vec<u8>),
    /// A long packet on its way into a buffer of its own, which its payload will be shared from.
    Frame(Box<Frame>),
}

pub(super) struct Frame {
    bytes: BytesMut,
    length: usize,
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A login that is under way.
pub(super) enum Login {
    /// Asked, with what was asked for.
    Asked(Waiting<Result<Answer, Unanswered>>, LoginRequest),
    /// To be asked, when the engine serves.
    Again(LoginRequest),
    /// Answered, and the engine was not told yet.
    Answered(Result<Account, LoginRefusal>),
    /// The same of a step of an enhanced authentication.
    Stepped(Result<Answer, LoginRefusal>, LoginRequest),
}

impl Login {
    /// Whether the client is read from meanwhile.
    pub(super) fn lets_read(&self) -> bool {
        let request = match self {
            Login::Asked(_, request) | Login::Again(request) | Login::Stepped(_, request) => {
                request
            }
            Login::Answered(_) => return false,
        };
        is_again(request)
    }
}

fn is_again(request: &LoginRequest) -> bool {
    let step = request.authentication.as_ref();
    step.is_some_and(|step| step.again)
}

/// One connection at work.
pub(super) struct Link<S> {
    pub(super) attached: Attached,
    pub(super) context: Context,
    pub(super) stream: S,
    pub(super) origin: Origin,
    outbound: Arc<Outbound>,
    writing: Writing,
    unread: Unread,
    /// A packet whose rest is waited for, if it takes much.
    begun: Option<Box<Begun>>,
    /// The engine has not seen all of `unread`.
    untaken: bool,
    /// Others come first, and then the engine goes on.
    turn_over: bool,
    login: Option<Box<Login>>,
    /// Whose it is.
    account: Option<Account>,
    /// At which [`Engine::accounts_revision`](crate::engine::Engine::accounts_revision) that was looked at, cut short.
    seen: u32,
    /// What is unread may be taken then, and nothing is read before; or, when it lingers, its end.
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The connection is to end: the time its last bytes may take runs.
    lingers: bool,
    /// The way to the next instance, for a connection that can go there.
    pub(super) crossing: Option<Crossing>,
}

/// What a connection begins with.
#[derive(Default)]
pub(super) struct Beginning {
    /// Bytes of the client.
    pub(super) unread: Vec<u8>,
    /// Bytes for it, counted as unsent already.
    pub(super) unsent: Vec<u8>,
    pub(super) login: Option<Login>,
    pub(super) account: Option<Account>,
    /// The engine may have a packet of it that is not worked off.
    pub(super) begun: bool,
}

/// What a connection leaves.
pub(super) struct Remains {
    pub(super) unread: Vec<u8>,
    pub(super) unsent: Vec<u8>,
    pub(super) login: Option<luggage::Login>,
    pub(super) account: Option<Account>,
}

/// The stream of a client.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Sized {
    /// What holds it to rates.
    fn pacer(&self) -> &Pacer;

    /// Bytes of the client that it keeps until more have come.
    fn kept(&self) -> usize;

    /// Goes to the next instance.
    fn go(
        self,
        crossing: Crossing,
        origin: &Origin,
        luggage: Luggage<'_>,
    ) -> Result<(), Box<Refused<Self>>>;
}

impl Transport for Stream {
    fn pacer(&self) -> &Pacer {
        self.pacer()
    }

    fn kept(&self) -> usize {
        0
    }

    fn go(
        self,
        crossing: Crossing,
        origin: &Origin,
        luggage: Luggage<'_>,
    ) -> Result<(), Box<Refused<Self>>> {
        match self.is_tls() {
            true => crossing.relay(self, origin, luggage),
            false => crossing.pass(self, origin, luggage),
        }
    }
}

impl Transport for WebSocket<Stream> {
    fn pacer(&self) -> &Pacer {
        self.get_ref().pacer()
    }

    fn kept(&self) -> usize {
        self.kept()
    }

    fn go(
        self,
        crossing: Crossing,
        origin: &Origin,
        luggage: Luggage<'_>,
    ) -> Result<(), Box<Refused<Self>>> {
        crossing.relay(self, origin, luggage)
    }
}

impl<S: Transport> Link<S> {
    pub(super) fn new(
        context: &Context,
        (stream, origin): (S, Origin),
        (attached, outbound): (Attached, Arc<Outbound>),
        crossing: Option<Crossing>,
        beginning: Beginning,
    ) -> Link<S> {
        let mut link = Link {
            attached,
            context: context.clone(),
            stream,
            origin,
            outbound,
            writing: None,
            untaken: beginning.begun || !beginning.unread.is_empty(),
            turn_over: false,
            unread: Unread::Small(beginning.unread),
            begun: None,
            login: beginning.login.map(Box::new),
            account: beginning.account,
            seen: 0,
            sleep: None,
            lingers: false,
            crossing,
        };
        link.put_back(beginning.unsent);
        link
    }

    /// Resolves when the connection is to be closed, or goes to the next instance.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Ended>> {
        self.outbound.register(cx.waker());
        let standing = self.attached.engine.standing();
        if standing != Standing::Serving && !self.lingers && !self.outbound.closes() {
            match standing {
                Standing::Retired if self.crossing.is_none() => {}
                Standing::Retired => {
                    // Its answer goes along: it is waited for, unless it can only be had there.
                    let asked = matches!(self.login.as_deref(), Some(Login::Asked(..)));
                    if asked && self.poll_asked(cx).is_pending() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ok(Ended::Crosses));
                }
                // The engine takes nothing: nothing is read, and errors are the next one's as well.
                Standing::Serving | Standing::Frozen => return Poll::Pending,
            }
        }
        if !self.lingers && self.outbound.closes() {
            if self.outbound.is_given_up() {
                return Poll::Ready(Ok(Ended::ByPeer));
            }
            self.begin_linger();
        }
        if let Some(account) = &self.account {
            let now = self.attached.engine.accounts_revision() as u32;
            if std::mem::replace(&mut self.seen, now) != now && !account.is_current() {
                self.account = None;
                self.attached.engine.revoke(self.attached.id);
            }
        }
        loop {
            let login = self.poll_login(cx);
            let read = self.poll_read(cx)?;
            let write = self.poll_write(cx)?;
            match (read, &write) {
                (_, Poll::Ready(Written::Close)) => return Poll::Ready(Ok(Ended::ByUs)),
                (Poll::Ready(Read::End), _) => return Poll::Ready(Ok(Ended::ByPeer)),
                (Poll::Pending, _) if login.is_pending() => break,
                (Poll::Ready(Read::Held), Poll::Pending) => break,
                _ => {}
            }
        }
        match &mut self.sleep {
            Some(linger) if self.lingers => linger.as_mut().poll(cx).map(|()| Ok(Ended::ByPeer)),
            _ => Poll::Pending,
        }
    }

    /// Waits for the answer to a login that was asked for.
    fn poll_asked(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(Login::Asked(asked, request)) = self.login.as_deref_mut() else {
            return Poll::Ready(());
        };
        let answer = match (ready!(asked.as_mut().poll(cx)), &request.authentication) {
            (Err(Unanswered::Elsewhere), _) => Login::Again(request.clone()),
            (Err(Unanswered::Refused(refusal)), None) => Login::Answered(Err(refusal)),
            (Ok(Answer::Account(account)), None) => Login::Answered(Ok(account)),
            (Ok(_), None) => Login::Answered(Err(LoginRefusal::NotAuthorized)),
            (Err(Unanswered::Refused(refusal)), Some(_)) => {
                Login::Stepped(Err(refusal), request.clone())
            }
            (Ok(answer), Some(_)) => Login::Stepped(Ok(answer), request.clone()),
        };
        self.login = Some(Box::new(answer));
        Poll::Ready(())
    }

    fn poll_login(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if let Some(Login::Again(request)) = self.login.as_deref()
            && self.attached.engine.standing() == Standing::Serving
        {
            self.ask(request.clone());
        }
        ready!(self.poll_asked(cx));
        match self.login.take().map(|login| *login) {
            Some(Login::Answered(answer)) => {
                let rights = match &answer {
                    Ok(account) => self.begin_account(account),
                    Err(refusal) => Err(*refusal),
                };
                if self
                    .attached
                    .engine
                    .login_answer(self.attached.id, rights)
                    .is_none()
                {
                    self.account = None;
                    self.login = Some(Box::new(Login::Answered(answer)));
                    return Poll::Pending;
                }
            }
            Some(Login::Stepped(answer, request)) => {
                let told = self.step(&answer);
                if self
                    .attached
                    .engine
                    .auth_answer(self.attached.id, told)
                    .is_none()
                {
                    if let Ok(Answer::Authenticated(..)) = answer {
                        self.account = None;
                    }
                    self.login = Some(Box::new(Login::Stepped(answer, request)));
                    return Poll::Pending;
                }
            }
            other => {
                self.login = other.map(Box::new);
                return Poll::Pending;
            }
        }
        self.take_unread();
        Poll::Ready(())
    }

    /// What the engine is told of a step.
    fn step(&mut self, answer: &Result<Answer, LoginRefusal>) -> AuthAnswer {
        match answer {
            Ok(Answer::Continue { data, state }) => AuthAnswer::Continue {
                data: data.clone(),
                state: state.clone(),
            },
            Ok(Answer::Authenticated(account, data)) => match self.begin_account(account) {
                Ok(rights) => AuthAnswer::Success {
                    authorizer: Some(rights),
                    data: Some(data.clone()),
                },
                Err(refusal) => AuthAnswer::Refused(refusal),
            },
            Ok(Answer::StillAuthenticated(data)) => AuthAnswer::Success {
                authorizer: None,
                data: Some(data.clone()),
            },
            Ok(Answer::Account(_)) => AuthAnswer::Refused(LoginRefusal::NotAuthorized),
            Err(refusal) => AuthAnswer::Refused(*refusal),
        }
    }

    /// The client has this account from now on.
    fn begin_account(&mut self, account: &Account) -> Result<Arc<dyn Authorizer>, LoginRefusal> {
        self.stream.pacer().pace_for(Some(account));
        // Before it is looked at: a change after that is noticed.
        let seen = self.attached.engine.accounts_revision() as u32;
        if !account.is_current() {
            return Err(LoginRefusal::NotAuthorized);
        }
        self.account = Some(account.clone());
        self.seen = seen;
        Ok(login::rights(account.clone()))
    }

    fn ask(&mut self, request: LoginRequest) {
        let asked = Box::pin(login::login(
            Arc::clone(&self.attached.engine),
            self.context.clone(),
            self.origin.clone(),
            request.clone(),
            self.account.clone(),
        ));
        self.login = Some(Box::new(Login::Asked(asked, request)));
    }

    /// Gives the engine what it has not seen, or left until a login was answered.
    fn take_unread(&mut self) {
        self.untaken = false;
        if let Unread::Small(unread) = &mut self.unread {
            let bytes = std::mem::take(unread);
            self.received(&bytes, None);
        }
    }

    /// What goes along to the next instance.
    pub(super) fn remains(&mut self) -> Remains {
        let unread = match std::mem::replace(&mut self.unread, Unread::Small(Vec::new())) {
            Unread::Small(bytes) => bytes,
            Unread::Frame(frame) => frame.bytes.into(),
        };
        // All of it is committed: an engine that is frozen holds nothing back.
        self.outbound.take(Sequence::MAX, &mut self.writing);
        let writing = self.writing.take().unwrap_or_default();
        let mut unsent = Vec::new();
        for piece in &writing.queue {
            unsent.extend_from_slice(piece.as_ref());
        }
        unsent.drain(..writing.written);
        let mut account = self.account.take();
        let login = self.login.take().map(|login| match *login {
            Login::Stepped(Err(refusal), request) if !is_again(&request) => {
                luggage::Login::Refused(refusal)
            }
            // A step that was answered is answered anew: its client knows of no answer.
            Login::Asked(_, request) | Login::Again(request) | Login::Stepped(_, request) => {
                luggage::Login::Asked(request)
            }
            Login::Answered(Ok(answered)) => {
                account = Some(answered);
                luggage::Login::Accepted
            }
            Login::Answered(Err(refusal)) => luggage::Login::Refused(refusal),
        });
        Remains {
            unread,
            unsent,
            login,
            account,
        }
    }

    /// Goes on writing what could not go along.
    pub(super) fn put_back(&mut self, unsent: Vec<u8>) {
        if !unsent.is_empty() {
            let writing = self.writing.get_or_insert_default();
            writing.queue.push_back(Piece::Buffer(unsent));
        }
    }

    fn poll_read(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Read>> {
        if self.login.as_ref().is_some_and(|login| !login.lets_read()) {
            return Poll::Pending;
        }
        if let Some(paused) = self.sleep.as_mut().filter(|_| !self.lingers) {
            ready!(paused.as_mut().poll(cx));
            self.sleep = None;
            self.untaken = true;
        }
        if std::mem::take(&mut self.turn_over) {
            // Once it was polled it wakes this task by itself.
            let others = std::pin::pin!(tokio::task::yield_now());
            let _ = others.poll(cx);
            return Poll::Pending;
        }
        if self.untaken {
            self.take_unread();
            // An engine that is frozen took nothing, and wakes this task later.
            return match self.untaken && !self.turn_over {
                true => Poll::Pending,
                false => Poll::Ready(Ok(Read::Some)),
            };
        }
        if self.outbound.meter.unsent() > UNSENT_MAX {
            return Poll::Ready(Ok(Read::Held));
        }
        let read = self.poll_read_more(cx);
        if read.is_pending() || matches!(self.unread, Unread::Frame(_)) {
            self.wait_for_rest();
        }
        read
    }

    /// What the client has begun and not ended counts.
    fn wait_for_rest(&mut self) {
        let unread = match &self.unread {
            Unread::Small(bytes) => bytes.len(),
            Unread::Frame(frame) => frame.bytes.len(),
        };
        let Attached { engine, id } = &self.attached;
        engine.begun(*id, unread + self.stream.kept(), &mut self.begun);
    }

    fn poll_read_more(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Read>> {
        match &mut self.unread {
            Unread::Small(_) => self.poll_read_small(cx),
            Unread::Frame(frame) => {
                let Frame { bytes, length } = &mut **frame;
                let there = bytes.len();
                if there == bytes.capacity() {
                    // No more than it may need.
                    bytes.reserve(there.min(*length - there));
                }
                let mut part = (&mut *bytes).limit(READ.min(*length - there));
                let stream = Pin::new(&mut self.stream);
                if ready!(poll_read_buf(stream, cx, &mut part))? == 0 {
                    return Poll::Ready(Ok(Read::End));
                }
                if bytes.len() == *length {
                    let frame = std::mem::take(bytes).freeze();
                    self.unread = Unread::Small(Vec::new());
                    self.received(&frame, Some(&frame));
                }
                Poll::Ready(Ok(Read::Some))
            }
        }
    }

    fn poll_read_small(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Read>> {
        BUFFER.with_borrow_mut(|buffer| {
            let Unread::Small(unread) = &mut self.unread else {
                return Poll::Ready(Ok(Read::Some));
            };
            let before = unread.len();
            if buffer.len() < before + READ / 2 {
                buffer.resize(before + READ, 0);
            }
            buffer[..before].copy_from_slice(unread);
            let mut into = ReadBuf::new(&mut buffer[before..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
            let read = into.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(Read::End));
            }
            *unread = Vec::new();
            self.received(&buffer[..before + read], None);
            Poll::Ready(Ok(Read::Some))
        })
    }

    /// Hands bytes to the engine and keeps what it leaves.
    fn received(&mut self, bytes: &[u8], owner: Option<&Bytes>) {
        self.begun = None;
        let Some(received) = self.attached.engine.receive(self.attached.id, bytes, owner) else {
            self.untaken = true;
            self.unread = Unread::Small(bytes.to_vec());
            return;
        };
        let rest = &bytes[received.consumed..];
        self.turn_over = received.more;
        self.untaken |= received.more;
        if let Some(at) = received.resume_at {
            let wait = self.attached.engine.time_until(at);
            self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
        }
        if let Some(request) = received.login {
            self.ask(request);
        }
        self.unread = match FixedHeader::read(rest) {
            // Its header was found good, or the engine would have used it up.
            Ok(Some(header)) if header.frame() > rest.len() && header.frame() > SHARED_PAYLOAD => {
                let mut bytes = BytesMut::with_capacity(header.frame().min(FIRST_ROOM));
                bytes.extend_from_slice(rest);
                let length = header.frame();
                Unread::Frame(Box::new(Frame { bytes, length }))
            }
            _ => Unread::Small(rest.to_vec()),
        };
    }

    /// The connection is to end. Its client has a while to take what is left; what it sends is thrown away.
    fn begin_linger(&mut self) {
        self.lingers = true;
        self.unread = Unread::Small(Vec::new());
        self.begun = None;
        self.sleep = Some(Box::pin(tokio::time::sleep(linger(&self.context))));
        // Lets go of the account, which may count its connections.
        self.account = None;
    }

    /// Ready when nothing is left to write; pending when the socket or the store lets it wait.
    fn poll_write(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Written>> {
        loop {
            let writing = match &mut self.writing {
                Some(writing) if !writing.queue.is_empty() => writing,
                _ => {
                    let committed = self.attached.engine.committed();
                    let taken = self.outbound.take(committed, &mut self.writing);
                    if taken.close && !self.lingers {
                        self.begin_linger();
                    }
                    match (&mut self.writing, taken.held) {
                        (Some(writing), _) if !writing.queue.is_empty() => writing,
                        (_, Some(gate)) => {
                            if self.attached.engine.wake_on_commit(gate, &self.outbound) {
                                return Poll::Pending;
                            }
                            continue;
                        }
                        (_, None) => {
                            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                            return Poll::Ready(Ok(match taken.close {
                                true => Written::Close,
                                false => Written::All,
                            }));
                        }
                    }
                }
            };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&writing.queue) {
                *slice = IoSlice::new(piece.as_ref());
                count += 1;
            }
            slices[0].advance(writing.written);
            let written =
                ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            advance(writing, written, &self.outbound);
            if self.outbound.meter.sent(written) {
                self.attached.engine.drained(self.attached.id);
            }
        }
    }
}

fn advance(writing: &mut Pieces, mut written: usize, outbound: &Outbound) {
    while let Some(first) = writing.queue.front() {
        let left = first.as_ref().len() - writing.written;
        if written < left {
            writing.written += written;
            return;
        }
        written -= left;
        writing.written = 0;
        if let Some(piece) = writing.queue.pop_front() {
            outbound.recycle(piece);
        }
    }
}

enum Read {
    Some,
    End,
    /// The client has to take its answers first.
    Held,
}

/// How a connection ended here.
pub(super) enum Ended {
    ByUs,
    ByPeer,
    /// It goes on in the next instance.
    Crosses,
}

enum Written {
    All,
    Close,
}
