//! Foreign client programs: what a user has in hand, run unchanged against the host.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::log::Log;
use crate::process::{Finished, describe, finish, wait_limited};
use crate::{PATIENCE, artifacts};

/// A client program to be run once, with a time limit of [`PATIENCE`] unless set.
pub struct Client {
    command: Command,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Client {
    /// A program found by the search path, such as `mosquitto_sub`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        // Translated or proxied answers would not be the ones that tests look for.
        command.env("LC_ALL", "C.UTF-8");
        for proxy in [
            "http_proxy",
            "https_proxy",
            "ftp_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(proxy);
        }
        Self {
            command,
            stdin: Vec::new(),
            limit: PATIENCE,
        }
    }

    /// A Python script in the environment that `cargo xtask clients` makes.
    pub fn python(script: impl AsRef<Path>) -> Self {
        let python = artifacts::clients_venv().join("bin/python");
        Self::new(python).arg("-u").arg(script.as_ref())
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working folder.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives the program something to read.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().into();
        self
    }

    /// Sets the time limit.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end; panics when it outlasts the limit.
    #[track_caller]
    pub fn run(self) -> Finished {
        finish(self.command, &self.stdin, self.limit)
    }

    /// Starts it and leaves it running, for a subscriber that waits for what others publish.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        let what = describe(&self.command);
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run `{what}`: {e}"));
        let log = Log::default();
        log.follow(child.stdout.take().expect("stdout was asked for"));
        log.follow(child.stderr.take().expect("stderr was asked for"));
        Running {
            child,
            log,
            what,
            limit: self.limit,
        }
    }
}

/// A client program that runs beside the test; dropping it ends the process.
pub struct Running {
    child: Child,
    log: Log,
    what: String,
    limit: Duration,
}

impl Running {
    /// Waits for a line of output that contains `wanted`.
    #[track_caller]
    pub fn wait_line(&self, wanted: &str) -> String {
        let line = self.log.wait(0, self.limit, |line| line.contains(wanted));
        line.unwrap_or_else(|| {
            panic!(
                "no line with {wanted:?} from `{}`:\n{}",
                self.what,
                self.lines().join("\n")
            )
        })
    }

    /// The lines of both outputs so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.lines(0)
    }

    /// Sends it a signal, such as `Signal::INT` for Ctrl-C.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("the kernel's ids fit");
        kill_process(pid, signal)
            .unwrap_or_else(|e| panic!("`{}`: cannot send {signal:?}: {e}", self.what));
    }

    /// Whether it has not ended yet.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait();
        let ended = ended.unwrap_or_else(|e| panic!("`{}`: {e}", self.what));
        ended.is_none()
    }

    /// Waits for its end and all of its output, and gives the exit code, `None` after a signal.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Option<i32> {
        let status = wait_limited(&mut self.child, self.limit);
        let status = status
            .unwrap_or_else(|| panic!("`{}` still runs:\n{}", self.what, self.lines().join("\n")));
        self.log.wait(self.log.len(), self.limit, |_| false);
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of `{}`\n{}", self.what, self.lines().join("\n"));
        }
    }
}
