//! `get`: downloads a file; REST goes on where it broke off (RFC 3659 section 5).

use std::cell::Cell;
use std::io::Read;
use std::path::{Path, PathBuf};

use polyport_sdk::client::{Failure, Partial, Progress, with_retries};

use super::session::Session;
use super::{Target, read};

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = read(typed, &["-o --output FILE", "-c --continue", "--progress"])?;
    let url = options.operand("a URL")?;
    options.end()?;
    let target = Target::read(&url, &options)?;
    let file = match options.value("-o") {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(target.address.file_name()?),
    };
    if file.file_name().is_none() {
        return Err(Failure::Usage(format!(
            "-o: expected a file, got {:?}",
            file.display()
        )));
    }
    let mut download = Download {
        target: &target,
        file: &file,
        resume: options.has("-c"),
        shown: options.has("--progress"),
        begun: None,
    };
    let came = Cell::new(false);
    let outcome = with_retries(
        target.retries,
        || came.replace(false),
        || download.attempt(&came),
    );
    let Some(Begun {
        partial, progress, ..
    }) = download.begun
    else {
        return outcome;
    };
    progress.end();
    match outcome {
        Ok(()) => partial.finish(),
        Err(failure) => Err(partial.keep(failure)),
    }
}

struct Download<'a> {
    target: &'a Target,
    file: &'a Path,
    resume: bool,
    shown: bool,
    begun: Option<Begun>,
}

/// A download of which the size is known.
struct Begun {
    state: (u64, String),
    partial: Partial,
    progress: Progress,
}

impl Download<'_> {
    fn attempt(&mut self, came: &Cell<bool>) -> Result<(), Failure> {
        let mut session = self.target.open()?;
        let state = self.state(&mut session)?;
        if self
            .begun
            .as_ref()
            .is_some_and(|begun| begun.state != state)
        {
            return Err(Failure::failed(
                "the file changed on the server meanwhile; begin anew",
            ));
        }
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.begin(state)?,
        };
        let Begun {
            partial, progress, ..
        } = self.begun.insert(begun);
        let segment = partial.segments()[0];
        if segment.next == segment.end && segment.end > 0 {
            return Ok(());
        }
        if segment.next > 0 {
            session.expect(&format!("REST {}", segment.next), 350)?;
        }
        let command = format!("RETR {}", self.target.path);
        let mut data = session.transfer(&command)?;
        let mut block = vec![0; 64 * 1024];
        loop {
            let read = data
                .read(&mut block)
                .map_err(Failure::broken("data connection"))?;
            if read == 0 {
                break;
            }
            partial.write(0, &block[..read])?;
            progress.add(read as u64);
            came.set(true);
        }
        drop(data);
        session.transferred(&command)?;
        session.quit();
        if partial.done() < segment.end {
            return Err(Failure::Broken(format!(
                "server: expected {} bytes, got {}",
                segment.end,
                partial.done()
            )));
        }
        Ok(())
    }

    /// Size and modification time; without the latter nothing tells one state of the file from another.
    fn state(&self, session: &mut Session) -> Result<(u64, String), Failure> {
        let path = &self.target.path;
        let size = session.expect(&format!("SIZE {path}"), 213)?.text;
        let size = size.trim().parse().map_err(|_| {
            Failure::Failed(format!("SIZE {path}: expected a number, got {size:?}"))
        })?;
        let modified = session.command(&format!("MDTM {path}"))?;
        let modified = if modified.code == 213 {
            modified.text
        } else {
            String::new()
        };
        Ok((size, modified))
    }

    fn begin(&self, state: (u64, String)) -> Result<Begun, Failure> {
        let address = &self.target.address;
        let source = format!(
            "ftp://{}@{}{}",
            self.target.user,
            address.authority(),
            address.path
        );
        let partial = Partial::open(self.file, &source, &state.1, state.0, 1, self.resume)?;
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let progress = Progress::new(&name, Some(state.0), partial.done(), self.shown);
        Ok(Begun {
            state,
            partial,
            progress,
        })
    }
}
