//! Client commands: download in segments, upload, list.

mod exchange;
mod get;
mod list;
mod put;

use base64::Engine;
use polyport_sdk::client::{Address, Arguments, Failure, Transport, account};

/// What `polyport client http-files --help` prints.
pub const HELP: &str = "\
get URL [OPTIONS]       download a file
put FILE URL [OPTIONS]  upload a file; a URL that ends in / gets the file's name
list URL [OPTIONS]      list a folder of this server

get:
  -o, --output FILE         where to put it [the URL's last name]
  -s, --segments N          fetch N parts at the same time, 1 to 16 [4]
  -c, --continue            go on with a download that broke off
list:
      --json                as the server gives it
all:
  -u, --user USER[:PASS]    account; the password else from:
      --password-file FILE  its first line; else POLYPORT_PASSWORD; else asked for
      --cafile FILE         authorities to trust with https:// [the system's]
      --retries N           tries after a break, 0 to 100 [5]
      --progress            show progress also where standard error is no terminal
";

const ALL: [&str; 5] = [
    "-u --user USER",
    "--password-file FILE",
    Transport::CAFILE,
    "--retries N",
    "--progress",
];

/// Runs `get`, `put` or `list`.
pub fn run(mut arguments: Vec<String>) -> Result<(), Failure> {
    let run = match arguments.first().map(String::as_str) {
        Some("get") => get::run,
        Some("put") => put::run,
        Some("list") => list::run,
        other => {
            return Err(Failure::Usage(format!(
                "expected get, put or list, got {}",
                other.map_or("nothing".into(), |word| format!("{word:?}"))
            )));
        }
    };
    run(arguments.split_off(1))
}

/// Reads the options that all commands have, beside the command's own.
fn read(typed: Vec<String>, own: &[&'static str]) -> Result<Arguments, Failure> {
    let declared: Vec<&str> = ALL.iter().chain(own).copied().collect();
    Arguments::read(typed, &declared)
}

/// Where a URL leads, and how.
struct Server {
    address: Address,
    transport: Transport,
}

impl Server {
    fn read(url: &str, options: &Arguments) -> Result<Self, Failure> {
        let tls = url.starts_with("https:");
        let (scheme, port) = if tls { ("https", 443) } else { ("http", 80) };
        Ok(Self {
            address: Address::read(url, scheme, port)?,
            transport: Transport::read(options, tls)?,
        })
    }
}

/// The `Authorization` field (RFC 7617), empty without an account.
fn authorization(address: &Address, options: &Arguments) -> Result<String, Failure> {
    let Some((user, password)) = account(options, address)? else {
        return Ok(String::new());
    };
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    Ok(format!("Authorization: Basic {text}\r\n"))
}

fn retries(options: &Arguments) -> Result<u32, Failure> {
    options.number("--retries", 5, 0, 100)
}
