//! mosquitto's programs as clients of the host under test.

#![allow(dead_code, reason = "each test uses some of it")]

use polyport_testkit::{Client, Host, Running};

/// One of them, on its way to the broker.
pub fn mosquitto(host: &Host, program: &str) -> Client {
    Client::new(program).args(["-h", "127.0.0.1", "-p", &host.port("mqtt").to_string()])
}

/// A subscriber that is certainly subscribed, and prints a line for each message.
pub fn subscriber(host: &Host, arguments: &[&str]) -> Running {
    let port = host.port("mqtt").to_string();
    // It writes whole blocks into a pipe unless told otherwise.
    let running = Client::new("stdbuf")
        .args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port, "-d"])
        .args(arguments)
        .spawn();
    running.wait_line("Subscribed (mid: 1)");
    running
}
