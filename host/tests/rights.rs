//! One rights matrix through every door: what `polyport user can` says is what HTTP, FTP,
//! tcp-files and json-api do, and what an MQTT broker grants and delivers.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod wire;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use polyport_testkit::{Client, Host, PATIENCE};
use serde_json::Value;
use wire::http::Http;
use wire::mqtt::{Level, Mqtt};

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
allow.2 = all /%u/**
[u4]
allow.1 = list,read /pub/**
allow.2 = create /pub/in/**
allow.3 = create,read /in.box/**
[u5]
deny.1 = write,delete /pub/**
deny.2 = list /docs
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

/// What json-api can have of paths: a collection and an id.
const COLLECTIONS: [&str; 6] = ["/pub", "/priv", "/u3", "/in.box", "/docs", "/a~b"];

const TOPICS: [&str; 9] = [
    "own/u2/x", "own/u1/x", "secret", "secret/x", "a/state", "dev/c7/x", "dev/c8/x", "u6/c7/x",
    "u6/c8/x",
];

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

/// The documents as every cell of the matrix finds them.
fn prepare_documents(root: &mut Http, collection: &str) {
    let kind = [("content-type", "application/json")];
    for there in ["f.txt", "gone.txt"] {
        let put = root
            .request("PUT", format!("{collection}/{there}"), &kind, b"1")
            .unwrap();
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    }
    let gone = root
        .request("DELETE", format!("{collection}/new.txt"), &[], b"")
        .unwrap();
    assert!(matches!(gone.status, 204 | 404), "{gone:?}");
}

fn json(host: &Host, user: &str, action: &str, target: &str) -> bool {
    let url = format!(
        "http://{}{}",
        host.addr("json"),
        target.trim_end_matches('/')
    );
    let login = format!("{user}:x");
    let mut arguments = vec!["-w", "%{http_code}", "-u", &login, &url];
    match action {
        "write" | "create" => arguments.extend(["-T", "-", "-H", "content-type: application/json"]),
        "delete" => arguments.extend(["-X", "DELETE"]),
        _ => {}
    }
    let done = Client::new("curl")
        .args(["-s", "-o", "/dev/null"])
        .args(arguments)
        .stdin("2")
        .run();
    match done.stdout().as_str() {
        "200" | "201" | "204" => true,
        "403" => false,
        other => panic!("{user} {action} {target}: {other}"),
    }
}

#[test]
fn one_matrix_of_path_rights_through_json_api() {
    let host = Host::builder()
        .service("json")
        .accounts(&accounts(&format!("{ACCOUNTS}[u10]\n")))
        .start();
    let mut root = Http::login(host.addr("json"), "u10", "x");
    let mut wrong = Vec::new();
    let (mut allowed, mut denied) = (0, 0);
    for number in 0..ACCOUNT_COUNT {
        let user = format!("u{number}");
        for collection in COLLECTIONS {
            for action in ACTIONS {
                let target = target(collection, action);
                prepare_documents(&mut root, collection);
                let did = json(&host, &user, action, &target);
                let may = can(&host, &user, "json", action, target.trim_end_matches('/'));
                *(if may { &mut allowed } else { &mut denied }) += 1;
                if did != may {
                    wrong.push(format!("{user} {action} {target}: may {may}, did {did}"));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(allowed > 50 && denied > 50, "{allowed} {denied}");
}

#[test]
fn one_matrix_of_topic_rights_through_mqtt_3_1_1_and_5() {
    let rules = "[u0]\n[u1]\nrights = none\n[u2]\nallow.1 = publish,subscribe own/%u/#\n\
                 [u3]\nrights = publish,subscribe\ndeny.1 = all secret/#\n[u4]\nallow.1 = subscribe +/state\n\
                 [u5]\nallow.1 = publish,subscribe dev/%c/#\n\
                 [u6]\nallow.1 = publish,subscribe #\ndeny.1 = publish %u/%c/+\n";
    let host = Host::builder()
        .service("mqtt")
        .accounts(&accounts(rules))
        .start();
    let port = host.port("mqtt").to_string();
    let may = |user: &str, action: &str, topic: &str| {
        let arguments = [
            "user",
            "can",
            user,
            "mqtt",
            action,
            topic,
            "--client-id",
            "c7",
        ];
        let answer = host.command(&arguments);
        assert!(matches!(answer.code, Some(0 | 1)), "{answer}");
        answer.code == Some(0)
    };
    let mut observer = Mqtt::login(host.addr("mqtt"), Level::V311, "observer", "u0", "x");
    assert_eq!(observer.subscribe("#").unwrap(), 1);
    let (mut allowed, mut denied) = (0, 0);
    let mut wrong = Vec::new();
    for user in ["u0", "u1", "u2", "u3", "u4", "u5", "u6"] {
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
                "-i",
                "c7",
                "-u",
                user,
                "-P",
                "x",
            ];
            let mut compare = |what: String, may: bool, did: bool| {
                *(if may { &mut allowed } else { &mut denied }) += 1;
                if did != may {
                    wrong.push(format!("{user} {version} {what}: may {may}, did {did}"));
                }
            };
            for filter in [
                "own/u2/x", "own/u2/#", "own/u1/#", "secret/x", "secret/#", "+/state", "a/state",
                "dev/c7/#", "dev/c8/#", "u6/c7/x",
            ] {
                let done = Client::new("mosquitto_sub")
                    .args(login)
                    .args(["-E", "-t", filter])
                    .run();
                let said = done.stdout() + &done.stderr();
                compare(
                    format!("subscribe {filter}"),
                    may(user, "subscribe", filter),
                    !said.contains("denied"),
                );
            }
            // 3.1.1 has no word for a refused message: what counts is who receives it.
            for topic in TOPICS {
                let done = Client::new("mosquitto_pub")
                    .args(login)
                    .args(["-t", topic, "-m", "x"])
                    .run();
                let may = may(user, "publish", topic);
                if version == "5" {
                    assert_eq!(
                        !done.stderr().contains("failed"),
                        may,
                        "{user} {topic}: {done}"
                    );
                }
                compare(
                    format!("publish {topic}"),
                    may,
                    observer.received_before("end"),
                );
            }
            // Of a filter that stands for more than may be received, the rest comes.
            let level = match version {
                "5" => Level::V5,
                _ => Level::V311,
            };
            let mut client = Mqtt::login(host.addr("mqtt"), level, "c7", user, "x");
            if client.subscribe("#").unwrap() < 0x80 {
                let mut root = Mqtt::login(host.addr("mqtt"), level, "root", "u0", "x");
                for topic in TOPICS {
                    assert_eq!(root.publish(topic, "x").unwrap(), 0);
                }
                assert!(observer.received_before("end"));
                let received = client.received();
                for topic in TOPICS {
                    let did = received.iter().any(|one| one == topic);
                    compare(
                        format!("receive {topic}"),
                        may(user, "subscribe", topic),
                        did,
                    );
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(allowed > 40 && denied > 40, "{allowed} {denied}");
}

/// A client chooses its identifier: as a pattern, it would open the topics of others.
#[test]
fn a_client_identifier_is_no_pattern() {
    let rules = "[root]\n[u0]\nallow.1 = publish,subscribe dev/%c/#\n";
    let host = Host::builder()
        .service("mqtt")
        .accounts(&rules.replace("]\n", "]\npassword = x\n"))
        .start();
    let addr = host.addr("mqtt");
    let mut observer = Mqtt::login(addr, Level::V311, "observer", "root", "x");
    assert_eq!(observer.subscribe("dev/#").unwrap(), 1);
    for level in [Level::V311, Level::V5] {
        for id in [
            "+", "#", "+/#", "c8/#", "c8/+", "/c8", "..", "%u", "%c", "$SYS",
        ] {
            for topic in ["dev/c8/x", "dev/u0/x", "dev/c8"] {
                // Another connection for each: a refusal may end it.
                let Ok((mut client, 0)) = Mqtt::try_login(addr, level, id, "u0", "x") else {
                    continue;
                };
                let _ = client.publish(topic, "x");
                assert!(
                    !observer.received_before("dev/end"),
                    "{level:?} {id} published {topic}"
                );
                let Ok((mut client, 0)) = Mqtt::try_login(addr, level, id, "u0", "x") else {
                    continue;
                };
                let granted = client.subscribe(topic).unwrap_or(0x80);
                assert!(
                    granted >= 0x80,
                    "{level:?} {id} subscribed to {topic}: {granted}"
                );
            }
        }
        let mut own = Mqtt::login(addr, level, "c8", "u0", "x");
        assert_eq!(own.publish("dev/c8/x", "x").unwrap(), 0);
        assert!(
            observer.received_before("dev/end"),
            "{level:?} its own topic"
        );
    }
}
