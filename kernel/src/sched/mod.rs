//! Which thread runs on which core: a queue for each core, preemptive round robin, work for idle cores.
//!
//! ```text
//!            fork, spawn, wake-up                 timer, yield
//!                   |                          +--------------+
//!                   v                          v              |
//!   another core   idle?  --no-->  this core's queue  -->  running  --> wait, sleep, read
//!   is woken  <--- yes                         ^                              |
//!   (SGI)                                      +------------------------------+
//! ```
//!
//! The kernel is entered by a trap from EL0 and left by resuming some thread; in between it is never
//! interrupted and never waits, except here, where a core has nothing to run.
//!
//! One rule keeps the rest simple: **a thread that others can see has no presence on this core.** Before a
//! thread goes into a queue, its floating-point registers are saved and its address space is out of
//! `TTBR0_EL1`. Then another core may run it, end it and free its tables at once.
//!
//! A process ends, or is suspended, by a mark that its threads meet when they are about to run. The core that sets the mark
//! also looks where each thread is: it makes blocked ones ready, and interrupts a core that runs
//! one. Both sides first write and then read, with a full barrier in between, so that one of them sees
//! the other (`run`, `block` and `interrupt`).

pub mod complete;
pub mod crowd;
mod floating_point;
pub mod launch;
mod local;
mod look;
mod ready;
mod registers;
mod sleepers;
mod stopped;
mod switch;
mod times;
mod wait;
pub mod work;

pub use floating_point::{
    copy_floating_point, floating_point, give_floating_point, replace_floating_point, use_floating_point,
};

pub use look::{core_times, times_now};
pub use registers::{
    collect, deliver, deliver_answer, deliver_bits, deliver_handle, go_on_stopped, lent, stop, try_again, waits_on,
    with_registers,
};
pub use stopped::{bring_stopped_back, copy_of_stopped, snapshot_of_stopped, with_stopped_registers};
pub use switch::{
    Running, TakenOver, end_current, give_way, give_way_to, go_on, go_on_after_fault, is_more_urgent, leave,
    level_next, meet_mark, return_priority_of_current, set_priority, switch_to, take_over, work,
};

pub use wait::{
    answer_with, block, block_in, block_until, end_wait, interrupt, look_again, meets_end, pause, refuse, set_deadline,
    sleep_until, take_wait, unblock, unblock_from, unblock_from_to_run,
};

use self::local::{CORES, Core};
use self::ready::level;
pub use self::ready::level_of;
use crate::arch::interrupts::{self, Source};
use crate::arch::{self, Context, MAX_CORES, timer};
use crate::memory::frames;
use crate::object::thread::{Scheduling, State, Thread};
use crate::object::{Ref, interrupt};
use crate::platform::platform;
use crate::trace;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use graft_abi::TraceKind;

/// How long a thread runs before another one's turn comes, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// Interrupts answered before the core goes on. Others stay pending, and come as soon as it does.
const INTERRUPTS_AT_ONCE: usize = 3;
/// Threads that end, one after the other, before interrupts are answered.
const ENDED_AT_ONCE: u32 = 8;
/// No deadline.
const NEVER: u64 = u64::MAX;

/// One bit for each core that has nothing to run. A core that clears another's bit sends it work.
static IDLE: AtomicU32 = AtomicU32::new(0);
/// Cores that have entered the scheduler.
static ONLINE: AtomicU32 = AtomicU32::new(0);

fn this() -> (usize, &'static Core) {
    let index = arch::core_index();
    (index, &CORES[index])
}

/// How many cores run.
pub fn online() -> u64 {
    online_cores().count_ones().into()
}

/// Which cores run, a bit for each.
pub fn online_cores() -> u32 {
    ONLINE.load(Ordering::Relaxed)
}

/// Lets the calling core run threads, for good.
pub fn enter() -> ! {
    arch::mmu::deactivate();
    arch::floating_point::disable();
    this().1.times.begin();
    ONLINE.fetch_or(1 << arch::core_index(), Ordering::Relaxed);
    frames::answer_from_here();
    let context = next();
    // SAFETY: the thread has just been made this core's own, and its registers are a program's.
    unsafe { arch::resume(context) }
}

/// Makes a thread ready that stands in no queue: here if this core is about to look for something to run and has
/// nothing else, otherwise on an idle core if there is one, on the one that runs the lowest priority if that is below
/// the thread's, or here.
pub fn make_ready(thread: Ref<Thread>) {
    let (index, core) = this();
    // Otherwise the timer is set when the core has found something to run.
    if place(index, core, thread) && core.running() != 0 {
        core.set_timer();
    }
}

/// The same, but for the timer of this core: whether the thread has been made ready here.
#[inline(always)]
fn place(index: usize, core: &Core, thread: Ref<Thread>) -> bool {
    thread.set_state(State::Ready);
    let (cores, this_one) = (thread.scheduling().cores(), 1 << index);
    let others = cores & online_cores() & !this_one;
    let here = cores & this_one != 0 && (others == 0 || core.is_free());
    if here {
        core.ready.push(thread)
    } else {
        make_ready_somewhere(thread, others)
    }
    here
}

/// As [`make_ready`], for a thread that may run on other cores.
#[inline(never)]
fn make_ready_somewhere(thread: Ref<Thread>, others: u32) {
    let (index, core) = this();
    let target = claim_idle(others).unwrap_or_else(|| {
        let (here, level) = (thread.may_run_on(index), level(&thread));
        if here && core.running() < level {
            return index;
        }
        let lowest = (0..MAX_CORES).filter(|core| others >> core & 1 != 0).min_by_key(|&core| CORES[core].running());
        lowest.filter(|&lowest| !here || CORES[lowest].running() < level).unwrap_or(index)
    });
    CORES[target].ready.push(thread);
    if target == index { core.set_timer() } else { interrupts::wake(target) }
}

/// Gives a thread another priority and other cores: one that is ready or runs at once, one that waits when it is ready
/// again. What a caller lends it at this moment ends with that.
pub fn reschedule(thread: &Thread, scheduling: Scheduling) {
    let level = thread.priority();
    thread.set_scheduling(scheduling);
    thread.return_priority();
    let found = CORES.iter().find_map(|core| core.ready.remove(level, thread));
    if let Some(thread) = found {
        return make_ready(thread);
    }
    // The core that runs it looks again: pairs with the barrier between state and priority in `run`.
    fence(Ordering::SeqCst);
    if let State::Running(core) = thread.state() {
        interrupts::wake(core);
    }
}

/// Picks an idle core among these and claims it, to send it work.
fn claim_idle(cores: u32) -> Option<usize> {
    let mut idle = IDLE.load(Ordering::Relaxed) & cores;
    while idle != 0 {
        let chosen = idle.trailing_zeros();
        if IDLE.fetch_and(!(1 << chosen), Ordering::Relaxed) & 1 << chosen != 0 {
            return Some(chosen as usize);
        }
        idle &= !(1 << chosen);
    }
    None
}

/// The thread to run now, made this core's own. Waits until there is one.
pub fn next() -> *mut Context {
    let (index, core) = this();
    let mut ended = 0;
    loop {
        let thread = core.ready.pop().unwrap_or_else(|| {
            let found = core.find_work(index);
            core.times.charge_idle();
            found
        });
        if !thread.may_run_on(index) {
            make_ready(thread);
            continue;
        }
        if let Some(context) = core.run(index, thread, |now| now + SLICE) {
            return context;
        }
        // It has ended. There may be many such threads in a row.
        ended += 1;
        if ended % ENDED_AT_ONCE == 0 {
            handle_interrupts(core);
        }
    }
}

/// Takes work from a core that has more than it can do at once.
fn steal(index: usize) -> Option<Ref<Thread>> {
    let cores = platform().cores.min(MAX_CORES);
    (1..cores).find_map(|distance| CORES[(index + distance) % cores].ready.pop_for(index))
}

/// Answers interrupts that are pending on this core. Returns the context to go on with.
pub fn interrupted(context: *mut Context) -> *mut Context {
    let (index, core) = this();
    handle_interrupts(core);
    if core.own.current.is_marked() {
        return meet_mark();
    }
    if !core.may_go_on(index) {
        return give_way(context);
    }
    core.set_timer();
    context
}

fn handle_interrupts(core: &Core) {
    for _ in 0..INTERRUPTS_AT_ONCE {
        let Some(taken) = interrupts::acknowledge() else { return };
        trace::note(|| {
            let source = match taken.source {
                Source::Timer => 0,
                Source::Wakeup => 1,
                Source::Line(line) => 16 + u64::from(line),
            };
            (TraceKind::Interrupt, core.own.current.process(), source)
        });
        match taken.source {
            Source::Timer => {
                timer::clear();
                core.own.timer.set(NEVER);
                core.wake_sleepers();
            }
            // Mostly it has done its work by ending the wait, or by bringing a running thread here.
            Source::Wakeup => frames::bring_if_asked(),
            Source::Line(line) => interrupt::fire(line),
        }
        interrupts::finish(taken);
    }
}
