//! The log: the host's own `tracing` events, the plugins' records and the access lines, written
//! by one thread in the form and to the places that `[host.log]` names, all of it changeable live.
//!
//! Records go to standard error unless a file is named; standard output is for `ready`, the
//! listening lines and, unless told otherwise, access lines.

mod filter;
mod record;
mod writer;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

pub use filter::Filter;
use record::Record;
use writer::{Entry, Outputs, Queue};

use crate::config::{AccessLog, LogConfig};

/// The target whose events are lines of the access log.
pub const ACCESS_TARGET: &str = "access";

/// How long the end of the process waits for a slow log.
const LAST_FLUSH: Duration = Duration::from_secs(2);

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: RwLock<Filter>,
    /// Whether access lines go anywhere.
    access: AtomicBool,
    queue: Queue,
}

/// Writes what is queued when it is dropped: keep it until the process ends.
#[must_use]
pub struct Flush(());

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(log) = LOG.get() {
            log.queue.flush(LAST_FLUSH);
        }
    }
}

/// Starts the log; once in a process.
pub fn start(config: &LogConfig) -> io::Result<Flush> {
    let queue = Queue::start(Outputs::open(config)?)?;
    let log = Log {
        filter: RwLock::new(config.level.clone()),
        access: AtomicBool::new(config.access != AccessLog::Off),
        queue,
    };
    LOG.set(log)
        .map_err(|_| io::Error::other("the log is started already"))?;
    let subscriber = tracing_subscriber::registry().with(HostLayer);
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(Flush(()))
}

/// Takes on a changed configuration; opens its files anew in any case, so that a rotated file is
/// let go. On an error everything stays as it was.
pub fn apply(config: &LogConfig) -> io::Result<()> {
    let Some(log) = LOG.get() else { return Ok(()) };
    let outputs = Outputs::open(config)?;
    *log.filter.write().unwrap_or_else(PoisonError::into_inner) = config.level.clone();
    log.access
        .store(config.access != AccessLog::Off, Ordering::Relaxed);
    log.queue.redirect(outputs);
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// The level from which on the records of a service's plugin are kept: what the host tells it.
pub fn service_level(service: &str) -> LevelFilter {
    level_of(service)
}

/// Whether access lines go anywhere: what the host tells the plugins, which then make none.
pub fn wants_access() -> bool {
    LOG.get()
        .is_some_and(|log| log.access.load(Ordering::Relaxed))
}

/// Takes a record from a plugin; never waits. Lines of the target [`ACCESS_TARGET`] go to the
/// access log, whatever their level.
pub fn plugin_record(
    service: &str,
    level: Level,
    target: &str,
    message: &str,
    fields: impl IntoIterator<Item = (String, Value)>,
) {
    let Some(log) = LOG.get() else { return };
    if target == ACCESS_TARGET {
        log.queue.push_plugin(Entry::Access(message.to_owned()));
    } else if level <= service_level(service) {
        let record = Record {
            time: SystemTime::now(),
            level,
            service: Some(service.to_owned()),
            target: target.to_owned(),
            message: message.to_owned(),
            fields: fields.into_iter().collect(),
        };
        log.queue.push_plugin(Entry::Record(record.bounded()));
    }
}

/// The number of records and access lines that were dropped since the start.
pub fn dropped() -> u64 {
    LOG.get().map_or(0, |log| log.queue.dropped())
}

fn level_of(target: &str) -> LevelFilter {
    LOG.get().map_or(LevelFilter::OFF, |log| {
        log.filter
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .level(target)
    })
}

/// Takes the host's own events.
struct HostLayer;

impl<S: Subscriber> Layer<S> for HostLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= level_of(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        LOG.get().map(|log| {
            log.filter
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .max_level()
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(log) = LOG.get() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let record = Record {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            service: None,
            target: event.metadata().target().to_owned(),
            message: fields.message,
            fields: fields.rest,
        };
        log.queue.push_host(Entry::Record(record.bounded()));
    }
}

/// An event's message and its other fields, typed as far as JSON goes.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match value {
            Value::String(text) if field.name() == "message" => self.message = text,
            value => self.rest.push((field.name().to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    /// With its causes: an error is logged once, where it stops.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        self.put(field, Value::String(text));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{AccessLog, LogFormat};

    /// The one test that starts the process-wide log.
    #[test]
    fn level_form_and_files_change_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let mut config = LogConfig {
            // Other tests of the process log beside this one.
            level: "off,polyport::logging=info".parse().unwrap(),
            format: LogFormat::Json,
            file: Some(file("first.log")),
            access: AccessLog::File(file("access.log")),
        };
        let flush = start(&config).unwrap();
        assert!(start(&config).is_err());
        let field = || [("client".to_owned(), Value::from("c1"))];
        for round in ["before", "after"] {
            tracing::info!(number = 7, "info {round}");
            tracing::debug!("debug {round}");
            plugin_record(
                "mqtt",
                Level::DEBUG,
                "polyport_mqtt::serve",
                &format!("plugin {round}"),
                field(),
            );
            plugin_record(
                "mqtt",
                Level::TRACE,
                ACCESS_TARGET,
                &format!("line {round}"),
                [],
            );
            LOG.get().unwrap().queue.flush(Duration::from_secs(20));
            if round == "before" {
                config.level = "error,mqtt=debug,polyport=debug".parse().unwrap();
                config.file = Some(file("second.log"));
                config.format = LogFormat::Human;
                apply(&config).unwrap();
            }
        }
        config.file = Some(file("no/such/folder.log"));
        assert!(
            apply(&config)
                .unwrap_err()
                .to_string()
                .contains("no/such/folder.log")
        );
        tracing::info!("still in the second");
        drop(flush);

        let first = fs::read_to_string(file("first.log")).unwrap();
        assert_eq!(first.lines().count(), 1, "{first}");
        assert!(
            first.contains("\"message\":\"info before\",\"fields\":{\"number\":7}"),
            "{first}"
        );
        let second = fs::read_to_string(file("second.log")).unwrap();
        for part in [
            "info after number=7\n",
            "debug after\n",
            "mqtt: plugin after client=c1\n",
            "still in the second\n",
        ] {
            assert!(second.contains(part), "{part}: {second}");
        }
        assert_eq!(
            fs::read_to_string(file("access.log")).unwrap(),
            "line before\nline after\n"
        );
        assert_eq!(dropped(), 0);
    }
}
