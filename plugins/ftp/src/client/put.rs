//! `put`: uploads a file; REST before STOR goes on where it broke off.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use polyport_sdk::client::{Failure, Progress, with_retries};

use super::session::Session;
use super::{Target, read};

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = read(typed, &["-c --continue", "--progress"])?;
    let file = options.operand("a file")?;
    let url = options.operand("a URL")?;
    options.end()?;
    let mut target = Target::read(&url, &options)?;
    let name = Path::new(&file)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    if target.path.is_empty() || target.path.ends_with('/') {
        target.path.push_str(&name);
    }
    let source = File::open(&file).map_err(Failure::local(&file))?;
    let meta = source.metadata().map_err(Failure::local(&file))?;
    if !meta.is_file() {
        return Err(Failure::Failed(format!(
            "{file}: expected a file, got something else"
        )));
    }
    let mut upload = Upload {
        target: &target,
        file: &file,
        size: meta.len(),
        progress: Progress::new(&name, Some(meta.len()), 0, options.has("--progress")),
        ours: options.has("-c").then_some(true),
    };
    let came = Cell::new(false);
    let outcome = with_retries(
        target.retries,
        || came.replace(false),
        || upload.attempt(&came),
    );
    upload.progress.end();
    outcome
}

struct Upload<'a> {
    target: &'a Target,
    file: &'a str,
    size: u64,
    progress: Progress,
    /// Whether what the server has under that name is the beginning of this file: said so by the user, or
    /// known because there was nothing before. Unknown until it was asked once.
    ours: Option<bool>,
}

impl Upload<'_> {
    fn attempt(&mut self, came: &Cell<bool>) -> Result<(), Failure> {
        let mut session = self.target.open()?;
        let there = self.there(&mut session)?;
        let ours = *self.ours.get_or_insert(there == 0);
        let offset = if ours { there } else { 0 };
        if offset > self.size {
            return Err(Failure::Failed(format!(
                "{}: expected at most the {} bytes of {}, got {offset}: it is another file",
                self.target.path, self.size, self.file
            )));
        }
        if offset > 0 {
            session.expect(&format!("REST {offset}"), 350)?;
        }
        let command = format!("STOR {}", self.target.path);
        let mut data = session.transfer(&command)?;
        let mut source = File::open(self.file).map_err(Failure::local(self.file))?;
        source
            .seek(SeekFrom::Start(offset))
            .map_err(Failure::local(self.file))?;
        self.progress.set(offset);
        let mut block = vec![0; 64 * 1024];
        loop {
            let read = source.read(&mut block).map_err(Failure::local(self.file))?;
            if read == 0 {
                break;
            }
            if let Err(error) = data.write_all(&block[..read]) {
                // A server that closes the data connection says on the other one why.
                session.transferred(&command)?;
                return Err(Failure::broken("data connection")(error));
            }
            self.progress.add(read as u64);
            came.set(true);
        }
        // The end of the connection is the end of the file.
        data.finish().map_err(Failure::broken("data connection"))?;
        session.transferred(&command)?;
        session.quit();
        Ok(())
    }

    /// Bytes that the server has under the name; 0 also when it has no such file or does not tell.
    fn there(&self, session: &mut Session) -> Result<u64, Failure> {
        let reply = session.command(&format!("SIZE {}", self.target.path))?;
        match reply.code {
            213 => reply.text.trim().parse().map_err(|_| {
                Failure::Failed(format!("SIZE: expected a number, got {:?}", reply.text))
            }),
            500..600 => Ok(0),
            _ => Err(reply.refusal("SIZE")),
        }
    }
}
