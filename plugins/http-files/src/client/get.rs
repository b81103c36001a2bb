//! `get`: a file in parallel ranges, each of which goes on after a break.
//!
//! `If-Range` (RFC 9110 section 13.1.5) makes sure that all parts are of the same state of the file.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use polyport_sdk::client::{Arguments, Failure, Partial, Progress, with_retries};

use super::exchange::{self, Response};
use super::{Server, authorization, read, retries};

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = read(
        typed,
        &["-o --output FILE", "-s --segments N", "-c --continue"],
    )?;
    let url = options.operand("a URL")?;
    options.end()?;
    let server = Server::read(&url, &options)?;
    let target = match options.value("-o") {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(server.address.file_name()?),
    };
    if target.file_name().is_none() {
        return Err(Failure::Usage(format!(
            "-o: expected a file, got {:?}",
            target.display()
        )));
    }
    let segments = options.number("-s", 4u64, 1, 16)?;
    let retries = retries(&options)?;
    let download = Download {
        authorization: authorization(&server.address, &options)?,
        server,
        retries,
        options: &options,
    };
    let head = with_retries(retries, || false, || download.ask("HEAD", ""))?;
    match Source::of(&head)? {
        Some(source) => download.in_segments(&target, &source, segments),
        None => with_retries(retries, || false, || download.whole(&target)),
    }
}

/// A file of which ranges can be asked for.
struct Source {
    size: u64,
    /// Strong entity tag, else the modification date: what `If-Range` takes.
    validator: String,
}

impl Source {
    fn of(head: &Response) -> Result<Option<Self>, Failure> {
        let validator = head
            .field("etag")
            .filter(|tag| !tag.starts_with("W/"))
            .or(head.field("last-modified"));
        let ranges = head.field("accept-ranges") == Some("bytes");
        Ok(match (head.length()?, validator) {
            (Some(size), Some(validator)) if ranges => Some(Self {
                size,
                validator: validator.into(),
            }),
            _ => None,
        })
    }
}

struct Download<'a> {
    server: Server,
    authorization: String,
    retries: u32,
    options: &'a Arguments,
}

impl Download<'_> {
    /// A response with status 200 or 206; anything else is a failure.
    fn ask(&self, method: &str, fields: &str) -> Result<Response, Failure> {
        let fields = format!("{}{fields}", self.authorization);
        let path = &self.server.address.path;
        let response = exchange::request(method, &self.server, path, &fields)?;
        match response.status {
            200 | 206 => Ok(response),
            416 => Err(changed()),
            _ => Err(response.refusal(path)),
        }
    }

    fn progress(&self, target: &Path, total: Option<u64>, done: u64) -> Progress {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        Progress::new(&name, total, done, self.options.has("--progress"))
    }

    fn in_segments(&self, target: &Path, source: &Source, segments: u64) -> Result<(), Failure> {
        let Server { address, transport } = &self.server;
        let scheme = if transport.is_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{}{}", address.authority(), address.path);
        let resume = self.options.has("-c");
        let partial = Partial::open(
            target,
            &url,
            &source.validator,
            source.size,
            segments,
            resume,
        )?;
        let progress = self.progress(target, Some(source.size), partial.done());
        let outcomes: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
            let segments = 0..partial.segments().len();
            let threads: Vec<_> = segments
                .map(|number| {
                    scope.spawn({
                        let (partial, progress) = (&partial, &progress);
                        move || self.segment(source, partial, number, progress)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(Failure::failed("a thread panicked")))
                })
                .collect()
        });
        progress.end();
        if let Some(Err(failure)) = outcomes.into_iter().find(Result::is_err) {
            return Err(partial.keep(failure));
        }
        partial.finish()
    }

    /// Fetches what is missing of one segment.
    fn segment(
        &self,
        source: &Source,
        partial: &Partial,
        number: usize,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let came = Cell::new(false);
        with_retries(
            self.retries,
            || came.replace(false),
            || {
                let segment = partial.segments()[number];
                if segment.next == segment.end {
                    return Ok(());
                }
                let range = format!("bytes {}-{}/{}", segment.next, segment.end - 1, source.size);
                let mut response = self.ask(
                    "GET",
                    &format!(
                        "Range: bytes={}-{}\r\nIf-Range: {}\r\n",
                        segment.next,
                        segment.end - 1,
                        source.validator
                    ),
                )?;
                if response.status != 206 || response.field("content-range") != Some(range.as_str())
                {
                    return Err(changed());
                }
                let mut block = vec![0; 64 * 1024];
                loop {
                    let read = response.body(&mut block)?;
                    if read == 0 {
                        return Ok(());
                    }
                    partial.write(number, &block[..read])?;
                    progress.add(read as u64);
                    came.set(true);
                }
            },
        )
    }

    /// Fetches what has no size or no ranges, such as a folder's archive: from the start each time.
    fn whole(&self, target: &Path) -> Result<(), Failure> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let part = target.with_file_name(format!(".{name}.part"));
        let mut response = self.ask("GET", "")?;
        let progress = self.progress(target, response.length()?, 0);
        let local = || Failure::local(part.display().to_string());
        let mut file = File::create(&part).map_err(local())?;
        let mut block = vec![0; 64 * 1024];
        loop {
            let read = match response.body(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(failure) => {
                    progress.end();
                    // It cannot be gone on with.
                    let _ = fs::remove_file(&part);
                    return Err(failure);
                }
            };
            file.write_all(&block[..read]).map_err(local())?;
            progress.add(read as u64);
        }
        progress.end();
        file.sync_all()
            .and_then(|()| fs::rename(&part, target))
            .map_err(Failure::local(target.display()))
    }
}

fn changed() -> Failure {
    Failure::failed("the file changed on the server meanwhile; begin anew")
}
