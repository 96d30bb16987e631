//! What a thread is doing: of several cores that would end its wait, one succeeds.

use super::Thread;
use crate::arch;
use crate::object::wait::Wait;
use crate::sync::Ordering;
use core::ptr::NonNull;

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In a run queue, or on the way there.
    Ready,
    /// Where its [`Wait`] says.
    Blocked,
    /// On this core.
    Running(usize),
}

// A state is one word: the lowest byte says which, and in front of `CALLING` stands the number of the wait.
pub(super) const READY: u64 = 0;
const BLOCKED: u64 = 1;
const RUNNING: u64 = 2;
pub(super) const CALLING: u64 = 0xff;
const KIND: u64 = 0xff;

/// One of a thread's waits for an answer, told from all its others: what [`Thread::block_for_answer`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitNumber(u64);

/// That a core has ended the wait of this thread in a queue: good for taking what it has waited for, once.
#[derive(Debug)]
pub struct Won(NonNull<Thread>);

impl Thread {
    /// What it is doing.
    #[inline(always)]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) & KIND {
            READY => State::Ready,
            BLOCKED | CALLING => State::Blocked,
            running => State::Running((running - RUNNING) as usize),
        }
    }

    /// Notes that it is runnable, or running.
    #[inline(always)]
    pub fn set_state(&self, state: State) {
        let state = match state {
            State::Ready => READY,
            State::Blocked => BLOCKED,
            State::Running(core) => RUNNING + core as u64,
        };
        self.state.store(state, Ordering::Release);
    }

    /// Blocks it. From here on another core may [`unblock`](Self::unblock) it.
    ///
    /// # Safety
    /// The caller owns the thread.
    pub unsafe fn block(&self, wait: Wait) {
        // SAFETY: no other core looks at `wait` before the state is blocked, and what it waited for last has been
        // taken.
        unsafe { (*self.wait.get()).write(wait) };
        self.set_state(State::Blocked);
    }

    /// Blocks it until its call is answered. [`unblock_from`](Self::unblock_from) ends this wait and no other.
    ///
    /// # Safety
    /// The caller owns the thread.
    #[inline(always)]
    pub unsafe fn block_for_answer(&self) -> WaitNumber {
        let state = self.calling.get() + (KIND + 1);
        self.calling.set(state);
        self.state.store(state, Ordering::Release);
        WaitNumber(state)
    }

    /// Makes it ready if it is blocked; of several cores that try, one succeeds and learns what it waited for.
    pub fn unblock(&self) -> Option<Wait> {
        arch::stall();
        let state = self.state.load(Ordering::Relaxed);
        match state & KIND {
            BLOCKED => self.exchange(state, READY).then(|| self.take_wait(Won(NonNull::from(self)))),
            CALLING => self.exchange(state, READY).then_some(Wait::Answer),
            _ => None,
        }
    }

    /// As [`unblock`](Self::unblock), if it waits in a queue, for a core that runs it at once. The core takes what it
    /// has waited for with what is returned.
    #[inline(always)]
    pub fn unblock_to_run(&self, core: usize) -> Option<Won> {
        arch::stall();
        self.exchange(BLOCKED, RUNNING + core as u64).then(|| Won(NonNull::from(self)))
    }

    /// Whether this is the wait that it is in.
    pub fn is_in(&self, WaitNumber(state): WaitNumber) -> bool {
        self.state.load(Ordering::Acquire) == state
    }

    /// As [`unblock`](Self::unblock), if this is the wait that it is in.
    #[inline(always)]
    pub fn unblock_from(&self, WaitNumber(state): WaitNumber) -> bool {
        self.exchange(state, READY)
    }

    /// As [`unblock_from`](Self::unblock_from), for a core that runs it at once.
    #[inline(always)]
    pub fn unblock_from_to_run(&self, WaitNumber(state): WaitNumber, core: usize) -> bool {
        arch::stall();
        self.exchange(state, RUNNING + core as u64)
    }

    #[inline(always)]
    fn exchange(&self, from: u64, to: u64) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// What it has waited for, for the one core that has ended that wait.
    ///
    /// # Panics
    /// If it was another thread's.
    #[inline(always)]
    pub fn take_wait(&self, Won(thread): Won) -> Wait {
        assert!(thread == NonNull::from(self), "the wait of another thread");
        // SAFETY: `block` has written it, and only that core comes here, once.
        unsafe { (*self.wait.get()).assume_init_read() }
    }

    /// The core among whose sleepers it stands beside its place in a queue. Changed with the lock on these only. A core
    /// that finds none finds the wait ended if the timer has ended it; what it makes of the state after that, the timer
    /// does not meet any more: it has looked at the state first, and took it away (acquire) only if it found it there.
    #[inline(always)]
    pub fn deadline_core(&self) -> Option<usize> {
        (self.deadline.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    /// Notes that, or that it stands there no longer.
    pub fn set_deadline_core(&self, core: Option<usize>) {
        self.deadline.store(core.map_or(0, |core| core as u8 + 1), Ordering::Release);
    }
}
