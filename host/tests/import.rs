//! `polyport import`: files that other servers' own programs made, read by the program; and clients
//! that log in at the running host as they did before.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::Path;

use polyport_testkit::{Client, Host, eventually};

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let done = Client::new(program)
        .args(arguments)
        .current_dir(folder)
        .run();
    done.expect_success().stdout()
}

/// The host with one service and an accounts file that has comments.
fn host(service: &str) -> Host {
    Host::builder()
        .service(service)
        .accounts("; ours\n[root]\npassword = x\n")
        .start()
}

/// Whether a message is taken: 5.0 tells a refusal in PUBACK, which is no failure to the client.
fn publishes(host: &Host, user: &str, password: &str, topic: &str) -> bool {
    let port = host.port("mqtt").to_string();
    let arguments = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-V",
        "5",
        "-q",
        "1",
        "-u",
        user,
        "-P",
        password,
        "-t",
        topic,
        "-m",
        "x",
    ];
    let done = Client::new("mosquitto_pub").args(arguments).run();
    done.code == Some(0) && !done.stderr().contains("failed")
}

/// Whether a subscription is granted: `-E` ends the client after the answer.
fn subscribes(host: &Host, user: &str, filter: &str) -> bool {
    let port = host.port("mqtt").to_string();
    let arguments = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-V",
        "5",
        "-u",
        user,
        "-P",
        "secret",
        "-t",
        filter,
        "-E",
    ];
    let done = Client::new("mosquitto_sub").args(arguments).run();
    let said = done.stdout() + &done.stderr();
    done.code == Some(0) && !said.contains("denied") && !said.contains("rejected")
}

#[test]
fn mosquittos_users_and_their_topics_are_taken_over() {
    let host = host("mqtt");
    let folder = host.path();
    run(
        "mosquitto_passwd",
        &["-c", "-b", "passwd", "dev1", "secret"],
        folder,
    );
    run(
        "mosquitto_passwd",
        &["-H", "sha512", "-b", "passwd", "dev2", "secret"],
        folder,
    );
    fs::write(
        folder.join("acl"),
        "topic read news/#\n\nuser dev1\ntopic readwrite a/b c/#\ntopic deny a/b c/secret\ntopic write 100%/x\n\
         user ghost\ntopic x\npattern write sensors/%u/#\npattern read in/%c\nbogus\n",
    )
    .unwrap();
    let printed = host
        .command(&["import", "mosquitto", "passwd", "acl"])
        .expect_success()
        .stdout();
    let hash = |name: &str| {
        let passwd = fs::read_to_string(folder.join("passwd")).unwrap();
        let line = passwd
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap().to_owned()
    };
    assert_eq!(
        printed,
        format!(
            "# accounts.ini\n\n[group:mqtt]\nallow.1 = publish sensors/%u/#\nallow.2 = subscribe in/%c\n\n\
             [dev1]\nname = dev1\ngroups = mqtt\npassword = {}\nservices = mqtt\nallow.1 = publish,subscribe a/b c/#\n\
             deny.1 = publish,subscribe a/b c/secret\nallow.2 = publish 100%%/x\n\n\
             [dev2]\nname = dev2\ngroups = mqtt\npassword = {}\nservices = mqtt\n\n\
             [ghost]\nname = ghost\ngroups = mqtt\nservices = mqtt\nallow.1 = publish,subscribe x\n\n\
             # Without counterpart, or different:\n\
             # acl:7: \"ghost\" has no password in the password file\n\
             # acl:11: expected user, topic or pattern, got \"bogus\"\n\
             # a rule for clients without a name is left out, because the files do not say whether there are any: \
             subscribe news/#\n",
            hash("dev1"),
            hash("dev2")
        )
    );
    host.command(&["import", "mosquitto", "passwd", "acl", "--write"])
        .expect_success();
    let accounts = fs::read_to_string(folder.join("accounts.ini")).unwrap();
    assert!(
        accounts.starts_with("; ours\n[root]\npassword = x\n\n[group:mqtt]\n"),
        "{accounts}"
    );
    host.command(&["reload", "--wait"]).expect_success();
    assert!(publishes(&host, "dev1", "secret", "a/b c/d"));
    assert!(publishes(&host, "dev2", "secret", "sensors/dev2/t"));
    assert!(!publishes(&host, "dev1", "secre", "a/b c/d"));
    assert!(!publishes(&host, "dev2", "secret", "a/b c/d"));
    assert!(subscribes(&host, "dev1", "a/b c/d"));
    assert!(
        subscribes(&host, "dev1", "a/b c/#"),
        "what is published to a/b c/secret is held back"
    );
    assert!(!subscribes(&host, "dev1", "a/b c/secret"));
    assert!(!subscribes(&host, "dev2", "x"));
    let again = host
        .command(&["import", "mosquitto", "passwd", "--write"])
        .expect_code(1)
        .stderr();
    assert!(
        again.contains("there is [dev1] already") && again.contains("there is [dev2] already"),
        "{again}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("accounts.ini")).unwrap(),
        accounts
    );
}

#[test]
fn users_of_htpasswd_log_in_with_each_hash_that_is_known() {
    let host = host("files");
    let folder = host.path();
    fs::create_dir_all(folder.join("files")).unwrap();
    fs::write(folder.join("files/a.txt"), "hello").unwrap();
    let kinds = [
        ("-m", "md5"),
        ("-B", "bcrypt"),
        ("-2", "sha256"),
        ("-5", "sha512"),
        ("-s", "sha"),
        ("-d", "des"),
    ];
    for (index, (option, name)) in kinds.iter().enumerate() {
        let create = if index == 0 { "-c" } else { "-b" };
        run(
            "htpasswd",
            &["-b", create, option, ".htpasswd", name, "secret"],
            folder,
        );
    }
    let said = host
        .command(&["import", "htpasswd", ".htpasswd", "--write"])
        .expect_success()
        .stdout();
    for name in ["sha", "des"] {
        assert!(
            said.contains(&format!("the password of \"{name}\" is none of the hashes")),
            "{said}"
        );
    }
    assert_eq!(said.lines().count(), 3, "{said}");
    host.command(&["reload", "--wait"]).expect_success();
    let url = format!("http://{}/a.txt", host.addr("files"));
    for (index, (_, name)) in kinds.iter().enumerate() {
        for (password, right) in [("secret", index < 4), ("wrong", false)] {
            let user = format!("{name}:{password}");
            let status = run(
                "curl",
                &["-s", "-o", "out", "-w", "%{http_code}", "-u", &user, &url],
                folder,
            );
            assert_eq!(status == "200", right, "{user} {status}");
        }
    }
}

/// The tutorial's vsftpd.conf, T26, beside what Debian's has.
const VSFTPD: &str = "# FTP\nlisten=YES\nlisten_ipv6=NO\nlisten_port={port:ftp}\nlisten_address=127.0.0.1\nanonymous_enable=NO\n\
    local_enable=YES\nwrite_enable=YES\nlocal_root={dir}/ftp/$USER\nuser_sub_token=$USER\nchroot_local_user=YES\n\
    chroot_list_enable=YES\nchroot_list_file=chroot_list\nallow_writeable_chroot=YES\npasv_enable=YES\n\
    pasv_address=127.0.0.1\npasv_min_port=40000\npasv_max_port=45000\ndirmessage_enable=YES\nxferlog_enable=YES\n\
    connect_from_port_20=YES\nssl_enable=NO\nftpd_banner=Welcome to \"us\"\nmax_clients=200\nmax_per_ip=4\nidle_session_timeout=600\n";

#[test]
fn t26_vsftpd_conf_becomes_the_ftp_service() {
    let host = host("ftp");
    let folder = host.path();
    fs::write(folder.join("vsftpd.conf"), host.expand(VSFTPD)).unwrap();
    fs::write(folder.join("chroot_list"), "carol\n").unwrap();
    fs::write(folder.join("ftpusers"), "# not these\nroot\ndaemon\n").unwrap();
    let printed = host
        .command(&["import", "vsftpd", "vsftpd.conf", "ftpusers"])
        .expect_success()
        .stdout();
    assert_eq!(
        printed,
        host.expand(
            "# polyport.toml\n\n[services.ftp]\nplugin = \"ftp\"\nlisten = [\"127.0.0.1:{port:ftp}\"]\n\n\
             [services.ftp.limits]\nmax_connections = 200\nmax_connections_per_address = 4\nidle_timeout = \"600s\"\n\n\
             [services.ftp.settings]\nanonymous_enable = false\nlocal_enable = true\nwrite_enable = true\n\
             chroot_local_user = true\nallow_writeable_chroot = true\npasv_enable = true\nport_enable = true\n\
             delete_failed_uploads = false\nbanner = 'Welcome to \"us\"'\npasv_address = \"127.0.0.1\"\n\
             local_root = \"{dir}/ftp/%u\"\nchroot_list = [\"carol\"]\npassive_ports = \"40000-45000\"\n\
             ascii = \"never\"\ndeny_users = [\"root\", \"daemon\"]\n\n\
             # Without counterpart, or different:\n\
             # vsftpd.conf:7: local_enable=YES: users of the system are not users here; \"polyport user add\" adds \
             them, and their hash in /etc/shadow can be copied to `password`\n\
             # vsftpd.conf:21: connect_from_port_20=YES: no counterpart\n\
             # vsftpd.conf:19: dirmessage_enable=YES: no counterpart\n"
        )
    );
    let arguments = ["import", "vsftpd", "vsftpd.conf", "ftpusers", "--write"];
    let before = fs::read_to_string(host.config()).unwrap();
    let refused = host.command(&arguments).expect_code(1).stderr();
    assert!(
        refused.contains("services.ftp.settings.passive_ports = \""),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(host.config()).unwrap(), before);
    host.edit_config(|text| format!("# kept\n{text}"));
    host.command(&[&arguments[..], &["--replace"]].concat())
        .expect_success();
    assert!(
        fs::read_to_string(host.config())
            .unwrap()
            .starts_with("# kept\n")
    );
    let hash = run("openssl", &["passwd", "-6", "secret"], folder);
    fs::create_dir_all(folder.join("ftp/carl")).unwrap();
    host.edit_accounts(|text| {
        format!("{text}[carl]\npassword = {}\nservices = ftp\n", hash.trim())
    });
    host.command(&["reload", "--wait"]).expect_success();
    fs::write(folder.join("up.txt"), "hello").unwrap();
    let url = format!("ftp://{}/up.txt", host.addr("ftp"));
    run(
        "curl",
        &["-s", "-u", "carl:secret", "-T", "up.txt", &url],
        folder,
    );
    assert_eq!(
        fs::read_to_string(folder.join("ftp/carl/up.txt")).unwrap(),
        "hello"
    );
    let denied = Client::new("curl").args(["-s", "-u", "root:x", &url]).run();
    assert_eq!(denied.code, Some(67), "login denied");
}

#[test]
fn vsftpd_conf_with_tls_becomes_an_ftps_service() {
    let host = host("ftp");
    let folder = host.path();
    let pair = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 90 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost";
    let arguments: Vec<&str> = pair.split_whitespace().collect();
    run("openssl", &arguments, folder);
    fs::write(
        folder.join("vsftpd.conf"),
        host.expand(
            "listen=YES\nlisten_port={port:ftp}\nlisten_address=127.0.0.1\nanonymous_enable=NO\nlocal_enable=YES\n\
             write_enable=YES\nchroot_local_user=YES\nssl_enable=YES\nrsa_cert_file=cert.pem\n\
             rsa_private_key_file=key.pem\nca_certs_file=cert.pem\nvalidate_cert=YES\nssl_tlsv1=YES\nssl_sslv3=NO\n\
             implicit_ssl=YES\nforce_anon_data_ssl=YES\nstrict_ssl_read_eof=YES\nssl_ciphers=HIGH\n\
             allow_writeable_chroot=YES\n",
        ),
    )
    .unwrap();
    let said = host
        .command(&["import", "vsftpd", "vsftpd.conf", "--write", "--replace"])
        .expect_success()
        .stdout();
    let notes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("vsftpd.conf:") && !line.contains("local_enable"))
        .collect();
    assert_eq!(
        notes,
        [
            "vsftpd.conf:13: ssl_tlsv1=YES: TLS 1.2 and 1.3 are spoken",
            "vsftpd.conf:18: ssl_ciphers=HIGH: no counterpart",
        ]
    );
    let config = fs::read_to_string(host.config()).unwrap();
    for line in [
        "listen = [\"ftps://127.0.0.1:{port:ftp}\"]",
        "tls = { cert = \"cert.pem\", key = \"key.pem\", client_ca = \"cert.pem\", client_cert = \"optional\" }",
        "require_tls = true",
        "force_anon_logins_ssl = false",
        "force_local_data_ssl = true",
        "force_anon_data_ssl = true",
        "require_ssl_reuse = true",
        "strict_ssl_read_eof = true",
    ] {
        let line = host.expand(line);
        assert!(
            config.lines().any(|found| found == line),
            "{line}: {config}"
        );
    }
    host.edit_accounts(|text| format!("{text}[carl]\npassword = secret\nhome = files\n"));
    host.command(&["reload", "--wait"]).expect_success();
    fs::write(folder.join("up.txt"), "hello").unwrap();
    let url = host.expand("ftps://localhost:{port:ftp}/up.txt");
    let arguments = [
        "-sS",
        "--cacert",
        "cert.pem",
        "-u",
        "carl:secret",
        "-T",
        "up.txt",
        &url,
    ];
    run("curl", &arguments, folder);
    assert_eq!(
        fs::read_to_string(folder.join("files/up.txt")).unwrap(),
        "hello"
    );
}

#[test]
fn mosquitto_conf_becomes_the_mqtt_service() {
    let host = Host::builder()
        .service("mqtt")
        .accounts("; nobody\n")
        .start();
    let folder = host.path();
    run(
        "mosquitto_passwd",
        &["-c", "-b", "passwd", "dev1", "secret"],
        folder,
    );
    fs::write(
        folder.join("mosquitto.conf"),
        host.expand(
            "# a comment\nper_listener_settings false\nlistener {port:mqtt} 127.0.0.1\nlistener {port:mqtt-ws} localhost\n\
             protocol websockets\nuser mosquitto\npersistence true\npersistence_location /var/lib/mosquitto/\n\
             allow_anonymous true\npassword_file passwd\nmax_queued_messages 0\nmax_packet_size 2000\n\
             persistent_client_expiration 2d\nmax_connections -1\nlog_dest file /x\ncafile ca.pem\nciphers HIGH\nfoo bar\n\
             connection bridge\naddress 127.0.0.1:{port:nobody}\ntopic # out\n\
             topic \"\" both 2 here/ there/\nremote_username far\nstart_type lazy\nrestart_timeout 10 30\n\
             bridge_protocol_version mqttv50\n",
        ),
    )
    .unwrap();
    let written = host.command(&[
        "import",
        "mosquitto-conf",
        "mosquitto.conf",
        "--write",
        "--replace",
    ]);
    let said = written.expect_success().stdout();
    let notes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("mosquitto.conf:"))
        .collect();
    assert_eq!(
        notes,
        [
            "mosquitto.conf:2: per_listener_settings false: two services have two lists of settings",
            "mosquitto.conf:6: user mosquitto: host.user in polyport.toml",
            "mosquitto.conf:8: persistence_location /var/lib/mosquitto/: host.state in polyport.toml",
            "mosquitto.conf:15: log_dest file /x: host.log.file in polyport.toml",
            "mosquitto.conf:17: ciphers HIGH: the cipher suites are not a choice",
            "mosquitto.conf:18: foo bar: no counterpart",
            "mosquitto.conf:24: start_type lazy: the bridge is always connected",
        ]
    );
    let config = fs::read_to_string(host.config()).unwrap();
    for line in [
        "listen = [\"127.0.0.1:{port:mqtt}\", \"ws://127.0.0.1:{port:mqtt-ws}\", \"ws://[::1]:{port:mqtt-ws}\"]",
        "max_packet = 2000",
        "max_connections = 0",
        "persistent_client_expiration = 172800",
        "max_queued_messages = 9223372036854775807",
        "bridges = { bridge = { addresses = [\"127.0.0.1:{port:nobody}\"], topics = [{ filter = \"#\", direction = \"out\", qos = 0 }, \
         { filter = \"\", direction = \"both\", qos = 2, local_prefix = \"here/\", remote_prefix = \"there/\" }], \
         protocol_versions = [\"5\"], username = \"far\", restart_min = 10, restart_max = 30 } }",
    ] {
        assert!(config.contains(&host.expand(line)), "{line}\n{config}");
    }
    host.command(&["reload", "--wait"]).expect_success();
    assert!(publishes(&host, "dev1", "secret", "x"));
    assert!(!publishes(&host, "dev1", "wrong", "x"));
    let port = host.port("mqtt").to_string();
    eventually("an anonymous client publishes", || {
        let done = Client::new("mosquitto_pub")
            .args(["-p", &port, "-t", "x", "-m", "y"])
            .run();
        (done.code == Some(0)).then_some(())
    });
}

#[test]
fn mosquitto_conf_with_tls_becomes_mqtts_listeners_with_client_certificates() {
    let host = Host::builder()
        .service("mqtt")
        .accounts("; nobody\n")
        .start();
    let folder = host.path();
    let openssl = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        run("openssl", &arguments, folder);
    };
    let new = "-newkey rsa:2048 -nodes";
    openssl(&format!(
        "req -x509 {new} -keyout server.key -out server.pem -days 90 -subj /CN=localhost -addext \
         subjectAltName=DNS:localhost"
    ));
    openssl(&format!(
        "req -x509 {new} -keyout ca.key -out ca.pem -days 90 -subj /CN=ca"
    ));
    openssl(&format!(
        "req {new} -keyout dev1.key -out dev1.csr -subj /CN=dev1"
    ));
    fs::write(folder.join("v3"), "basicConstraints=CA:FALSE\n").unwrap();
    openssl("x509 -req -in dev1.csr -CA ca.pem -CAkey ca.key -days 90 -extfile v3 -out dev1.pem");
    fs::write(folder.join("acl"), "user dev1\ntopic x\n").unwrap();
    fs::write(
        folder.join("mosquitto.conf"),
        host.expand(
            "acl_file acl\nallow_anonymous false\nlistener {port:mqtt} localhost\nsocket_domain ipv4\n\
             certfile server.pem\nkeyfile server.key\ncafile ca.pem\nrequire_certificate true\n\
             use_identity_as_username true\ntls_version tlsv1.2\nmax_connections 7\ncrlfile x\n\
             listener {port:mqtt-ws} 127.0.0.1\nprotocol websockets\ncertfile server.pem\nkeyfile server.key\n\
             cafile ca.pem\nrequire_certificate true\ntls_version tlsv1.1\n",
        ),
    )
    .unwrap();
    let arguments = [
        "import",
        "mosquitto-conf",
        "mosquitto.conf",
        "--write",
        "--replace",
    ];
    let said = host.command(&arguments).expect_success().stdout();
    let notes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("mosquitto.conf:"))
        .collect();
    assert_eq!(
        notes,
        [
            "mosquitto.conf:12: crlfile x: nothing is looked up: name certificates by sha256 in accounts.ini",
            "mosquitto.conf:19: tls_version tlsv1.1: TLS 1.2 and 1.3 are spoken",
        ],
        "{said}"
    );
    let config = fs::read_to_string(host.config()).unwrap();
    for line in [
        "listen = [{ address = \"mqtts://127.0.0.1:{port:mqtt}\", max_connections = 7 }, \
         \"wss://127.0.0.1:{port:mqtt-ws}\"]",
        "tls = { cert = \"server.pem\", key = \"server.key\", client_ca = \"ca.pem\", client_cert = \"required\" }",
    ] {
        assert!(config.contains(&host.expand(line)), "{line}\n{config}");
    }
    host.command(&["reload", "--wait"]).expect_success();
    let port = host.port("mqtt").to_string();
    let publish = |certificate: &[&str], topic: &str| {
        let done = Client::new("mosquitto_pub")
            .current_dir(folder)
            .args([
                "-h",
                "localhost",
                "-p",
                &port,
                "--cafile",
                "server.pem",
                "-V",
                "5",
                "-q",
                "1",
            ])
            .args(["-t", topic, "-m", "x"])
            .args(certificate)
            .run();
        done.code == Some(0) && !done.stderr().contains("failed")
    };
    let own = ["--cert", "dev1.pem", "--key", "dev1.key"];
    eventually("the certificate logs in", || {
        publish(&own, "x").then_some(())
    });
    assert!(!publish(&own, "y"), "it has no right to y");
    assert!(
        !publish(&[], "x"),
        "there is no connection without a certificate"
    );
    assert!(!publish(
        &["--cert", "server.pem", "--key", "server.key"],
        "x"
    ));
}
