//! Work whose time grows with a document.

use polyport_sdk::http::Problem;

/// Below this many bytes the work is shorter than the way to another thread.
const WORTH_IT: usize = 64 * 1024;

/// Does `work` on a document of this many bytes, without holding up other connections.
pub async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if bytes < WORTH_IT {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!("work on a document of {bytes} bytes: {error}");
        Problem::internal()
    })
}
