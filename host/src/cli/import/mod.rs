//! `polyport import`: what other servers have in their files, as polyport.toml and accounts.ini.
//!
//! The one place of the host that knows other servers, and with them names of protocols: a file
//! here for each format. Their options become keys of plugins by name alone; whether those are
//! right, the plugin says, in `polyport check`.

mod htpasswd;
mod mosquitto;
mod mosquitto_conf;
mod plan;
mod vsftpd;
mod write;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Options, Outcome};
use crate::config::is_name;

/// Arguments of `polyport import`.
#[derive(Debug, Args)]
pub struct Command {
    #[command(subcommand)]
    format: Format,
    /// Write into polyport.toml and accounts.ini instead of printing; nothing is written if
    /// something there is in the way
    #[arg(long, global = true)]
    write: bool,
    /// With --write, overwrite values that polyport.toml has; accounts are never overwritten
    #[arg(long, global = true, requires = "write")]
    replace: bool,
    /// The service that it is for [default: files, mqtt or ftp]
    #[arg(long, global = true, value_name = "NAME", value_parser = service)]
    service: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Format {
    /// Users of a password file of Apache, nginx or lighttpd
    Htpasswd {
        /// The file
        file: PathBuf,
    },
    /// Users, and what they may do, of mosquitto's password file and ACL file
    Mosquitto {
        /// The password file
        password_file: PathBuf,
        /// The ACL file
        acl_file: Option<PathBuf>,
    },
    /// mosquitto.conf, with the password file and the ACL file that it names
    MosquittoConf {
        /// The file
        file: PathBuf,
    },
    /// vsftpd.conf, with the list of users who may not, or who alone may, log in
    Vsftpd {
        /// vsftpd.conf
        conf: PathBuf,
        /// The userlist_file, or ftpusers
        userlist: Option<PathBuf>,
    },
}

impl Command {
    /// Prints, or writes, what the files come to.
    pub fn run(self, options: &Options) -> Outcome {
        let service = |default: &str| self.service.clone().unwrap_or_else(|| default.to_owned());
        let plan = match &self.format {
            Format::Htpasswd { file } => htpasswd::import(&Text::read(file)?, &service("files")),
            Format::Mosquitto {
                password_file,
                acl_file,
            } => {
                let acl = acl_file.as_deref().map(Text::read).transpose()?;
                mosquitto::import(&Text::read(password_file)?, acl.as_ref(), &service("mqtt"))
            }
            Format::MosquittoConf { file } => {
                mosquitto_conf::import(&Text::read(file)?, &service("mqtt"))?
            }
            Format::Vsftpd { conf, userlist } => {
                let userlist = userlist.as_deref().map(Text::read).transpose()?;
                vsftpd::import(&Text::read(conf)?, userlist.as_ref(), &service("ftp"))
            }
        };
        plan.check()?;
        if self.write {
            write::write(&plan, options, self.replace)
        } else {
            print!("{plan}");
            Ok(())
        }
    }
}

/// A foreign file.
struct Text {
    file: PathBuf,
    text: String,
}

/// A line that says something.
struct Line<'a> {
    /// `FILE:NUMBER`
    place: String,
    /// Without the spaces around it.
    text: &'a str,
}

impl Text {
    fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let bytes =
            fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{}: expected UTF-8 text", file.display()))?;
        Ok(Self {
            file: file.to_owned(),
            text,
        })
    }

    /// Reads a file that this one names; a relative path begins where the command runs, or else
    /// beside this file.
    fn read_named(&self, name: &str) -> Result<Self, Box<dyn Error>> {
        let here = PathBuf::from(name);
        let beside = self.file.parent().unwrap_or(Path::new("")).join(name);
        Self::read(if here.exists() { &here } else { &beside })
    }

    /// The lines that are neither empty nor comments.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = self.text.trim_start_matches('\u{feff}').lines().enumerate();
        lines
            .map(|(index, line)| Line {
                place: format!("{}:{}", self.file.display(), index + 1),
                text: line.trim(),
            })
            .filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
    }
}

fn service(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a service, such as mqtt".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: String) -> Text {
        Text {
            file: "/nowhere/file".into(),
            text,
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_an_import_panic(
            any in any::<String>(),
            passwords in "([a-z%/:\\]\\[\"' ]{1,4}:(\\$6\\$[a-zA-Z0-9=]{0,4}|x)?\n){0,4}",
            acl in "((user|topic|pattern|x) ?(read|write|deny|)? ?[a%uc/+# ]{0,5}\n){0,5}",
            conf in "((listener|port|protocol|max_qos|bind_address|allow_anonymous|listen|anonymous_enable|pasv_min_port)[ =]\
                      [0-9a-zA-Z:.]{0,6}\n){0,6}",
        ) {
            let passwords = text(passwords);
            for other in [any, acl, conf] {
                let other = text(other);
                let plans = [
                    htpasswd::import(&other, "s"),
                    mosquitto::import(&passwords, Some(&other), "s"),
                    vsftpd::import(&other, Some(&passwords), "s"),
                ];
                let conf = mosquitto_conf::import(&other, "s").ok();
                for plan in plans.iter().chain(&conf) {
                    let good = plan.check().is_ok();
                    prop_assert!(!good || !plan.to_string().is_empty() || plan.sections.is_empty());
                }
            }
        }

        #[test]
        fn every_account_of_a_password_file_can_be_written(names in prop::collection::vec("[^:\n\r\\p{Cc}]{1,10}", 1..5)) {
            let lines: String = names.iter().map(|name| format!("{name}:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n")).collect();
            let plan = htpasswd::import(&text(lines), "s");
            if let Err(error) = plan.check() {
                prop_assert!(names.iter().any(|name| name.contains(['"', '\''])), "{error}");
            }
        }
    }
}
