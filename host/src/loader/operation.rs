//! A command of the operator under way in an instance: its answer, piece by piece.

use polyport_abi::RVec;
use polyport_abi::operate::{OperateV1, OperationHandle, PieceDone, Request};
use polyport_abi::plugin::InstanceHandle;
use tokio::sync::oneshot;

/// A command under way; dropped, it ends. It may outlive its instance.
#[derive(Debug)]
pub struct Operation {
    functions: &'static OperateV1,
    handle: OperationHandle,
}

/// Begins a command.
pub fn begin(
    functions: &'static OperateV1,
    instance: InstanceHandle,
    request: &Request,
) -> Operation {
    // What cannot be JSON would be the plugin's to refuse: two strings always can.
    let request = serde_json::to_vec(request).unwrap_or_default();
    Operation {
        functions,
        handle: (functions.begin)(instance, request.as_slice().into()),
    }
}

impl Operation {
    /// The lines that come next; none when it is over.
    pub async fn next(&mut self) -> Vec<u8> {
        let (sender, piece) = oneshot::channel::<RVec<u8>>();
        let user_data = Box::into_raw(Box::new(sender)).cast();
        (self.functions.next)(self.handle, user_data, PieceDone { call: done });
        piece.await.map(RVec::into_vec).unwrap_or_default()
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        (self.functions.end)(self.handle);
    }
}

extern "C" fn done(user_data: *mut (), lines: RVec<u8>) {
    // SAFETY: `user_data` is the box that `next` made for this call, and the plugin answers once.
    let sender = unsafe { Box::from_raw(user_data.cast::<oneshot::Sender<RVec<u8>>>()) };
    // Nobody waits any more when the operation is being dropped.
    let _ = sender.send(lines);
}
