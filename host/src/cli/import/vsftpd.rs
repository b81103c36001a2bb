//! vsftpd.conf: `OPTION=VALUE` a line, and lists of users, one a line.

mod tls;

use std::collections::BTreeMap;

use toml_edit::{Array, Value};

use super::Text;
use super::plan::{Plan, Section};
use crate::accounts::ANONYMOUS;

/// Switches that are settings of the same name, with what vsftpd does without them.
const SWITCHES: &[(&str, bool)] = &[
    ("anonymous_enable", true),
    ("local_enable", false),
    ("write_enable", false),
    ("chroot_local_user", false),
    ("allow_writeable_chroot", false),
    ("pasv_enable", true),
    ("port_enable", true),
    ("delete_failed_uploads", false),
];

/// Options and the settings that mean the same: text, then numbers.
const TEXTS: &[(&str, &str)] = &[
    ("anon_root", "anonymous_root"),
    ("ftpd_banner", "banner"),
    ("pasv_address", "pasv_address"),
];
const NUMBERS: &[(&str, &str)] = &[
    ("accept_timeout", "accept_timeout"),
    ("data_connection_timeout", "data_timeout"),
    ("max_login_fails", "max_login_failures"),
];

/// Options and the limits that mean the same.
const LIMITS: &[(&str, &str)] = &[
    ("max_clients", "max_connections"),
    ("max_per_ip", "max_connections_per_address"),
];

/// Options that are taken into account together with others.
const TAKEN: &[&str] = &[
    "anon_mkdir_write_enable",
    "anon_other_write_enable",
    "anon_upload_enable",
    "ascii_download_enable",
    "ascii_upload_enable",
    "banner_file",
    "chroot_list_enable",
    "chroot_list_file",
    "idle_session_timeout",
    "listen",
    "listen_address",
    "listen_address6",
    "listen_ipv6",
    "listen_port",
    "local_root",
    "pasv_max_port",
    "pasv_min_port",
    "user_sub_token",
    "userlist_deny",
    "userlist_enable",
    "userlist_file",
];

/// What holds here whatever the file says; no word is lost on an option that says the same.
const ALWAYS: &[(&str, bool, &str)] = &[
    (
        "pasv_promiscuous",
        false,
        "data connections come from the client's own address",
    ),
    (
        "port_promiscuous",
        false,
        "data connections go to the client's own address",
    ),
    (
        "xferlog_enable",
        true,
        "the log has a line for each transfer",
    ),
];

/// The options of a file by name, with their places.
struct Conf<'a>(BTreeMap<&'a str, (String, &'a str)>);

impl<'a> Conf<'a> {
    fn get(&self, option: &str) -> Option<&'a str> {
        self.0.get(option).map(|(_, value)| *value)
    }

    fn place(&self, option: &str) -> &str {
        self.0.get(option).map_or("vsftpd.conf", |(place, _)| place)
    }

    fn is_on(&self, option: &str, default: bool) -> bool {
        self.get(option).map_or(default, truth)
    }
}

fn truth(value: &str) -> bool {
    ["YES", "TRUE", "1"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

/// The service of `file`, and the accounts and refusals of `userlist`.
pub fn import(file: &Text, userlist: Option<&Text>, service: &str) -> Plan {
    let mut plan = Plan::new(service);
    plan.plugin = Some("ftp");
    let mut conf = Conf(BTreeMap::new());
    for line in file.lines() {
        match line.text.split_once('=') {
            Some((option, value)) => {
                conf.0.insert(option, (line.place, value.trim()));
            }
            None => plan.note(
                &line.place,
                format_args!("expected OPTION=VALUE, got {:?}", line.text),
            ),
        }
    }
    let listen = listen(&mut plan, &conf);
    plan.keys
        .push(("listen", tls::schemes(&conf, listen).into()));
    for (option, default) in SWITCHES {
        plan.set(option, conf.is_on(option, *default));
    }
    for (option, key) in TEXTS {
        if let Some(value) = conf.get(option) {
            plan.set(key, value);
        }
    }
    for (option, key) in NUMBERS {
        match conf.get(option).map(str::parse::<i64>) {
            Some(Ok(number)) => plan.set(key, number),
            Some(Err(_)) => plan.note(
                conf.place(option),
                format_args!("{option}: expected a number"),
            ),
            None => {}
        }
    }
    for (option, key) in LIMITS {
        match conf.get(option).map(str::parse::<i64>) {
            Some(Ok(number)) => plan.limit(key, number),
            Some(Err(_)) => plan.note(
                conf.place(option),
                format_args!("{option}: expected a number"),
            ),
            None => {}
        }
    }
    match conf.get("idle_session_timeout").map(str::parse::<u32>) {
        Some(Ok(seconds)) => plan.limit("idle_timeout", format!("{seconds}s")),
        Some(Err(_)) => plan.note(
            conf.place("idle_session_timeout"),
            "idle_session_timeout: expected a number",
        ),
        None => {}
    }
    folders(&mut plan, &conf, file);
    ports_and_text(&mut plan, &conf, file);
    tls::import(&mut plan, &conf);
    users(&mut plan, &conf, userlist);
    if conf.is_on("anonymous_enable", true) {
        anonymous(&mut plan, &conf);
    }
    leftovers(&mut plan, &conf);
    plan
}

fn listen(plan: &mut Plan, conf: &Conf<'_>) -> Array {
    let port = conf.get("listen_port").unwrap_or("21");
    let mut listen = Array::new();
    let ipv6 = conf.is_on("listen_ipv6", false);
    if ipv6 {
        listen.push(format!(
            "[{}]:{port}",
            conf.get("listen_address6").unwrap_or("::")
        ));
    }
    // Its IPv6 socket takes IPv4 as well, unless it has an address.
    if conf.is_on("listen", true) && !ipv6 || ipv6 && conf.get("listen_address6").is_none() {
        listen.push(format!(
            "{}:{port}",
            conf.get("listen_address").unwrap_or("0.0.0.0")
        ));
    }
    if listen.is_empty() {
        plan.note(
            conf.place("listen"),
            "listen=NO: inetd starts no services here, listen needs an address",
        );
    }
    listen
}

fn folders(plan: &mut Plan, conf: &Conf<'_>, file: &Text) {
    if let Some(root) = conf.get("local_root") {
        let root = match conf.get("user_sub_token") {
            Some(token) if !token.is_empty() => root.replace(token, "%u"),
            _ => root.to_owned(),
        };
        plan.set("local_root", root);
    }
    if !conf.is_on("chroot_local_user", false) {
        plan.note(
            conf.place("chroot_local_user"),
            "chroot_local_user=NO: accounts see the folder `root` of the service, never the whole disk",
        );
    }
    if conf.is_on("chroot_list_enable", false) {
        let name = conf
            .get("chroot_list_file")
            .unwrap_or("/etc/vsftpd.chroot_list");
        match file.read_named(name) {
            Ok(text) => plan.set("chroot_list", names(&text)),
            Err(error) => plan.note(
                conf.place("chroot_list_file"),
                format_args!("chroot_list_file: {error}"),
            ),
        }
    }
}

fn ports_and_text(plan: &mut Plan, conf: &Conf<'_>, file: &Text) {
    let port = |option| {
        conf.get(option)
            .and_then(|value| value.parse::<u16>().ok())
            .unwrap_or(0)
    };
    match (port("pasv_min_port"), port("pasv_max_port")) {
        (0, 0) => {}
        (low, high) if low <= high && low > 0 => {
            plan.set("passive_ports", format!("{low}-{high}"));
        }
        _ => plan.note(
            conf.place("pasv_min_port"),
            "passive_ports needs both pasv_min_port and pasv_max_port",
        ),
    }
    let ascii = match (
        conf.is_on("ascii_download_enable", false),
        conf.is_on("ascii_upload_enable", false),
    ) {
        (false, false) => "never",
        (true, true) => "always",
        _ => {
            plan.note(
                conf.place("ascii_download_enable"),
                "ascii is for both directions: written as \"always\"",
            );
            "always"
        }
    };
    plan.set("ascii", ascii);
    if let Some(name) = conf.get("banner_file") {
        match file.read_named(name) {
            Ok(text) => {
                plan.set("banner", text.text.trim_end());
            }
            Err(error) => plan.note(
                conf.place("banner_file"),
                format_args!("banner_file: {error}"),
            ),
        }
    }
}

fn users(plan: &mut Plan, conf: &Conf<'_>, userlist: Option<&Text>) {
    if conf.is_on("local_enable", false) {
        plan.note(
            conf.place("local_enable"),
            "local_enable=YES: users of the system are not users here; \"polyport user add\" adds them, and their \
             hash in /etc/shadow can be copied to `password`",
        );
    }
    let enabled = conf.is_on("userlist_enable", false);
    let Some(list) = userlist else {
        if enabled {
            plan.note(
                conf.place("userlist_enable"),
                "userlist_enable=YES: give the userlist_file to the command as well",
            );
        }
        return;
    };
    if enabled && !conf.is_on("userlist_deny", true) {
        for line in list.lines() {
            plan.account(&line.place, line.text);
        }
    } else {
        plan.set("deny_users", names(list));
    }
}

fn anonymous(plan: &mut Plan, conf: &Conf<'_>) {
    let mut rights = vec!["list", "read"];
    if conf.is_on("write_enable", false) {
        let on = |option| conf.is_on(option, false);
        if on("anon_upload_enable") || on("anon_mkdir_write_enable") {
            rights.push("create");
        }
        if on("anon_other_write_enable") {
            rights.extend(["write", "delete"]);
        }
    }
    let mut section = Section {
        id: ANONYMOUS.to_owned(),
        items: Vec::new(),
    };
    section.add("services", plan.service.clone());
    section.add("from", "any");
    section.add("rights", rights.join(", "));
    plan.sections.push(section);
}

/// Notes every option that has done nothing.
fn leftovers(plan: &mut Plan, conf: &Conf<'_>) {
    for (option, (place, value)) in &conf.0 {
        let taken = TAKEN.contains(option)
            || tls::TAKEN.contains(option)
            || SWITCHES.iter().any(|(known, _)| known == option)
            || TEXTS
                .iter()
                .chain(NUMBERS)
                .chain(LIMITS)
                .any(|(known, _)| known == option);
        match ALWAYS.iter().find(|(known, ..)| known == option) {
            Some((_, always, _)) if truth(value) == *always => {}
            Some((_, _, why)) => plan.note(place, format_args!("{option}={value}: {why}")),
            None if taken => {}
            None => plan.note(place, format_args!("{option}={value}: no counterpart")),
        }
    }
}

fn names(list: &Text) -> Value {
    let names: Array = list.lines().map(|line| line.text).collect();
    names.into()
}
