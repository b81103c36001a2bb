//! Links and folders that are swapped while they are opened.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use polyport_testkit::{Client, figure, repeats};

use super::field::{Field, PASSWORD, USER, told};
use super::wire::ftp::Ftp;
use super::wire::http::Http;
use super::wire::tcp_files::TcpFiles;

/// How often something is swapped; `cargo xtask soak` sets the full number.
const VARIABLE: &str = "POLYPORT_PATH_SWAPS";
const SHORT: usize = 1000;

/// Tries of each door, however slow the machine.
const ENOUGH: u64 = 50;

/// Swaps two names as one step.
fn exchange(one: &Path, two: &Path) {
    renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE).unwrap();
}

/// What each door did while something was swapped.
#[derive(Default)]
struct Tally {
    tries: AtomicU64,
    /// Tries that met the inside of what was swapped: without any, nothing was raced.
    met: AtomicU64,
}

/// A door's name, and what is done there until the race is over.
type Door<'a> = (&'a str, &'a (dyn Fn(&Tries) + Sync));

/// Swaps as often as is asked for while the doors are tried; what was told of the outside.
fn race(field: &Field, mut swap: impl FnMut(), doors: &[Door]) {
    let over = AtomicBool::new(false);
    let tallies: Vec<Tally> = doors.iter().map(|_| Tally::default()).collect();
    let swaps = repeats(VARIABLE, SHORT);
    let count = thread::scope(|scope| {
        for ((name, door), tally) in doors.iter().zip(&tallies) {
            let tries = Tries {
                name,
                over: &over,
                tally,
            };
            scope.spawn(move || door(&tries));
        }
        let begin = Instant::now();
        // A door is slower on a busy machine: the swaps wait until each was tried enough.
        let enough = |tally: &Tally| {
            tally.tries.load(Ordering::Relaxed) >= ENOUGH && tally.met.load(Ordering::Relaxed) > 0
        };
        let mut count = 0_u64;
        while count < swaps as u64 || !tallies.iter().all(enough) {
            swap();
            count += 1;
            // Of no regular length, so that every moment of an opening is met.
            let pause = Duration::from_micros(count * 7919 % 400);
            let until = Instant::now() + pause;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            if begin.elapsed() > Duration::from_secs(120) || thread_panicked(&over) {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        count
    });
    for ((name, _), tally) in doors.iter().zip(&tallies) {
        let (tries, met) = (
            tally.tries.load(Ordering::Relaxed),
            tally.met.load(Ordering::Relaxed),
        );
        println!("{name}: {met} of {tries} met the inside");
        assert!(tries >= ENOUGH && met > 0, "{name}: {met} of {tries}");
    }
    assert_eq!(field.changed_outside(), None);
    let tries = tallies
        .iter()
        .map(|tally| tally.tries.load(Ordering::Relaxed))
        .sum::<u64>();
    figure(
        "swaps",
        format!("{count} against {tries} tries, none got out"),
    );
}

/// A door whose thread panicked ends the race for all.
fn thread_panicked(over: &AtomicBool) -> bool {
    over.load(Ordering::Relaxed)
}

/// One door's tries.
struct Tries<'a> {
    name: &'a str,
    over: &'a AtomicBool,
    tally: &'a Tally,
}

impl Tries<'_> {
    /// Runs until the race is over. Each try gives what was answered, and whether it met the inside.
    fn run(&self, mut attempt: impl FnMut(u64) -> (Vec<u8>, bool)) {
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
        }
        let _ends = Ends(self.over);
        for number in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let (answer, met) = attempt(number);
            let shown = String::from_utf8_lossy(&answer);
            assert_eq!(told(&answer), None, "{}: {shown}", self.name);
            self.tally.tries.fetch_add(1, Ordering::Relaxed);
            self.tally.met.fetch_add(met.into(), Ordering::Relaxed);
        }
    }
}

/// Where the doors are; a host cannot be shared by threads.
#[derive(Clone, Copy)]
struct Addresses {
    files: SocketAddr,
    ftp: SocketAddr,
    tcp_files: SocketAddr,
}

impl Addresses {
    fn of(field: &Field) -> Self {
        Self {
            files: field.host.addr("files"),
            ftp: field.host.addr("ftp"),
            tcp_files: field.host.addr("tcp-files"),
        }
    }

    fn files(self) -> Http {
        Http::login(self.files, USER, PASSWORD)
    }

    fn ftp(self) -> Ftp {
        Ftp::login(self.ftp, USER, PASSWORD)
    }

    fn tcp_files(self) -> TcpFiles {
        TcpFiles::login(self.tcp_files, USER, PASSWORD)
    }
}

/// `secret-a.txt` of the inside: what may be told.
const FINE: &[u8] = b"fine";

fn is_fine(bytes: &[u8]) -> bool {
    bytes.windows(FINE.len()).any(|part| part == FINE)
}

/// A folder inside that changes places with a link to the outside.
fn swapped_folder(field: &Field, target: &str) -> (PathBuf, PathBuf) {
    let (folder, link) = (field.root.join("race"), field.root.join("other"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("secret-a.txt"), FINE).unwrap();
    std::os::unix::fs::symlink(target.replace("{top}", field.top.to_str().unwrap()), &link)
        .unwrap();
    (folder, link)
}

fn folders_and_links(target: &str, policy: &str) {
    let field = Field::new(&format!("symlinks = {policy:?}"), &[]);
    let (folder, link) = swapped_folder(&field, target);
    let doors = Addresses::of(&field);
    let get = |tries: &Tries| {
        let mut files = doors.files();
        tries.run(|number| {
            let target = [
                "/race/secret-a.txt",
                "/race/?format=json",
                "/race/?archive=tar.gz",
            ];
            let answer = files
                .request("GET", target[number as usize % 2], &[], b"")
                .unwrap();
            let met = answer.status == 200;
            (answer.body, met)
        });
    };
    let put = |tries: &Tries| {
        let mut files = doors.files();
        tries.run(|number| {
            let target = format!("/race/put-{}.txt", number % 5);
            let answer = files.request("PUT", target, &[], b"mine").unwrap();
            (answer.body, matches!(answer.status, 200 | 201 | 204))
        });
    };
    let form = |tries: &Tries| {
        let mut files = doors.files();
        let kind = [("content-type", "multipart/form-data; boundary=XX")];
        let body = b"--XX\r\ncontent-disposition: form-data; name=\"path\"; filename=\"form.txt\"\r\n\r\nmine\r\n--XX--\r\n";
        tries.run(|_| {
            let answer = files.request("POST", "/race/", &kind, body).unwrap();
            (answer.body, answer.status < 400)
        });
    };
    let retr = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|number| {
            let line = [
                "RETR race/secret-a.txt",
                "LIST race",
                "MLSD race",
                "NLST race",
            ][number as usize % 4];
            let (replies, data) = ftp.download(line).unwrap();
            (data, replies.len() > 1)
        });
    };
    let stor = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|number| {
            let line = match number % 3 {
                0 => "APPE race/appe.txt",
                1 => "STOR race/secret-b.txt",
                _ => "STOR race/stor.txt",
            };
            let replies = ftp.upload(line, b"mine").unwrap();
            (vec![], replies.len() > 1 && replies[1].code == 226)
        });
    };
    let change = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|_| {
            let mut replies = Vec::new();
            for line in [
                "MKD race/made",
                "RNFR race/made",
                "RNTO race/moved",
                "RMD race/moved",
                "RMD race/made",
                "DELE race/tell-91be.txt",
                "MFMT 20200101000000 race/secret-a.txt",
                "MLST race/secret-a.txt",
                "SIZE race/secret-a.txt",
                "CWD race",
                "DELE vault-a/secret-a.txt",
                "CWD /",
            ] {
                replies.extend(ftp.command(line).text);
            }
            let met = replies.windows(3).any(|code| code == b"257");
            // The attempt to remove it names it.
            (replies, met)
        });
    };
    let tcp = |tries: &Tries| {
        let mut client = doors.tcp_files();
        tries.run(|_| {
            let (_, bytes) = client.get("race/secret-a.txt").unwrap();
            let met = is_fine(&bytes);
            (bytes, met)
        });
    };
    race(
        &field,
        || exchange(&folder, &link),
        &[
            ("GET", &get),
            ("PUT", &put),
            ("POST", &form),
            ("RETR and lists", &retr),
            ("STOR and APPE", &stor),
            ("MKD, RNTO, DELE", &change),
            ("tcp-files", &tcp),
        ],
    );
}

#[test]
fn a_folder_swapped_for_a_link_leads_nowhere() {
    folders_and_links("../outside", "inside");
}

#[test]
fn a_folder_swapped_for_an_absolute_link_leads_nowhere() {
    folders_and_links("{top}/outside", "inside");
}

#[test]
fn a_folder_swapped_for_a_link_leads_nowhere_where_links_are_never_followed() {
    folders_and_links("../outside", "never");
}

#[test]
fn a_file_swapped_for_a_link_is_never_read_or_written_through_it() {
    let field = Field::new("", &[("link", "../outside/secret-a.txt")]);
    let (file, link) = (field.root.join("race.txt"), field.root.join("link"));
    fs::write(&file, FINE).unwrap();
    let doors = Addresses::of(&field);
    let get = |tries: &Tries| {
        let mut files = doors.files();
        tries.run(|_| {
            let answer = files.request("GET", "/race.txt", &[], b"").unwrap();
            (answer.body, answer.status == 200)
        });
    };
    let name = field.host.path().join("state/race.zip");
    let archive = |tries: &Tries| {
        let mut files = doors.files();
        tries.run(|number| {
            let answer = files.request("GET", "/?archive=zip", &[], b"").unwrap();
            // Deflated: what is in it shows only unpacked, which takes its time.
            if number % 50 > 0 {
                return (vec![], answer.status == 200);
            }
            fs::write(&name, answer.body).unwrap();
            let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print([z.read(n) for n in z.namelist()])";
            let done = Client::new("python3").args(["-c", script]).arg(&name).run();
            (done.stdout().into_bytes(), done.code == Some(0))
        });
    };
    let retr = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|_| {
            let (replies, data) = ftp.download("RETR race.txt").unwrap();
            (data, replies.len() > 1)
        });
    };
    let append = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|number| {
            if number % 2 == 0 {
                ftp.command("REST 2");
                let replies = ftp.upload("STOR race.txt", b"ne").unwrap();
                return (vec![], replies.len() > 1);
            }
            let replies = ftp.upload("APPE race.txt", b" mine").unwrap();
            ftp.command("MFMT 20200101000000 race.txt");
            (vec![], replies.len() > 1)
        });
    };
    let tcp = |tries: &Tries| {
        let mut client = doors.tcp_files();
        tries.run(|_| match client.get("race.txt") {
            Ok((header, bytes)) => (bytes, header.get("file_size").is_some()),
            // The file became shorter than was announced.
            Err(_) => {
                client = doors.tcp_files();
                (vec![], false)
            }
        });
    };
    race(
        &field,
        || exchange(&file, &link),
        &[
            ("GET", &get),
            ("archive", &archive),
            ("RETR", &retr),
            ("REST, STOR and APPE", &append),
            ("tcp-files", &tcp),
        ],
    );
}

/// A link that leads up stays beneath the root at one depth, and would lead out at another: its
/// folder moves while it is followed.
#[test]
fn a_folder_that_moves_while_its_links_are_followed_leads_nowhere() {
    let links = [
        ("m/n/o/link", "../../../secret-a.txt"),
        ("m/n/o/up", "../../.."),
    ];
    let field = Field::new("", &links);
    fs::write(field.root.join("secret-a.txt"), FINE).unwrap();
    let (deep, flat) = (field.root.join("m/n/o"), field.root.join("o"));
    let doors = Addresses::of(&field);
    let get = |tries: &Tries| {
        let mut files = doors.files();
        tries.run(|number| {
            let targets = [
                "/m/n/o/link",
                "/o/link",
                "/m/n/o/up/secret-a.txt",
                "/o/up/outside/secret-a.txt",
                "/o/up/?format=json",
            ];
            let answer = files
                .request("GET", targets[number as usize % targets.len()], &[], b"")
                .unwrap();
            let met = is_fine(&answer.body);
            (answer.body, met)
        });
    };
    let retr = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|number| {
            let lines = [
                "RETR m/n/o/link",
                "RETR o/link",
                "RETR o/up/outside/secret-a.txt",
                "LIST o/up",
                "LIST o/up/outside",
            ];
            let (_, data) = ftp.download(lines[number as usize % lines.len()]).unwrap();
            let met = is_fine(&data);
            (data, met)
        });
    };
    let stor = |tries: &Tries| {
        let mut ftp = doors.ftp();
        tries.run(|number| {
            let lines = [
                "STOR m/n/o/up/new.txt",
                "STOR o/up/outside/new.txt",
                "APPE o/up/secret-a.txt",
            ];
            let replies = ftp.upload(lines[number as usize % 3], b"fine").unwrap();
            (vec![], replies.len() > 1)
        });
    };
    let tcp = |tries: &Tries| {
        let mut client = doors.tcp_files();
        tries.run(|number| {
            let (_, bytes) = client
                .get(["m/n/o/link", "o/link"][number as usize % 2])
                .unwrap();
            let met = is_fine(&bytes);
            (bytes, met)
        });
    };
    let mut is_deep = true;
    let swap = || {
        let (from, to) = if is_deep {
            (&deep, &flat)
        } else {
            (&flat, &deep)
        };
        fs::rename(from, to).unwrap();
        is_deep = !is_deep;
    };
    race(
        &field,
        swap,
        &[
            ("GET", &get),
            ("RETR and LIST", &retr),
            ("STOR", &stor),
            ("tcp-files", &tcp),
        ],
    );
}
