//! Carries out a control connection's requests on a map in memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use polyport_ftp_core::ascii::{Decoder, Encoder, looks_binary};
use polyport_ftp_core::listing::{Entry, Kind, Rights, facts_line, long_line, matches, name_line};
use polyport_ftp_core::{
    Answer, Control, Denial, Failure, ListStyle, Listing, Opened, Options, Placement, Protection,
    Representation, Request, Secured, Stopped, TlsDemand, TlsPolicy, VirtualPath,
};

use crate::transcript::Wire;

const MODIFIED: i64 = 1_421_347_380;

enum Node {
    Directory,
    File(Vec<u8>),
}

struct Upload {
    path: String,
    keep: Vec<u8>,
    data: Vec<u8>,
    representation: Representation,
}

pub struct Memory {
    control: Control,
    now: Instant,
    nodes: BTreeMap<String, Node>,
    lines: VecDeque<String>,
    partial: String,
    upload: Option<Upload>,
    to_client: Vec<u8>,
    aborted: bool,
    options: Options,
    /// The client shows one.
    certificate: bool,
    /// The engine asked for a handshake that the client has not held yet.
    handshake_due: bool,
    /// Whether the client opened the data connection with TLS.
    data: Option<Protection>,
}

impl Memory {
    pub fn connect() -> Self {
        Self::with_tls(TlsPolicy::default())
    }

    /// A service with a certificate that demands what vsftpd does by default.
    pub fn connect_to_ftps() -> Self {
        let demand = TlsDemand {
            accounts: true,
            anonymous: false,
        };
        Self::with_tls(TlsPolicy {
            offered: true,
            logins: demand,
            data: demand,
        })
    }

    fn with_tls(tls: TlsPolicy) -> Self {
        let now = Instant::now();
        let options = Options {
            banner: "(polyport)".into(),
            peer: Some([127, 0, 0, 1].into()),
            local: Some([127, 0, 0, 1].into()),
            pasv_enable: true,
            port_enable: true,
            pasv_address: None,
            write_enable: true,
            login_timeout: Duration::from_secs(60),
            max_line: 4160,
            idle_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(300),
            max_login_failures: 3,
            anonymous_enable: true,
            tls,
            secured: None,
        };
        let mut memory = Self {
            control: Control::new(options.clone(), now),
            options,
            certificate: false,
            handshake_due: false,
            data: None,
            now,
            nodes: BTreeMap::from([("/".into(), Node::Directory)]),
            lines: VecDeque::new(),
            partial: String::new(),
            upload: None,
            to_client: Vec::new(),
            aborted: false,
        };
        memory.drive();
        memory
    }

    fn drive(&mut self) {
        while let Some(request) = self.control.poll_request() {
            if let Some(answer) = self.carry_out(request) {
                let opened = matches!(answer, Answer::Opened(_));
                self.control.handle_answer(self.now, answer);
                // a download is over at once; an upload when the client closes or aborts
                if opened && self.upload.is_none() {
                    self.control.handle_transfer_end(self.now, Ok(()));
                }
            }
            if std::mem::take(&mut self.aborted) {
                self.control
                    .handle_transfer_end(self.now, Err(Stopped::Aborted));
            }
        }
        if let Some(output) = self.control.poll_transmit() {
            self.partial.push_str(std::str::from_utf8(&output).unwrap());
            while let Some((line, rest)) = self.partial.split_once("\r\n") {
                self.lines.push_back(line.to_owned());
                self.partial = rest.to_owned();
            }
        }
    }

    fn carry_out(&mut self, request: Request) -> Option<Answer> {
        let answer = self.try_carry_out(request);
        answer.unwrap_or_else(|failure| Some(Answer::Failed(failure)))
    }

    fn try_carry_out(&mut self, request: Request) -> Result<Option<Answer>, Failure> {
        Ok(Some(match request {
            Request::Login { user, password }
                if (user.as_str(), &password[..]) == ("xzz", b"123456") =>
            {
                Answer::LoggedIn(VirtualPath::root())
            }
            Request::Login { .. } => Answer::Denied(Denial::Credentials),
            Request::Identify { user } if user == "xzz" => Answer::LoggedIn(VirtualPath::root()),
            Request::Identify { .. } => Answer::Denied(Denial::Credentials),
            Request::Secure => {
                self.handshake_due = true;
                return Ok(None);
            }
            Request::Logout => return Ok(None),
            Request::Listen(_) => Answer::Listening(([127, 0, 0, 1], 42914).into()),
            Request::Enter(path) => match self.node(&path)? {
                Node::Directory => Answer::Done,
                Node::File(_) => return Err(Failure::NotADirectory),
            },
            Request::Facts(path) => {
                Answer::Entry(Box::new(self.entry(path.as_str(), path.as_str())?))
            }
            Request::Show(listing) => Answer::Listing(self.listing(&listing)?),
            Request::MakeDirectory(path) => {
                self.node(&path.parent())?;
                self.absent(&path)?;
                self.nodes.insert(path.as_str().into(), Node::Directory);
                Answer::Done
            }
            Request::RemoveDirectory(path) => {
                if !matches!(self.node(&path)?, Node::Directory) {
                    return Err(Failure::NotADirectory);
                }
                if !self.children(path.as_str()).is_empty() {
                    return Err(Failure::NotEmpty);
                }
                self.nodes.remove(path.as_str());
                Answer::Done
            }
            Request::Delete(path) => {
                self.content(&path)?;
                self.nodes.remove(path.as_str());
                Answer::Done
            }
            Request::Rename { from, to } => {
                self.node(&from)?;
                self.node(&to.parent())?;
                let node = self.nodes.remove(from.as_str()).unwrap();
                self.nodes.insert(to.as_str().into(), node);
                Answer::Done
            }
            Request::SetModified { path, .. } => self.node(&path).map(|_| Answer::Done)?,
            Request::List {
                listing,
                protection,
                ..
            } => {
                self.expect_data(protection);
                self.to_client = self.listing(&listing)?;
                Answer::Opened(Opened {
                    size: None,
                    representation: Representation::Ascii,
                    name: None,
                })
            }
            Request::Retrieve {
                path,
                offset,
                representation,
                protection,
                ..
            } => {
                self.expect_data(protection);
                let content = self.content(&path)?.clone();
                let representation = if looks_binary(&content) {
                    Representation::Image
                } else {
                    representation
                };
                let mut wire = Vec::new();
                match representation {
                    Representation::Ascii => Encoder::default().encode(&content, &mut wire),
                    Representation::Image => wire.clone_from(&content),
                }
                self.to_client = wire
                    .get(offset as usize..)
                    .ok_or(Failure::BeyondEnd)?
                    .to_vec();
                Answer::Opened(Opened {
                    size: Some(content.len() as u64),
                    representation,
                    name: None,
                })
            }
            Request::Store {
                path,
                placement,
                representation,
                protection,
                ..
            } => {
                self.expect_data(protection);
                let old = self.content(&path).cloned().unwrap_or_default();
                let mut target = path.clone();
                let keep = match placement {
                    Placement::Replace => Vec::new(),
                    Placement::Append => old,
                    Placement::At(offset) => old
                        .get(..offset as usize)
                        .ok_or(Failure::BeyondEnd)?
                        .to_vec(),
                    Placement::Unique => {
                        target = path.join("stou.1").unwrap();
                        Vec::new()
                    }
                };
                if matches!(self.nodes.get(target.as_str()), Some(Node::Directory)) {
                    return Err(Failure::NotAFile);
                }
                self.node(&target.parent())?;
                let name = (placement == Placement::Unique).then(|| target.name().to_owned());
                let path = target.as_str().to_owned();
                self.upload = Some(Upload {
                    path,
                    keep,
                    data: Vec::new(),
                    representation,
                });
                Answer::Opened(Opened {
                    size: None,
                    representation,
                    name,
                })
            }
            Request::Abort => {
                self.upload = None;
                self.aborted = true;
                return Ok(None);
            }
        }))
    }

    /// The client has connected as the engine takes it.
    fn expect_data(&mut self, protection: Protection) {
        if let Some(data) = self.data.take() {
            assert_eq!(data, protection, "the ends differ about TLS");
        }
    }

    fn node(&self, path: &VirtualPath) -> Result<&Node, Failure> {
        self.nodes.get(path.as_str()).ok_or(Failure::NotFound)
    }

    fn absent(&self, path: &VirtualPath) -> Result<(), Failure> {
        if self.nodes.contains_key(path.as_str()) {
            Err(Failure::Exists)
        } else {
            Ok(())
        }
    }

    fn content(&self, path: &VirtualPath) -> Result<&Vec<u8>, Failure> {
        match self.node(path)? {
            Node::File(content) => Ok(content),
            Node::Directory => Err(Failure::NotAFile),
        }
    }

    fn children(&self, directory: &str) -> Vec<&str> {
        let prefix = if directory == "/" {
            "/".to_owned()
        } else {
            format!("{directory}/")
        };
        self.nodes
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .collect()
    }

    fn entry(&self, path: &str, name: &str) -> Result<Entry, Failure> {
        let (kind, size, mode) = match self.nodes.get(path).ok_or(Failure::NotFound)? {
            Node::Directory => (Kind::Directory, 4096, 0o755),
            Node::File(content) => (Kind::File, content.len() as u64, 0o644),
        };
        let rights = Rights {
            list: true,
            read: true,
            write: true,
            create: true,
            delete: true,
        };
        Ok(Entry {
            name: name.into(),
            kind,
            size,
            modified: MODIFIED,
            mode,
            links: 1,
            uid: 0,
            gid: 0,
            rights,
        })
    }

    fn listing(&self, listing: &Listing) -> Result<Vec<u8>, Failure> {
        let directory = listing.path.as_str();
        let names = match self.node(&listing.path)? {
            Node::Directory => self.children(directory),
            Node::File(_) => vec![""],
        };
        let mut output = Vec::new();
        for name in names {
            let pattern = listing.pattern.as_ref();
            if name.starts_with('.') && !listing.hidden
                || pattern.is_some_and(|pattern| !matches(pattern.as_bytes(), name.as_bytes()))
            {
                continue;
            }
            let path = match (name, directory) {
                ("", _) => directory.to_owned(),
                (name, "/") => format!("/{name}"),
                (name, directory) => format!("{directory}/{name}"),
            };
            let shown = path.rsplit('/').next().unwrap();
            let entry = self.entry(&path, shown)?;
            match &listing.style {
                ListStyle::Long => long_line(&entry, MODIFIED, &mut output),
                ListStyle::Names { prefix } => name_line(prefix, &entry, &mut output),
                ListStyle::Facts(facts) => facts_line(*facts, &entry, &mut output),
            }
        }
        Ok(output)
    }
}

impl Wire for Memory {
    fn make_directory(&mut self, path: &str) {
        self.nodes.insert(path.into(), Node::Directory);
    }

    fn make_file(&mut self, path: &str, content: &[u8]) {
        self.nodes.insert(path.into(), Node::File(content.to_vec()));
    }

    fn file(&mut self, path: &str) -> Option<Vec<u8>> {
        match self.nodes.get(path)? {
            Node::File(content) => Some(content.clone()),
            Node::Directory => None,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.control.handle_bytes(self.now, bytes);
        self.drive();
    }

    fn receive(&mut self) -> Option<String> {
        let line = self.lines.pop_front();
        assert!(
            line.is_some() || self.control.is_closed(),
            "a reply is missing"
        );
        line
    }

    fn show_certificate(&mut self) {
        self.certificate = true;
    }

    fn connect_implicitly(&mut self) {
        self.options.secured = Some(Secured {
            certified: self.certificate,
        });
        self.control = Control::new(self.options.clone(), self.now);
        self.lines.clear();
        self.drive();
    }

    fn begin_tls(&mut self) {
        assert!(std::mem::take(&mut self.handshake_due), "no 234 before");
        let secured = Secured {
            certified: self.certificate,
        };
        self.control
            .handle_answer(self.now, Answer::Secured(secured));
        self.drive();
    }

    fn open_data(&mut self, port: u16, tls: bool) {
        assert_eq!(port, 42914);
        self.data = Some(match tls {
            true => Protection::Private,
            false => Protection::Clear,
        });
    }

    fn send_data(&mut self, bytes: &[u8]) {
        self.upload
            .as_mut()
            .expect("no upload is running")
            .data
            .extend_from_slice(bytes);
    }

    fn close_data(&mut self) {
        if let Some(upload) = self.upload.take() {
            let mut content = upload.keep;
            match upload.representation {
                Representation::Image => content.extend(upload.data),
                Representation::Ascii => {
                    let mut decoder = Decoder::default();
                    decoder.decode(&upload.data, &mut content);
                    decoder.finish(&mut content);
                }
            }
            self.nodes.insert(upload.path, Node::File(content));
            self.control.handle_transfer_end(self.now, Ok(()));
            self.drive();
        }
    }

    fn receive_data(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_client)
    }
}
