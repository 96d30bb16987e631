//! Statistics of a process: its faults, and what was done about them.

use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::ProcessInfo;
use graft_paging::{Action, Resolved};

/// What a process has done to its memory. Exact, but not a consistent snapshot while it runs.
#[derive(Default)]
#[repr(C)]
pub struct Statistics {
    table_splits: AtomicU64,
    page_copies: AtomicU64,
    reuses: AtomicU64,
    demand_zero: AtomicU64,
    faults: AtomicU64,
}

impl Statistics {
    /// Counts a fault of the program's.
    #[inline(always)]
    pub fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what was done about an access, by the program or for it. Under the space's lock.
    #[inline(always)]
    pub fn count(&self, resolved: &Resolved) {
        // One writer at a time: no need for a read-modify-write instruction.
        let add = |counter: &AtomicU64, more: u64| {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        if resolved.table_splits != 0 {
            add(&self.table_splits, resolved.table_splits.into());
        }
        match resolved.action {
            Action::Nothing | Action::ZeroPage => {}
            Action::Reuse => add(&self.reuses, 1),
            Action::Copy => add(&self.page_copies, 1),
            Action::DemandZero => add(&self.demand_zero, 1),
        }
    }

    /// Fills in what it has counted.
    pub fn report(&self, info: &mut ProcessInfo) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        info.table_splits = read(&self.table_splits);
        info.page_copies = read(&self.page_copies);
        info.reuses = read(&self.reuses);
        info.demand_zero = read(&self.demand_zero);
        info.faults = read(&self.faults);
    }
}
