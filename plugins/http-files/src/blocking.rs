//! File system calls away from the connections' threads.

use polyport_sdk::http::Problem;

/// Runs `work` on a blocking thread.
///
/// # Errors
/// 500 when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!("file system call: {error}");
        Problem::internal()
    })
}
