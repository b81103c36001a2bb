//! Client commands: a login to try an account, and a download that goes on after a break.

use std::cell::Cell;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyport_sdk::client::{
    Address, Arguments, Failure, Link, Partial, Progress, Transport, account, with_retries,
};
use serde::Deserialize;

use crate::reply::STATUS_LEN;

/// What `polyport client tcp-files --help` prints.
pub(crate) const HELP: &str = "\
login URL -u USER [OPTIONS]  try an account
get URL [OPTIONS]            download a file

URL is tcp://[USER[:PASSWORD]@]HOST[:PORT]/FILE, or tls://…; the port is 9999 where none is given.

get:
  -o, --output FILE         where to put it [the URL's last name]
  -c, --continue            go on with a download that broke off; the size tells whether it is the same file
      --retries N           tries after a break, 0 to 100 [5]
      --progress            show progress also where standard error is no terminal
both:
  -u, --user USER[:PASS]    account; the password else from:
      --password-file FILE  its first line; else POLYPORT_PASSWORD; else asked for
      --cafile FILE         authorities to trust with tls:// [the system's]
";

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest header in bytes.
const MAX_HEADER: u32 = 1 << 20;

/// What stands before a file, or in its place.
#[derive(Deserialize)]
struct Header {
    file_size: Option<u64>,
    status_code: Option<u16>,
    status_msg: Option<String>,
}

impl Header {
    fn read(text: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(text)
            .map_err(|error| Failure::Failed(format!("server: expected a header in JSON: {error}")))
    }

    /// Why it is not what was wanted.
    fn refusal(self, what: &str) -> Failure {
        let code = self.status_code.unwrap_or_default();
        let text = self.status_msg.unwrap_or_default();
        Failure::Failed(format!("{what}: {code} {text}"))
    }
}

/// Runs `login` or `get`.
pub(crate) fn run(mut arguments: Vec<String>) -> Result<(), Failure> {
    match arguments.first().map(String::as_str) {
        Some("login") => login(arguments.split_off(1)),
        Some("get") => get(arguments.split_off(1)),
        other => Err(Failure::Usage(format!(
            "expected login or get, got {}",
            other.map_or("nothing".into(), |word| format!("{word:?}"))
        ))),
    }
}

fn login(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = Arguments::read(
        typed,
        &["-u --user USER", "--password-file FILE", Transport::CAFILE],
    )?;
    let target = Target::read(&mut options)?;
    if target.account.is_none() {
        return Err(Failure::usage("-u: expected a user, got none"));
    }
    target.open()?;
    writeln!(std::io::stdout(), "passed").map_err(Failure::local("standard output"))
}

fn get(typed: Vec<String>) -> Result<(), Failure> {
    let mut options = Arguments::read(
        typed,
        &[
            "-o --output FILE",
            "-c --continue",
            "--retries N",
            "--progress",
            "-u --user USER",
            "--password-file FILE",
            Transport::CAFILE,
        ],
    )?;
    let retries = options.number("--retries", 5, 0, 100)?;
    let target = Target::read(&mut options)?;
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
        path: target.address.decoded_path()?,
        target: &target,
        file: &file,
        options: &options,
        begun: None,
    };
    let came = Cell::new(false);
    let outcome = with_retries(retries, || came.replace(false), || download.attempt(&came));
    let Some((partial, progress)) = download.begun else {
        return outcome;
    };
    progress.end();
    match outcome {
        Ok(()) => partial.finish(),
        Err(failure) => Err(partial.keep(failure)),
    }
}

/// Where to, and as whom.
struct Target {
    address: Address,
    transport: Transport,
    account: Option<(String, String)>,
}

impl Target {
    /// Takes the last operand and the account.
    fn read(options: &mut Arguments) -> Result<Self, Failure> {
        let url = options.operand("a URL")?;
        options.end()?;
        let tls = url.starts_with("tls:");
        let address = Address::read(&url, if tls { "tls" } else { "tcp" }, 9999)?;
        Ok(Self {
            account: account(options, &address)?,
            transport: Transport::read(options, tls)?,
            address,
        })
    }

    /// Connects, and logs in where there is an account.
    fn open(&self) -> Result<Link, Failure> {
        let Address { host, port, .. } = &self.address;
        let mut stream = self.transport.connect(host, *port, SILENCE)?;
        if let Some((user, password)) = &self.account {
            let request = serde_json::json!({
                "action_type": "auth", "username": user, "password": password
            });
            send(&mut stream, &request)?;
            let mut status = [0; STATUS_LEN];
            stream
                .read_exact(&mut status)
                .map_err(Failure::broken("server"))?;
            let status = Header::read(&status)?;
            if status.status_code != Some(200) {
                return Err(status.refusal(&format!("login of {user:?}")));
            }
        }
        Ok(stream)
    }
}

struct Download<'a> {
    target: &'a Target,
    path: String,
    file: &'a Path,
    options: &'a Arguments,
    begun: Option<(Partial, Progress)>,
}

impl Download<'_> {
    fn attempt(&mut self, came: &Cell<bool>) -> Result<(), Failure> {
        let mut known = self
            .begun
            .as_ref()
            .map_or(0, |(partial, _)| partial.segments()[0].next);
        let (mut stream, mut size) = self.ask(known)?;
        let (partial, progress) = match self.begun.take() {
            Some(begun) => self.begun.insert(begun),
            None => {
                let begun = self.begin(size)?;
                known = begun.0.segments()[0].next;
                if known > 0 {
                    // An earlier run's: only now is it known that it is of a file of this size.
                    (stream, size) = self.ask(known)?;
                }
                self.begun.insert(begun)
            }
        };
        let segment = partial.segments()[0];
        if segment.end != size {
            return Err(Failure::failed(
                "the file changed on the server meanwhile; begin anew",
            ));
        }
        let mut left = size - known;
        let mut block = vec![0; 64 * 1024];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            let read = stream
                .read(&mut block[..most])
                .map_err(Failure::broken("server"))?;
            if read == 0 {
                return Err(Failure::Broken(
                    "server: it closed the connection in the middle of a file".into(),
                ));
            }
            partial.write(0, &block[..read])?;
            progress.add(read as u64);
            came.set(true);
            left -= read as u64;
        }
        Ok(())
    }

    /// Asks for the file from `offset` on. Gives the stream at its first byte, and the whole file's size.
    fn ask(&self, offset: u64) -> Result<(Link, u64), Failure> {
        let mut stream = self.target.open()?;
        let mut request = serde_json::json!({ "cmd": "get", "file": self.path });
        if offset > 0 {
            request["offset"] = offset.into();
        }
        send(&mut stream, &request)?;
        let mut length = [0; 4];
        stream
            .read_exact(&mut length)
            .map_err(Failure::broken("server"))?;
        let length = u32::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(Failure::Failed(format!(
                "server: expected a header of at most {MAX_HEADER} bytes, got {length}"
            )));
        }
        let mut text = vec![0; length as usize];
        stream
            .read_exact(&mut text)
            .map_err(Failure::broken("server"))?;
        let header = Header::read(&text)?;
        match header.file_size {
            Some(size) if size >= offset => Ok((stream, size)),
            Some(_) => Err(Failure::failed(
                "the file changed on the server meanwhile; begin anew",
            )),
            None => Err(header.refusal(&self.path)),
        }
    }

    fn begin(&self, size: u64) -> Result<(Partial, Progress), Failure> {
        let user = self.target.account.as_ref().map_or("", |(user, _)| user);
        let source = format!(
            "tcp://{user}@{}{}",
            self.target.address.authority(),
            self.path
        );
        let resume = self.options.has("-c");
        // The protocol has no version of a file but its size.
        let partial = Partial::open(self.file, &source, "size", size, 1, resume)?;
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let shown = self.options.has("--progress");
        let progress = Progress::new(&name, Some(size), partial.done(), shown);
        Ok((partial, progress))
    }
}

/// Sends a request behind its length.
fn send(stream: &mut Link, request: &serde_json::Value) -> Result<(), Failure> {
    let text = request.to_string();
    let length = u32::try_from(text.len())
        .map_err(|_| Failure::usage("expected a request of less than 4 GiB"))?;
    stream
        .write_all(&[&length.to_le_bytes(), text.as_bytes()].concat())
        .map_err(Failure::broken("server"))
}
