//! Interrupts: a flag for each core, and its thread unparked.

use super::{MAX_CORES, core_index, timer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

struct Line {
    wakeup: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

static LINES: [Line; MAX_CORES] =
    [const { Line { wakeup: AtomicBool::new(false), thread: Mutex::new(None) } }; MAX_CORES];

/// Who interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This core's timer.
    Timer,
    /// The console has received something.
    Console,
    /// Another core has interrupted this one.
    Wakeup,
    /// Another interrupt, by its number.
    Other(u32),
}

/// An interrupt that this core has taken and must [`finish`].
#[derive(Debug)]
#[must_use = "an interrupt that is not finished blocks all others"]
pub struct Interrupt {
    /// Who interrupts.
    pub source: Source,
}

pub(super) fn adopt(index: usize) {
    *LINES[index].thread.lock().unwrap() = Some(thread::current());
}

/// Takes the most urgent pending interrupt, if there is one.
pub fn acknowledge() -> Option<Interrupt> {
    if LINES[core_index()].wakeup.swap(false, Ordering::Acquire) {
        return Some(Interrupt { source: Source::Wakeup });
    }
    timer::is_due().then_some(Interrupt { source: Source::Timer })
}

/// Lets the next interrupt come.
pub fn finish(_interrupt: Interrupt) {}

/// Interrupts another core. Stores made before are visible to it when it has taken the interrupt.
pub fn wake(core: usize) {
    let line = &LINES[core];
    line.wakeup.store(true, Ordering::Release);
    if let Some(thread) = &*line.thread.lock().unwrap() {
        thread.unpark();
    }
}

/// Whether one is pending on the calling core.
pub fn is_pending() -> bool {
    LINES[core_index()].wakeup.load(Ordering::Acquire) || timer::is_due()
}

pub(super) fn wait() {
    while !is_pending() {
        match timer::remaining() {
            Some(nanoseconds) => thread::park_timeout(Duration::from_nanos(nanoseconds)),
            None => thread::park(),
        }
    }
}
