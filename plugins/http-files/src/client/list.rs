//! `list`: the entries of a folder.

use std::io::Write;

use polyport_sdk::client::{Failure, with_retries};
use serde::Deserialize;

use super::{Server, authorization, exchange, read, retries};

/// Longest listing that is read, in bytes.
const LONGEST: usize = 256 << 20;

#[derive(Deserialize)]
struct Document {
    entries: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    name: String,
    size: Option<u64>,
    modified: String,
}

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = read(typed, &["--json"])?;
    let url = options.operand("a URL")?;
    options.end()?;
    let server = Server::read(&url, &options)?;
    let authorization = authorization(&server.address, &options)?;
    let path = server.address.path.split('?').next().unwrap_or_default();
    let target = format!("{path}?format=json");
    let body = with_retries(
        retries(&options)?,
        || false,
        || {
            let mut response = exchange::request("GET", &server, &target, &authorization)?;
            if response.status != 200 {
                return Err(response.refusal(path));
            }
            let (mut body, mut block) = (Vec::new(), vec![0; 64 * 1024]);
            loop {
                match response.body(&mut block)? {
                    0 => return Ok(body),
                    read => body.extend_from_slice(&block[..read]),
                }
                if body.len() > LONGEST {
                    return Err(Failure::Failed(format!(
                        "{path}: a listing of more than {LONGEST} bytes"
                    )));
                }
            }
        },
    )?;
    let mut out = std::io::stdout().lock();
    if options.has("--json") {
        return out
            .write_all(&body)
            .map_err(Failure::local("standard output"));
    }
    let listing: Document = serde_json::from_slice(&body).map_err(|error| {
        Failure::Failed(format!(
            "{path}: expected a listing, got something else: {error}"
        ))
    })?;
    let lines: String = listing.entries.iter().map(line).collect();
    out.write_all(lines.as_bytes())
        .map_err(Failure::local("standard output"))
}

fn line(item: &Item) -> String {
    let size = item.size.map_or("-".into(), |size| size.to_string());
    let slash = if item.size.is_none() { "/" } else { "" };
    // A name must not steer the terminal.
    let name: String = item
        .name
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    format!("{size:>14}  {}  {name}{slash}\n", item.modified)
}
