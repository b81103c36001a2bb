//! One rights matrix through every door: what `polyport user can` says is what HTTP, FTP and
//! tcp-files do, and what an MQTT broker grants.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use polyport_testkit::{Client, Host, PATIENCE};
use serde_json::Value;

const ACCOUNTS: &str = "\
[group:staff]
allow.docs = list,read /**
deny.1 = all /priv/**
[u0]
[u1]
rights = none
[u2]
rights = read, list
[u3]
allow.1 = all /home/%u/**
[u4]
allow.1 = list,read /pub/**
allow.2 = create /pub/in/**
[u5]
deny.1 = write,delete /pub/**
[u6]
groups = staff
[u7]
groups = staff
rights.ftp = delete
[u8]
allow.1 = read /**/f.txt
[u9]
allow.1 = all /a b/**
deny.1.files = read /a b/f.txt
";

const ACCOUNT_COUNT: usize = 10;
const FOLDERS: [&str; 6] = ["", "/pub", "/pub/in", "/priv", "/home/u3", "/a b"];
const ACTIONS: [&str; 5] = ["list", "read", "write", "create", "delete"];

/// The accounts, all with the password \"x\".
fn accounts(text: &str) -> String {
    text.lines()
        .map(|line| match line.starts_with("[u") {
            true => format!("{line}\npassword = x\n"),
            false => format!("{line}\n"),
        })
        .collect()
}

fn can(host: &Host, user: &str, service: &str, action: &str, target: &str) -> bool {
    let answer = host.command(&["user", "can", user, service, action, target]);
    assert!(matches!(answer.code, Some(0 | 1)), "{answer}");
    answer.code == Some(0)
}

/// What is asked for: the folder for `list`, else a file that is or is not there.
fn target(folder: &str, action: &str) -> String {
    match action {
        "list" => format!("{folder}/"),
        "create" => format!("{folder}/new.txt"),
        "delete" => format!("{folder}/gone.txt"),
        _ => format!("{folder}/f.txt"),
    }
}

/// The files as every cell of the matrix finds them.
fn prepare(host: &Host, folder: &str) {
    let folder = host
        .path()
        .join("files")
        .join(folder.trim_start_matches('/'));
    fs::write(folder.join("f.txt"), "f").unwrap();
    fs::write(folder.join("gone.txt"), "gone").unwrap();
    let _ = fs::remove_file(folder.join("new.txt"));
}

fn curl(arguments: &[&str]) -> (Option<i32>, String) {
    let done = Client::new("curl")
        .args(["-s", "-o", "/dev/null"])
        .args(arguments)
        .stdin("x")
        .run();
    (done.code, done.stdout())
}

/// None where the protocol has no such action.
fn http(host: &Host, user: &str, action: &str, target: &str) -> Option<bool> {
    let url = format!(
        "http://{}{}",
        host.addr("files"),
        target.replace(' ', "%20")
    );
    let login = format!("{user}:x");
    let mut arguments = vec!["-w", "%{http_code}", "-u", &login, &url];
    match action {
        "write" | "create" => arguments.extend(["-T", "-"]),
        "delete" => return None,
        _ => {}
    }
    let (code, status) = curl(&arguments);
    assert_eq!(code, Some(0), "{url}");
    match status.as_str() {
        "200" | "201" | "204" => Some(true),
        "403" | "404" => Some(false),
        other => panic!("{user} {action} {target}: {other}"),
    }
}

fn ftp(host: &Host, user: &str, action: &str, target: &str) -> bool {
    let root = format!("ftp://{}", host.addr("ftp"));
    let url = format!("{root}{}", target.replace(' ', "%20"));
    let login = format!("{user}:x");
    let delete = format!("DELE {target}");
    let arguments = match action {
        "write" | "create" => vec!["-T", "-", &url],
        "delete" => vec!["-I", "-Q", &delete, &root],
        _ => vec![url.as_str()],
    };
    let both = [&["--ftp-method", "nocwd", "-u", &login][..], &arguments].concat();
    match curl(&both).0 {
        Some(0) => true,
        // A refused command before the transfer, LIST, RETR or STOR.
        Some(19 | 21 | 25 | 78) => false,
        other => panic!("{user} {action} {target}: {other:?}"),
    }
}

fn tcp_files(host: &Host, user: &str, target: &str) -> bool {
    let mut stream: TcpStream = host.connect("tcp-files");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let login = serde_json::json!({ "action_type": "auth", "username": user, "password": "x" });
    stream.write_all(login.to_string().as_bytes()).unwrap();
    let mut answer = [0; 1024];
    stream.read_exact(&mut answer).unwrap();
    let request = serde_json::json!({ "cmd": "get", "file": target });
    stream.write_all(request.to_string().as_bytes()).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut header = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header.get("file_size").is_some()
}

#[test]
fn one_matrix_of_path_rights_through_http_ftp_and_tcp_files() {
    let mut builder = Host::builder()
        .service("files")
        .service("ftp")
        .service("tcp-files")
        .accounts(&accounts(ACCOUNTS));
    for folder in FOLDERS {
        builder = builder.file(format!("files{folder}/f.txt"), "f");
    }
    let host = builder.start();
    let mut wrong = Vec::new();
    let (mut allowed, mut denied) = (0, 0);
    for number in 0..ACCOUNT_COUNT {
        let user = format!("u{number}");
        for folder in FOLDERS {
            for action in ACTIONS {
                let target = target(folder, action);
                let mut compare = |service: &str, did: bool| {
                    let may = can(&host, &user, service, action, &target);
                    *(if may { &mut allowed } else { &mut denied }) += 1;
                    if did != may {
                        wrong.push(format!(
                            "{user} {service} {action} {target}: may {may}, did {did}"
                        ));
                    }
                };
                prepare(&host, folder);
                if let Some(did) = http(&host, &user, action, &target) {
                    compare("files", did);
                }
                prepare(&host, folder);
                compare("ftp", ftp(&host, &user, action, &target));
                if action == "read" {
                    compare("tcp-files", tcp_files(&host, &user, &target));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(allowed > 100 && denied > 100, "{allowed} {denied}");
}

#[test]
fn one_matrix_of_topic_rights_through_mqtt_3_1_1_and_5() {
    let rules = "[u0]\n[u1]\nrights = none\n[u2]\nallow.1 = publish,subscribe own/%u/#\n\
                 [u3]\nrights = publish,subscribe\ndeny.1 = all secret/#\n[u4]\nallow.1 = subscribe +/state\n";
    let host = Host::builder()
        .service("mqtt")
        .accounts(&accounts(rules))
        .start();
    let port = host.port("mqtt").to_string();
    let (mut allowed, mut denied) = (0, 0);
    for user in ["u0", "u1", "u2", "u3", "u4"] {
        for version in ["311", "5"] {
            let login = [
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-V",
                version,
                "-q",
                "1",
                "-u",
                user,
                "-P",
                "x",
            ];
            for filter in [
                "own/u2/x", "own/u2/#", "own/#", "#", "secret/x", "+/x", "a/state",
            ] {
                let done = Client::new("mosquitto_sub")
                    .args(login)
                    .args(["-E", "-t", filter])
                    .run();
                let said = done.stdout() + &done.stderr();
                let did = !said.contains("denied");
                let may = can(&host, user, "mqtt", "subscribe", filter);
                assert_eq!(did, may, "{user} {version} {filter}: {said}");
                *(if may { &mut allowed } else { &mut denied }) += 1;
            }
            // 3.1.1 has no word for a refused message: only 5.0 is asked.
            for topic in ["own/u2/x", "own/u1/x", "secret", "a/state"] {
                let may = can(&host, user, "mqtt", "publish", topic);
                let done = Client::new("mosquitto_pub")
                    .args(login)
                    .args(["-t", topic, "-m", "x"])
                    .run();
                if version == "5" {
                    assert_eq!(
                        !done.stderr().contains("failed"),
                        may,
                        "{user} {topic}: {done}"
                    );
                }
            }
        }
    }
    assert!(allowed > 10 && denied > 10, "{allowed} {denied}");
}
