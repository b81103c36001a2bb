//! What two processes of one host say to each other over a pair of Unix sockets: messages in JSON, each with bytes and
//! open files of its own. Knows no message.
//!
//! ```text
//! length of the JSON   length of the bytes   number of files      3 x 32 bits, big-endian
//! one byte for every further BATCH of files
//! the JSON, then the bytes
//! ```
//! The files travel with the first byte, and with the bytes after the lengths, as SCM_RIGHTS.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message.
const MAX_JSON: u32 = 4 * 1024 * 1024;
/// The most bytes with a message.
const MAX_BYTES: u32 = 2 * 1024 * 1024 * 1024;
/// The most files with a message.
const MAX_FILES: u32 = 65_536;
/// Files that travel with one byte; Linux takes 253.
const BATCH: usize = 128;

/// One end.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
}

/// A message that came, with what came along.
#[derive(Debug)]
pub struct Received<T> {
    /// The message.
    pub message: T,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its files, closed on exec.
    pub files: Vec<OwnedFd>,
}

impl Channel {
    /// The end that this socket is.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Both ends, closed on exec.
    pub fn pair() -> io::Result<(Self, UnixStream)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::new(one), other))
    }

    /// How long a read or a write may wait; for ever unless set.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        // Zero would be for ever.
        let patience = Some(patience.max(Duration::from_millis(1)));
        self.socket.set_read_timeout(patience)?;
        self.socket.set_write_timeout(patience)
    }

    /// Ends it for both sides, also for a read that is under way.
    pub fn close(&self) {
        // It may have ended by itself.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Sends a message, the bytes in their order as one, and duplicates of the files.
    pub fn send(
        &self,
        message: &impl Serialize,
        bytes: &[&[u8]],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        let length: usize = bytes.iter().map(|bytes| bytes.len()).sum();
        let mut lengths = Vec::with_capacity(12);
        for (what, length, most) in [
            ("bytes of JSON", json.len(), MAX_JSON),
            ("bytes", length, MAX_BYTES),
            ("files", files.len(), MAX_FILES),
        ] {
            let length = u32::try_from(length).ok().filter(|length| *length <= most);
            let length = length.ok_or_else(|| invalid(format!("more than {most} {what}")))?;
            lengths.extend(length.to_be_bytes());
        }
        let mut batches = files.chunks(BATCH);
        self.send_with(&lengths, batches.next().unwrap_or_default())?;
        for batch in batches {
            self.send_with(&[0], batch)?;
        }
        let mut socket = &self.socket;
        socket.write_all(&json)?;
        bytes.iter().try_for_each(|bytes| socket.write_all(bytes))
    }

    /// The next message.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end is gone, `WouldBlock` when nothing came in time, `InvalidData` for what is no
    /// message.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Received<T>> {
        let mut lengths = [0; 12];
        let mut files = Vec::new();
        self.receive_with(&mut lengths, &mut files)?;
        let [json, bytes, count] = [0, 4, 8].map(|at| {
            let number = [0, 1, 2, 3].map(|byte: usize| lengths[at + byte]);
            u32::from_be_bytes(number)
        });
        if json > MAX_JSON || bytes > MAX_BYTES || count > MAX_FILES {
            return Err(invalid(format!(
                "expected lengths up to {MAX_JSON}, {MAX_BYTES}, {MAX_FILES}, got {json}, {bytes}, {count}"
            )));
        }
        let count = count as usize;
        for _ in 1..count.div_ceil(BATCH) {
            self.receive_with(&mut [0], &mut files)?;
        }
        if files.len() != count {
            return Err(invalid(format!(
                "expected {count} files, got {}: out of descriptors?",
                files.len()
            )));
        }
        let json = self.read(json)?;
        Ok(Received {
            bytes: self.read(bytes)?,
            message: serde_json::from_slice(&json)?,
            files,
        })
    }

    fn read(&self, length: u32) -> io::Result<Vec<u8>> {
        // Grows with what comes: a length alone takes no memory.
        let mut bytes = Vec::new();
        (&self.socket).take(length.into()).read_to_end(&mut bytes)?;
        if bytes.len() < length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    fn send_with(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let sent = send_with(&self.socket, bytes, files)?;
        (&self.socket).write_all(&bytes[sent..])
    }

    fn receive_with(&self, bytes: &mut [u8], files: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let mut into = [IoSliceMut::new(bytes)];
            match recvmsg(
                &self.socket,
                &mut into,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                got => break got?,
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid("some files were lost: out of descriptors?".into()));
        }
        match got.bytes {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got => (&self.socket).read_exact(&mut bytes[got..]),
        }
    }
}

/// Sends bytes and duplicates of at most [`BATCH`] files over a Unix socket; how many bytes went.
pub fn send_with(socket: impl AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(invalid(format!("more than {BATCH} files at once")));
    }
    loop {
        match sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return Ok(sent?),
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Seek;

    use super::*;

    fn ends() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel::new(other))
    }

    #[test]
    fn a_message_arrives_with_its_bytes_and_its_files() {
        let (one, other) = ends();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        let big = vec![7_u8; 3_000_000];
        let sender = std::thread::spawn(move || {
            one.send(&"first", &[&big, b"end"], &[file.as_fd()])
                .unwrap();
            one.send(&"second", &[], &[]).unwrap();
        });
        let first: Received<String> = other.receive().unwrap();
        assert_eq!(first.message, "first");
        assert_eq!(first.bytes.len(), 3_000_003);
        assert!(first.bytes.ends_with(b"\x07end"));
        let mut inside = String::new();
        let mut file = File::from(first.files.into_iter().next().unwrap());
        file.rewind().unwrap();
        file.read_to_string(&mut inside).unwrap();
        assert_eq!(inside, "inside");
        let second: Received<String> = other.receive().unwrap();
        assert_eq!((second.message.as_str(), second.bytes.len()), ("second", 0));
        sender.join().unwrap();
        let gone = other.receive::<String>().unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn more_files_than_one_batch_arrive_in_order() {
        let (one, other) = ends();
        let files: Vec<File> = (0..300_u32)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&number.to_be_bytes()).unwrap();
                file.rewind().unwrap();
                file
            })
            .collect();
        let lent: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        one.send(&(), &[], &lent).unwrap();
        let got: Received<()> = other.receive().unwrap();
        for (number, file) in (0..300_u32).zip(got.files) {
            let mut bytes = [0; 4];
            File::from(file).read_exact(&mut bytes).unwrap();
            assert_eq!(u32::from_be_bytes(bytes), number);
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_silence_ends() {
        let (one, other) = ends();
        (&one.socket).write_all(&[0xff; 12]).unwrap();
        let error = other.receive::<String>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let (_one, other) = ends();
        other.set_patience(Duration::from_millis(10)).unwrap();
        let error = other.receive::<String>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
