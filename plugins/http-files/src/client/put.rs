//! `put`: uploads a file. The server lets it appear whole or not at all.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use polyport_sdk::client::{Failure, Progress, with_retries};

use super::{Server, authorization, exchange, read, retries};

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = read(typed, &[])?;
    let file = options.operand("a file")?;
    let url = options.operand("a URL")?;
    options.end()?;
    let mut server = Server::read(&url, &options)?;
    let address = &mut server.address;
    let name = Path::new(&file)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    if address.path.ends_with('/') {
        address.path.push_str(&encoded(&name));
    }
    let authorization = authorization(address, &options)?;
    with_retries(
        retries(&options)?,
        || false,
        || {
            let mut source = File::open(&file).map_err(Failure::local(&file))?;
            let meta = source.metadata().map_err(Failure::local(&file))?;
            if !meta.is_file() {
                return Err(Failure::Failed(format!(
                    "{file}: expected a file, got something else"
                )));
            }
            let progress = Progress::new(&name, Some(meta.len()), 0, options.has("--progress"));
            let mut left = meta.len();
            let response = exchange::upload(&server, &authorization, meta.len(), |block| {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                let read = source
                    .read(&mut block[..most])
                    .map_err(Failure::local(&file))?;
                if read == 0 && left > 0 {
                    return Err(Failure::Failed(format!(
                        "{file}: it became shorter meanwhile"
                    )));
                }
                left -= read as u64;
                progress.add(read as u64);
                Ok(read)
            });
            progress.end();
            let response = response?;
            match response.status {
                200 | 201 | 204 => Ok(()),
                _ => Err(response.refusal(&server.address.path)),
            }
        },
    )
}

/// A name as a segment of a path (RFC 3986 section 3.3).
fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}
