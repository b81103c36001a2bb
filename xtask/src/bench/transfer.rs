//! Files for the benchmarks, and a reader that takes bytes as fast as they come.

use std::net::TcpStream;
use std::path::Path;

use rustix::net::{RecvFlags, recv};

use crate::Outcome;

/// Size of the large file.
pub const LARGE: u64 = 256 * 1024 * 1024;
/// Name of the large file.
pub const LARGE_NAME: &str = "large.bin";
/// Name of the file of 1 KiB.
pub const SMALL_NAME: &str = "small.bin";

/// Writes the files the benchmarks read.
pub fn write_files(dir: &Path) -> Outcome {
    let block: Vec<u8> = (0..1024 * 1024)
        .map(|index: u32| index.to_le_bytes()[1] ^ index.to_le_bytes()[0])
        .collect();
    let write = || -> std::io::Result<()> {
        std::fs::write(dir.join(SMALL_NAME), block.get(..1024).unwrap_or_default())?;
        let mut large = std::fs::File::create(dir.join(LARGE_NAME))?;
        for _ in 0..LARGE / block.len() as u64 {
            std::io::Write::write_all(&mut large, &block)?;
        }
        Ok(())
    };
    write().map_err(|e| format!("{}: {e}", dir.display()))
}

/// Takes exactly `length` bytes from a connection, or all until its end, and gives their number.
///
/// The kernel drops them without copying (MSG_TRUNC, tcp(7)), so that the reader is not what limits
/// the transfer.
pub fn discard(stream: &TcpStream, length: Option<u64>) -> Outcome<u64> {
    let mut buffer = vec![0; 1024 * 1024];
    let mut taken = 0;
    loop {
        let left = length.map_or(u64::MAX, |length| length - taken);
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(taken);
        }
        let room = buffer.get_mut(..most).unwrap_or_default();
        match recv(stream, room, RecvFlags::TRUNC) {
            Ok((_, 0)) if length.is_none() => return Ok(taken),
            Ok((_, 0)) => return Err(format!("the connection ended {left} bytes early")),
            Ok((_, count)) => taken += count as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("cannot receive: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn exactly_the_bytes_asked_for_are_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"0123456789").unwrap();
        assert_eq!(discard(&client, Some(4)), Ok(4));
        let mut next = [0; 2];
        client.read_exact(&mut next).unwrap();
        assert_eq!(&next, b"45");
        drop(server);
        assert_eq!(discard(&client, None), Ok(4));
        assert!(discard(&client, Some(1)).is_err());
    }
}
