//! The host's side of `log/1`.

use polyport_abi::log::LogRecord;
use tracing::Level;

use super::{guard, side};
use crate::logging;

pub(super) extern "C" fn emit(ctx: *const (), record: &LogRecord<'_>) {
    guard((), || {
        let level = match record.level {
            0 | 1 => Level::ERROR,
            2 => Level::WARN,
            3 => Level::INFO,
            4 => Level::DEBUG,
            _ => Level::TRACE,
        };
        let fields = record
            .fields
            .iter()
            .map(|field| (field.key.as_str().to_owned(), field.value.as_str().into()));
        logging::plugin_record(
            &side(ctx).service,
            level,
            record.target.as_str(),
            record.message.as_str(),
            fields,
        );
    });
}
