//! Takes a header off the front of a socket, and not one byte more.

use std::io;

use super::{Header, parse};
use crate::net::Plain;

/// Reads the header. What was looked at and belongs to it is taken at once, so that nothing is seen twice.
///
/// # Errors
/// The socket's, its end, or that there is no valid header.
pub(crate) async fn receive(socket: &Plain) -> io::Result<Header> {
    let mut seen = Vec::new();
    loop {
        socket.readable().await?;
        let mut piece = [0; 512];
        let peeked = match socket.try_peek(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(peeked) => peeked,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let before = seen.len();
        seen.extend_from_slice(&piece[..peeked]);
        let parsed =
            parse(&seen).map_err(|invalid| io::Error::new(io::ErrorKind::InvalidData, invalid))?;
        let mine = parsed.map_or(peeked, |parsed| parsed.length.saturating_sub(before));
        // What was there to be looked at is there to be taken.
        socket.receive_now(&mut piece[..mine])?;
        if let Some(parsed) = parsed {
            return Ok(parsed.header);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn the_byte_after_the_header_is_left_however_it_arrives() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n";
        for cut in [1, 6, 20, line.len() - 1, line.len()] {
            let (mut client, served) = UnixStream::pair().unwrap();
            let mut served = Plain::Unix(served);
            let (one, two) = line.split_at(cut);
            client.write_all(one).await.unwrap();
            let receive = tokio::spawn(async move {
                let header = receive(&served).await.unwrap();
                let mut rest = [0; 4];
                served.read_exact(&mut rest).await.unwrap();
                (header, rest)
            });
            tokio::task::yield_now().await;
            client.write_all(two).await.unwrap();
            client.write_all(b"rest").await.unwrap();
            let (header, rest) = receive.await.unwrap();
            assert!(matches!(header, Header::Client { source, .. } if source.port() == 5));
            assert_eq!(&rest, b"rest");
        }
    }

    #[tokio::test]
    async fn the_end_and_what_is_no_header_are_errors() {
        let (client, served) = UnixStream::pair().unwrap();
        drop(client);
        assert_eq!(
            receive(&Plain::Unix(served)).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let (mut client, served) = UnixStream::pair().unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(
            receive(&Plain::Unix(served)).await.unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
