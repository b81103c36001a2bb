//! The service manager's protocol, over a socket like its own: who the main process is, and the sockets that it keeps.

use std::io::{BufRead, BufReader, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use polyport_testkit::{Host, PATIENCE, eventually, program};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Upgradable;

/// A service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message, with the files that came along.
    fn hear(&self) -> (String, Vec<OwnedFd>) {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let length = got.expect("a message of the host").bytes;
        let files = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files = files.flatten().collect();
        (
            String::from_utf8_lossy(&bytes[..length]).into_owned(),
            files,
        )
    }

    /// All messages up to the one that contains `last`.
    fn hear_until(&self, last: &str) -> Vec<(String, Vec<OwnedFd>)> {
        let mut all = Vec::new();
        loop {
            let heard = self.hear();
            let is_last = heard.0.contains(last);
            all.push(heard);
            if is_last {
                return all;
            }
        }
    }
}

fn texts(heard: &[(String, Vec<OwnedFd>)]) -> Vec<&str> {
    heard.iter().map(|(text, _)| text.trim_end()).collect()
}

#[test]
fn the_main_process_is_told_before_it_serves_and_the_old_one_says_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let builder = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .host_keys("quiet_time = \"1m\"")
        .env("NOTIFY_SOCKET", socket.to_str().unwrap());
    let mut host = Upgradable::start(builder);
    assert_eq!(texts(&manager.hear_until("READY=1")), ["READY=1"]);

    let pid = host.upgrade();
    host.first_ended();
    let heard = manager.hear_until("READY=1");
    let heard = texts(&heard);
    assert!(
        heard[0].starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{heard:?}"
    );
    assert_eq!(heard[1], format!("MAINPID={pid}"));
    assert_eq!(heard[2..], [format!("MAINPID={pid}\nREADY=1")]);

    host.edit_config(|text| format!("nonsense\n{text}"));
    host.refused();
    let heard = manager.hear_until("READY=1");
    let heard = texts(&heard);
    assert!(
        heard[0].starts_with("RELOADING=1") && heard[1..] == ["READY=1"],
        "{heard:?}"
    );
    host.command(&["stop"]).expect_success();
    assert_eq!(texts(&manager.hear_until("STOPPING")), ["STOPPING=1"]);
}

#[test]
fn sockets_are_kept_over_changes_upgrades_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let builder = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .listen("one", &["127.0.0.1:{port:one}", "unix:{dir}/one.sock"])
        .host_keys("quiet_time = \"1m\"")
        .env("NOTIFY_SOCKET", socket.to_str().unwrap())
        .env("FDSTORE", "16");
    let mut host = Upgradable::start(builder);
    let heard = manager.hear_until("READY=1");
    let port = host.port("one");
    let unix = host.path().join("one.sock");
    let tcp_name = format!("FDNAME=listen=127.0.0.1_{port}");
    let unix_name = format!("FDNAME=listen={}", unix.display());
    for name in [&tcp_name, &unix_name] {
        let kept = heard.iter().find(|(text, _)| text.contains(name.as_str()));
        let (text, files) = kept.unwrap_or_else(|| panic!("{name}: {:?}", texts(&heard)));
        assert!(text.starts_with("FDSTORE=1\n"), "{text}");
        assert_eq!(files.len(), 1);
    }
    // Kept already: nothing is sent again.
    host.upgrade();
    host.first_ended();
    let heard = manager.hear_until("READY=1");
    assert!(
        texts(&heard).iter().all(|text| !text.contains("FDSTORE")),
        "{:?}",
        texts(&heard)
    );
    // Not configured any more: removed, with its file.
    let entry = format!(", \"unix:{}\"", unix.display());
    host.edit_config(|text| {
        assert!(text.contains(&entry), "{text}");
        text.replace(&entry, "")
    });
    host.command(&["reload", "--wait"]).expect_success();
    let heard = manager.hear();
    assert_eq!(heard.0, format!("FDSTOREREMOVE=1\n{unix_name}\n"));
    assert!(!unix.exists());
}

/// A host with a socket of the service manager as its first descriptor.
struct Given(Child);

impl Drop for Given {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_with(host: &Host, socket: OwnedFd, name: &str) -> Given {
    let script = format!(
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$@\""
    );
    let child = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(program())
        .args(["run", "-c"])
        .arg(host.config())
        .stdin(socket)
        .stdout(Stdio::null())
        .spawn();
    Given(child.unwrap())
}

#[test]
fn a_socket_that_was_given_is_served_with_whoever_waits_there() {
    let host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .settings("one", "greeting = \"hello\"")
        .prepare();
    let port = host.port("one");
    let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let kept = socket.try_clone().unwrap();
    for name in [format!("listen=127.0.0.1_{port}"), "web.socket".to_owned()] {
        // A client that came while nobody ran.
        let waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        let given = start_with(&host, kept.try_clone().unwrap().into(), &name);
        let mut line = String::new();
        BufReader::new(waiting).read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        drop(given);
    }
}

#[test]
fn a_kept_unix_socket_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let mut host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .listen("one", &["unix:{dir}/one.sock"])
        .settings("one", "greeting = \"hello\"")
        .env("NOTIFY_SOCKET", socket.to_str().unwrap())
        .env("FDSTORE", "16")
        .prepare();
    host.start();
    let heard = manager.hear_until("READY=1");
    let kept = heard
        .into_iter()
        .find_map(|(_, files)| files.into_iter().next())
        .unwrap();
    assert_eq!(host.sigterm(), Some(0));
    let path = host.path().join("one.sock");
    let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = format!("listen={}", path.display());
    let given = start_with(&host, kept, &name);
    let mut line = String::new();
    BufReader::new(waiting).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    // Without a service manager that keeps it, the file goes with the process.
    let pid = rustix::process::Pid::from_raw(i32::try_from(given.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("the file of the socket is gone", || {
        (!path.exists()).then_some(())
    });
}
