//! Symbolic links in the root, and things that are no files.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::attempt;
use super::doors::Doors;
use super::field::{Field, PASSWORD, USER, told};
use super::wire::ftp::Ftp;
use super::wire::http::Http;
use super::wire::tcp_files::TcpFiles;
use polyport_testkit::Client;

/// Links out of the root, of both kinds of targets.
const LINKS: [(&str, &str); 24] = [
    ("link-a", "../outside/secret-a.txt"),
    ("link-b", "../outside/secret-b.txt"),
    ("abs/link-a", "{top}/outside/secret-a.txt"),
    ("abs/link-b", "{top}/outside/secret-b.txt"),
    ("chain-a", "hop/link-a"),
    ("chain-b", "hop/link-b"),
    ("hop/link-a", "../abs/link-a"),
    ("hop/link-b", "../abs/link-b"),
    ("vault-a", "../outside/vault-a"),
    ("vault-b", "../outside/vault-b"),
    ("abs/vault-a", "{top}/outside/vault-a"),
    ("abs/vault-b", "{top}/outside/vault-b"),
    ("half/link-a", "../sub/../../outside/secret-a.txt"),
    ("half/link-b", "../sub/../../outside/secret-b.txt"),
    ("deep/er/link-a", "../../../outside/secret-a.txt"),
    ("deep/er/link-b", "../../../outside/secret-b.txt"),
    ("rel", "../outside"),
    ("fixed", "{top}/outside"),
    ("up", ".."),
    ("slash", "/"),
    ("proc", "/proc/self/root"),
    ("cwd", "/proc/self/cwd"),
    ("loop", "loop"),
    ("self", "."),
];

/// Paths through them.
const PATHS: [&str; 30] = [
    "link-{x}",
    "link-{x}/",
    "abs/link-{x}",
    "chain-{x}",
    "hop/link-{x}",
    "half/link-{x}",
    "deep/er/link-{x}",
    "self/link-{x}",
    "self/self/chain-{x}",
    "rel/secret-{x}.txt",
    "rel/vault-{x}",
    "rel/vault-{x}/secret-a.txt",
    "rel/new-{x}.txt",
    "fixed/secret-{x}.txt",
    "fixed/vault-{x}",
    "fixed/vault-{x}/new.txt",
    "vault-{x}",
    "vault-{x}/",
    "vault-{x}/secret-a.txt",
    "vault-{x}/new.txt",
    "abs/vault-{x}/new.txt",
    "abs/vault-{x}/..",
    "up/outside/secret-{x}.txt",
    "up/files-{x}",
    "slash{top}/outside/secret-{x}.txt",
    "proc{top}/outside/secret-{x}.txt",
    "proc{top}/outside/vault-{x}",
    "cwd/outside/secret-{x}.txt",
    "loop/secret-{x}.txt",
    "rel/../outside/secret-{x}.txt",
];

fn out_by_link(mut field: Field) {
    let mut doors = Doors::open(&field);
    let top = field.top.to_str().unwrap().to_owned();
    let mut wrong = Vec::new();
    for path in PATHS {
        let path = path.replace("{top}", &top);
        wrong.extend(attempt(&mut field, &mut doors, path.as_bytes()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_link_leads_out_where_links_are_followed_inside() {
    out_by_link(Field::new("symlinks = \"inside\"", &LINKS));
}

#[test]
fn no_link_leads_out_where_links_are_never_followed() {
    out_by_link(Field::new("symlinks = \"never\"", &LINKS));
}

#[test]
fn no_link_leads_out_of_a_home() {
    out_by_link(Field::homed(&LINKS));
}

/// A folder with a link says the same whether the link's target is there.
#[test]
fn neither_listings_nor_archives_show_what_links_out() {
    for policy in ["inside", "never"] {
        let links = [
            ("one/link", "../../outside/secret-a.txt"),
            ("two/link", "../../outside/secret-b.txt"),
        ];
        let folders = [
            ("one/vault", "../../outside/vault-a"),
            ("two/vault", "../../outside/vault-b"),
        ];
        let field = Field::new(
            &format!("symlinks = {policy:?}"),
            &[links, folders].concat(),
        );
        let mut ftp = Ftp::login(field.host.addr("ftp"), USER, PASSWORD);
        let mut files = Http::login(field.host.addr("files"), USER, PASSWORD);
        let mut answers = Vec::new();
        for folder in ["one", "two"] {
            let mut answer = Vec::new();
            for verb in ["LIST", "LIST -la", "NLST", "MLSD"] {
                let (replies, data) = ftp.download(format!("{verb} /{folder}")).unwrap();
                assert_eq!(replies[1].code, 226, "{verb} {replies:?}");
                answer.extend(data);
            }
            for query in ["", "?format=json"] {
                let listing = files.request("GET", format!("/{folder}/{query}"), &[], b"");
                let listing = listing.unwrap();
                assert_eq!(listing.status, 200, "{listing:?}");
                answer.extend(listing.body);
            }
            assert_eq!(told(&answer), None, "{policy} {folder}");
            answers.push(String::from_utf8_lossy(&answer).replace("two", "one"));
        }
        assert_eq!(answers[0], answers[1], "{policy}");

        // What is packed can only be seen unpacked.
        for (kind, list) in [("tar.gz", "tarfile"), ("zip", "zipfile")] {
            let archive = files
                .request("GET", format!("/?archive={kind}"), &[], b"")
                .unwrap();
            assert_eq!(archive.status, 200, "{archive:?}");
            let name = field.host.path().join(format!("all.{kind}"));
            std::fs::write(&name, archive.body).unwrap();
            let unpacked = field.host.path().join(format!("unpacked-{policy}-{list}"));
            let script = match list {
                "tarfile" => {
                    "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])"
                }
                _ => "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])",
            };
            let done = Client::new("python3")
                .args(["-c", script])
                .arg(&name)
                .arg(&unpacked)
                .run();
            assert_eq!(done.code, Some(0), "{done}");
            let found = Client::new("find")
                .arg(&unpacked)
                .args(["-printf", "%P %y\n"])
                .run()
                .stdout();
            let held = Client::new("grep")
                .args(["-rF", "secret"])
                .arg(&unpacked)
                .run()
                .stdout();
            assert!(found.contains("ok.txt f"), "{kind}: {found}");
            assert!(
                !found.contains(" l") && !found.contains("link"),
                "{policy} {kind}: {found}"
            );
            assert_eq!(held, "", "{policy} {kind}");
        }
    }
}

/// Pipes, sockets and devices are not opened, let alone waited for: that would take longer than the clients wait.
#[test]
fn what_is_no_file_is_never_served() {
    let field = Field::new("", &[("pipe-link", "pipe"), ("null-link", "null")]);
    let at = |name: &str| field.root.join(name);
    let made = Client::new("mkfifo").arg(at("pipe")).run();
    assert_eq!(made.code, Some(0), "{made}");
    let _socket = UnixListener::bind(at("socket")).unwrap();
    // Only root may make devices.
    let made = Client::new("mknod")
        .arg(at("null"))
        .args(["c", "1", "3"])
        .run();
    if made.code != Some(0) {
        symlink("/dev/null", at("null")).unwrap();
    }
    let mut ftp = Ftp::login(field.host.addr("ftp"), USER, PASSWORD);
    let mut files = Http::login(field.host.addr("files"), USER, PASSWORD);
    let mut tcp_files = TcpFiles::login(field.host.addr("tcp-files"), USER, PASSWORD);
    for name in ["pipe", "socket", "null", "pipe-link", "null-link"] {
        for method in ["GET", "PUT"] {
            let answer = files.request(method, format!("/{name}"), &[], b"").unwrap();
            assert!(
                (400..500).contains(&answer.status),
                "{method} {name}: {answer:?}"
            );
        }
        let replies = ftp.download(format!("RETR {name}")).unwrap().0;
        assert_eq!(replies[0].code, 550, "{name}: {replies:?}");
        for verb in ["STOR", "APPE"] {
            let replies = ftp.upload(format!("{verb} {name}"), b"x").unwrap();
            assert!(
                (500..560).contains(&replies[0].code),
                "{verb} {name}: {replies:?}"
            );
        }
        let (header, _) = tcp_files.get(name).unwrap();
        assert_eq!(header.get("file_size"), None, "{name}: {header}");
    }
    for name in ["pipe", "socket", "null"] {
        assert!(
            !std::fs::symlink_metadata(at(name)).unwrap().is_file(),
            "{name} was replaced"
        );
    }
}
