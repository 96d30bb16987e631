//! A flight recorder: what each core has done last, for programs that look at the whole system.
//!
//! ```text
//!   core 0   [ ... | switch | fault | interrupt | switch |  ^next ... ]     a ring of its own, and no lock:
//!   core 1   [ ... | call | answer |  ^next ... ]                           it alone writes there, and reads
//! ```
//!
//! While it is off, an event costs three instructions: a load of the flag, and a test. What is recorded when it is on is
//! made in a function of its own, so that the ways on which events lie stay as they are. An entry is four words: a
//! reading of the counter and stores.
//!
//! A core reads nothing but its own ring: a program that wants another one's has its thread run there. So nothing comes in
//! between, and neither writing nor reading needs a barrier. What is overwritten between two readings is told by the
//! numbers of the events.

#![forbid(unsafe_code)]

use crate::arch::{self, MAX_CORES, timer};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use graft_abi::{TraceEvent, TraceKind};

/// Events that a core remembers.
pub const EVENTS: usize = 512;

/// Whether events are recorded.
static ON: AtomicBool = AtomicBool::new(false);

static RINGS: [Ring; MAX_CORES] = [const { Ring::new() }; MAX_CORES];

/// One core's events. Nothing but that core touches it.
#[repr(align(64))]
struct Ring {
    /// The number of the next event: as many have been recorded.
    next: AtomicU64,
    events: [[AtomicU64; 4]; EVENTS],
}

impl Ring {
    const fn new() -> Ring {
        Ring { next: AtomicU64::new(0), events: [const { [const { AtomicU64::new(0) }; 4] }; EVENTS] }
    }

    fn record(&self, words: [u64; 4]) {
        let number = self.next.load(Ordering::Relaxed);
        for (place, word) in self.events[number as usize % EVENTS].iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.next.store(number.wrapping_add(1), Ordering::Relaxed);
    }

    /// Copies events from a number on, and says which is the first that is there, and which the next to be read.
    fn copy(&self, from: u64, to: &mut [TraceEvent]) -> Copied {
        let next = self.next.load(Ordering::Relaxed);
        let first = from.max(next.saturating_sub(EVENTS as u64)).min(next);
        let count = to.len().min((next - first) as usize);
        for (event, number) in to.iter_mut().zip(first..next) {
            let [time, kind, process, what] =
                core::array::from_fn(|word| self.events[number as usize % EVENTS][word].load(Ordering::Relaxed));
            *event = TraceEvent { time: timer::to_nanoseconds(time), kind, process, what };
        }
        Copied { first, count }
    }
}

/// What has been copied out of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The number of the first event: what was asked for, or the oldest that is there, or the next that comes.
    pub first: u64,
    /// How many.
    pub count: usize,
}

/// Has events be recorded from now on, or not. Returns whether they were.
pub fn switch(on: bool) -> bool {
    ON.swap(on, Ordering::Relaxed)
}

/// Whether events are recorded.
#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Records an event of this core, if events are recorded: its kind, the process that runs, and what the kind says.
#[inline(always)]
pub fn note(event: impl FnOnce() -> (TraceKind, u64, u64)) {
    if is_on() {
        let (kind, process, what) = event();
        record(kind, process, what);
    }
}

#[cold]
#[inline(never)]
fn record(kind: TraceKind, process: u64, what: u64) {
    RINGS[arch::core_index()].record([timer::counts(), kind as u64, process, what]);
}

/// Copies events of the calling core.
pub fn copy(from: u64, to: &mut [TraceEvent]) -> Copied {
    RINGS[arch::core_index()].copy(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> [u64; 4] {
        [number, 1, 7, 100 + number]
    }

    fn read(ring: &Ring, from: u64, room: usize) -> (Copied, Vec<u64>) {
        let mut events = vec![TraceEvent::default(); room];
        let copied = ring.copy(from, &mut events);
        assert!(events[..copied.count].iter().all(|event| event.process == 7 && event.kind == 1));
        assert!(events[copied.count..].iter().all(|event| *event == TraceEvent::default()), "nothing behind them");
        (copied, events[..copied.count].iter().map(|event| event.what - 100).collect())
    }

    #[test]
    fn events_are_read_in_order_and_those_that_are_overwritten_are_told_by_their_numbers() {
        let ring = Ring::new();
        assert_eq!(read(&ring, 0, 4), (Copied { first: 0, count: 0 }, vec![]));
        (0..5).for_each(|number| ring.record(event(number)));
        assert_eq!(read(&ring, 0, 3), (Copied { first: 0, count: 3 }, vec![0, 1, 2]));
        assert_eq!(read(&ring, 3, 3), (Copied { first: 3, count: 2 }, vec![3, 4]));
        assert_eq!(read(&ring, 5, 3), (Copied { first: 5, count: 0 }, vec![]));
        assert_eq!(read(&ring, 2, 0), (Copied { first: 2, count: 0 }, vec![]));
        // A number that no event has yet: the next one's.
        assert_eq!(read(&ring, u64::MAX, 3), (Copied { first: 5, count: 0 }, vec![]));
        let all = EVENTS as u64;
        (5..all).for_each(|number| ring.record(event(number)));
        assert_eq!(read(&ring, 0, 1), (Copied { first: 0, count: 1 }, vec![0]), "all are there still");
        ring.record(event(all));
        assert_eq!(read(&ring, 0, 1), (Copied { first: 1, count: 1 }, vec![1]), "the oldest has gone");
        (all + 1..3 * all).for_each(|number| ring.record(event(number)));
        let (copied, events) = read(&ring, 17, 2 * EVENTS);
        assert_eq!(copied, Copied { first: 2 * all, count: EVENTS });
        assert!(events.into_iter().eq(2 * all..3 * all));
    }

    #[test]
    fn nothing_is_recorded_while_it_is_off() {
        arch::adopt(0);
        let next = || copy(u64::MAX, &mut []).first;
        let before = next();
        note(|| unreachable!("it is off"));
        assert!(!switch(true));
        note(|| (TraceKind::Fork, 3, 4));
        assert!(switch(false));
        note(|| unreachable!("it is off again"));
        let mut events = [TraceEvent::default(); 2];
        assert_eq!(copy(before, &mut events), Copied { first: before, count: 1 });
        assert_eq!((events[0].kind, events[0].process, events[0].what), (TraceKind::Fork as u64, 3, 4));
    }
}
