//! What must be so before a library is let in: nobody else can put one into its folder, and it is the one that
//! the operator means, by its signature or its hash.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use rustix::process::getegid;

use super::copies::{Fresh, in_pieces};

/// What is demanded of every library.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intake {
    /// Whose signatures count. With a key, a signature that is there must be right.
    pub keys: Vec<PublicKey>,
    /// Whether a library without a signature is refused.
    pub require_signature: bool,
    /// Whether the folder and its libraries may be such as others can write to.
    pub allow_writable: bool,
}

/// What is demanded of one library.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// What is demanded of all.
    pub intake: &'a Intake,
    /// The SHA-256 that it must have, in lowercase hexadecimal.
    pub pin: Option<&'a str>,
}

impl Terms<'_> {
    /// Checks a library's place.
    ///
    /// # Errors
    /// One line: what others can write to.
    pub fn check_place(&self, library: &Path) -> Result<(), String> {
        if self.intake.allow_writable {
            return Ok(());
        }
        let folder = library.parent().unwrap_or(Path::new("."));
        for path in [folder, library] {
            let meta =
                fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
            if is_writable_by_others(meta.mode(), meta.gid(), getegid().as_raw()) {
                return Err(format!(
                    "expected a place that only its owner can write to, got {} with mode {:04o}; take the right from the others, or set host.allow_writable_plugins",
                    path.display(),
                    meta.mode() & 0o7777
                ));
            }
        }
        Ok(())
    }

    /// Checks a copy of the library at `path`.
    ///
    /// # Errors
    /// One line: what was demanded, what was found.
    pub fn check_copy(&self, path: &Path, copy: &Fresh) -> Result<(), String> {
        if let Some(pin) = self.pin
            && pin != copy.hash
        {
            return Err(format!("expected sha256 {pin}, got {}", copy.hash));
        }
        if self.intake.keys.is_empty() {
            return Ok(());
        }
        let file = signature_file(path);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return if self.intake.require_signature {
                    Err(format!(
                        "expected its signature in {}, got none",
                        file.display()
                    ))
                } else {
                    Ok(())
                };
            }
            Err(error) => return Err(format!("its signature {}: {error}", file.display())),
        };
        let signature = Signature::decode(&text)
            .map_err(|error| format!("its signature {}: {error}", file.display()))?;
        for key in &self.intake.keys {
            if is_signed(&copy.path, key, &signature)? {
                return Ok(());
            }
        }
        Err(format!(
            "expected a signature of its bytes by one of host.signature_keys, got another in {}",
            file.display()
        ))
    }
}

fn is_signed(copy: &Path, key: &PublicKey, signature: &Signature) -> Result<bool, String> {
    let unread = |error| format!("cannot be read: {error}");
    let Ok(mut verifier) = key.verify_stream(signature) else {
        // Another key's, or a legacy one, which does not hash first and is no weaker.
        let bytes = fs::read(copy).map_err(unread)?;
        return Ok(key.verify(&bytes, signature, true).is_ok());
    };
    in_pieces(fs::File::open(copy).map_err(unread)?, |piece| {
        verifier.update(piece);
        Ok(())
    })?;
    Ok(verifier.finalize().is_ok())
}

/// Where a library's signature is looked for: beside it, with the ending that minisign gives.
pub fn signature_file(library: &Path) -> PathBuf {
    let mut name = library.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

/// Whether users beside the owner can write to what has this mode and group. Root's group is trusted as root is, and
/// so is the group of this process: where each user has a group of their own, it holds nobody else.
fn is_writable_by_others(mode: u32, group: u32, own_group: u32) -> bool {
    mode & 0o002 != 0 || (mode & 0o020 != 0 && group != 0 && group != own_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_everybody_but_the_owner_root_and_the_own_group() {
        let cases = [
            (0o755, 7, false),
            (0o775, 7, true),
            (0o775, 0, false),
            (0o775, 1000, false),
            (0o777, 1000, true),
            (0o1777, 0, true),
        ];
        for (mode, group, expected) in cases {
            assert_eq!(
                is_writable_by_others(mode, group, 1000),
                expected,
                "{mode:o} {group}"
            );
        }
    }

    #[test]
    fn another_hash_than_the_pin_is_refused() {
        let intake = Intake::default();
        let terms = Terms {
            intake: &intake,
            pin: Some("aa"),
        };
        let path = Path::new("/nowhere/libx.so");
        let copy = |hash: &str| Fresh {
            path: path.to_owned(),
            hash: hash.to_owned(),
        };
        assert_eq!(terms.check_copy(path, &copy("aa")), Ok(()));
        assert_eq!(
            terms.check_copy(path, &copy("bb")),
            Err("expected sha256 aa, got bb".into())
        );
    }
}
