//! JSON documents by id beside nginx, which serves the same bytes as files.
//!
//! Debian has no document store over HTTP to compare with; a static file of the same bytes is the
//! least work that any of them could do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::harness::{Row, Server, Unit, compare};
use super::peers::{Place, nginx};
use super::{ours, wrk};
use crate::Outcome;

/// Where the document is, for both.
const PATH: &str = "/devices/bed-7";

/// A record like those of the field: nested, with nulls, floats and times.
const DOCUMENT: &str = r#"{"id":"bed-7","bunks":[{"name":"upper","gravity_sensors":[{"id":1,"value":5.7865,"at":"2021-03-04T05:06:07Z"},{"id":2,"value":null,"at":null}]},{"name":"lower","gravity_sensors":[]}],"online":true}"#;

pub fn bench() -> Outcome<Vec<Row>> {
    let place = Place::new()?;
    let devices = place.folder("www/devices")?;
    std::fs::write(devices.join("bed-7"), DOCUMENT)
        .map_err(|e| format!("{}: {e}", devices.display()))?;
    let polyport = Server::ours("json", ours("json"))?;
    let peer = Server::peer(|| nginx(place))?;
    store(polyport.port)?;
    let row = compare(
        "GET by id, 32 connections",
        Unit::Requests,
        &polyport,
        &peer,
        |server| wrk::run(server, PATH),
    );
    Ok(vec![row?])
}

/// Stores the document as the account `bench`.
fn store(port: u16) -> Outcome {
    let request = format!(
        "PUT {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YmVuY2g6YmVuY2g=\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{DOCUMENT}",
        DOCUMENT.len()
    );
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|e| format!("cannot store the document: {e}"))?;
    match answer.starts_with("HTTP/1.1 20") {
        true => Ok(()),
        false => Err(format!("cannot store the document: {answer}")),
    }
}
