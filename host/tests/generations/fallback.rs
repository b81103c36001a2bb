//! Starts with broken files.

use super::*;

#[test]
fn files_that_cannot_be_used_at_a_start_are_replaced_by_the_last_good_generation() {
    let mut host = host();
    greet(&host, "first", "second");
    await_generation(&host, 2);
    let config = std::fs::read_to_string(host.config()).unwrap();
    let accounts = std::fs::read_to_string(host.path().join("accounts.ini")).unwrap();
    let echo = std::fs::read(library(&host, "echo")).unwrap();
    let mut number = 2;

    let falls_back = |host: &mut Host, number: &mut u64, what: &str, expected: &str| {
        let mark = host.log_mark();
        host.start();
        let warning = format!("running generation {number}: the files are refused: ");
        host.wait_log(mark, &warning);
        let told = host.status();
        assert_eq!(told["generation"], *number, "{what}");
        assert_eq!(greeting(host), "second", "{what}");
        for key in ["files_overridden", "last_error"] {
            let text = told[key]
                .as_str()
                .unwrap_or_else(|| panic!("{what}: {told:#}"));
            assert!(text.contains(expected), "{what}: {key}: {text}");
        }
        let check = host.command(&["check"]).expect_code(1).stdout();
        assert!(check.contains(expected), "{what}: {check}");
        // Good files that say the same make no generation; they count again.
        let good = config.clone();
        host.edit_config(|_| good);
        let good = accounts.clone();
        host.edit_accounts(|_| good);
        std::fs::write(library(host, "echo"), &echo).unwrap();
        host.wait_status("the files count again", |status| {
            status["files_overridden"].is_null()
        });
        assert_eq!(generation(host), *number, "{what}");
        // And others make one.
        host.edit_accounts(|text| format!("{text}\n[extra{number}]\npassword = x\n"));
        *number += 1;
        await_generation(host, *number);
        let good = accounts.clone();
        host.edit_accounts(|_| good);
        *number += 1;
        await_generation(host, *number);
        host.kill9();
    };
    host.kill9();
    host.edit_config(|text| format!("{text}\n[host\n"));
    falls_back(&mut host, &mut number, "syntax", "polyport.toml:");
    host.edit_config(|text| text.replace("greeting = \"second\"", "greeting = 5"));
    falls_back(
        &mut host,
        &mut number,
        "settings",
        "expected a string, got 5",
    );
    host.edit_config(|text| {
        let tls = "tls = { cert = \"gone.pem\", key = \"gone.pem\" }";
        text.replace("plugin = \"echo\"", &format!("plugin = \"echo\"\n{tls}"))
    });
    falls_back(&mut host, &mut number, "a certificate", "gone.pem");
    host.edit_accounts(|_| "[alice\n".into());
    falls_back(&mut host, &mut number, "accounts", "accounts.ini:1:");
    std::fs::write(library(&host, "echo"), &echo[..echo.len() / 2]).unwrap();
    falls_back(&mut host, &mut number, "a truncated library", "cut short");
    std::fs::remove_file(library(&host, "echo")).unwrap();
    falls_back(&mut host, &mut number, "no library", "libpolyport_echo.so");
}

#[test]
fn without_a_last_good_generation_broken_files_end_the_start() {
    let mut host = builder("").prepare();
    host.edit_config(|text| format!("{text}\n[host\n"));
    let log = host.try_start().unwrap_err();
    assert!(log.contains("polyport.toml:"), "{log}");
    assert!(!host.path().join("state/generations").exists());
}
