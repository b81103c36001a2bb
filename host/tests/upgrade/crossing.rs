//! What crosses: the store, the connections with all that was half said, logins and their counts.

use std::io::Read;

use polyport_testkit::{Host, PASSWORD, USER, eventually};

use super::{Client, Upgradable, keeper, wait_for_connections};

#[test]
fn the_store_and_every_connection_cross_whatever_was_half_said() {
    let mut host = Upgradable::start(keeper(""));
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&host, "one")).collect();
    for client in &mut clients {
        client.ask("add 1");
    }
    let mut named = Client::connect(&host, "one");
    assert_eq!(named.ask(&format!("login {USER} {PASSWORD}")), "welcome");
    // Half a line, and more than the sockets take while nobody reads: Linux may let them grow to 32 MiB and more.
    clients[0].send("cou");
    let bytes = 64 << 20;
    clients[1].send(&format!("fill {bytes}\nget\n"));
    host.upgrade();
    host.first_ended();

    clients[0].send("nt\n");
    assert_eq!(clients[0].hear(), "2");
    let mut filled = vec![0; bytes + 1];
    clients[1].0.read_exact(&mut filled).unwrap();
    assert!(filled[..bytes].iter().all(|byte| *byte == b'x') && filled[bytes] == b'\n');
    assert_eq!(clients[1].hear(), "20 first");
    assert_eq!(named.ask("who"), USER);
    assert_eq!(clients[2].ask("add 5"), "25");
    assert_eq!(Client::connect(&host, "one").ask("get"), "25 first");
    wait_for_connections(&host, "one", 21);
}

#[test]
fn one_upgrade_after_the_other_takes_the_same_connections_along() {
    let upgrades = std::env::var("POLYPORT_UPGRADES").map_or(3, |count| count.parse().unwrap());
    let mut host = Upgradable::start(keeper(""));
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(&host, "one")).collect();
    let mut sum = 0;
    for round in 0..upgrades {
        for client in &mut clients {
            sum += 1;
            assert_eq!(client.ask("add 1"), sum.to_string());
        }
        host.upgrade();
        if round == 0 {
            host.first_ended();
        }
    }
    for client in &mut clients {
        assert_eq!(client.ask("count"), (upgrades + 1).to_string());
    }
    // Reloads go on as ever.
    host.edit_config(|text| text.replace("word = \"first\"", "word = \"second\""));
    host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(clients[0].ask("get"), format!("{sum} second"));
}

#[test]
fn a_login_that_crossed_ends_when_its_account_changes() {
    let mut host = Upgradable::start(keeper(""));
    let mut client = Client::connect(&host, "one");
    assert_eq!(client.ask(&format!("login {USER} {PASSWORD}")), "welcome");
    host.upgrade();
    host.first_ended();
    assert_eq!(client.ask("who"), USER);
    host.edit_accounts(|text| text.replace(PASSWORD, "looking-glass"));
    assert_eq!(client.hear(), "revoked");
}

#[test]
fn a_login_whose_account_changed_meanwhile_is_none_any_more() {
    let builder = keeper("").accounts(&format!(
        "[{USER}]\npassword = {PASSWORD}\n[bob]\npassword = builder\n"
    ));
    let mut host = Upgradable::start(builder);
    // Nobody reads the files before the new process does.
    host.edit_config(|text| text.replace("quiet_time = \"50ms\"", "quiet_time = \"1m\""));
    host.command(&["reload", "--wait"]).expect_success();
    let mut alice = Client::connect(&host, "one");
    let mut bob = Client::connect(&host, "one");
    assert_eq!(alice.ask(&format!("login {USER} {PASSWORD}")), "welcome");
    assert_eq!(bob.ask("login bob builder"), "welcome");
    host.edit_accounts(|text| text.replace("builder", "breaker"));
    host.upgrade();
    host.first_ended();
    assert_eq!(bob.hear(), "revoked");
    assert_eq!(alice.ask("who"), USER);
}

#[test]
fn sessions_that_crossed_count_and_are_given_back() {
    let builder = keeper("").accounts(&format!(
        "[{USER}]\npassword = {PASSWORD}\nmax_sessions = 2\n"
    ));
    let mut host = Upgradable::start(builder);
    let login = format!("login {USER} {PASSWORD}");
    let mut clients: Vec<Client> = (0..2).map(|_| Client::connect(&host, "one")).collect();
    for client in &mut clients {
        assert_eq!(client.ask(&login), "welcome");
    }
    host.upgrade();
    host.first_ended();
    for client in &mut clients {
        assert_eq!(client.ask("who"), USER);
    }
    let mut third = Client::connect(&host, "one");
    assert_ne!(third.ask(&login), "welcome");
    drop(clients);
    eventually("a session is free", || {
        (third.ask(&login) == "welcome").then_some(())
    });
}

#[test]
fn what_stays_behind_drains_and_hears_of_accounts() {
    // A plugin that passes nothing.
    let builder = Host::builder()
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .host_keys("quiet_time = \"50ms\"\ndrain_timeout = \"30s\"");
    let mut host = Upgradable::start(builder);
    let mut client = Client::connect(&host, "two");
    let welcome = client.ask(&format!("login {USER} {PASSWORD}"));
    assert_eq!(welcome, format!("{USER} write=true"));
    host.upgrade();
    host.edit_accounts(|text| text.replace(PASSWORD, "looking-glass"));
    assert_eq!(client.hear(), "revoked");
    drop(client);
    host.first_ended();
}
