//! Where a client command's password comes from: never needed on the command line, where others see it.

use std::io::{BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::{Address, Arguments, Failure};

/// The environment variable that may hold the password.
pub const ENVIRONMENT: &str = "POLYPORT_PASSWORD";

/// The password of `user`: `typed` on the command line, else the first line of `file`, else from
/// [`ENVIRONMENT`], else asked for on the terminal.
///
/// # Errors
/// [`Failure::Failed`] for a file that cannot be read, [`Failure::Usage`] when there is nobody to ask.
pub fn password(user: &str, typed: Option<&str>, file: Option<&str>) -> Result<String, Failure> {
    if let Some(typed) = typed {
        return Ok(typed.into());
    }
    if let Some(path) = file {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(Failure::local(format!("password file {path}")))?;
        return Ok(text.lines().next().unwrap_or_default().into());
    }
    if let Ok(password) = std::env::var(ENVIRONMENT) {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "password of {user:?}: expected it in a file (--password-file) or in {ENVIRONMENT}, got neither, and no terminal to ask on"
        )));
    }
    ask(user).map_err(Failure::local("the password cannot be asked for"))
}

/// User and password of a command with the options `-u USER[:PASS]` and `--password-file FILE`, else of its URL;
/// none when neither names a user.
///
/// # Errors
/// As [`password`].
pub fn account(
    options: &Arguments,
    address: &Address,
) -> Result<Option<(String, String)>, Failure> {
    let typed = options.value("-u").map(|text| match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    });
    let in_url = address.user.as_deref();
    let in_url = in_url.map(|user| (user, address.password.as_deref()));
    let Some((user, typed)) = typed.or(in_url) else {
        return Ok(None);
    };
    let password = password(user, typed, options.value("--password-file"))?;
    Ok(Some((user.into(), password)))
}

/// Asks on the terminal without showing what is typed.
fn ask(user: &str) -> std::io::Result<String> {
    let terminal = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    (&terminal).write_all(format!("password of {user}: ").as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    (&terminal).write_all(b"\n")?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).into())
}
