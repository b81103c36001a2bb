//! A path that a rule denies stays denied however it is written.

use super::attempt;
use super::doors::Doors;
use super::field::Field;
use super::wire::ftp::Ftp;
use super::wire::http::Http;
use super::wire::tcp_files::TcpFiles;
use polyport_testkit::Host;

const DENIED: &[u8] = b"denied content 55d1";

/// A name that no path says.
const UNSEEN: &str = "unseen-66";

const SPELLINGS: [&str; 30] = [
    "priv/key.txt",
    "/priv/key.txt",
    "//priv//key.txt",
    "./priv/./key.txt",
    "sub/../priv/key.txt",
    "missing/../priv/key.txt",
    "../priv/key.txt",
    "priv/../priv/key.txt",
    "priv/sub/../key.txt",
    "priv/key.txt/",
    "priv/key.txt/.",
    "priv/",
    "priv/.",
    "priv/..//priv",
    "%70riv/key.txt",
    "priv%2fkey.txt",
    "%2fpriv/key.txt",
    "sub%2f..%2fpriv/key.txt",
    "sub/%2e%2e/priv/key.txt",
    "%2e/priv/key.txt",
    "priv/%2e/key.txt",
    "priv\\key.txt",
    "PRIV/key.txt",
    "priv./key.txt",
    "priv%20/key.txt",
    "priv/key.txt%00",
    "priv/key.txt.",
    "priv;/key.txt",
    "priv/key.txt;x",
    "priv?/../key.txt",
];

/// Whether a path means the folder, as opposed to a strange name of its own.
fn is_denied(path: &str) -> bool {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.first() == Some(&"priv")
}

#[test]
fn no_spelling_gets_around_a_rule() {
    let host = Host::builder()
        .service("files")
        .service("ftp")
        .service("tcp-files")
        .accounts("[mallory]\npassword = x\nallow.1 = all /**\ndeny.1 = all /priv/**\n")
        .file("files/priv/key.txt", DENIED)
        .file(format!("files/priv/{UNSEEN}"), DENIED)
        .file("files/priv/sub/key.txt", DENIED)
        .file("files/sub/ok.txt", "fine")
        .start();
    let mut files = Http::login(host.addr("files"), "mallory", "x");
    let mut ftp = Ftp::login(host.addr("ftp"), "mallory", "x");
    let mut tcp_files = TcpFiles::login(host.addr("tcp-files"), "mallory", "x");
    let told = |answer: &[u8]| {
        [DENIED, UNSEEN.as_bytes()]
            .iter()
            .any(|word| answer.windows(word.len()).any(|part| part == *word))
    };
    for path in SPELLINGS {
        for query in ["", "?format=json", "/?format=json", "?archive=zip"] {
            let answer = files
                .request("GET", format!("/{path}{query}"), &[], b"")
                .unwrap();
            let is_archive = answer.head.contains("application/zip");
            assert!(
                !told(&answer.body) && !is_archive,
                "{path}{query}: {answer:?}"
            );
        }
        let _ = files.request("PUT", format!("/{path}"), &[], b"mine");
        for verb in ["RETR", "NLST", "MLSD", "LIST"] {
            for path in [path.to_owned(), format!("/{path}")] {
                let (replies, data) = ftp.download(format!("{verb} {path}")).unwrap();
                assert!(!told(&data), "{verb} {path}: {replies:?}");
            }
        }
        for line in ["CWD /", "SIZE ", "MDTM ", "MLST ", "DELE "] {
            let reply = ftp.command(format!("{line}{path}"));
            assert!(
                line == "CWD /" || reply.code >= 500 || !is_denied(path),
                "{line}{path}: {reply:?}"
            );
        }
        // Relative to a folder that was entered, or refused to be.
        for line in [
            "CWD /priv",
            "CWD ../priv",
            "CWD /sub/../priv",
            "CWD //priv/",
        ] {
            let reply = ftp.command(line);
            assert_eq!(reply.code, 550, "{line}");
        }
        ftp.command("RNFR /priv");
        assert!(ftp.command("RNTO /taken").code >= 500, "{path}");
        ftp.command(format!("RNFR {path}"));
        ftp.command("RNTO /taken");
        for verb in ["STOR", "APPE"] {
            let _ = ftp.upload(format!("{verb} {path}"), b"mine").unwrap();
        }
        ftp.command("CWD /");
        let (header, bytes) = tcp_files.get(path).unwrap();
        assert!(!told(&bytes), "{path}: {header}");
        for kept in ["files/priv/key.txt", "files/priv/sub/key.txt"] {
            assert_eq!(
                std::fs::read(host.path().join(kept)).unwrap(),
                DENIED,
                "{path}"
            );
        }
    }
}

#[test]
fn what_a_rule_denies_is_refused_alike_whether_it_is_there() {
    let mut field = Field::denied();
    let mut doors = Doors::open(&field);
    let mut wrong = Vec::new();
    for path in [
        "priv/secret-{x}.txt",
        "priv/secret-{x}.txt/",
        "priv/vault-{x}",
        "priv/vault-{x}/",
        "priv/vault-{x}/secret-a.txt",
        "priv/vault-{x}/new.txt",
        "sub/../priv/secret-{x}.txt",
        "priv/../priv/vault-{x}",
    ] {
        wrong.extend(attempt(&mut field, &mut doors, path.as_bytes()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who may delete but not read could otherwise move it to where reading is allowed.
#[test]
fn what_may_not_be_read_is_not_moved_to_where_it_may() {
    let host = Host::builder()
        .service("ftp")
        .accounts("[mallory]\npassword = x\nallow.1 = all /**\ndeny.1 = read /box/**\n")
        .file("files/box/key.txt", DENIED)
        .file("files/box/sub/key.txt", DENIED)
        .file("files/pub/ok.txt", "fine")
        .start();
    let mut ftp = Ftp::login(host.addr("ftp"), "mallory", "x");
    for (from, to, code) in [
        ("/box/key.txt", "/pub/key.txt", 550),
        ("/box/sub", "/pub/sub", 550),
        ("/box", "/opened", 550),
        ("/box/key.txt", "/box/renamed.txt", 250),
        ("/pub/ok.txt", "/box/ok.txt", 250),
    ] {
        assert_eq!(ftp.command(format!("RNFR {from}")).code, 350, "{from}");
        assert_eq!(ftp.command(format!("RNTO {to}")).code, code, "{from} {to}");
    }
}
