//! `polyport tls self-signed HOST…`: writes a certificate and its key, and prints the line that names them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Outcome;
use crate::tls::self_signed;

/// Arguments of `polyport tls self-signed`.
#[derive(Debug, Args)]
pub struct Command {
    /// Names and IP addresses that it is made for; `*.example.org` is every name directly below
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// Folder to write to, made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// For how long it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

impl Command {
    /// Writes both files; neither may exist.
    pub fn run(self) -> Outcome {
        let made = self_signed::make(&self.hosts, self.days)?;
        let name = file_name(&self.hosts[0]);
        fs::create_dir_all(&self.out)
            .map_err(|error| format!("folder {}: {error}", self.out.display()))?;
        let (cert, key) = (
            self.out.join(format!("{name}.cert.pem")),
            self.out.join(format!("{name}.key.pem")),
        );
        write(&key, &made.key, 0o600)?;
        if let Err(error) = write(&cert, &made.cert, 0o644) {
            // A key without its certificate is of no use.
            let _ = fs::remove_file(&key);
            return Err(error.into());
        }
        let shown = |path: &Path| {
            let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            toml::Value::from(whole.display().to_string()).to_string()
        };
        println!("tls = {{ cert = {}, key = {} }}", shown(&cert), shown(&key));
        Ok(())
    }
}

/// A host as part of a file's name: `*.example.org` is `_.example.org`, `::1` is `__1`.
fn file_name(host: &str) -> String {
    host.replace(['*', ':', '/'], "_")
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{}: is there already: remove it, or choose another folder with --out",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })
}
