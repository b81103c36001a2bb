//! Unix sockets with mode and owner.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn a_socket_has_the_mode_and_owner_of_its_entry_also_when_they_change() {
    let host = echo("").prepare();
    let path = host.path().join("echo.sock");
    let address = format!("\"{}\"", host.addr("echo"));
    // Only root gives away files; everybody may give them to themselves.
    let own = std::fs::metadata(host.path()).unwrap();
    let (user, group) = match own.uid() {
        0 => (65_534, 65_534),
        uid => (uid, own.gid()),
    };
    host.edit_config(|text| {
        let table = format!(
            "{{ address = \"unix:echo.sock\", mode = \"0600\", owner = \"{user}:{group}\" }}"
        );
        text.replacen(&address, &table, 1)
    });
    let mut host = host;
    host.start();
    let meta = || std::fs::metadata(&path).unwrap();
    assert_eq!(meta().permissions().mode() & 0o777, 0o600);
    assert_eq!((meta().uid(), meta().gid()), (user, group));
    let started = status_of(&host, "echo")["started"].clone();
    let mut greeting = [0; 6];
    let mut client = UnixStream::connect(&path).unwrap();
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello\n");
    host.edit_config(|text| text.replace("mode = \"0600\"", "mode = \"0666\""));
    reload(&host);
    assert_eq!(meta().permissions().mode() & 0o777, 0o666);
    assert_eq!(status_of(&host, "echo")["started"], started);
}

#[test]
fn a_socket_counts_for_all_but_has_no_address() {
    let host = echo("limits = { max_connections = 2, max_connections_per_address = 1 }").prepare();
    let path = host.path().join("echo.sock");
    let address = format!("\"{}\"", host.addr("echo"));
    host.edit_config(|text| text.replacen(&address, "\"unix:echo.sock\"", 1));
    let mut host = host;
    host.start();
    let greet = || {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 5];
        client.read_exact(&mut greeting).unwrap();
        (client, String::from_utf8_lossy(&greeting).into_owned())
    };
    let (one, two, three) = (greet(), greet(), greet());
    assert_eq!(
        (one.1.as_str(), two.1.as_str(), three.1.as_str()),
        ("hello", "hello", "too m")
    );
}
