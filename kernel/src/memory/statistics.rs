//! Statistics of a process: the time and memory that it has used, and its faults.

use crate::arch::timer;
use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::ProcessInfo;
use graft_paging::{Action, Resolved};

/// What a process has used, and its faults. Exact, but not a consistent snapshot while it runs. What every switch adds
/// to stands first.
#[derive(Default)]
#[repr(C)]
pub struct Statistics {
    /// In counts of the timer's.
    processor_time: AtomicU64,
    table_splits: AtomicU64,
    page_copies: AtomicU64,
    reuses: AtomicU64,
    demand_zero: AtomicU64,
    faults: AtomicU64,
}

impl Statistics {
    /// Adds time in which a thread ran, in counts of the timer's.
    #[inline(always)]
    pub fn add_time(&self, counts: u64) {
        self.processor_time.fetch_add(counts, Ordering::Relaxed);
    }

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
        info.processor_time = timer::to_nanoseconds(read(&self.processor_time));
        info.table_splits = read(&self.table_splits);
        info.page_copies = read(&self.page_copies);
        info.reuses = read(&self.reuses);
        info.demand_zero = read(&self.demand_zero);
        info.faults = read(&self.faults);
    }
}
