//! What the tests of this plugin have in common: accounts, a small HTTP client, the tutorial's record.

// Each test program uses a part of it, and a test may panic wherever it stands.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use polyport_testkit::{Builder, Host};

/// One account for each combination of rights that the API tells apart.
pub const ACCOUNTS: &str = "\
[anonymous]
rights = list read
[alice]
password = wonderland
[writer]
password = w
rights = read write
[creator]
password = c
rights = create
[nobody]
password = n
rights = none
";

/// A host that serves nothing but the JSON API.
pub fn json_host() -> Builder {
    Host::builder().service("json").accounts(ACCOUNTS)
}

/// The tutorial's record of a device, in its own layout: nested, with nulls, numbers and times.
pub const DEVICE: &str = r#"{"id": "a537dc8d-6756-4dd1-9dea-543f441a1d31",
  "sn": "0A0USZ095", "note": null,
  "created_at": "2019-10-03T21:23:31.294+08:00", "updated_at": "2020-12-18T21:30:25.407+08:00",
  "uuid": "ASM9260T11412101972700115", "mac": null, "stage": "active",
  "service_group_id": "6562de64-6322-48db-b3d9-412fdc394736", "iccid": null, "imei": null,
  "bunks": [{"id": "0f071eae-57cc-47a4-9248-820aa44c502d", "name": "1210_xiangzizhou",
    "created_at": "2020-01-14T16:23:30.669+08:00",
    "gravity_sensors": [
      {"idx": 1, "id": "f55e9ed7-0126-4bcd-afad-c000eaff5295", "sn": "0A0USC142", "uuid": null, "can_id": 522131, "k": 5.7865, "stage": "stock", "created_at": "2019-10-14T09:09:50.265+08:00", "main_board_id": "a537dc8d-6756-4dd1-9dea-543f441a1d31"},
      {"idx": 2, "id": "f55e9ed7-0126-4bcd-afad-c000eaff5295", "sn": "0A0USC142", "uuid": null, "can_id": 522131, "k": 5.78650, "stage": "stock", "created_at": "2019-10-14T09:09:50.265+08:00", "main_board_id": "a537dc8d-6756-4dd1-9dea-543f441a1d31"}
    ]}]
}
"#;

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field; panics if it stands twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    /// The values of `WWW-Authenticate`.
    pub fn challenges(&self) -> Vec<&str> {
        let fields = self.headers.iter();
        let named = fields.filter(|(name, _)| name == "www-authenticate");
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn etag(&self) -> String {
        self.header("etag")
            .unwrap_or_else(|| panic!("no ETag: {self:?}"))
            .to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Panics unless this is a problem (RFC 9457) of this status whose detail contains a text.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, detail: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        let told = problem["detail"].as_str().unwrap_or_default();
        assert!(told.contains(detail), "expected {detail:?} in {told:?}");
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{:?} {shown}", self.headers);
        self
    }
}

/// A client on one kept connection, of an account unless told otherwise.
pub struct Http {
    stream: BufReader<TcpStream>,
    authorization: Option<String>,
}

impl Http {
    /// Without an account.
    pub fn anonymous(host: &Host) -> Self {
        Self {
            stream: BufReader::new(host.connect("json")),
            authorization: None,
        }
    }

    /// As an account of [`ACCOUNTS`].
    pub fn account(host: &Host, credentials: &str) -> Self {
        let authorization = Some(format!("Basic {}", base64(credentials.as_bytes())));
        Self {
            authorization,
            ..Self::anonymous(host)
        }
    }

    /// As `alice`, who may do everything.
    pub fn alice(host: &Host) -> Self {
        Self::account(host, "alice:wonderland")
    }

    /// Sends a request and reads its response; panics when the connection ends.
    #[track_caller]
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, path, fields, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// Sends a request and reads its response.
    pub fn try_send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        if let Some(authorization) = &self.authorization {
            head += &format!("Authorization: {authorization}\r\n");
        }
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let request = [head.as_bytes(), b"\r\n", body].concat();
        self.stream.get_mut().write_all(&request)?;
        self.read(method == "HEAD")
    }

    fn read(&mut self, is_head: bool) -> std::io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        if !is_head && !matches!(status, 204 | 304) {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    #[track_caller]
    pub fn put(&mut self, path: &str, body: &str) -> Answer {
        self.send(
            "PUT",
            path,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    }

    #[track_caller]
    pub fn put_if(&mut self, path: &str, field: (&str, &str), body: &str) -> Answer {
        let fields = [("Content-Type", "application/json"), field];
        self.send("PUT", path, &fields, body.as_bytes())
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    }

    #[track_caller]
    pub fn merge(&mut self, path: &str, body: &str) -> Answer {
        let fields = [("Content-Type", "application/merge-patch+json")];
        self.send("PATCH", path, &fields, body.as_bytes())
    }

    #[track_caller]
    pub fn patch(&mut self, path: &str, body: &str) -> Answer {
        let fields = [("Content-Type", "application/json-patch+json")];
        self.send("PATCH", path, &fields, body.as_bytes())
    }

    #[track_caller]
    pub fn delete(&mut self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }
}

/// Base64 as `Authorization: Basic` has it.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}
