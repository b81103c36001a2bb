//! `tracing` events of a plugin, carried to the host's log.
//!
//! Each plugin library has one `tracing` of its own, shared by its instances: the subscriber is set once and
//! finds the instance by the thread, since each instance has its own runtime threads.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use polyport_abi::log::{LogField, LogRecord, LogV1};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static THREAD: Cell<Option<&'static LogV1>> = const { Cell::new(None) };
}

/// The newest instance's log, for threads that no runtime made.
static NEWEST: OnceLock<AtomicPtr<LogV1>> = OnceLock::new();

/// Makes `log` the newest instance's and sets the subscriber the first time.
pub(crate) fn install(log: &'static LogV1) {
    newest().store(std::ptr::from_ref(log).cast_mut(), Ordering::Release);
    // Fails where the library's subscriber is already set, which is what is wanted.
    let _ = tracing::subscriber::set_global_default(ToHost);
}

/// Makes `log` this thread's.
pub(crate) fn enter_thread(log: Option<&'static LogV1>) {
    THREAD.set(log);
}

/// Sends one record without `tracing`, for panics.
pub(crate) fn error(message: &str) {
    if let Some(log) = current() {
        let record = LogRecord {
            level: 1,
            target: "panic".into(),
            message: message.into(),
            fields: [].as_slice().into(),
        };
        (log.emit)(log.ctx, &record);
    }
}

fn newest() -> &'static AtomicPtr<LogV1> {
    NEWEST.get_or_init(|| AtomicPtr::new(std::ptr::null_mut()))
}

fn current() -> Option<&'static LogV1> {
    THREAD
        .get()
        .or_else(|| crate::export::static_ref(newest().load(Ordering::Acquire)))
}

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

struct ToHost;

impl Subscriber for ToHost {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && current().is_some_and(|log| {
                // The access log has a setting of its own, the level is not it.
                if metadata.target() == "access" {
                    return log.access.value.load(Ordering::Relaxed) != 0;
                }
                u64::from(number(metadata.level())) <= log.level.value.load(Ordering::Relaxed)
            })
    }

    fn event(&self, event: &Event<'_>) {
        let Some(log) = current() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let fields: Vec<LogField<'_>> = text
            .fields
            .iter()
            .map(|(key, value)| LogField {
                key: (*key).into(),
                value: value.as_str().into(),
            })
            .collect();
        let record = LogRecord {
            level: number(event.metadata().level()),
            target: event.metadata().target().into(),
            message: text.message.as_str().into(),
            fields: fields.as_slice().into(),
        };
        (log.emit)(log.ctx, &record);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}
