//! Password files of Apache, which nginx and lighttpd read as well: `NAME:HASH`.

use super::Text;
use super::plan::Plan;

/// The accounts of `file`, for `service` alone.
pub fn import(file: &Text, service: &str) -> Plan {
    let mut plan = Plan::new(service);
    for line in file.lines() {
        plan.password_line(&line.place, line.text);
    }
    plan
}
