//! Who may do what: the questions that the engine asks, answered by its host.

use crate::codec::ReasonCode;

/// The rights of one logged-in client. Asked synchronously for each topic.
pub trait Authorizer: Send + Sync {
    /// May publish to this topic name.
    fn may_publish(&self, topic_name: &str) -> bool;
    /// Which of the topics that this filter stands for may be received (of a shared subscription:
    /// the filter after the name).
    fn may_subscribe(&self, topic_filter: &str) -> Extent;
    /// May receive what is published to this topic name. Asked for subscriptions to filters of
    /// which only some topics may be received.
    fn may_receive(&self, topic_name: &str) -> bool;
    /// The name of the account, if there is one: a client takes over the connection of its own
    /// account only where accounts may have so many connections.
    fn account(&self) -> Option<&str> {
        None
    }
}

/// The rights of accounts whose clients need not be here: asked about what they left behind.
pub trait Absent: Send + Sync {
    /// An account may publish to this topic name now, by a client with this identifier. False once it is gone.
    fn may_publish(&self, account: &str, client_id: &str, topic_name: &str) -> bool;
}

impl Absent for AllowAll {
    fn may_publish(&self, _: &str, _: &str, _: &str) -> bool {
        true
    }
}

/// Who is not logged in, or not any more.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Authorizer for Nobody {
    fn may_publish(&self, _: &str) -> bool {
        false
    }
    fn may_subscribe(&self, _: &str) -> Extent {
        Extent::None
    }
    fn may_receive(&self, _: &str) -> bool {
        false
    }
}

/// Of a connection whose socket has not arrived yet: nothing is read from it, nothing sent to it. Its will was allowed
/// when it connected.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub account: Option<Box<str>>,
}

impl Authorizer for Awaited {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> Extent {
        Extent::None
    }
    fn may_receive(&self, _: &str) -> bool {
        false
    }
    fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}

/// How much of what was asked for is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every topic.
    Every,
    /// Some topics: each is to be asked for.
    Some,
    /// No topic.
    None,
}

/// Rights without limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> Extent {
        Extent::Every
    }
    fn may_receive(&self, _: &str) -> bool {
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
    /// Credentials are not taken over this connection (0x87 with a reason string, return code 5).
    Insecure,
    /// As many sessions as the account may have (0x97, return code 3).
    QuotaExceeded,
    /// It cannot be decided now (0x89, return code 3).
    Busy,
    /// An authentication method that is not offered (0x8C).
    BadAuthenticationMethod,
}

impl LoginRefusal {
    /// The code for CONNACK.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            LoginRefusal::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            LoginRefusal::NotAuthorized | LoginRefusal::Insecure => ReasonCode::NotAuthorized,
            LoginRefusal::QuotaExceeded => ReasonCode::QuotaExceeded,
            LoginRefusal::Busy => ReasonCode::ServerBusy,
            LoginRefusal::BadAuthenticationMethod => ReasonCode::BadAuthenticationMethod,
        }
    }

    /// What the code does not say.
    #[must_use]
    pub fn explanation(self) -> Option<&'static str> {
        (self == LoginRefusal::Insecure).then_some("login needs TLS")
    }
}
