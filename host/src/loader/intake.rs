//! What must be so before a library is let in: nobody else can put one into its folder, and it is the one that
//! the operator means, by its signature or its hash.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use rustix::process::getegid;

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

    /// Checks the bytes of the library at `path`, whose hash is `hash`.
    ///
    /// # Errors
    /// One line: what was demanded, what was found.
    pub fn check_bytes(&self, path: &Path, bytes: &[u8], hash: &str) -> Result<(), String> {
        if let Some(pin) = self.pin
            && pin != hash
        {
            return Err(format!("expected sha256 {pin}, got {hash}"));
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
        // Legacy signatures, which do not hash first, are taken as well: they are no weaker.
        let right = |key: &PublicKey| key.verify(bytes, &signature, true).is_ok();
        if self.intake.keys.iter().any(right) {
            Ok(())
        } else {
            Err(format!(
                "expected a signature of its bytes by one of host.signature_keys, got another in {}",
                file.display()
            ))
        }
    }
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
        assert_eq!(terms.check_bytes(path, b"x", "aa"), Ok(()));
        assert_eq!(
            terms.check_bytes(path, b"x", "bb"),
            Err("expected sha256 aa, got bb".into())
        );
    }
}
