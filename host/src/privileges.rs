//! Becomes an ordinary user for good, once what needs root is done.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};

/// Gives `owned` (folders with all that is in them) to `name` and becomes that user, in all threads.
///
/// Does nothing when the process is that user already.
///
/// # Errors
/// One line; the process must not go on as root then.
pub fn become_user(name: &str, owned: &[&Path]) -> Result<(), String> {
    let named =
        |what: &str, error: &dyn std::fmt::Display| format!("host.user {name:?}: {what}: {error}");
    let user = User::from_name(name)
        .map_err(|error| named("cannot be looked up", &error))?
        .ok_or_else(|| format!("host.user: expected a user of this machine, got {name:?}"))?;
    if geteuid() == user.uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(format!(
            "host.user: expected to be started by root or by {name:?}, got user id {}",
            geteuid()
        ));
    }
    for path in owned {
        give(path, &user)
            .map_err(|error| named(&format!("{} cannot be given to it", path.display()), &error))?;
    }
    let login = CString::new(name).map_err(|error| named("is no name", &error))?;
    initgroups(&login, user.gid).map_err(|error| named("groups", &error))?;
    setgid(user.gid).map_err(|error| named("group", &error))?;
    setuid(user.uid).map_err(|error| named("user", &error))?;
    if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!(
            "host.user {name:?}: expected that root is out of reach, but it is not"
        ));
    }
    Ok(())
}

/// Symbolic links are given away themselves, never what they lead to.
fn give(path: &Path, user: &User) -> std::io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_does_not_exist_is_refused_and_oneself_is_nothing_to_do() {
        let error = become_user("no-such-user-here", &[]).unwrap_err();
        assert!(
            error.contains("expected a user of this machine, got \"no-such-user-here\""),
            "{error}"
        );
        let own = User::from_uid(geteuid()).unwrap().unwrap();
        assert_eq!(become_user(&own.name, &[]), Ok(()));
    }
}
