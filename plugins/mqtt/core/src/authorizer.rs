//! Who may do what: the questions that the engine asks, answered by its host.

use crate::codec::ReasonCode;

/// The rights of one logged-in client. Asked synchronously for each topic.
pub trait Authorizer: Send + Sync {
    /// May publish to this topic name.
    fn may_publish(&self, topic_name: &str) -> bool;
    /// May subscribe to this topic filter (of a shared subscription: the filter after the name).
    fn may_subscribe(&self, topic_filter: &str) -> bool;
}

/// Rights without limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> bool {
        true
    }
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    /// Unknown user or wrong password (0x86, return code 4).
    BadUserNameOrPassword,
    /// Known, or without a name, but without the right to this service (0x87, return code 5).
    NotAuthorized,
    /// It cannot be decided now (0x88, return code 3).
    Unavailable,
}

impl LoginRefusal {
    /// The code for CONNACK.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            LoginRefusal::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            LoginRefusal::NotAuthorized => ReasonCode::NotAuthorized,
            LoginRefusal::Unavailable => ReasonCode::ServerUnavailable,
        }
    }
}
