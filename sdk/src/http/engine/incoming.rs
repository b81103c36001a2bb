//! A request's body as it comes in.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body as _, Incoming};

use super::super::Problem;
use super::super::exchange::Exchange;
use super::super::timed::Deadline;

/// Where a body goes that its handler did not read to the end.
pub(super) type Unread = Arc<Mutex<Option<Incoming>>>;

/// The pieces of a body; what is left at the drop goes to `unread`.
pub(super) struct Pieces {
    /// There until the drop.
    incoming: Option<Incoming>,
    unread: Unread,
    exchange: Arc<Exchange>,
    ended: bool,
    /// How long nothing may come, and whether that time runs.
    limit: Duration,
    deadline: Deadline,
    waits: bool,
    /// Until when the account's `rate_up` lets no more come in.
    paced: Option<Deadline>,
}

impl Pieces {
    pub(super) fn new(
        incoming: Incoming,
        unread: Unread,
        exchange: Arc<Exchange>,
        limit: Duration,
    ) -> Self {
        Self {
            incoming: Some(incoming),
            unread,
            exchange,
            ended: false,
            limit,
            deadline: Deadline::default(),
            waits: false,
            paced: None,
        }
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Problem>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.paced {
            ready!(pause.poll(cx));
            this.paced = None;
        }
        loop {
            let Some(incoming) = &mut this.incoming else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
                if !this.waits {
                    this.waits = true;
                    this.deadline.set(this.limit);
                }
                ready!(this.deadline.poll(cx));
                let problem =
                    Problem::new(StatusCode::REQUEST_TIMEOUT).detail("the body stopped coming");
                return Poll::Ready(Some(Err(problem.closing())));
            };
            this.waits = false;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        if let Some(pace) = this.exchange.pace() {
                            this.paced = Deadline::after(pace.received(bytes.len()));
                        }
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(_)) => {
                    let problem = Problem::bad_request("the body broke off or is framed wrongly");
                    return Poll::Ready(Some(Err(problem.closing())));
                }
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        let activity = self.exchange.activity();
        let incoming = self.incoming.take().filter(|body| !body.is_end_stream());
        if let (false, Some(incoming)) = (self.ended, incoming) {
            activity.set_body_unread(!activity.is_multiplexed());
            if let Ok(mut unread) = self.unread.lock() {
                *unread = Some(incoming);
            }
        }
    }
}

/// How long a client may go on sending a body that nobody reads.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// Reads a body to its end; false if it has none.
pub(super) async fn read_out(mut body: Incoming) -> bool {
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return false,
            None => return true,
        }
    }
}
