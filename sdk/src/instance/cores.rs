//! The threads of an instance: one runtime that moves its tasks between them, or one runtime each, where a connection
//! stays on the one that it began on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polyport_abi::log::LogV1;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::cores::Cores;

/// The runtimes of an instance, at least one.
pub(super) struct Runtimes(Vec<Runtime>);

impl Runtimes {
    /// Of so many threads: all in one runtime, or, `pinned`, each in its own.
    pub(super) fn new(
        instance: &str,
        threads: usize,
        pinned: bool,
        log: Option<&'static LogV1>,
    ) -> Result<Self, String> {
        let (runtimes, workers) = if pinned { (threads, 1) } else { (1, threads) };
        let made = (0..).take(runtimes).map(|core| {
            Builder::new_multi_thread()
                .worker_threads(workers)
                .thread_name(format!("pp-{instance}"))
                .on_thread_start(move || {
                    crate::logging::enter_thread(log);
                    crate::cores::enter_thread(core);
                })
                .enable_all()
                .build()
        });
        let made: Result<_, _> = made.collect();
        made.map(Self)
            .map_err(|error| format!("its runtime of {threads} threads could not be made: {error}"))
    }

    /// What the plugin's own tasks run on, and the listeners.
    pub(super) fn first(&self) -> &Handle {
        self.0[0].handle()
    }

    pub(super) fn cores(&self) -> Cores {
        let handles = self.0.iter().map(|runtime| runtime.handle().clone());
        Cores::new(handles.collect::<Arc<[Handle]>>())
    }

    /// Ends them all, which takes no longer than `limit`. The first one goes last: it has the timers of all.
    pub(super) fn shut_down(self, limit: Duration) {
        let deadline = Instant::now() + limit;
        for runtime in self.0.into_iter().rev() {
            runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread::ThreadId;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Where each of `tasks` was before and after each of many turns.
    fn threads(runtimes: &Runtimes, tasks: usize) -> Vec<HashSet<ThreadId>> {
        let cores = runtimes.cores();
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                cores.least().spawn(async {
                    let mut threads = HashSet::new();
                    for _ in 0..200 {
                        threads.insert(std::thread::current().id());
                        tokio::task::yield_now().await;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    threads.insert(std::thread::current().id());
                    threads
                })
            })
            .collect();
        let ended = async {
            let mut threads = Vec::new();
            for task in tasks {
                threads.push(task.await.unwrap());
            }
            threads
        };
        runtimes.first().block_on(ended)
    }

    #[test]
    fn a_pinned_task_stays_and_all_threads_have_some() {
        let runtimes = Runtimes::new("pinned", 3, true, None).unwrap();
        // None of those that hold a place ends before all have one.
        let cores = runtimes.cores();
        for _ in 0..9 {
            cores.least().spawn(std::future::pending::<()>());
        }
        let held = cores.each().map(|core| core.metrics().num_alive_tasks());
        assert_eq!(held.collect::<Vec<_>>(), [3; 3]);
        let threads = threads(&runtimes, 30);
        assert!(threads.iter().all(|threads| threads.len() == 1));
        runtimes.shut_down(LIMIT);
    }

    #[test]
    fn each_thread_knows_its_number_and_others_have_the_first() {
        let runtimes = Runtimes::new("pinned", 3, true, None).unwrap();
        let cores = runtimes.cores();
        let numbers: Vec<_> = cores
            .each()
            .map(|core| core.spawn(async { crate::cores::current() }))
            .map(|asked| runtimes.first().block_on(asked).unwrap())
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(crate::cores::current(), 0);
        runtimes.shut_down(LIMIT);
    }

    #[test]
    fn threads_that_share_their_tasks_are_one_core() {
        let runtimes = Runtimes::new("shared", 3, false, None).unwrap();
        assert_eq!(runtimes.cores().count(), 1);
        let metrics = runtimes.first().metrics();
        assert_eq!(metrics.num_workers(), 3);
        runtimes.shut_down(LIMIT);
    }
}
