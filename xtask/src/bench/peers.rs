//! Debian's servers with a configuration of their own in a temporary folder, on loopback.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use polyport_testkit::free_port;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Outcome, clients};

/// A running peer; dropping it ends it.
pub struct Peer {
    pub name: String,
    pub port: u16,
    child: Child,
    _dir: TempDir,
}

/// Where a peer is set up.
pub struct Place {
    dir: TempDir,
    port: u16,
}

impl Place {
    /// A folder that the unprivileged users some servers switch to can read.
    pub fn new() -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("polyport-bench-").tempdir();
        let dir = dir.map_err(|e| format!("no temporary folder: {e}"))?;
        open_to_all(dir.path())?;
        Ok(Self {
            dir,
            port: free_port(),
        })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a folder below, readable by all.
    pub fn folder(&self, name: &str) -> Outcome<std::path::PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        open_to_all(&path)?;
        Ok(path)
    }

    fn text(&self) -> &str {
        self.path()
            .to_str()
            .expect("temporary folders have plain names")
    }

    fn write(&self, name: &str, contents: &str) -> Outcome<std::path::PathBuf> {
        let path = self.path().join(name);
        std::fs::write(&path, contents).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    fn start(self, package: &str, mut command: Command) -> Outcome<Peer> {
        let log = self.path().join("output.txt");
        let file = std::fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let copy = file
            .try_clone()
            .map_err(|e| format!("{}: {e}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let child = command
            .spawn()
            .map_err(|e| format!("cannot run {package}: {e}"))?;
        let name = format!("{package} {}", version(package));
        let mut peer = Peer {
            name,
            port: self.port,
            child,
            _dir: self.dir,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", peer.port)).is_err() {
            let ended = peer.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                let output = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("{package} does not listen: {output}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }
}

/// mosquitto as Debian configures it, less its log and its store: it drops nothing, sends at once, and
/// knows one account.
pub fn mosquitto(place: Place, (user, password): (&str, &str)) -> Outcome<Peer> {
    let program = program("mosquitto")?;
    let mut config = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npassword_file {}/passwords\npersistence false\n\
         max_inflight_messages 20\nmax_queued_messages 0\nlog_dest none\nset_tcp_nodelay true\n",
        place.port,
        place.text()
    );
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(place.path().join("passwords"))
        .args([user, password])
        .output()
        .map_err(|e| format!("cannot run mosquitto_passwd: {e}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(format!("mosquitto_passwd: {said}"));
    }
    if rustix::process::getuid().is_root() {
        // It would switch to a user that may not write to the folder.
        config.push_str("user root\n");
    }
    let config = place.write("mosquitto.conf", &config)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(config);
    place.start("mosquitto", command)
}

/// nginx as Debian configures it, less its access log, serving the folder `www`.
pub fn nginx(place: Place) -> Outcome<Peer> {
    let listen = place.port.to_string();
    nginx_with(place, &listen, "")
}

/// The same by HTTPS, with a certificate and a key that lie in its folder.
pub fn nginx_tls(place: Place, cert: &str, key: &str) -> Outcome<Peer> {
    let listen = format!("{} ssl", place.port);
    let dir = place.text();
    let keys = format!(
        " ssl_certificate {dir}/{cert}; ssl_certificate_key {dir}/{key}; ssl_protocols TLSv1.2 TLSv1.3;"
    );
    nginx_with(place, &listen, &keys)
}

fn nginx_with(place: Place, listen: &str, keys: &str) -> Outcome<Peer> {
    let program = program("nginx")?;
    let dir = place.text();
    let temp_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {dir}/{name};\n"))
        .collect();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temp_paths}  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  \
         types {{ text/html html; application/json json; }}\n  default_type application/octet-stream;\n  \
         server {{ listen 127.0.0.1:{listen};{keys} root {dir}/www; }}\n}}\n"
    );
    let config = place.write("nginx.conf", &config)?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(place.path())
        .arg("-e")
        .arg(place.path().join("error.log"))
        .arg("-c")
        .arg(config);
    place.start("nginx", command)
}

/// vsftpd for anonymous readers of the folder `www`, who may use TLS with the certificate and key in
/// `pair.pem`, if it is there.
pub fn vsftpd(place: Place) -> Outcome<Peer> {
    let program = program("vsftpd")?;
    let dir = place.text();
    place.folder("empty")?;
    let mut config = format!(
        "listen=YES\nlisten_ipv6=NO\nlisten_address=127.0.0.1\nlisten_port={}\nbackground=NO\n\
         anonymous_enable=YES\nno_anon_password=YES\nanon_root={dir}/www\nlocal_enable=NO\n\
         secure_chroot_dir={dir}/empty\nxferlog_enable=NO\nuse_sendfile=YES\n",
        place.port
    );
    if place.path().join("pair.pem").exists() {
        config.push_str(&format!(
            "ssl_enable=YES\nallow_anon_ssl=YES\nrsa_cert_file={dir}/pair.pem\n"
        ));
    }
    if !rustix::process::getuid().is_root() {
        config.push_str("run_as_launching_user=YES\n");
    }
    let config = place.write("vsftpd.conf", &config)?;
    let mut command = Command::new(program);
    command.arg(config);
    place.start("vsftpd", command)
}

impl Peer {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx's workers end with their master only when it is asked to.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(name: &str) -> Outcome<std::path::PathBuf> {
    clients::find(name).ok_or_else(|| format!("no {name}: run `cargo xtask clients` as root"))
}

/// The version Debian gives the package, without its own revision.
fn version(package: &str) -> String {
    let names = [package.to_string(), format!("{package}-light")];
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Version} "])
        .args(names)
        .output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let version = text
        .split_whitespace()
        .next()
        .unwrap_or("of unknown version");
    version
        .split(['-', '+'])
        .next()
        .unwrap_or(version)
        .to_string()
}

fn open_to_all(path: &Path) -> Outcome {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).map_err(|e| format!("{}: {e}", path.display()))
}
