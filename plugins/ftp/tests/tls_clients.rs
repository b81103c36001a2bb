//! FTPS with foreign clients, and beside vsftpd.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use polyport_testkit::{Client, Finished, Host, PATIENCE, Running, eventually};
use support::session::Session;
use support::tls::{Authority, BOTH};
use support::{files, script, sha256, write_noise};

const VERSIONS: [&str; 2] = ["1.2", "1.3"];

fn cut(file: &Path, len: u64) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_len(len).unwrap();
}

fn curl(host: &Host, arguments: &[&str]) -> Finished {
    let arguments = arguments.iter().map(|argument| host.expand(argument));
    Client::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(host.path().join("tls/ca.pem"))
        .args(["--user", "xzz:123456"])
        .args(arguments)
        .run()
}

/// curl of Debian 12 cannot do active mode with TLS, with no server: that is left to the others.
#[test]
fn curl_explicit_and_implicit_takes_up_its_session() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .settings("ftp", "require_ssl_reuse = true")
        .start();
    let sum = write_noise(&files(&host).join("noise.bin"), 5_000_000);
    let there = host.path().join("noise.bin");
    let path = there.to_str().unwrap();
    for version in VERSIONS {
        for url in [
            "ftp://localhost:{port:ftp}/",
            "ftps://localhost:{port:ftps}/",
        ] {
            for mode in ["--ftp-pasv", "--disable-epsv"] {
                let up = files(&host).join("up.bin");
                let _ = fs::remove_file(&up);
                let run = |more: &[&str], file: &str| {
                    let url = format!("{url}{file}");
                    let fixed = ["--ssl-reqd", "--tls-max", version, mode];
                    let all = [&fixed[..], more, &[&url]].concat();
                    curl(&host, &all).expect_success()
                };
                run(&["-o", path], "noise.bin");
                assert_eq!(sha256(&there), sum);
                cut(&there, 2_500_001);
                run(&["-C", "-", "-o", path], "noise.bin");
                assert_eq!(sha256(&there), sum);
                run(&["-T", path], "up.bin");
                assert_eq!(sha256(&up), sum);
                cut(&up, 1_234_567);
                run(&["-C", "-", "-T", path], "up.bin");
                assert_eq!(sha256(&up), sum);
                assert!(run(&[], "").stdout().contains(" noise.bin"));
            }
        }
        // it does not read the 522 behind the end of the data connection: 18 is a part of a file
        let mark = host.log_mark();
        let fresh = ["--ssl-reqd", "--tls-max", version, "--no-sessionid"];
        let url = ["ftp://localhost:{port:ftp}/noise.bin"];
        curl(&host, &[&fresh[..], &url].concat()).expect_code(18);
        host.wait_log(mark, "session reuse required");
    }
    // 67: a login that was refused, before the password was sent
    curl(&host, &["ftp://localhost:{port:ftp}/"]).expect_code(67);
    // 60: a certificate that nobody vouches for; 35: with a signature that does not fit
    let stranger = Authority::new().pem();
    fs::write(host.path().join("tls/stranger.pem"), stranger).unwrap();
    let mistrust = ["--cacert", "{dir}/tls/stranger.pem", "--ssl-reqd"];
    let url = ["ftp://localhost:{port:ftp}/"];
    let refused = curl(&host, &[&mistrust[..], &url].concat());
    assert!(matches!(refused.code, Some(35 | 60)), "{:?}", refused.code);
}

#[test]
fn lftp_in_both_modes_and_versions() {
    let authority = Authority::new();
    let host = authority.builder().start();
    let folder = files(&host);
    let sum = write_noise(&folder.join("noise.bin"), 5_000_000);
    let away = tempfile::tempdir().unwrap();
    let there = away.path().join("noise.bin");
    let lftp = |settings: &str, url: &str, commands: &str| {
        let common = "set cmd:fail-exit true; set net:max-retries 2; set net:timeout 20; \
                      set ssl:verify-certificate yes; set ssl:ca-file {dir}/tls/ca.pem; \
                      set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set xfer:clobber yes";
        let text = format!("{common}; {settings}; open -u xzz,123456 {url}; {commands}; bye");
        Client::new("lftp")
            .args(["--norc", "-c", &host.expand(&text)])
            .current_dir(away.path())
            .env("LFTP_HOME", away.path())
            .env("LC_ALL", "C.UTF-8")
            .limit(Duration::from_secs(60))
            .run()
    };
    for version in VERSIONS {
        for passive in ["on", "off"] {
            for url in ["ftp://localhost:{port:ftp}", "ftps://localhost:{port:ftps}"] {
                let settings = format!(
                    "set ftp:passive-mode {passive}; set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS{version}"
                );
                let run = |commands: &str| lftp(&settings, url, commands).expect_success();
                run("get noise.bin");
                assert_eq!(sha256(&there), sum);
                cut(&there, 1_000_001);
                run("get -c noise.bin; put noise.bin -o up.bin; cls -l");
                assert_eq!(sha256(&there), sum);
                assert_eq!(sha256(&folder.join("up.bin")), sum);
                cut(&folder.join("up.bin"), 999_999);
                run("put -c noise.bin -o up.bin");
                assert_eq!(sha256(&folder.join("up.bin")), sum);
            }
        }
    }
    fs::write(host.path().join("tls/ca.pem"), Authority::new().pem()).unwrap();
    let refused = lftp("", "ftp://localhost:{port:ftp}", "cls");
    assert_ne!(refused.code, Some(0), "a foreign authority is not trusted");
}

#[test]
fn python_ftplib_with_and_without_its_session() {
    let authority = Authority::new();
    for demands in ["yes", "no"] {
        let required = demands == "yes";
        let host = authority
            .builder()
            .settings("ftp", &format!("require_ssl_reuse = {required}"))
            .start();
        let implicit = host.port("ftps").to_string();
        let ca = host.expand("{dir}/tls/ca.pem");
        script(&host, "ftps_with_ftplib.py", &[&implicit, &ca, demands]);
    }
}

/// vsftpd on the files of the host, for clients without an account.
struct Vsftpd {
    port: u16,
    _running: Running,
}

impl Vsftpd {
    fn start(host: &Host) -> Self {
        let config = host.expand(
            "listen=YES\nlisten_ipv6=NO\nlisten_address=127.0.0.1\nlisten_port={port:vsftpd}\n\
             background=NO\nrun_as_launching_user=YES\nanonymous_enable=YES\nlocal_enable=YES\n\
             ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\n\
             force_anon_data_ssl=YES\nrequire_ssl_reuse=NO\nanon_root={dir}/pub\n\
             secure_chroot_dir={dir}/pub\nrsa_cert_file={dir}/tls/cert.pem\n\
             rsa_private_key_file={dir}/tls/key.pem\n",
        );
        // it refuses a folder that it could write
        let folder = host.path().join("pub");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
        let path = host.path().join("vsftpd.conf");
        fs::write(&path, config).unwrap();
        let this = Self {
            port: host.port("vsftpd"),
            _running: Client::new("vsftpd").arg(path).spawn(),
        };
        eventually("vsftpd", || {
            TcpStream::connect(("127.0.0.1", this.port)).ok()
        });
        this
    }

    fn connect(&self) -> Session {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Session::over(stream)
    }
}

/// The same dialogue with vsftpd has the same replies, to the letter.
#[test]
fn vsftpd_answers_the_same() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .settings(
            "ftp",
            "force_anon_data_ssl = true\nforce_anon_logins_ssl = true",
        )
        .start();
    let vsftpd = Vsftpd::start(&host);
    let client = authority.trust(BOTH, None);
    let connect = || (Session::connect(&host, "ftp"), vsftpd.connect());
    let same = |(ours, theirs): &mut (Session, Session), command: &str| {
        assert_eq!(ours.command(command), theirs.command(command), "{command}");
    };
    let mut clear = connect();
    for command in [
        "AUTH",
        "AUTH FOO",
        "PBSZ 0",
        "PROT P",
        "PROT C",
        "USER somebody",
    ] {
        same(&mut clear, command);
    }
    for command in ["AUTH TLS-C", "AUTH TLS-P", "AUTH SSL", "auth tls"] {
        same(&mut connect(), command);
    }
    let (ours, theirs) = connect();
    let mut secure = (ours.secure(&client), theirs.secure(&client));
    for command in [
        "PBSZ 0", "PBSZ 5", "PROT P", "PROT S", "PROT E", "PROT X", "PROT", "PROT C", "USER ftp",
        "PASS x",
    ] {
        same(&mut secure, command);
    }
    let _ = (secure.0.passive(), secure.1.passive());
    for command in ["NLST", "RETR a.txt", "PROT P", "TYPE I"] {
        same(&mut secure, command);
    }
    let list = |session: &mut Session| {
        let mut data = session.secure_data(&client);
        let begins = session.command("NLST");
        let mut names = String::new();
        data.read_to_string(&mut names).unwrap();
        // vsftpd waits for it
        data.finish();
        drop(data);
        (begins, names, session.reply())
    };
    assert_eq!(list(&mut secure.0), list(&mut secure.1));
}

#[test]
fn polyport_client_explicit_and_implicit_takes_up_its_session() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .settings("ftp", "require_ssl_reuse = true")
        .start();
    let sum = write_noise(&files(&host).join("noise.bin"), 5_000_000);
    let client = |arguments: &[&str], cafile: &str| {
        let arguments = arguments.iter().map(|argument| host.expand(argument));
        let client = host.client(&["ftp"]).args(arguments);
        let client = client.args(["--cafile", &host.expand(cafile)]);
        client.env("POLYPORT_PASSWORD", "123456").run()
    };
    let there = host.path().join("noise.bin");
    for (url, tls) in [
        ("ftp://xzz@localhost:{port:ftp}/", &["--tls"][..]),
        ("ftps://xzz@localhost:{port:ftps}/", &[]),
    ] {
        let run = |arguments: &[&str]| {
            client(&[arguments, tls].concat(), "{dir}/tls/ca.pem").expect_success()
        };
        let noise = format!("{url}noise.bin");
        run(&["get", &noise]);
        assert_eq!(sha256(&there), sum);
        let up = format!("{url}up.bin");
        run(&["put", "noise.bin", &up]);
        assert_eq!(sha256(&files(&host).join("up.bin")), sum);
        assert!(run(&["list", url, "-1"]).stdout().contains("up.bin"));
        fs::remove_file(&there).unwrap();
        fs::remove_file(files(&host).join("up.bin")).unwrap();
        // neither a password in clear nor a server that nobody vouches for
        fs::write(host.path().join("tls/other.pem"), Authority::new().pem()).unwrap();
        let all = [&["get", &noise, "--retries", "0"], tls].concat();
        client(&all, "{dir}/tls/other.pem").expect_code(1);
    }
    assert!(!there.exists());
}
