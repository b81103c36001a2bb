//! `list`: what the server says of a folder, line by line.

use std::io::{Read, Write};

use polyport_sdk::client::{Failure, with_retries};

use super::{Target, read};

/// Longest listing that is read, in bytes.
const LONGEST: u64 = 256 << 20;

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = read(typed, &["-1 --names"])?;
    let url = options.operand("a URL")?;
    options.end()?;
    let target = Target::read(&url, &options)?;
    let verb = if options.has("-1") { "NLST" } else { "LIST" };
    let command = format!("{verb} {}", target.path);
    let command = command.trim_end();
    let listing = with_retries(
        target.retries,
        || false,
        || {
            let mut session = target.open()?;
            let mut data = session.transfer(command)?.take(LONGEST);
            let mut listing = Vec::new();
            data.read_to_end(&mut listing)
                .map_err(Failure::broken("data connection"))?;
            drop(data);
            session.transferred(command)?;
            session.quit();
            Ok(listing)
        },
    )?;
    // A name must not steer the terminal.
    let text: String = String::from_utf8_lossy(&listing)
        .replace("\r\n", "\n")
        .chars()
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect();
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::local("standard output"))
}
