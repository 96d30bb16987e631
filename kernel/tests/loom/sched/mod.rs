//! The scheduler's own way of waiting, and cores that have no run queue: a thread that is made ready is counted.

#[path = "../../../src/sched/crowd.rs"]
pub mod crowd;
pub mod local;
#[path = "../../../src/sched/sleepers.rs"]
#[allow(dead_code, reason = "no core of a model has work that stands aside")]
mod sleepers;
#[path = "../../../src/sched/wait.rs"]
mod wait;
pub mod work;

pub use wait::*;

use crate::arch::{self, Context};
use crate::object::Ref;
use crate::object::thread::{State, Thread};
use local::{CORES, Core};

const NEVER: u64 = u64::MAX;

pub fn this() -> (usize, &'static Core) {
    let index = arch::core_index();
    (index, &CORES[index])
}

pub fn make_ready(thread: Ref<Thread>) {
    thread.set_state(State::Ready);
    thread.note_ready();
}

pub fn level_next(_core: usize, _thread: &Thread) -> Option<u32> {
    Some(1)
}

pub fn deliver_bits(waiter: &Ref<Thread>, bits: u64) {
    // SAFETY: the core that has ended its wait owns it.
    unsafe { &mut *waiter.context() }.set_results([0, bits]);
}

pub fn return_priority_of_current() {}

/// The timer of the calling core fires.
pub fn wake_sleepers() {
    this().1.wake_sleepers();
}

fn next() -> *mut Context {
    std::ptr::null_mut()
}
