//! What keeps a process's threads from running: its end, or a job that it is in and that is suspended.
//!
//! ```text
//!   one word   | ending 63 | with a job 62 | suspended by the job of level n: 48 + n | status |
//! ```
//!
//! Every thread looks at the word when it is about to run: one comparison with zero for all of it.

use super::Process;
use crate::object::thread::{State, Thread};
use crate::sched;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use graft_abi::{ExitStatus, JOB_LEVELS};
use graft_paging::Progress;

const ENDING: u64 = 1 << 63;
const WITH_JOB: u64 = 1 << 62;
const SUSPENDED: u64 = ((1 << JOB_LEVELS) - 1) * SUSPENDED_FIRST;
const SUSPENDED_FIRST: u64 = 1 << 48;
const STATUS: u64 = SUSPENDED_FIRST - 1;

/// Blocked threads of a process that ends which are on the way to their end at the same time. The others are woken one
/// by one, so that neither ending a process is long work nor a run queue is full of its threads.
const ENDED_AT_ONCE: usize = 16;
/// Threads of a process that goes on which are made ready before interrupts are answered.
const RESUMED_AT_ONCE: usize = 32;

/// The word.
pub struct Mark(AtomicU64);

/// What a mark makes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order(u64);

impl Order {
    /// It ends with this status, and with its job.
    pub const fn end(status: ExitStatus) -> Order {
        Order(ENDING | WITH_JOB | status.to_register())
    }

    /// It is suspended by a job of this level.
    pub const fn suspend(level: usize) -> Order {
        Order(SUSPENDED_FIRST << level)
    }
}

impl Mark {
    /// Nothing does.
    pub const fn none() -> Mark {
        Mark(AtomicU64::new(0))
    }
}

impl Process {
    /// Whether something keeps its threads from running. Who asks for a thread whose state it has just changed does so
    /// behind a full barrier, see [`sched`].
    #[inline(always)]
    pub fn is_marked(&self) -> bool {
        self.mark.0.load(Ordering::Relaxed) != 0
    }

    /// Whether its threads may not run any more, likewise.
    #[inline(always)]
    pub fn is_ending(&self) -> bool {
        self.mark.0.load(Ordering::Relaxed) & ENDING != 0
    }

    /// Whether its threads may not run until it is resumed, likewise.
    pub fn is_suspended(&self) -> bool {
        let mark = self.mark.0.load(Ordering::Relaxed);
        mark & SUSPENDED != 0 && mark & ENDING == 0
    }

    /// The status with which it ends. Without a mark its threads have ended one by one: success.
    pub fn last_status(&self) -> ExitStatus {
        ExitStatus::from_register(self.mark.0.load(Ordering::Relaxed) & STATUS).unwrap_or(ExitStatus::Killed(0))
    }

    /// Marks the process as ending: each of its threads ends when it meets the mark. The first status stands; returns
    /// whether that is this one. `caller` is the calling core's own thread, which the caller ends itself.
    ///
    /// Not inlined: every call would have to save the registers that it needs.
    #[inline(never)]
    pub fn terminate(&self, status: ExitStatus, caller: &Thread) -> bool {
        self.end_by(ENDING | status.to_register(), caller)
    }

    fn end_by(&self, ending: u64, caller: &Thread) -> bool {
        let mut found = 0;
        while let Err(other) = self.mark.0.compare_exchange(found, ending, Ordering::SeqCst, Ordering::Relaxed) {
            if other & ENDING != 0 {
                return false;
            }
            found = other;
        }
        // Holding the list keeps every thread in it alive. No core wants this lock while it holds one that `interrupt`
        // takes.
        let mut woken = 0;
        for thread in self.threads.lock().0.iter() {
            let blocked = thread.state() == State::Blocked;
            // Its turn comes when one of the others has ended (`end_thread`). One that blocks from now on meets the
            // mark by itself.
            let later = blocked && woken == ENDED_AT_ONCE;
            if !later && !core::ptr::eq(thread, caller) {
                woken += usize::from(blocked);
                sched::interrupt(thread);
            }
        }
        true
    }

    /// Gives a process that starts the marks of its maker that are of jobs, and this one.
    #[cold]
    pub(super) fn inherit(&self, maker: Option<&Process>, order: Option<Order>) {
        let maker = maker.map_or(0, |maker| maker.mark.0.load(Ordering::Relaxed));
        let inherited = if maker & WITH_JOB != 0 { maker } else { maker & SUSPENDED };
        let order = order.map_or(0, |Order(order)| order);
        // Of two ends the maker's stands.
        let mark = if inherited & ENDING != 0 { inherited } else { inherited | order };
        self.mark.0.store(mark, Ordering::Relaxed);
    }

    /// Carries out an order.
    pub(in crate::object) fn obey(&self, Order(order): Order, caller: &Thread) {
        if order & ENDING != 0 {
            self.end_by(order, caller);
            return;
        }
        self.mark.0.fetch_or(order, Ordering::SeqCst);
        for thread in self.threads.lock().0.iter() {
            // The others look at the mark before they run.
            if let State::Running(core) = thread.state() {
                sched::look_again(core);
            }
        }
    }

    /// Whether a thread of it besides the calling one is still on a core: for a moment, or for as long as what it does
    /// in the kernel takes.
    pub(in crate::object) fn is_on_core(&self, caller: &Thread) -> bool {
        fence(Ordering::SeqCst);
        let runs = |thread: &Thread| !core::ptr::eq(thread, caller) && matches!(thread.state(), State::Running(_));
        self.threads.lock().0.find(runs).is_some()
    }

    /// Takes an order to suspend back.
    pub(in crate::object) fn take_back(&self, Order(order): Order) {
        self.mark.0.fetch_and(!order, Ordering::SeqCst);
    }

    /// Makes threads ready that stand aside and need not any more, a few at a time.
    pub(in crate::object) fn resume_some(&self) -> Progress {
        for _ in 0..RESUMED_AT_ONCE {
            if self.is_suspended() {
                return Progress::Done;
            }
            // A core that parks a thread has looked at the mark with this lock.
            let Some(thread) = self.aside.lock().parked.pop_front() else { return Progress::Done };
            sched::end_wait(&thread, None);
            sched::make_ready(thread);
        }
        Progress::More
    }
}
