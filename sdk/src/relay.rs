//! Connections that their library has to go on with, because TLS or a framing was agreed on with it, while their
//! plugin's instance has changed: bytes are relayed to a socket that the next instance has.
//!
//! The relays of a library run in one thread, which outlives its instances and ends with the last relay.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::net::Stream;

/// How long a client may take to read what is left and to end its side, once the instance has ended its own.
const LINGER: Duration = Duration::from_secs(5);

/// A client's bytes, as a relay takes them: out of TLS, or out of a framing.
pub trait Relayed: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The client's stream, at the bottom of it.
    fn client(&self) -> &Stream;

    /// The same, to be changed.
    fn client_mut(&mut self) -> &mut Stream;
}

impl Relayed for Stream {
    fn client(&self) -> &Stream {
        self
    }

    fn client_mut(&mut self) -> &mut Stream {
        self
    }
}

type Relay = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way to the thread, while there is one.
static THREAD: Mutex<Option<UnboundedSender<Relay>>> = Mutex::new(None);

/// The two ends of a relay; none where there would soon be too few descriptors for those who come.
pub(crate) fn ends() -> Option<(UnixStream, UnixStream)> {
    let (near, far) = UnixStream::pair().ok()?;
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // The lowest that was free.
    let open = u64::try_from(far.as_raw_fd()).unwrap_or(u64::MAX);
    (open <= most / 4 * 3).then_some((near, far))
}

/// Relays what comes from either side to the other one, to their end.
pub(crate) fn begin<S: Relayed>(stream: S, near: UnixStream) {
    let relay: Relay = Box::pin(async move {
        // Both sides see that the other one has gone, whatever it was.
        if let Err(error) = relay(stream, near).await {
            tracing::debug!("a relayed connection ended: {error}");
        }
    });
    let mut thread = lock();
    let relay = match &*thread {
        Some(relays) => match relays.send(relay) {
            Ok(()) => return,
            Err(unsent) => unsent.0,
        },
        None => relay,
    };
    let (relays, begun) = unbounded_channel();
    let started = std::thread::Builder::new()
        .name("pp-relay".into())
        .spawn(move || run(begun));
    match started {
        // The thread has the other end.
        Ok(_) if relays.send(relay).is_ok() => *thread = Some(relays),
        Ok(_) => *thread = None,
        Err(error) => {
            *thread = None;
            tracing::error!("no thread for connections of the instance before: {error}");
        }
    }
}

fn lock() -> MutexGuard<'static, Option<UnboundedSender<Relay>>> {
    // A panic while it was held left one that is there or none.
    THREAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread.
fn run(mut begun: UnboundedReceiver<Relay>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            let mut relays = JoinSet::new();
            loop {
                tokio::select! {
                    relay = begun.recv() => match relay {
                        Some(relay) => drop(relays.spawn(relay)),
                        None => return,
                    },
                    Some(_) = relays.join_next() => {
                        let mut thread = lock();
                        if relays.is_empty() && begun.is_empty() {
                            *thread = None;
                            return;
                        }
                    }
                }
            }
        }),
        Err(error) => {
            *lock() = None;
            tracing::error!("no runtime for connections of the instance before: {error}");
        }
    }
}

async fn relay<S: Relayed>(mut stream: S, near: UnixStream) -> io::Result<()> {
    near.set_nonblocking(true)?;
    let mut near = tokio::net::UnixStream::from_std(near)?;
    stream.client_mut().set_free()?;
    let (mut up, mut down) = (Way::default(), Way::default());
    // What was written may still be with the stream.
    down.unflushed = true;
    let mut linger = None;
    poll_fn(|cx| {
        let above = up.poll(cx, &mut stream, &mut near)?;
        let below = down.poll(cx, &mut near, &mut stream)?;
        if above.is_ready() && below.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !down.ended {
            return Poll::Pending;
        }
        // The client is told to go, if it reads, and may go: nobody waits for it any longer than that.
        let linger = linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        linger.as_mut().poll(cx).map(Ok)
    })
    .await
}

thread_local! {
    /// What is read goes through here: a relay that has nothing to do holds no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What was read and not taken by the other side, from `taken` on.
    kept: Vec<u8>,
    taken: usize,
    unflushed: bool,
    ended: bool,
    done: bool,
}

impl Way {
    /// Ready once one side has ended and the other one knows.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Poll<()>, io::Error> {
        while !self.done {
            let step = match (self.kept.is_empty(), self.ended) {
                (false, _) => self.poll_write(cx, to),
                (true, true) => Pin::new(&mut *to)
                    .poll_shutdown(cx)
                    .map_ok(|()| self.done = true),
                (true, false) => match self.poll_read(cx, from, to) {
                    Poll::Pending if self.unflushed => {
                        let flushed = Pin::new(&mut *to).poll_flush(cx)?;
                        self.unflushed = flushed.is_pending();
                        Poll::Pending
                    }
                    step => step,
                },
            };
            if step?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut into = ReadBuf::new(buffer);
            // What came before an error arrives, and then the end.
            let failed = ready!(Pin::new(from).poll_read(cx, &mut into)).is_err();
            let read = into.filled();
            self.ended = failed || read.is_empty();
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let written = match Pin::new(to).poll_write(cx, read)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.unflushed = true;
            self.kept.extend_from_slice(&read[written..]);
            Poll::Ready(Ok(()))
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let written = ready!(Pin::new(to).poll_write(cx, &self.kept[self.taken..]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.taken += written;
        if self.taken == self.kept.len() {
            self.kept = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn relayed() -> (TcpStream, tokio::net::UnixStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        begin(Stream::from(accepted.unwrap().0), near);
        let far = tokio::net::UnixStream::from_std(far).unwrap();
        (client.unwrap(), far)
    }

    #[test]
    fn relays_outlive_the_runtime_that_they_began_on_and_end_on_both_sides() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        };
        let before = runtime();
        let (mut relays, mut sockets) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (client, far) = before.block_on(relayed());
            relays.push((client.into_std().unwrap(), far.into_std().unwrap()));
        }
        drop(before);
        runtime().block_on(async {
            for (client, far) in relays {
                let mut client = TcpStream::from_std(client).unwrap();
                let mut far = tokio::net::UnixStream::from_std(far).unwrap();
                let sent = vec![7; 1 << 20];
                let mut received = vec![0; 1 << 20];
                let (wrote, read) =
                    tokio::join!(client.write_all(&sent), far.read_exact(&mut received));
                wrote.unwrap();
                read.unwrap();
                assert!(received == sent);
                received.fill(0);
                let (wrote, read) =
                    tokio::join!(far.write_all(&sent), client.read_exact(&mut received));
                wrote.unwrap();
                read.unwrap();
                assert!(received == sent);
                sockets.push((client, far));
            }
            // The client ends, the instance ends, the instance goes without a word.
            let (mut client, mut far) = sockets.pop().unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
            far.write_all(b"bye").await.unwrap();
            drop(far);
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"bye");
            for (mut client, far) in sockets {
                drop(far);
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            }
        });
        let gone = || lock().is_none();
        for _ in 0..100 {
            if gone() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the thread goes with its last relay");
    }
}
