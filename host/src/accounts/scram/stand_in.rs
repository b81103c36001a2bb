//! Salts and keys in the place of those that do not exist: a user without any cannot be told from one with some.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::accounts::password::{KEY_LENGTH, Keys};

/// The file that keeps the key, in the state folder.
const FILE: &str = "stand-in.key";

/// What stand-ins are made with.
pub struct StandIn {
    /// Of this process.
    key: [u8; KEY_LENGTH],
    /// Of all processes.
    kept: OnceLock<[u8; KEY_LENGTH]>,
}

impl StandIn {
    /// With a key that lasts as long as the process.
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        Self {
            key,
            kept: OnceLock::new(),
        }
    }

    /// With the key of `folder` from now on, which is made there if it is missing.
    pub fn keep_in(&self, folder: &Path) {
        match kept(folder) {
            Ok(key) => {
                // The first stays: salts are not to change.
                let _ = self.kept.set(key);
            }
            Err(error) => {
                let file = folder.join(FILE);
                let file = file.display();
                tracing::warn!(
                    "{file}: {error}: salts of users without a verifier change at a restart"
                );
            }
        }
    }

    /// The salt of a user, always the same.
    pub fn salt(&self, user: &str, length: usize) -> Vec<u8> {
        let mut salt = Vec::with_capacity(length);
        for block in 0u8.. {
            if salt.len() >= length {
                break;
            }
            salt.extend(self.mac(&[&[block], user.as_bytes()].concat()));
        }
        salt.truncate(length);
        salt
    }

    /// Keys of which nobody knows the password.
    pub fn keys(&self) -> Keys {
        let (stored, server) = (self.mac(b"stored"), self.mac(b"server"));
        Keys::of(&[stored, server].concat()).expect("two keys of their length")
    }

    fn mac(&self, message: &[u8]) -> [u8; KEY_LENGTH] {
        let key = self.kept.get().unwrap_or(&self.key);
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

fn kept(folder: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let file = folder.join(FILE);
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "expected 32 bytes");
    match fs::read(&file) {
        Ok(bytes) => return bytes.try_into().map_err(|_| wrong()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let mut key = [0; KEY_LENGTH];
    getrandom::fill(&mut key)?;
    let new = folder.join(format!("{FILE}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(&key)?;
    written.sync_all()?;
    fs::rename(&new, &file)?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn salts_are_the_same_for_a_user_over_processes_and_others_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = |key| {
            let stand_in = StandIn::new([key; KEY_LENGTH]);
            stand_in.keep_in(folder.path());
            stand_in
        };
        let (one, two) = (stand_in(1), stand_in(2));
        assert_eq!(one.salt("a", 16), two.salt("a", 16));
        assert_ne!(one.salt("a", 16), one.salt("b", 16));
        for length in [8, 16, 33, 64] {
            assert_eq!(one.salt("a", length).len(), length);
        }
        let mode = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn without_a_file_or_with_a_broken_one_they_last_as_long_as_the_process() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"short").unwrap();
        for place in [folder.path(), Path::new("/nonexistent")] {
            let (one, two) = (StandIn::new([1; KEY_LENGTH]), StandIn::new([2; KEY_LENGTH]));
            one.keep_in(place);
            two.keep_in(place);
            assert_eq!(one.salt("a", 16), one.salt("a", 16));
            assert_ne!(one.salt("a", 16), two.salt("a", 16));
        }
    }
}
