//! The lines of LIST, NLST and MLSx.

use std::io::Write as _;

use crate::calendar::Utc;

/// About six months, after which `ls` shows the year in place of the time.
const RECENT: i64 = 365 * 86_400 / 2;

/// A file or directory as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, or for MLST its full path; bytes, for what is on the disk may be no UTF-8.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content, Unix seconds.
    pub modified: i64,
    /// Permission bits, `0o777` at most.
    pub mode: u32,
    /// Hard links.
    pub links: u64,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// What the account may do with it.
    pub rights: Rights,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link that is not followed.
    Symlink,
    /// A device, FIFO or socket; listed, never opened.
    Other,
}

/// The account's rights to an [`Entry`], for MLSx's perm fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the rights")]
pub struct Rights {
    pub list: bool,
    pub read: bool,
    pub write: bool,
    pub create: bool,
    pub delete: bool,
}

/// Appends the LIST line, in the columns of `ls -ln`, times in UTC.
pub fn long_line(entry: &Entry, now: i64, output: &mut Vec<u8>) {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Other => 's',
    };
    let mode: String = (0..9)
        .map(|bit| {
            if entry.mode & (0o400 >> bit) == 0 {
                '-'
            } else {
                ['r', 'w', 'x'][bit % 3]
            }
        })
        .collect();
    let at = Utc::from_unix(entry.modified);
    // a file from the future shows its year as well, as in ls
    let clock = if (now - RECENT..=now + 60).contains(&entry.modified) {
        format!("{:02}:{:02}", at.hour, at.minute)
    } else {
        format!(" {:04}", at.year)
    };
    // writing to a Vec cannot fail
    let _ = write!(
        output,
        "{kind}{mode} {:>4} {:<8} {:<8} {:>8} {} {:02} {clock} ",
        entry.links,
        entry.uid,
        entry.gid,
        entry.size,
        at.month_name(),
        at.day,
    );
    push_name(&entry.name, output);
}

/// Appends the NLST line.
pub fn name_line(prefix: &str, entry: &Entry, output: &mut Vec<u8>) {
    output.extend_from_slice(prefix.as_bytes());
    push_name(&entry.name, output);
}

/// Appends the MLSx line: the chosen facts, a space, the name (RFC 3659 section 7.2).
pub fn facts_line(facts: Facts, entry: &Entry, output: &mut Vec<u8>) {
    output.extend_from_slice(facts.format(entry).as_bytes());
    output.push(b' ');
    push_name(&entry.name, output);
}

fn push_name(name: &[u8], output: &mut Vec<u8>) {
    output.extend(name.iter().map(|&byte| {
        if matches!(byte, b'\r' | b'\n') {
            b'?'
        } else {
            byte
        }
    }));
    output.extend_from_slice(b"\r\n");
}

/// Which facts MLST and MLSD give; chosen by OPTS MLST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts(u8);

/// Names in the order they are written, each with its bit.
const FACTS: [(&str, u8); 5] = [
    ("type", 1),
    ("size", 2),
    ("modify", 4),
    ("perm", 8),
    ("UNIX.mode", 16),
];

impl Default for Facts {
    fn default() -> Self {
        Self(0b11111)
    }
}

impl Facts {
    /// Reads the argument of OPTS MLST, `size;modify;`. Unknown names are left out, names are
    /// compared without case (RFC 3659 section 7.9).
    pub fn parse(argument: &str) -> Self {
        Self(FACTS.iter().fold(0, |chosen, (name, bit)| {
            let wanted = argument
                .split(';')
                .any(|wanted| wanted.trim().eq_ignore_ascii_case(name));
            if wanted { chosen | bit } else { chosen }
        }))
    }

    /// The chosen names, each followed by a semicolon.
    pub fn chosen(self) -> String {
        FACTS
            .iter()
            .filter(|(_, bit)| self.0 & bit != 0)
            .map(|(name, _)| format!("{name};"))
            .collect()
    }

    /// All names for FEAT, the chosen ones starred (RFC 3659 section 7.8).
    pub fn feature(self) -> String {
        FACTS
            .iter()
            .map(|(name, bit)| format!("{name}{};", if self.0 & bit == 0 { "" } else { "*" }))
            .collect()
    }

    fn format(self, entry: &Entry) -> String {
        let mut text = String::new();
        for (name, bit) in FACTS {
            if self.0 & bit == 0 {
                continue;
            }
            let value = match name {
                "type" => match entry.kind {
                    Kind::File => "file".to_owned(),
                    Kind::Directory => "dir".to_owned(),
                    Kind::Symlink => "OS.unix=symlink".to_owned(),
                    Kind::Other => "OS.unix=special".to_owned(),
                },
                "size" if entry.kind == Kind::File => entry.size.to_string(),
                "modify" => Utc::from_unix(entry.modified).time_val(),
                "perm" => perm(entry),
                "UNIX.mode" => format!("0{:03o}", entry.mode & 0o777),
                _ => continue,
            };
            text.push_str(&format!("{name}={value};"));
        }
        text
    }
}

/// RFC 3659 section 7.5.5.
fn perm(entry: &Entry) -> String {
    let Rights {
        list,
        read,
        write,
        create,
        delete,
    } = entry.rights;
    let letters: &[(bool, char)] = match entry.kind {
        Kind::Directory => &[
            (create, 'c'),
            (delete, 'd'),
            (list, 'e'),
            (delete, 'f'),
            (list, 'l'),
            (create, 'm'),
            (delete, 'p'),
        ],
        Kind::File => &[
            (write, 'a'),
            (delete, 'd'),
            (delete, 'f'),
            (read, 'r'),
            (write, 'w'),
        ],
        Kind::Symlink | Kind::Other => &[(delete, 'd'), (delete, 'f')],
    };
    letters
        .iter()
        .filter(|(allowed, _)| *allowed)
        .map(|(_, letter)| letter)
        .collect()
}

/// Whether `name` fits a pattern in which `*` is any run of bytes and `?` any one byte.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // where to go on after a mismatch: the last star, and the byte it then swallows
    let mut retry: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, from + 1));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match retry {
                Some((after_star, next)) => {
                    (at, from) = (after_star, next);
                    retry = Some((after_star, next + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_421_400_000;

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            kind,
            size: 26,
            modified: 1_421_347_380,
            mode: 0o644,
            links: 1,
            uid: 0,
            gid: 0,
            rights: Rights {
                list: true,
                read: true,
                ..Rights::default()
            },
        }
    }

    fn long(entry: &Entry) -> String {
        let mut output = Vec::new();
        long_line(entry, NOW, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn t29_list_line_has_the_columns_of_ls() {
        let file = entry("test1.txt", Kind::File);
        assert_eq!(
            long(&file),
            "-rw-r--r--    1 0        0              26 Jan 15 18:43 test1.txt\r\n"
        );
        let old = Entry {
            modified: 0,
            mode: 0o755,
            kind: Kind::Directory,
            ..file.clone()
        };
        assert_eq!(
            long(&old),
            "drwxr-xr-x    1 0        0              26 Jan 01  1970 test1.txt\r\n"
        );
        let forged = Entry {
            name: b"a\r\nb".to_vec(),
            ..file
        };
        assert!(long(&forged).ends_with(" a??b\r\n"));
    }

    #[test]
    fn facts_are_chosen_written_and_starred() {
        let mut output = Vec::new();
        facts_line(Facts::default(), &entry("a b", Kind::File), &mut output);
        assert_eq!(
            output,
            b"type=file;size=26;modify=20150115184300;perm=r;UNIX.mode=0644; a b\r\n"
        );
        let few = Facts::parse("SIZE;nonsense;modify");
        assert_eq!(few.chosen(), "size;modify;");
        assert_eq!(few.feature(), "type;size*;modify*;perm;UNIX.mode;");
        output.clear();
        facts_line(few, &entry("d", Kind::Directory), &mut output);
        assert_eq!(output, b"modify=20150115184300; d\r\n");
        output.clear();
        facts_line(Facts::parse(""), &entry("d", Kind::Directory), &mut output);
        assert_eq!(output, b" d\r\n");
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a*b*c", "aXbXbXc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "a", false),
            ("***", "anything", true),
            ("*aaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
