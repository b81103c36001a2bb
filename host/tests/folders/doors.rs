//! The three doors as one client: each answer must be the same by all of them.

use polyport_testkit::{Client, Host};
use serde_json::Value;

use super::wire::ftp::Ftp;
use super::wire::http::{Http, Response};
use super::wire::tcp_files::TcpFiles;

/// Open connections of one user.
pub struct Doors {
    pub http: Http,
    pub ftp: Ftp,
    pub tcp: TcpFiles,
}

impl Doors {
    pub fn open(host: &Host, user: &str) -> Self {
        Self {
            http: Http::login(host.addr("files"), user, "x"),
            ftp: Ftp::login(host.addr("ftp"), user, "x"),
            tcp: TcpFiles::login(host.addr("tcp-files"), user, "x"),
        }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.http.request("GET", path, &[], b"").unwrap()
    }

    pub fn put(&mut self, path: &str, bytes: &[u8]) -> u16 {
        self.http.request("PUT", path, &[], bytes).unwrap().status
    }

    /// The last reply to an upload.
    pub fn stor(&mut self, path: &str, bytes: &[u8]) -> u16 {
        let replies = self.ftp.upload(format!("STOR {path}"), bytes).unwrap();
        replies.last().unwrap().code
    }

    /// A file by all doors; none where all say that there is none.
    #[track_caller]
    pub fn read(&mut self, path: &str) -> Option<String> {
        let response = self.get(path);
        let by_http = match response.status {
            200 => Some(response.body),
            404 => None,
            other => panic!("GET {path}: {other}"),
        };
        let (replies, bytes) = self.ftp.download(format!("RETR {path}")).unwrap();
        let by_ftp = match replies.last().unwrap().code {
            226 => Some(bytes),
            550 => None,
            other => panic!("RETR {path}: {other}"),
        };
        let (header, bytes) = self.tcp.get(path).unwrap();
        let by_tcp = header.get("file_size").map(|_| bytes);
        assert_eq!(by_http, by_ftp, "{path}: HTTP, FTP");
        assert_eq!(by_http, by_tcp, "{path}: HTTP, tcp-files");
        by_http.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The names in a folder, by HTTP and by FTP with all flags that show more; none where there is no folder.
    #[track_caller]
    pub fn list(&mut self, path: &str) -> Option<Vec<String>> {
        let slash = if path.ends_with('/') { "" } else { "/" };
        let response = self.get(&format!("{path}{slash}?format=json"));
        let by_http = match response.status {
            200 => Some(entries(&response.body)),
            404 => None,
            other => panic!("GET {path}: {other}"),
        };
        let (replies, bytes) = self.ftp.download(format!("MLSD {path}")).unwrap();
        let by_ftp = match replies.last().unwrap().code {
            226 => Some(facts(&bytes)),
            550 => None,
            other => panic!("MLSD {path}: {other}"),
        };
        assert_eq!(by_http, by_ftp, "{path}");
        let (_, bytes) = self.ftp.download(format!("NLST -a {path}")).unwrap();
        let mut names: Vec<String> = lines(&bytes)
            .map(|line| line.rsplit('/').next().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(by_ftp.clone().unwrap_or_default(), names, "NLST -a {path}");
        by_http
    }
}

fn entries(listing: &[u8]) -> Vec<String> {
    let listing: Value = serde_json::from_slice(listing).unwrap();
    let entries = listing["entries"].as_array().unwrap().iter();
    let mut names: Vec<String> = entries
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn facts(listing: &[u8]) -> Vec<String> {
    let names =
        lines(listing).filter(|line| !line.contains("type=cdir") && !line.contains("type=pdir"));
    let mut names: Vec<String> = names
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect();
    names.sort();
    names
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// A file by curl, from either URL.
pub fn curl(url: &str, user: &str) -> (Option<i32>, String) {
    let login = format!("{user}:x");
    let done = Client::new("curl")
        .args(["-s", "-f", "-u", &login, url])
        .run();
    (done.code, done.stdout())
}
