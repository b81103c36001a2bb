//! Asking for a password, twice and without echo on a terminal, else one line of standard input; and how it is
//! written down.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Read};

use clap::Args;

use crate::accounts::{MAX_PASSWORD, SCRAM_ROUNDS, hash_password, scram_verifier};

/// How a password is written down.
#[derive(Debug, Args)]
pub struct Form {
    /// Write a SCRAM-SHA-256 verifier instead of an argon2id hash, by which a client can prove that it knows the
    /// password without sending it; ROUNDS is 4096 unless given
    #[arg(
        long,
        value_name = "ROUNDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "4096",
        value_parser = rounds
    )]
    pub scram: Option<u32>,
}

impl Form {
    /// What accounts.ini holds of `password`.
    pub fn write(&self, password: &[u8]) -> io::Result<String> {
        match self.scram {
            Some(rounds) => scram_verifier(password, rounds),
            None => hash_password(password),
        }
    }
}

fn rounds(text: &str) -> Result<u32, String> {
    let rounds = text.parse().ok();
    rounds
        .filter(|rounds| SCRAM_ROUNDS.contains(rounds))
        .ok_or_else(|| {
            let (least, most) = (SCRAM_ROUNDS.start(), SCRAM_ROUNDS.end());
            format!("expected {least} to {most} rounds")
        })
}

/// The password that the user wants.
pub fn ask() -> Result<Vec<u8>, Box<dyn Error>> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let first = rpassword::prompt_password("Password: ")?;
        if first != rpassword::prompt_password("Again: ")? {
            return Err("the two passwords differ".into());
        }
        first.into_bytes()
    } else {
        first_line(&mut stdin.lock())?
    };
    check(&password)?;
    Ok(password)
}

fn first_line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input
        .take(MAX_PASSWORD as u64 + 2)
        .read_until(b'\n', &mut line)?;
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line.pop();
    }
    Ok(line)
}

fn check(password: &[u8]) -> Result<(), String> {
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(format!(
            "expected a password of 1 to {MAX_PASSWORD} bytes, got {} bytes",
            password.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_without_its_end() {
        for text in ["s3cret", "s3cret\n", "s3cret\r\nmore\n"] {
            assert_eq!(first_line(&mut text.as_bytes()).unwrap(), b"s3cret");
        }
    }

    #[test]
    fn empty_and_endless_passwords_are_refused() {
        assert!(check(b"").is_err());
        assert!(check(&first_line(&mut &vec![b'x'; 1 << 20][..]).unwrap()).is_err());
        check(&[b'x'; MAX_PASSWORD]).unwrap();
    }
}
