//! The host's side of `metrics/1`.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use polyport_abi::RStr;
use polyport_abi::metrics::Cell;

use super::side;

/// Cells that are made at once: they are kept as long as the process, and single ones would take more room.
const BLOCK: usize = 16;

/// An instance's metrics.
#[derive(Default)]
pub(super) struct Cells {
    named: BTreeMap<String, &'static Cell>,
    spare: &'static [Cell],
}

impl Cells {
    pub(super) fn values(&self) -> BTreeMap<String, u64> {
        let named = self.named.iter();
        named
            .map(|(name, cell)| (name.clone(), cell.value.load(Ordering::Relaxed)))
            .collect()
    }

    /// Lets go of the names: the instance has ended. Its threads may hold on to the cells.
    pub(super) fn forget(&mut self) {
        self.named.clear();
    }

    fn cell(&mut self, name: &str) -> &'static Cell {
        if let Some(cell) = self.named.get(name) {
            return cell;
        }
        let block = match self.spare {
            [] => Box::leak(Box::<[Cell; BLOCK]>::default()),
            spare => spare,
        };
        let (cell, spare) = (&block[0], &block[1..]);
        self.spare = spare;
        self.named.insert(name.to_owned(), cell);
        cell
    }
}

pub(super) extern "C" fn cell(ctx: *const (), name: RStr<'_>, _kind: u32) -> &'static Cell {
    let mut cells = side(ctx)
        .cells
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    cells.cell(name.as_str())
}
