//! One tree of folders through every door: what HTTP shows, FTP and tcp-files show as well.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod doors;
mod live;
mod policies;
mod quota;
mod tree;
#[path = "../wire/mod.rs"]
mod wire;

use polyport_testkit::{Builder, Host};

/// An account that sees the tree, one with a home, and the password of all.
const ACCOUNTS: &str = "\
[ann]
password = x
[bob]
password = x
home = home/bob
";

/// The three services that serve files, with these accounts.
fn services(accounts: &str) -> Builder {
    Host::builder()
        .service("files")
        .service("ftp")
        .service("tcp-files")
        .accounts(accounts)
}
