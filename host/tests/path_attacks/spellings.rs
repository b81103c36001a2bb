//! Paths that lead out by how they are written.

use super::attempt;
use super::doors::Doors;
use super::field::Field;

/// What a careless server may take for the folder above.
const UP: [&[u8]; 26] = [
    b"..",
    b"%2e%2e",
    b"%2E.",
    b".%2e",
    b"%252e%252e",
    b"%25252e%25252e",
    b"..%00",
    b"..\0",
    b"%00..",
    b"..%20",
    b".. ",
    b" ..",
    b"...",
    b"....",
    b"..;",
    b"..;/x/..",
    b"%c0%ae%c0%ae",
    b"\xc0\xae\xc0\xae",
    b"%e0%80%ae%e0%80%ae",
    b"%f0%80%80%ae.",
    b"\xff..",
    b"%u002e%u002e",
    "\u{2024}\u{2024}".as_bytes(),
    "\u{ff0e}\u{ff0e}".as_bytes(),
    b"sub/../..",
    b".//./..",
];

/// What it may take for a slash.
const SLASHES: [&[u8]; 10] = [
    b"/",
    b"//",
    b"/./",
    b"%2f",
    b"%252f",
    b"\\",
    b"%5c",
    b"%255c",
    b"%c0%af",
    "\u{2215}".as_bytes(),
];

/// Where they lead, from the folder above.
const TARGETS: [&str; 4] = [
    "outside/secret-{x}.txt",
    "outside/vault-{x}",
    "files-{x}/secret-{x}.txt",
    "secret-{x}.txt",
];

fn paths(field: &Field) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let top = field.top.to_str().unwrap();
    let join = |up: &[u8], slash: &[u8], times: usize, target: &str| {
        let mut path = [up, slash].concat().repeat(times);
        path.extend(
            target
                .replace('/', &String::from_utf8_lossy(slash))
                .into_bytes(),
        );
        path
    };
    for up in UP {
        paths.push(join(up, b"/", 1, TARGETS[0]));
        paths.push([b"sub/", &join(up, b"/", 2, TARGETS[0])[..]].concat());
        paths.push(join(up, b"/", 20, &format!("{}/{}", &top[1..], TARGETS[0])));
    }
    for slash in SLASHES {
        for target in TARGETS {
            paths.push(join(b"..", slash, 1, target));
        }
        paths.push(join(b"%2e%2e", slash, 1, TARGETS[0]));
        paths.push(
            [
                slash,
                &join(b"..", slash, 12, &format!("{}/{}", &top[1..], TARGETS[0]))[..],
            ]
            .concat(),
        );
    }
    for whole in [
        "{top}/outside/secret-{x}.txt",
        "/{top}/outside/secret-{x}.txt",
        "//{top}/outside/secret-{x}.txt",
        "proc/self/root{top}/outside/secret-{x}.txt",
        "/proc/self/root{top}/outside/secret-{x}.txt",
        "/proc/self/cwd/outside/secret-{x}.txt",
        "/proc/thread-self/root{top}/outside/vault-{x}",
        "file://{top}/outside/secret-{x}.txt",
        "~/outside/secret-{x}.txt",
        "~root/../{top}/outside/secret-{x}.txt",
        "C:\\..\\outside\\secret-{x}.txt",
        "\\\\?\\{top}/outside/secret-{x}.txt",
        "sub/../../outside/secret-{x}.txt",
        "ok.txt/../../outside/secret-{x}.txt",
        "missing/../../outside/secret-{x}.txt",
        "../files-{x}",
        "../files-{x}/",
        "../outside/vault-{x}/",
        "../outside/vault-{x}/.",
        "../outside/secret-{x}.txt.",
        "../outside/secret-{x}.txt ",
        "../outside/secret-{x}.txt%20",
        "../outside/secret-{x}.txt/",
        "../outside/secret-{x}.txt%00.txt",
        "../outside/secret-{x}.txt\0.txt",
        "../outside/secret-{x}.txt::$DATA",
        "../outside/*-{x}.txt",
        "../outside/[s]ecret-{x}.txt",
        "../*/secret-{x}.txt",
        "?path=../outside/secret-{x}.txt",
        "-la ../outside/vault-{x}",
        "-R ..",
        "../../../../../../../../../../etc/passwd",
        "/etc/passwd",
        "/etc/passwd%00-{x}",
        "/dev/zero-{x}",
    ] {
        paths.push(whole.replace("{top}", top).into_bytes());
    }
    paths
}

fn out_by_spelling(mut field: Field) {
    let mut doors = Doors::open(&field);
    let mut wrong = Vec::new();
    for path in paths(&field) {
        wrong.extend(attempt(&mut field, &mut doors, &path));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_spelling_leads_out_of_the_root() {
    out_by_spelling(Field::new("", &[]));
}

#[test]
fn no_spelling_leads_out_of_a_home() {
    out_by_spelling(Field::homed(&[]));
}

#[test]
fn names_of_any_length_are_answered() {
    let field = Field::new("", &[]);
    let mut doors = Doors::open(&field);
    for length in [255, 256, 1000, 4000, 4095, 4096, 5000] {
        for piece in ["x", "../", "x/", "%2e%2e/", "\u{fffd}"] {
            let path = piece.repeat(length / piece.len() + 1);
            for (door, answer) in doors.try_all(&field, path.as_bytes()) {
                assert!(!answer.is_empty(), "{door} {length} of {piece:?}");
            }
        }
    }
    assert_eq!(field.changed_outside(), None);
}
