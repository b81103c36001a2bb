//! Passwords that would pass in clear between machines.

use crate::accounts::AccountList;
use crate::config::{Address, Config, Diagnostic, Diagnostics, Service};

/// Warns of each plain listener that other machines can reach, in a service that some account has a password
/// for. `schemes` are the plugin's words for TLS.
pub fn plain_passwords(
    config: &Config,
    service: &Service,
    schemes: &[(String, String)],
    accounts: &AccountList,
) -> Diagnostics {
    let mut found = Diagnostics::new();
    if service.require_tls {
        return found;
    }
    let mut takes_passwords = accounts.iter().filter(|account| {
        let services = account.services.as_ref();
        account.enabled
            && account.secret.is_some()
            && !account.require_tls
            && services.is_none_or(|services| services.contains(&service.name))
    });
    if takes_passwords.next().is_none() {
        return found;
    }
    for (index, listen) in service.listen.iter().enumerate() {
        let Address::Tcp(address) = &listen.address else {
            continue;
        };
        if address.ip().to_canonical().is_loopback() || super::is_tls(&listen.scheme, schemes) {
            continue;
        }
        let key = format!("services.{}.listen[{index}]", service.name);
        let text = format!(
            "{:?} takes passwords in clear from other machines: expected TLS, a loopback address, or \
             require_tls = true",
            listen.text
        );
        found.push(Diagnostic::warning(config.place(&key), key, text));
    }
    found
}
