//! What passes over a connection, told to the host while somebody looks: `trace/1`.
//!
//! Costs one relaxed load for each read and write while nobody does.

use std::fmt;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polyport_abi::HostQuery;
use polyport_abi::trace::{TraceConnection, TraceV1};

use crate::net::Peer;

static NOBODY: AtomicU64 = AtomicU64::new(0);

/// Where an instance's taps lead.
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    watchers: &'static AtomicU64,
    table: Option<&'static TraceV1>,
}

impl Trace {
    pub(crate) fn new(host: HostQuery) -> Self {
        match crate::export::host_interface::<TraceV1>(host) {
            Ok(table) => Self {
                watchers: &table.watchers.value,
                table: Some(table),
            },
            Err(_) => Self::nowhere(),
        }
    }

    /// For streams that belong to no instance, and for hosts without tracing.
    pub(crate) fn nowhere() -> Self {
        Self {
            watchers: &NOBODY,
            table: None,
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.watchers.load(Ordering::Relaxed))
    }
}

/// What the taps of connections with one scheme have in common.
#[derive(Debug)]
pub(crate) struct Line {
    trace: Trace,
    scheme: Arc<str>,
}

/// All of an instance.
#[derive(Debug)]
pub(crate) struct Lines {
    trace: Trace,
    known: Mutex<Vec<Arc<Line>>>,
}

impl Lines {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            trace,
            known: Mutex::default(),
        }
    }

    /// The one of a scheme; there are few.
    pub(crate) fn of(&self, scheme: &str) -> Arc<Line> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = known.iter().find(|line| *line.scheme == *scheme) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line {
            trace: self.trace,
            scheme: scheme.into(),
        });
        known.push(Arc::clone(&line));
        line
    }
}

impl Line {
    pub(crate) fn scheme(&self) -> &Arc<str> {
        &self.scheme
    }
}

/// The tap of one connection; its drop tells the end.
#[derive(Debug)]
pub(crate) struct Tap {
    line: Arc<Line>,
    /// The client and the address that it reached, where a proxy told them.
    proxied: Option<Box<(Peer, Peer)>>,
    /// What the host calls it, plus one, once it was told; 0 before.
    number: AtomicU64,
}

impl Tap {
    pub(crate) fn new(line: Arc<Line>, proxied: Option<(Peer, Peer)>) -> Self {
        Self {
            line,
            proxied: proxied.map(Box::new),
            number: AtomicU64::new(0),
        }
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.line.scheme
    }

    pub(crate) fn proxied(&self) -> Option<&(Peer, Peer)> {
        self.proxied.as_deref()
    }

    /// Whether somebody looks.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.line.trace.watchers.load(Ordering::Relaxed) != 0
    }

    /// Names the connection, which is done at the first event at the latest.
    pub(crate) fn open(&self, ends: impl FnOnce() -> (Option<Peer>, Option<Peer>)) -> Option<u64> {
        let table = self.line.trace.table?;
        if let Some(number) = self.number.load(Ordering::Acquire).checked_sub(1) {
            return Some(number);
        }
        let (peer, local) = match &self.proxied {
            Some(told) => (Some(told.0), Some(told.1)),
            None => ends(),
        };
        let [peer, local] =
            [peer, local].map(|end| end.map_or_else(String::new, |end| end.to_string()));
        let connection = TraceConnection {
            peer: peer.as_str().into(),
            local: local.as_str().into(),
            scheme: (&*self.line.scheme).into(),
        };
        let number = (table.opened)(table.ctx, connection);
        let named =
            (self.number).compare_exchange(0, number + 1, Ordering::AcqRel, Ordering::Acquire);
        match named {
            Ok(_) => Some(number),
            // Somebody else has named it meanwhile.
            Err(other) => {
                (table.closed)(table.ctx, number);
                other.checked_sub(1)
            }
        }
    }

    #[cold]
    pub(crate) fn received(
        &self,
        bytes: &[u8],
        ends: impl FnOnce() -> (Option<Peer>, Option<Peer>),
    ) {
        if let (Some(table), Some(number), false) =
            (self.line.trace.table, self.open(ends), bytes.is_empty())
        {
            (table.received)(table.ctx, number, bytes.into());
        }
    }

    #[cold]
    pub(crate) fn sent(&self, bytes: &[u8], ends: impl FnOnce() -> (Option<Peer>, Option<Peer>)) {
        if let (Some(table), Some(number), false) =
            (self.line.trace.table, self.open(ends), bytes.is_empty())
        {
            (table.sent)(table.ctx, number, bytes.into());
        }
    }

    /// The first `written` bytes of the slices.
    #[cold]
    pub(crate) fn sent_vectored(
        &self,
        slices: &[IoSlice<'_>],
        written: usize,
        ends: impl FnOnce() -> (Option<Peer>, Option<Peer>),
    ) {
        let mut bytes = Vec::with_capacity(written);
        for slice in slices {
            let left = written - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        self.sent(&bytes, ends);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let number = self.number.get_mut().checked_sub(1);
        if let (Some(table), Some(number)) = (self.line.trace.table, number) {
            (table.closed)(table.ctx, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use polyport_abi::RSlice;
    use polyport_abi::log::LevelCell;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::Stream;

    /// What one test's host was told.
    struct Told {
        table: TraceV1,
        events: Mutex<Vec<String>>,
    }

    impl Told {
        fn new() -> &'static Self {
            let told = Box::leak(Box::new(Told {
                table: TraceV1 {
                    ctx: std::ptr::null(),
                    watchers: Box::leak(Box::new(LevelCell {
                        value: AtomicU64::new(0),
                    })),
                    opened,
                    received,
                    sent,
                    closed,
                },
                events: Mutex::default(),
            }));
            told.table.ctx = std::ptr::from_ref(&told.events).cast();
            told
        }

        fn trace(&'static self) -> Trace {
            Trace {
                watchers: &self.table.watchers.value,
                table: Some(&self.table),
            }
        }

        fn watch(&self, watchers: u64) {
            self.table.watchers.value.store(watchers, Ordering::Relaxed);
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.events.lock().unwrap())
        }
    }

    fn tell(ctx: *const (), event: String) {
        let events = crate::export::static_ref(ctx.cast::<Mutex<Vec<String>>>().cast_mut());
        events.unwrap().lock().unwrap().push(event);
    }

    extern "C" fn opened(ctx: *const (), connection: TraceConnection<'_>) -> u64 {
        assert!(connection.peer.as_str().starts_with("127.0.0.1:"));
        tell(ctx, format!("opened {}", connection.scheme));
        7
    }

    extern "C" fn received(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>) {
        let text = String::from_utf8_lossy(bytes.as_slice()).into_owned();
        tell(ctx, format!("{connection} received {text}"));
    }

    extern "C" fn sent(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>) {
        let text = String::from_utf8_lossy(bytes.as_slice()).into_owned();
        tell(ctx, format!("{connection} sent {text}"));
    }

    extern "C" fn closed(ctx: *const (), connection: u64) {
        tell(ctx, format!("{connection} closed"));
    }

    async fn pair(trace: Trace) -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (served, _) = listener.accept().await.unwrap();
        (Stream::tapped(served, Lines::new(trace).of("tcp")), client)
    }

    /// Moves bytes through every way that leads past the socket.
    async fn use_every_way(stream: &mut Stream, client: &mut TcpStream) {
        let mut buffer = [0; 64];
        client.write_all(b"one").await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        client.write_all(b"two").await.unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 3);
        client.write_all(b"three").await.unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.receive_now(&mut buffer).unwrap(), 5);
        stream.write_all(b"four").await.unwrap();
        let slices = [IoSlice::new(b"fi"), IoSlice::new(b"ve")];
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), 4);
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"not six!").unwrap();
        let mut offset = 4;
        assert_eq!(stream.send_file(&file, &mut offset, 3).await.unwrap(), 3);
        assert_eq!(offset, 7);
        let mut all = [0; 11];
        client.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"fourfivesix");
    }

    #[tokio::test]
    async fn t35_nothing_is_told_while_nobody_looks() {
        let told = Told::new();
        let (mut stream, mut client) = pair(told.trace()).await;
        use_every_way(&mut stream, &mut client).await;
        drop(stream);
        assert_eq!(told.take(), [""; 0]);
    }

    #[tokio::test]
    async fn t35_every_way_over_a_stream_is_told() {
        let told = Told::new();
        let (mut stream, mut client) = pair(told.trace()).await;
        use_every_way(&mut stream, &mut client).await;
        assert_eq!(told.take(), [""; 0], "nobody looked yet");
        told.watch(1);
        use_every_way(&mut stream, &mut client).await;
        told.watch(0);
        use_every_way(&mut stream, &mut client).await;
        drop(stream);
        let expected = [
            "opened tcp",
            "7 received one",
            "7 received two",
            "7 received three",
            "7 sent four",
            "7 sent five",
            "7 sent six",
            "7 closed",
        ];
        assert_eq!(told.take(), expected);
    }
}
