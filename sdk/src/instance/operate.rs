//! Commands of the operator to an instance.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tracing::error;

use super::{Instance, panic_text};
use crate::Plugin;
use crate::client::Arguments;
use crate::operate::{Command, Ending, Failure};

impl<P: Plugin> Instance<P> {
    /// Does a command in a task of its own, until it is done, nobody reads any more or the instance drains.
    pub(crate) fn operate(&self, command: &'static Command, arguments: Arguments, ending: Ending) {
        let shared = Arc::clone(&self.shared);
        self.runtimes.first().spawn(async move {
            let serving = async {
                tokio::select! {
                    () = shared.succession.active.cancelled() => {}
                    // One that took nobody's place is active from the start.
                    () = shared.drain.cancelled() => return Err(Failure::Elsewhere),
                }
                let Some(plugin) = shared.plugin.get().cloned() else {
                    return Err(Failure::Failed("the service has not started".into()));
                };
                let operating = plugin.operate(command, arguments, ending.answer());
                match AssertUnwindSafe(operating).catch_unwind().await {
                    Ok(outcome) => outcome,
                    Err(panic) => {
                        let text = panic_text(&*panic);
                        error!("the command {} panicked: {text}", command.name);
                        Err(Failure::Failed(format!("the command panicked: {text}")))
                    }
                }
            };
            let outcome = tokio::select! {
                biased;
                () = ending.gone() => Err(Failure::Gone),
                outcome = serving => outcome,
                () = shared.drain.cancelled() => Err(Failure::Elsewhere),
            };
            ending.end(outcome);
        });
    }
}
