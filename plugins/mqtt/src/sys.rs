//! When the `$SYS` tree is published, and what of it the broker does not know by itself.

use std::sync::Arc;
use std::time::Duration;

use polyport_mqtt_core::broker::{SysFacts, Totals};
use polyport_sdk::Context;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::{Engine, Standing};

/// Sessions added up while the engine is locked.
const PAGE: u32 = 1_024;

const VERSION: &str = concat!("polyport version ", env!("CARGO_PKG_VERSION"));

/// Publishes the tree every so many seconds, for as long as the engine serves; with 0 there is none.
pub(crate) async fn publish(
    engine: Arc<Engine>,
    context: Context,
    mut interval: watch::Receiver<u64>,
) {
    context.activated().await;
    let mut next = Instant::now();
    while !context.is_draining() {
        let seconds = *interval.borrow_and_update();
        if seconds > 0 && next <= Instant::now() {
            publish_once(&engine).await;
            next = Instant::now() + Duration::from_secs(seconds);
        }
        let pause = async {
            match seconds {
                0 => std::future::pending().await,
                _ => tokio::time::sleep_until(next).await,
            }
        };
        tokio::select! {
            () = pause => {}
            changed = interval.changed() => {
                if changed.is_err() {
                    return;
                }
                next = Instant::now();
                if *interval.borrow() == 0 {
                    engine.clear_sys();
                }
            }
            () = context.draining() => return,
        }
    }
}

async fn publish_once(engine: &Engine) {
    let mut totals = Totals::default();
    let mut from = 0;
    loop {
        match engine.sum(from, PAGE, &mut totals) {
            Some(Some(next)) => from = next,
            Some(None) => break,
            None if engine.standing() == Standing::Frozen => engine.moved(Standing::Frozen).await,
            None => return,
        }
        tokio::task::yield_now().await;
    }
    engine.publish_sys(&SysFacts {
        version: VERSION,
        heap: resident(),
        totals,
    });
}

/// Bytes of memory that this process has.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_has_some_memory() {
        let resident = super::resident().unwrap();
        assert!((1 << 20..1 << 36).contains(&resident), "{resident}");
    }
}
