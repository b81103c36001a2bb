//! Every way to name a path to a service.

use std::io;

use super::field::{Field, PASSWORD, USER};
use super::wire::ftp::{Ftp, Reply};
use super::wire::http::{Http, Response};
use super::wire::tcp_files::TcpFiles;

/// Open connections to all services.
pub struct Doors {
    files: Http,
    json: Http,
    ftp: Ftp,
    tcp_files: TcpFiles,
}

/// A door, and all that it answered.
pub type Answer = (&'static str, Vec<u8>);

/// A door, then the method, target, fields and body of a request.
type Try = (
    &'static str,
    &'static str,
    Vec<u8>,
    &'static [(&'static str, &'static str)],
    Vec<u8>,
);

/// FTP commands that answer on the control connection alone.
const COMMANDS: [&str; 7] = ["SIZE ", "MDTM ", "MLST ", "STAT ", "DELE ", "MKD ", "RMD "];
const DOWNLOADS: [&str; 6] = ["RETR ", "LIST ", "LIST -la ", "NLST ", "MLSD ", "STAT "];
const UPLOADS: [&str; 2] = ["STOR ", "APPE "];

const FORM: &str = "multipart/form-data; boundary=XX";
const JSON: (&str, &str) = ("content-type", "application/json");

impl Doors {
    pub fn open(field: &Field) -> Self {
        let host = &field.host;
        Self {
            files: Http::login(host.addr("files"), USER, PASSWORD),
            json: Http::login(host.addr("json"), USER, PASSWORD),
            ftp: Ftp::login(host.addr("ftp"), USER, PASSWORD),
            tcp_files: TcpFiles::login(host.addr("tcp-files"), USER, PASSWORD),
        }
    }

    /// Tries a path at every door and puts right what each did inside.
    pub fn try_all(&mut self, field: &Field, path: &[u8]) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.http(field, path, &mut answers);
        self.json(field, path, &mut answers);
        self.ftp(field, path, &mut answers);
        self.tcp_files(field, path, &mut answers);
        answers
    }

    fn http(&mut self, field: &Field, path: &[u8], answers: &mut Vec<Answer>) {
        let target = [b"/", path].concat();
        let encoded = [b"/", &encode(path)[..]].concat();
        let with = |target: &[u8], query: &str| [target, query.as_bytes()].concat();
        let form = |name: &[u8]| {
            let head = b"--XX\r\ncontent-disposition: form-data; name=\"path\"; filename=\"";
            [head, name, b"\"\r\n\r\nmine\r\n--XX--\r\n"].concat()
        };
        for target in [target, encoded] {
            let tries: [Try; 13] = [
                ("GET", "GET", target.clone(), &[], vec![]),
                ("HEAD", "HEAD", target.clone(), &[], vec![]),
                (
                    "GET of a range",
                    "GET",
                    target.clone(),
                    &[("range", "bytes=0-3")],
                    vec![],
                ),
                (
                    "GET if changed",
                    "GET",
                    target.clone(),
                    &[("if-none-match", "*")],
                    vec![],
                ),
                (
                    "GET by an absolute target",
                    "GET",
                    with(b"http://x", &String::from_utf8_lossy(&target)),
                    &[],
                    vec![],
                ),
                (
                    "GET of a listing",
                    "GET",
                    with(&target, "?format=json"),
                    &[],
                    vec![],
                ),
                (
                    "GET of a folder's listing",
                    "GET",
                    with(&target, "/?format=json"),
                    &[],
                    vec![],
                ),
                (
                    "GET of an archive",
                    "GET",
                    with(&target, "/?archive=tar.gz"),
                    &[],
                    vec![],
                ),
                ("PUT", "PUT", target.clone(), &[], b"mine".to_vec()),
                (
                    "PUT of what is new",
                    "PUT",
                    target.clone(),
                    &[("if-none-match", "*")],
                    b"mine".to_vec(),
                ),
                (
                    "POST of a form",
                    "POST",
                    with(&target, "/"),
                    &[("content-type", FORM)],
                    form(b"x.txt"),
                ),
                (
                    "POST to a path",
                    "POST",
                    [b"/upload?path=", &target[..]].concat(),
                    &[("content-type", FORM)],
                    form(b"x.txt"),
                ),
                ("DELETE", "DELETE", target.clone(), &[], vec![]),
            ];
            for (door, method, target, fields, body) in tries {
                let answer = self.files.request(method, &target, fields, &body);
                answers.push((door, told(answer)));
                field.reset();
            }
        }
        let form = form(path);
        let answer = self
            .files
            .request("POST", "/", &[("content-type", FORM)], &form);
        answers.push(("POST of a file of that name", told(answer)));
        field.reset();
    }

    fn json(&mut self, field: &Field, path: &[u8], answers: &mut Vec<Answer>) {
        for target in [
            [b"/", path].concat(),
            [b"/", &encode(path)[..]].concat(),
            [b"/beds/", &encode(path)[..]].concat(),
        ] {
            for (door, method, body) in [
                ("json-api GET", "GET", &b""[..]),
                ("json-api PUT", "PUT", b"1"),
                ("json-api POST", "POST", b"1"),
                ("json-api PATCH", "PATCH", b"1"),
                ("json-api DELETE", "DELETE", b""),
            ] {
                let fields: &[_] = if body.is_empty() { &[] } else { &[JSON] };
                let answer = self.json.request(method, &target, fields, body);
                // Documents are no files; their ids and revisions are never the same twice.
                let answer = answer.map(|answer| answer.status.to_string() + &answer.head);
                let mut answer = answer.unwrap_or_else(|error| error.kind().to_string());
                answer.retain(|c| !c.is_ascii_hexdigit());
                answers.push((door, answer.into_bytes()));
            }
        }
        field.reset();
    }

    fn ftp(&mut self, field: &Field, path: &[u8], answers: &mut Vec<Answer>) {
        // A line's end would make another command of the rest.
        let path: Vec<u8> = path
            .iter()
            .copied()
            .filter(|byte| !b"\r\n".contains(byte))
            .collect();
        let decoded = decode(&path);
        for path in [&path[..], &[b"/", &path[..]].concat(), &decoded] {
            if path.contains(&b'\n') || path.contains(&b'\r') {
                continue;
            }
            let with = |verb: &str| [verb.as_bytes(), path].concat();
            for verb in DOWNLOADS {
                let answer = self.ftp.download(with(verb));
                answers.push((verb, all(answer)));
            }
            for (verb, rest) in [("RETR ", "REST 1"), ("STOR ", "REST 1")] {
                let _ = self.ftp.command(rest);
                let answer = match verb {
                    "RETR " => self.ftp.download(with(verb)),
                    _ => self
                        .ftp
                        .upload(with(verb), b"mine")
                        .map(|replies| (replies, vec![])),
                };
                answers.push((verb, all(answer)));
                field.reset();
            }
            for verb in UPLOADS {
                let answer = self.ftp.upload(with(verb), b"mine");
                answers.push((verb, all(answer.map(|replies| (replies, vec![])))));
                field.reset();
            }
            let here = [&b"CWD "[..], path].concat();
            let steps: [(&'static str, Vec<Vec<u8>>); 6] = [
                (
                    "CWD",
                    vec![
                        here.clone(),
                        b"PWD".to_vec(),
                        b"CDUP".to_vec(),
                        b"PWD".to_vec(),
                        b"CWD /".to_vec(),
                    ],
                ),
                (
                    "CWD sub, CWD",
                    vec![
                        b"CWD sub".to_vec(),
                        here,
                        b"PWD".to_vec(),
                        b"CWD /".to_vec(),
                    ],
                ),
                ("RNFR", vec![with("RNFR "), b"RNTO /moved".to_vec()]),
                ("RNTO", vec![b"RNFR /ok.txt".to_vec(), with("RNTO ")]),
                (
                    "RNTO of a folder",
                    vec![b"RNFR /sub".to_vec(), with("RNTO ")],
                ),
                ("MFMT", vec![with("MFMT 20200101000000 ")]),
            ];
            for (door, commands) in steps {
                let replies: io::Result<Vec<Reply>> = commands
                    .into_iter()
                    .map(|line| self.ftp.try_command(line))
                    .collect();
                answers.push((door, all(replies.map(|replies| (replies, vec![])))));
                field.reset();
            }
            for verb in COMMANDS {
                let reply = self.ftp.try_command(with(verb));
                answers.push((verb, all(reply.map(|reply| (vec![reply], vec![])))));
                field.reset();
            }
        }
    }

    fn tcp_files(&mut self, field: &Field, path: &[u8], answers: &mut Vec<Answer>) {
        for path in [path.to_vec(), decode(path), [b"/", path].concat()] {
            let name = String::from_utf8_lossy(&path);
            let answer = match self.tcp_files.get(&name) {
                Ok((header, bytes)) => [header.to_string().as_bytes(), &bytes].concat(),
                Err(error) => {
                    let addr = field.host.addr("tcp-files");
                    self.tcp_files = TcpFiles::login(addr, USER, PASSWORD);
                    error.kind().to_string().into()
                }
            };
            answers.push(("tcp-files", answer));
        }
    }
}

/// A response without what differs from one time to the next.
fn told(answer: io::Result<Response>) -> Vec<u8> {
    match answer {
        Err(error) => error.kind().to_string().into(),
        Ok(answer) => {
            let passing = ["date:", "etag:", "last-modified:"];
            let head = answer.head.lines().filter(|line| {
                let line = line.to_ascii_lowercase();
                !passing.iter().any(|name| line.starts_with(name))
            });
            let mut told: Vec<u8> = head
                .flat_map(|line| [line.as_bytes(), b"\n"].concat())
                .collect();
            told.extend(answer.body);
            told
        }
    }
}

fn all(answer: io::Result<(Vec<Reply>, Vec<u8>)>) -> Vec<u8> {
    match answer {
        Err(error) => error.kind().to_string().into(),
        Ok((replies, data)) => {
            let replies = replies.into_iter().flat_map(|reply| reply.text);
            replies.chain(data).collect()
        }
    }
}

/// Everything that may not stand in a target as it is, `%` with it.
fn encode(path: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
    let encoded = path.iter().map(|byte| match plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect::<String>().into_bytes()
}

/// Takes percent signs for what they are in HTTP: a careless server would do so anywhere.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex
            .filter(|_| byte == b'%')
            .map(|hex| u8::from_str_radix(hex, 16))
        {
            Some(Ok(decoded)) => {
                out.push(decoded);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}
