//! What others are told of time: a thread's up to now, and a core's.

#![forbid(unsafe_code)]

use super::local::CORES;
use super::{online_cores, this};
use crate::arch::timer;
use crate::object::thread::{Account, State, Thread, Times};

/// How often a thread of another core is looked at again that has just stopped running.
const LOOKS: u32 = 8;

/// What a thread has used up to now, and the moment up to which that is, in counts of the timer's. Of a thread that
/// another core runs and is about to leave, up to a moment ago.
#[inline(never)]
pub fn times_now(thread: &Thread) -> (Times, u64) {
    let (index, core) = this();
    for _ in 0..LOOKS {
        let State::Running(other) = thread.state() else { break };
        if other == index {
            if core.own.current.is_thread(thread) {
                core.times.charge(thread);
                return (thread.times(), core.times.since());
            }
            break;
        }
        let core = &CORES[other].times;
        let (before, mut times, account) = (core.since(), thread.times(), thread.account());
        let now = timer::counts();
        if thread.state() == State::Running(other) && core.since() == before {
            match account {
                Account::Own => times.own += now.saturating_sub(before),
                Account::Callers => times.callers += now.saturating_sub(before),
            }
            return (times, now);
        }
    }
    (thread.times(), timer::counts())
}

/// How long a core has run, and how long of that it has had no thread, in counts of the timer's, up to this moment in
/// the same; zeroes for one that does not run.
pub fn core_times(core: usize, now: u64) -> (u64, u64) {
    if online_cores() >> core & 1 == 0 {
        return (0, 0);
    }
    CORES[core].times.up_to(now)
}
