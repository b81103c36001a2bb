//! Carries out what a client asks to do with files, in FTP's words; rights and paths are the view's.
//!
//! The calls block; run them on a blocking thread. Knows no socket.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polyport_ftp_core::ascii::looks_binary;
use polyport_ftp_core::listing::{self, Rights};
use polyport_ftp_core::{Failure, Opened, Placement, Representation, VirtualPath};
use polyport_sdk::accounts::{Account, Action};
use polyport_sdk::files::{
    ClientPath, Error, Growing, Kind, Metadata, Replace, Upload, View, Writer,
};

use crate::config::Ascii;

/// How much of a file is looked at to tell text from other things.
const HEAD: u64 = 8 * 1024;

/// Names tried for STOU.
const UNIQUE_TRIES: u32 = 10_000;

/// A logged-in client's files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) view: View,
    pub(crate) ascii: Ascii,
}

/// A file that is open for RETR.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: File,
    /// Where in the file to begin, for [`Representation::Image`].
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Octets of the converted stream to leave out, for [`Representation::Ascii`].
    pub(crate) skip: u64,
    pub(crate) representation: Representation,
}

/// A file that is open for STOR, APPE or STOU.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A whole file, under a temporary name until it has arrived.
    New(Upload),
    /// A file that goes on.
    Existing(Growing),
}

impl Sink {
    /// What writes to it.
    pub(crate) fn writer(&self) -> Result<Writer, Error> {
        match self {
            Self::New(upload) => upload.writer(),
            Self::Existing(file) => file.writer(),
        }
    }
}

impl Files {
    /// Whose they are.
    pub(crate) fn account(&self) -> &Account {
        self.view.account()
    }

    /// CWD. A folder into which files may only be dropped can be entered as well.
    pub(crate) fn enter(&self, path: &VirtualPath) -> Result<(), Failure> {
        if self.view.is_folder(&client_path(path)?).map_err(failure)? {
            Ok(())
        } else {
            Err(Failure::NotADirectory)
        }
    }

    /// SIZE, MDTM, MLST, RNFR.
    pub(crate) fn facts(&self, path: &VirtualPath) -> Result<listing::Entry, Failure> {
        let metadata = self.view.metadata(&client_path(path)?).map_err(failure)?;
        Ok(self.entry(path.as_str().as_bytes().to_vec(), path.as_str(), &metadata))
    }

    /// RETR.
    pub(crate) fn retrieve(
        &self,
        path: &VirtualPath,
        offset: u64,
        asked: Representation,
    ) -> Result<(Source, Opened), Failure> {
        let (mut file, metadata) = self.view.open_file(&client_path(path)?).map_err(failure)?;
        let representation = match (asked, self.ascii) {
            (Representation::Image, _) | (_, Ascii::Never) => Representation::Image,
            (Representation::Ascii, Ascii::Always) => Representation::Ascii,
            (Representation::Ascii, Ascii::Text) => {
                let mut head = Vec::new();
                (&file)
                    .take(HEAD)
                    .read_to_end(&mut head)
                    .map_err(|error| failure(error.into()))?;
                file.seek(SeekFrom::Start(0))
                    .map_err(|error| failure(error.into()))?;
                if looks_binary(&head) {
                    Representation::Image
                } else {
                    Representation::Ascii
                }
            }
        };
        let (from, skip) = match representation {
            Representation::Image if offset > metadata.len => return Err(Failure::BeyondEnd),
            Representation::Image => (offset, 0),
            // how long the converted stream is shows only when it is read: at most twice as long
            Representation::Ascii if offset > metadata.len.saturating_mul(2) => {
                return Err(Failure::BeyondEnd);
            }
            Representation::Ascii => (0, offset),
        };
        let opened = Opened {
            size: Some(metadata.len),
            representation,
            name: None,
        };
        Ok((
            Source {
                file,
                from,
                to: metadata.len,
                skip,
                representation,
            },
            opened,
        ))
    }

    /// STOR, APPE, STOU.
    pub(crate) fn store(
        &self,
        path: &VirtualPath,
        placement: Placement,
        asked: Representation,
    ) -> Result<(Sink, Opened), Failure> {
        let representation = if self.ascii == Ascii::Never {
            Representation::Image
        } else {
            asked
        };
        let opened = |name| Opened {
            size: None,
            representation,
            name,
        };
        let target = client_path(path)?;
        let sink = match placement {
            Placement::Unique => {
                let (upload, name) = self.unique(path)?;
                return Ok((Sink::New(upload), opened(Some(name))));
            }
            Placement::Replace => Sink::New(
                self.view
                    .upload(&target, Replace::Allowed)
                    .map_err(failure)?,
            ),
            Placement::At(offset) => {
                Sink::Existing(self.view.resume(&target, offset).map_err(failure)?)
            }
            Placement::Append => Sink::Existing(self.view.append(&target).map_err(failure)?),
        };
        Ok((sink, opened(None)))
    }

    /// MKD.
    pub(crate) fn make_directory(&self, path: &VirtualPath) -> Result<(), Failure> {
        self.view.create_dir(&client_path(path)?).map_err(failure)
    }

    /// RMD.
    pub(crate) fn remove_directory(&self, path: &VirtualPath) -> Result<(), Failure> {
        self.view.remove_dir(&client_path(path)?).map_err(failure)
    }

    /// DELE.
    pub(crate) fn delete(&self, path: &VirtualPath) -> Result<(), Failure> {
        self.view.remove_file(&client_path(path)?).map_err(failure)
    }

    /// RNFR, RNTO.
    pub(crate) fn rename(&self, from: &VirtualPath, to: &VirtualPath) -> Result<(), Failure> {
        self.view
            .rename(&client_path(from)?, &client_path(to)?)
            .map_err(failure)
    }

    /// MFMT.
    pub(crate) fn set_modified(&self, path: &VirtualPath, time: i64) -> Result<(), Failure> {
        let offset = Duration::from_secs(time.unsigned_abs());
        let time = if time < 0 {
            UNIX_EPOCH - offset
        } else {
            UNIX_EPOCH + offset
        };
        self.view
            .set_modified(&client_path(path)?, time)
            .map_err(failure)
    }

    fn unique(&self, folder: &VirtualPath) -> Result<(Upload, String), Failure> {
        for number in 1..=UNIQUE_TRIES {
            let name = format!("stou.{number}");
            let path = folder.join(&name).map_err(|_| Failure::BadName)?;
            match self.view.upload(&client_path(&path)?, Replace::Forbidden) {
                Ok(upload) => return Ok((upload, name)),
                Err(Error::Exists | Error::IsADirectory) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        Err(Failure::Exists)
    }

    pub(crate) fn entry(&self, name: Vec<u8>, path: &str, metadata: &Metadata) -> listing::Entry {
        let may = |action| self.account().allows(action, path);
        listing::Entry {
            name,
            kind: match metadata.kind {
                Kind::File => listing::Kind::File,
                Kind::Directory => listing::Kind::Directory,
            },
            size: metadata.len,
            modified: unix(metadata.modified),
            mode: metadata.mode & 0o777,
            links: metadata.nlink.into(),
            uid: metadata.uid,
            gid: metadata.gid,
            rights: Rights {
                list: may(Action::List),
                read: may(Action::Read),
                write: may(Action::Write),
                create: may(Action::Create),
                delete: may(Action::Delete),
            },
        }
    }
}

pub(crate) fn client_path(path: &VirtualPath) -> Result<ClientPath, Failure> {
    ClientPath::parse(path.as_str()).map_err(failure)
}

pub(crate) fn unix(time: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => seconds(after),
        Err(before) => -seconds(before.duration()),
    }
}

/// What leads out of the jail looks like nothing.
pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::NotFound | Error::Outside => Failure::NotFound,
        Error::Forbidden => Failure::Forbidden,
        Error::OtherFolder => Failure::OtherFolder,
        Error::OverQuota => Failure::OverQuota,
        Error::Denied => Failure::Permission,
        Error::Exists => Failure::Exists,
        Error::NotADirectory => Failure::NotADirectory,
        Error::IsADirectory | Error::NotRegular => Failure::NotAFile,
        Error::NotEmpty => Failure::NotEmpty,
        Error::NoSpace => Failure::NoSpace,
        Error::InvalidPath => Failure::BadName,
        Error::PastEnd { .. } => Failure::BeyondEnd,
        other => Failure::Other(other.to_string()),
    }
}
