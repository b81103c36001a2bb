//! `operate/1`.

use polyport_abi::RSlice;
use polyport_abi::operate::{OperationHandle, PieceDone, Request};
use polyport_abi::plugin::InstanceHandle;

use super::{guard, running};
use crate::Plugin;
use crate::operate::{Failure, Operation, open, read};

/// `OperateV1::begin`.
pub extern "C" fn begin<P: Plugin>(
    instance: InstanceHandle,
    request: RSlice<'_, u8>,
) -> OperationHandle {
    let (operation, ending) = open();
    guard(
        || (),
        || {
            let request = serde_json::from_slice::<Request>(request.as_slice());
            let request = request.map_err(|error| Failure::Failed(format!("request: {error}")));
            match request.and_then(|request| read(P::COMMANDS, request)) {
                Ok((command, arguments)) => {
                    // SAFETY: the host passes what `start` of this plugin gave and has not stopped it.
                    let instance = unsafe { running::<P>(instance) };
                    instance.operate(command, arguments, ending);
                }
                Err(failure) => ending.end(Err(failure)),
            }
        },
    );
    OperationHandle {
        operation: Box::into_raw(Box::new(operation)).cast(),
    }
}

/// The host's way to be answered.
struct Asked {
    user_data: *mut (),
    piece: PieceDone,
}

// SAFETY: the contract lets the answer come from any thread.
unsafe impl Send for Asked {}

impl Asked {
    fn answer(self, lines: Vec<u8>) {
        (self.piece.call)(self.user_data, lines.into());
    }
}

/// `OperateV1::next`.
pub extern "C" fn next(operation: OperationHandle, user_data: *mut (), piece: PieceDone) {
    let asked = Asked { user_data, piece };
    guard(
        || (),
        || {
            // SAFETY: the host passes what `begin` gave and has not ended it.
            let operation = unsafe { &*operation.operation.cast::<Operation>() };
            operation.next(Box::new(move |lines| asked.answer(lines)));
        },
    );
}

/// `OperateV1::end`.
pub extern "C" fn end(operation: OperationHandle) {
    guard(
        || (),
        || {
            // SAFETY: the host passes what `begin` gave, once and last.
            drop(unsafe { Box::from_raw(operation.operation.cast::<Operation>()) });
        },
    );
}
