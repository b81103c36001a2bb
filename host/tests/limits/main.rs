//! What clients are held to, key by key, at every service: real clients and sockets against the real host. Times are
//! asserted from below only.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod changes;
mod proxy;
mod rates;
mod refused;
mod timeouts;
mod unix;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use polyport_testkit::{Builder, Client, Host, PATIENCE, eventually};
use socket2::{Domain, Socket, Type};

/// Accounts that let everybody do everything.
const OPEN: &str = "[anonymous]\nallow.1 = all /**\nallow.2 = publish,subscribe #\n";

/// The five services and the MQTT broker's WebSockets, open to everybody.
fn all_services(limits: &str) -> Builder {
    let builder = Host::builder().all_services().accounts(OPEN);
    ["mqtt", "files", "json", "ftp", "tcp-files"]
        .into_iter()
        .fold(builder, |builder, service| builder.keys(service, limits))
}

/// A connection from one of this machine's many addresses, with time limits.
fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: IpAddr = source.parse().unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that is told until the end.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut told = Vec::new();
    match stream.read_to_end(&mut told) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no end: {error}"),
    }
    told
}

/// What a client that sends this is told until the end.
fn told(mut stream: TcpStream, request: &[u8]) -> String {
    // A refused client may be gone before all of it is sent.
    let _ = stream.write_all(request);
    String::from_utf8_lossy(&rest(&mut stream)).into_owned()
}

/// The first line that a stream tells.
fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && stream.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// One service of the echo plugin, which greets with `hello`.
fn echo(keys: &str) -> Builder {
    Host::builder()
        .plugin("echo", "echo", "polyport-echo")
        .host_keys("quiet_time = \"50ms\"")
        .keys("echo", keys)
}

/// Writes a service's only listen entry as a table with these keys.
fn entry(host: &Host, service: &str, keys: &str) {
    let address = format!("\"{}\"", host.addr(service));
    host.edit_config(|text| {
        assert!(text.contains(&address), "{text}");
        text.replacen(&address, &format!("{{ address = {address}, {keys} }}"), 1)
    });
}

/// The same, of a host that runs, and waits until it holds.
fn reload(host: &Host) {
    host.command(&["reload", "--wait"]).expect_success();
}

fn status_of(host: &Host, service: &str) -> serde_json::Value {
    let status = host.status();
    let services = status["services"].as_array().unwrap();
    let found = services.iter().find(|one| one["name"] == service);
    found.unwrap().clone()
}
