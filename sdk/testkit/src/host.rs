//! A real host in a folder of its own, for the length of one test.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::builder::{Builder, Names};
use crate::client::Client;
use crate::log::Log;
use crate::process::{Finished, finish, wait_limited};
use crate::{PATIENCE, eventually};

/// The program `polyport` with a configuration made by a [`Builder`].
///
/// Dropping it ends the process; when the test panicked, the host's log is printed.
pub struct Host {
    program: PathBuf,
    dir: TempDir,
    names: Names,
    args: Vec<String>,
    env: Vec<(String, String)>,
    under: Vec<String>,
    running: Option<Child>,
    log: Log,
}

impl Host {
    /// A description of a host with no services yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        program: PathBuf,
        dir: TempDir,
        names: Names,
        args: Vec<String>,
        env: Vec<(String, String)>,
        under: Vec<String>,
    ) -> Self {
        Self {
            program,
            dir,
            names,
            args,
            env,
            under,
            running: None,
            log: Log::default(),
        }
    }

    /// The folder that holds polyport.toml, accounts.ini, `plugins/`, `files/` and `state/`.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a copy of the program from now on, which a test may replace; its path.
    #[track_caller]
    pub fn own_program(&mut self) -> PathBuf {
        let own = self.path().join("polyport");
        std::fs::copy(&self.program, &own).unwrap_or_else(|e| panic!("{}: {e}", own.display()));
        self.program.clone_from(&own);
        own
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("polyport.toml")
    }

    /// The port a placeholder `{port:NAME}` or `{range:NAME}` stands for, or of a standard service.
    #[track_caller]
    pub fn port(&self, name: &str) -> u16 {
        self.names
            .port(name)
            .unwrap_or_else(|| panic!("no text so far used {{port:{name}}}"))
    }

    /// The port as an address on 127.0.0.1.
    #[track_caller]
    pub fn addr(&self, name: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port(name)))
    }

    /// Connects to a port, with read and write time limits of [`PATIENCE`].
    #[track_caller]
    pub fn connect(&self, name: &str) -> TcpStream {
        let addr = self.addr(name);
        let stream = TcpStream::connect_timeout(&addr, PATIENCE);
        let stream = stream.unwrap_or_else(|e| panic!("{name} at {addr}: {e}"));
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).expect("a time limit that is not zero is accepted");
        }
        stream.set_nodelay(true).expect("TCP has TCP_NODELAY");
        stream
    }

    /// Replaces placeholders in a text of the test's own.
    pub fn expand(&self, text: &str) -> String {
        self.names.expand(text)
    }

    /// Starts `polyport run` and waits until it says `ready`; panics with its log otherwise.
    #[track_caller]
    pub fn start(&mut self) {
        if let Err(log) = self.try_start() {
            panic!("polyport run did not get ready:\n{log}");
        }
    }

    /// Starts `polyport run`; the error is all it wrote when it ended without getting ready.
    #[track_caller]
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(self.running.is_none(), "the host runs already");
        let from = self.log.len();
        let under: Vec<&str> = self.under.iter().map(String::as_str).collect();
        let mut command = self.polyport(&under, &["run"]);
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.program.display()));
        self.log
            .follow(child.stdout.take().expect("stdout was asked for"));
        self.log
            .follow(child.stderr.take().expect("stderr was asked for"));
        self.running = Some(child);
        if self
            .log
            .wait(from, PATIENCE, |line| line == "ready")
            .is_some()
        {
            return Ok(());
        }
        self.kill9();
        Err(self.log.lines(from).join("\n"))
    }

    /// Process id of the running host.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.running
            .as_ref()
            .map(Child::id)
            .expect("the host was started")
    }

    /// Ends the process at once, as a crash or a power cut would.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.running.take() {
            // Both fail only if it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks for an orderly end and gives the exit code; panics when it takes longer than [`PATIENCE`].
    #[track_caller]
    pub fn sigterm(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait_exit()
    }

    /// Sends any signal, such as `Signal::HUP`.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal)
            .unwrap_or_else(|e| panic!("cannot send {signal:?}: {e}"));
    }

    /// Waits until the process ends by itself and gives the exit code, `None` after a signal.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Option<i32> {
        let mut child = self.running.take().expect("the host was started");
        let status = wait_limited(&mut child, PATIENCE);
        if status.is_none() {
            self.running = Some(child);
            panic!("the host still runs after {PATIENCE:?}");
        }
        status.and_then(|status| status.code())
    }

    /// Ends the process at once and starts it again on the same configuration and ports.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill9();
        self.start();
    }

    /// Runs a `polyport` command with the same `-c` and waits for its end.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Finished {
        self.command_with_input(args, b"")
    }

    /// Like [`Host::command`], with something on the standard input.
    #[track_caller]
    pub fn command_with_input(&self, args: &[&str], stdin: &[u8]) -> Finished {
        finish(self.polyport(&[], args), stdin, PATIENCE)
    }

    /// `polyport client ARGS`, to be run to its end or beside the test.
    pub fn client(&self, args: &[&str]) -> Client {
        self.beside(&["client"]).args(args)
    }

    /// A `polyport` command with the same `-c`, to be run to its end or beside the test.
    pub fn beside(&self, args: &[&str]) -> Client {
        let command = Client::new(&self.program).arg("-c").arg(self.config());
        command.args(args).current_dir(self.path())
    }

    /// `status --json` of the running host.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        self.command(&["status", "--json"]).expect_success().json()
    }

    /// Polls `status --json` until `wanted` accepts it.
    #[track_caller]
    pub fn wait_status(
        &self,
        what: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        eventually(what, || Some(self.status()).filter(&wanted))
    }

    /// Adds an account with `polyport user add`, the password on its standard input.
    #[track_caller]
    pub fn add_account(&self, name: &str, password: &str, args: &[&str]) {
        let args: Vec<&str> = ["user", "add", name].iter().chain(args).copied().collect();
        self.command_with_input(&args, format!("{password}\n").as_bytes())
            .expect_success();
    }

    /// Rewrites polyport.toml in place; placeholders are replaced.
    #[track_caller]
    pub fn edit_config(&self, edit: impl FnOnce(&str) -> String) {
        self.edit("polyport.toml", edit);
    }

    /// Rewrites polyport.toml and has it taken over; gives what changed, as `polyport generations` has it.
    #[track_caller]
    pub fn change(&self, edit: impl FnOnce(&str) -> String) -> Vec<String> {
        self.edit_config(edit);
        self.command(&["reload", "--wait"]).expect_success();
        let generations = self.command(&["generations", "--json"]).expect_success();
        let generations = generations.json();
        let last = generations["generations"]
            .as_array()
            .and_then(|all| all.last())
            .expect("a generation");
        let lines = last["changes"].as_array().expect("its changes").iter();
        lines
            .map(|line| line.as_str().expect("a line").to_owned())
            .collect()
    }

    /// When the instance of a service was started: another one has another time.
    #[track_caller]
    pub fn started(&self, service: &str) -> String {
        let status = self.status();
        let services = status["services"].as_array().expect("services");
        let service = services.iter().find(|one| one["name"] == service);
        service.expect("the service")["started"].to_string()
    }

    /// Rewrites accounts.ini in place; placeholders are replaced.
    #[track_caller]
    pub fn edit_accounts(&self, edit: impl FnOnce(&str) -> String) {
        self.edit("accounts.ini", edit);
    }

    /// The lines the host has written so far, over all its starts.
    pub fn log(&self) -> Vec<String> {
        self.log.lines(0)
    }

    /// How many lines there are so far: a mark for [`Host::wait_log`].
    pub fn log_mark(&self) -> usize {
        self.log.len()
    }

    /// Waits for a line that contains `wanted`, looking from `mark` on; panics after [`PATIENCE`].
    #[track_caller]
    pub fn wait_log(&self, mark: usize, wanted: &str) -> String {
        let line = self.log.wait(mark, PATIENCE, |line| line.contains(wanted));
        line.unwrap_or_else(|| panic!("no log line with {wanted:?}"))
    }

    /// Lets no file of the running host grow beyond these bytes, or any: as a full disk would.
    #[track_caller]
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(self.process()), Resource::Fsize, limit)
            .unwrap_or_else(|e| panic!("cannot limit its files: {e}"));
    }

    /// Peak resident memory of the host's process so far, in bytes.
    #[track_caller]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the host runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("Linux reports VmHWM");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("VmHWM is a number");
        kib * 1024
    }

    #[track_caller]
    fn process(&self) -> Pid {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        pid.expect("the kernel's ids fit")
    }

    fn polyport(&self, under: &[&str], args: &[&str]) -> Command {
        let mut command = match under {
            [] => Command::new(&self.program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        // Before the command: what follows a plugin's name is the plugin's.
        command
            .arg("-c")
            .arg(self.config())
            .args(args)
            .current_dir(self.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    #[track_caller]
    fn edit(&self, file: &str, edit: impl FnOnce(&str) -> String) {
        let path = self.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        let text = self.names.expand(&edit(&text));
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let ended = self
            .running
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten());
        self.kill9();
        if std::thread::panicking() {
            let log = self.log.lines(0);
            eprintln!(
                "--- log of the host, last {} of {} lines",
                log.len().min(200),
                log.len()
            );
            for line in log.iter().skip(log.len().saturating_sub(200)) {
                eprintln!("{line}");
            }
            if let Some(status) = ended {
                eprintln!("--- it had ended by itself: {status}");
            }
        }
    }
}
