//! From one thread to another on the same core: by a yield, by a message, or because the other is more urgent.

use super::local::{CORES, Core};
use super::ready::{Compared, level};
use super::{SLICE, handle_interrupts, make_ready, next, place, this};
use crate::arch::Context;
use crate::object::Ref;
use crate::object::process::Process;
use crate::object::stop;
use crate::object::thread::{State, Thread};
use core::sync::atomic::{Ordering, fence};
use graft_abi::TraceKind;

/// Lets the current thread go on later, after those that are ready and no less urgent.
pub fn give_way(context: *mut Context) -> *mut Context {
    let (index, core) = this();
    if core.ready.compare(core.running()) == Compared::Lower && core.own.current.may_run_on(index) {
        // Another core has stolen the work. The timer that led here may be needed for a sleeper.
        core.set_timer();
        return context;
    }
    match core.ready.pop() {
        Some(next) if next.may_run_on(index) && !next.work.is_pending() => run_before(index, core, next),
        found => {
            let Some(thread) = core.leave() else { return context };
            make_ready(thread);
            match found {
                Some(other) if other.may_run_on(index) => {
                    core.run(index, other, |now| now + SLICE).unwrap_or_else(next)
                }
                Some(other) => {
                    make_ready(other);
                    next()
                }
                None => next(),
            }
        }
    }
}

/// Does the work that the current thread has in the kernel.
pub fn work() -> *mut Context {
    let (index, core) = this();
    // The call's own part was a piece, too.
    handle_interrupts(core);
    core.work(index).unwrap_or_else(next)
}

/// Ends the current thread, with a value of its own or, without one, with its process, which is ending.
pub fn end_current(value: Option<u64>) -> *mut Context {
    let (_, core) = this();
    if let Some(thread) = core.leave() {
        Process::end_thread(thread, value);
        core.times.charge_idle();
    }
    next()
}

/// Has the current thread, whose process is marked, end or stand aside.
#[cold]
pub fn meet_mark() -> *mut Context {
    let (_, core) = this();
    if let Some(thread) = core.leave() {
        core.put_aside(thread);
    }
    next()
}

/// Takes the current thread off this core, for a caller that puts it where others see it.
pub fn leave() -> Option<Ref<Thread>> {
    this().1.leave()
}

/// Runs a thread that this core owns, in what is left of the slice of the one that has just left, unless another has to
/// run first or it has to run elsewhere.
#[inline(never)]
pub fn switch_to(thread: Ref<Thread>) -> *mut Context {
    let (index, core) = this();
    if thread.is_stopped() || level_next(index, &thread).is_none() {
        make_ready(thread);
        return next();
    }
    let slice_end = core.own.slice_end.get();
    core.run(index, thread, |_| slice_end).unwrap_or_else(next)
}

/// The level of this thread, if the core may run it in what is left of the current one's slice, and no other has to run
/// first. One of the same priority may be ready if the current thread has that, too: then the timer is set for its turn.
#[inline(always)]
pub fn level_next(core: usize, thread: &Thread) -> Option<u32> {
    let level = level(thread);
    let may_run = thread.may_run_on(core)
        && match CORES[core].ready.compare(level) {
            Compared::Lower => true,
            Compared::Same => level == CORES[core].running(),
            Compared::Higher => false,
        };
    may_run.then_some(level)
}

/// Has the current thread's own priority count again.
pub fn return_priority_of_current() {
    if let Some(current) = this().1.own.current.get() {
        set_priority(&current, None);
    }
}

/// Whether the core may run this thread, and it is more urgent than the current one.
pub fn is_more_urgent(thread: &Thread) -> bool {
    let (index, core) = this();
    thread.may_resume_on(index) && level(thread) > core.running()
}

/// Runs a thread that this core owns in place of the current one, which goes on later.
#[inline(never)]
pub fn give_way_to(thread: Ref<Thread>, context: *mut Context) -> *mut Context {
    let (index, core) = this();
    if thread.work.is_pending() {
        make_ready(thread);
        return context;
    }
    run_before(index, core, thread)
}

/// Runs a thread that is ready and has no work, and has the current one go on later.
#[inline(always)]
fn run_before(index: usize, core: &Core, thread: Ref<Thread>) -> *mut Context {
    thread.set_state(State::Running(index));
    let context = thread.context();
    core.prepare(index, &thread, level(&thread));
    let left = core.own.current.replace(thread);
    if let Some(left) = &left {
        core.retire(left, TraceKind::Switch);
    }
    core.begin_slice();
    if let Some(left) = left {
        place(index, core, left);
    }
    core.set_timer();
    // The barrier stands between the state and the mark, as in `run`.
    fence(Ordering::SeqCst);
    // SAFETY: the core's current thread, which is there until this core does otherwise.
    if unsafe { Thread::of(context) }.process.is_marked() { meet_mark() } else { context }
}

/// Has the current thread work for a caller of this priority; [`None`]: for itself again, with its own.
pub fn set_priority(current: &Thread, lent: Option<u8>) {
    let (_, core) = this();
    core.times.charge(current);
    match lent {
        Some(priority) => drop(current.work_for_caller(priority)),
        None => current.work_for_itself(),
    }
    core.note_priority(current);
    core.set_timer();
}

/// The thread that the calling core runs.
pub struct Running<'a>(&'a Thread);

impl<'a> Running<'a> {
    /// This one.
    ///
    /// # Safety
    /// It is the one.
    #[inline(always)]
    pub unsafe fn new(thread: &'a Thread) -> Running<'a> {
        Running(thread)
    }

    /// This one, which is said to be it.
    ///
    /// # Panics
    /// If it is not.
    pub fn checked(thread: &'a Thread) -> Running<'a> {
        assert!(this().1.own.current.is_thread(thread), "the core runs another thread");
        Running(thread)
    }

    /// The thread.
    #[inline(always)]
    pub fn thread(&self) -> &'a Thread {
        self.0
    }
}

/// Makes a thread of this level that the calling core owns, and whose state says so already, the one that it runs, in
/// what is left of the slice of the one that it has run until now. Returns the one, and the other, which has no
/// presence on the core any more, and why is recorded: the caller blocks it, with a full barrier behind that, and then
/// [goes on](go_on).
#[inline(always)]
pub fn take_over(
    core: usize,
    current: Running<'_>,
    (next, level): (Ref<Thread>, u32),
    why: TraceKind,
) -> (TakenOver, Ref<Thread>) {
    let resumed = TakenOver(&raw const *next);
    CORES[core].prepare(core, &next, level);
    // SAFETY: it is the core's current thread.
    let left = unsafe { CORES[core].own.current.replace_known(current.0, next) };
    CORES[core].retire(&left, why);
    (resumed, left)
}

/// A thread that has become a core's current one.
#[must_use]
pub struct TakenOver(*const Thread);

impl TakenOver {
    /// The thread.
    #[inline(always)]
    pub(super) fn thread(&self) -> &Thread {
        // SAFETY: the core's current thread, which is there until this core does otherwise.
        unsafe { &*self.0 }
    }

    /// Whether it is stopped at a fault.
    #[inline(always)]
    pub fn is_stopped(&self) -> bool {
        self.thread().is_stopped()
    }
}

/// Goes on with the current thread after the one before it has been blocked, or has to end.
#[inline(always)]
pub fn go_on(resumed: TakenOver, ended: Option<Ref<Thread>>) -> *mut Context {
    // A core that marks a process as ending after that barrier finds its thread running here, and interrupts it.
    if ended.is_some() || resumed.thread().process.is_marked() {
        return end_some(resumed, ended);
    }
    resumed.thread().context()
}

/// As [`go_on`], of a thread whose fault has been answered.
#[cold]
#[inline(never)]
pub fn go_on_after_fault(resumed: TakenOver, ended: Option<Ref<Thread>>) -> *mut Context {
    if !resumed.thread().process.is_ending() {
        stop::conclude(resumed.thread());
    }
    go_on(resumed, ended)
}

/// Ends a thread that could not be blocked, and has the current one meet its process's mark.
#[cold]
fn end_some(resumed: TakenOver, ended: Option<Ref<Thread>>) -> *mut Context {
    if let Some(thread) = ended {
        Process::end_thread(thread, None);
    }
    if resumed.thread().process.is_marked() { meet_mark() } else { resumed.thread().context() }
}
