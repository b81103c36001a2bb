//! What an exclusive instance gives when it is frozen, on its way through the host.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use polyport_abi::handover::{self as abi, FreezeDone, HandoverV1};
use polyport_abi::plugin::InstanceHandle;
use polyport_abi::{RResult, RString, RVec};
use tokio::sync::oneshot;

/// What only one instance may have. Dropped, its descriptors are closed.
#[derive(Debug)]
pub struct Estate {
    version: u32,
    state: RVec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Estate {
    fn new(estate: abi::Estate) -> Self {
        let own = |descriptor| {
            // SAFETY: whoever has an estate owns its descriptors.
            unsafe { OwnedFd::from_raw_fd(descriptor) }
        };
        Self {
            version: estate.version,
            state: estate.state,
            descriptors: estate.descriptors.into_iter().map(own).collect(),
        }
    }

    /// As it came from another process.
    pub fn of_parts(version: u32, state: Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        Self {
            version,
            state: state.into(),
            descriptors,
        }
    }

    /// Version, state and descriptors, for another process.
    pub fn parts(&self) -> (u32, &[u8], Vec<BorrowedFd<'_>>) {
        let descriptors = self.descriptors.iter().map(AsFd::as_fd);
        (self.version, &self.state, descriptors.collect())
    }

    /// Gives it to a successor, once.
    pub fn give(self, functions: &HandoverV1, instance: InstanceHandle) {
        let estate = abi::Estate {
            version: self.version,
            state: self.state,
            descriptors: self
                .descriptors
                .into_iter()
                .map(IntoRawFd::into_raw_fd)
                .collect(),
        };
        (functions.inherit)(instance, estate);
    }
}

type Answer = Result<Estate, String>;

/// Freezes an instance. What it answers after nobody waits any more is freed.
pub fn freeze(functions: &HandoverV1, instance: InstanceHandle) -> oneshot::Receiver<Answer> {
    let (sender, answer) = oneshot::channel::<Answer>();
    let user_data = Box::into_raw(Box::new(sender)).cast();
    (functions.freeze)(instance, user_data, FreezeDone { call: done });
    answer
}

extern "C" fn done(user_data: *mut (), answer: RResult<abi::Estate, RString>) {
    // SAFETY: `user_data` is the box that `freeze` made for this call, and the plugin answers once.
    let sender = unsafe { Box::from_raw(user_data.cast::<oneshot::Sender<Answer>>()) };
    let answer = match answer {
        RResult::ROk(estate) => Ok(Estate::new(estate)),
        RResult::RErr(error) => Err(error.into_string()),
    };
    // Given back when nobody waits, and closed by its drop.
    drop(sender.send(answer));
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_answer_that_nobody_waits_for_is_closed() {
        let (sender, answer) = oneshot::channel::<Answer>();
        drop(answer);
        let (mut kept, given) = std::io::pipe().unwrap();
        let descriptor = OwnedFd::from(given).into_raw_fd();
        done(
            Box::into_raw(Box::new(sender)).cast(),
            RResult::ROk(abi::Estate {
                version: 1,
                state: RVec::new(),
                descriptors: [descriptor].into_iter().collect(),
            }),
        );
        let ended = kept.read(&mut [0]).unwrap();
        assert_eq!(ended, 0, "descriptor {descriptor} is closed");
    }
}
