//! The host's side of `passage/1`.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use polyport_abi::handover::{NOT_PASSED_FAILED, NOT_PASSED_NOBODY, PASSED, Parcel};
use polyport_abi::log::LevelCell;

use super::accounts::{Share, held};
use super::{arrival, guard, limits, side};
use crate::accounts::Session;
use crate::generations::fault;
use crate::handover::Taken;

/// An instance's way to whoever takes its place.
pub(super) struct Passage {
    plugin: OnceLock<String>,
    open: LevelCell,
    passed: AtomicU64,
}

impl Default for Passage {
    fn default() -> Self {
        Self {
            plugin: OnceLock::new(),
            open: LevelCell {
                value: AtomicU64::new(0),
            },
            passed: AtomicU64::new(0),
        }
    }
}

impl Passage {
    /// Says which plugin passes; once, before it starts.
    pub(super) fn is_of(&self, plugin: &str) {
        // The first stays, as was promised.
        let _ = self.plugin.set(plugin.to_owned());
    }

    pub(super) fn open(&self) -> &LevelCell {
        &self.open
    }

    pub(super) fn set_open(&self, open: bool) {
        self.open.value.store(open.into(), Ordering::Release);
    }

    /// How many connections passed.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

/// A connection on its way.
pub struct Passing<'a> {
    plugin: &'a str,
    listener: Option<String>,
    parcel: Parcel<'a>,
}

impl<'a> Passing<'a> {
    pub(super) fn new(plugin: &'a str, listener: Option<String>, parcel: Parcel<'a>) -> Self {
        Self {
            plugin,
            listener,
            parcel,
        }
    }

    /// The plugin that passes it.
    pub fn plugin(&self) -> &str {
        self.plugin
    }

    /// The name of its listener among its service's, over swaps; none if it has none any more.
    pub fn listener(&self) -> Option<&str> {
        self.listener.as_deref()
    }

    /// The connection itself, as it was passed.
    pub fn parcel(&self) -> &Parcel<'_> {
        &self.parcel
    }

    /// Its socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        arrival::socket(&self.parcel)
    }

    /// The login of its account.
    pub fn session(&self) -> Option<&Session> {
        self.parcel.account.as_ref().map(held).into_option()
    }

    /// The login for one more instance.
    pub fn share(&self) -> Option<Share> {
        self.parcel.account.map(Share::of).into_option()
    }
}

pub(super) extern "C" fn pass(ctx: *const (), parcel: Parcel<'_>) -> u32 {
    guard(NOT_PASSED_FAILED, || {
        let side = side(ctx);
        let passage = &side.passage;
        if passage.open.value.load(Ordering::Acquire) == 0 {
            return NOT_PASSED_NOBODY;
        }
        let plugin = passage.plugin.get().map_or("", String::as_str);
        let passing = Passing::new(plugin, side.limits.name(parcel.listener), parcel);
        match side.way.pass(&passing) {
            Ok(taken) => {
                if let (Taken::Away, Some(admission)) = (taken, parcel.admission.into_option()) {
                    limits::release(admission);
                }
                passage.passed.fetch_add(1, Ordering::Relaxed);
                fault::point("passed");
                PASSED
            }
            Err(NOT_PASSED_NOBODY) => {
                passage.set_open(false);
                NOT_PASSED_NOBODY
            }
            Err(number) => number,
        }
    })
}
