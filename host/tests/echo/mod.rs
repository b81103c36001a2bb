//! Clients of the echo plugin, whose greeting is `hello` unless the configuration says another.

use std::io::{Read, Write};
use std::net::TcpStream;

use polyport_testkit::Host;

/// A client that was greeted, and is known to the plugin.
pub fn connect(host: &Host, service: &str) -> TcpStream {
    greeted(host, service, "hello\n")
}

/// A client that was greeted in these words.
pub fn greeted(host: &Host, service: &str, greeting: &str) -> TcpStream {
    let mut stream = host.connect(service);
    hear(&mut stream, greeting);
    stream
}

/// Says something and hears it again.
pub fn echo(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    hear(stream, text);
}

fn hear(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, text.as_bytes());
}
