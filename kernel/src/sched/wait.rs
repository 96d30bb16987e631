//! Waiting: a thread goes into a list and is taken out of it, once, by the core that ends its wait.

use super::local::{CORES, Core};
use super::{make_ready, next, this};
use crate::arch::{self, Context, interrupts};
use crate::object::Ref;
use crate::object::end::Answer;
use crate::object::list::{List, Pointer};
use crate::object::process::Process;
use crate::object::thread::{Queued, State, Thread, WaitNumber, Won};
use crate::object::wait::Wait;
use crate::sync::{Ordering, fence};
use core::hint::cold_path;
use core::ptr::{self, NonNull};
use graft_abi::Error;

/// Blocks the current thread in a list, whose lock the caller holds. The caller goes on with [`next`] afterwards,
/// without the lock. A thread that is returned did not block: its process is ending, and the caller has to end the
/// thread.
#[must_use]
pub fn block(list: &mut List<Ref<Thread>, Queued>, wait: Wait) -> Option<Ref<Thread>> {
    let (_, core) = this();
    block_in(list, wait, core.leave()?)
}

/// As [`block`], of a thread that this core owns and that it does not run.
#[must_use]
#[inline(always)]
pub fn block_in(list: &mut List<Ref<Thread>, Queued>, wait: Wait, thread: Ref<Thread>) -> Option<Ref<Thread>> {
    // SAFETY: the caller owns it.
    unsafe { thread.block(wait) };
    let thread = list.push_back(thread);
    fence(Ordering::SeqCst);
    // If the mark was set before the thread could be seen as blocked, no other core may come to wake it.
    if !thread.process.is_marked() {
        return None;
    }
    cold_path();
    if !thread.process.is_ending() {
        return None;
    }
    // SAFETY: the caller has the only way to the list.
    let taken = unsafe { arch::aside(take_back, ptr::from_mut(list), 0) };
    // SAFETY: it comes from `into_raw`.
    NonNull::new(taken.cast_mut().cast()).map(|thread| unsafe { Ref::from_raw(thread) })
}

/// Takes the thread that has just been put into a list out of it, if no other core has ended its wait.
///
/// # Safety
/// The caller has the only way to the list.
#[cold]
unsafe extern "C" fn take_back(list: *const List<Ref<Thread>, Queued>, _: u64) -> *const () {
    // SAFETY: the caller's; it has come from a unique reference.
    let list = unsafe { &mut *list.cast_mut() };
    let Some(last) = list.last().map(ptr::from_ref) else { return ptr::null() };
    // SAFETY: it stands in the list, whose reference keeps it.
    let last = unsafe { &*last };
    let taken = unblock(last).and_then(|_| list.remove(last));
    taken.map_or(ptr::null(), |thread| thread.into_raw().as_ptr().cast_const().cast())
}

/// As [`block`], until a moment in nanoseconds since the counter started, at which the call is answered with
/// [`Error::TimedOut`]; 0 is never. Nor is the call made again for any other reason: the core that ends the wait
/// answers it, and takes the thread out of its list in the same step.
#[must_use]
pub fn block_until(list: &mut List<Ref<Thread>, Queued>, wait: Wait, deadline: u64) -> Option<Ref<Thread>> {
    let (_, core) = this();
    let current = core.own.current.get()?;
    set_deadline(&current, deadline);
    drop(current);
    block(list, wait)
}

/// Whether the process of a thread that has just been blocked is ending, and no other core has ended its wait: then
/// the caller ends the thread.
#[inline(always)]
pub fn meets_end(thread: &Thread, wait: WaitNumber) -> bool {
    // As in `block`.
    fence(Ordering::SeqCst);
    if !thread.process.is_marked() {
        return false;
    }
    cold_path();
    thread.process.is_ending() && unblock_from(thread, wait)
}

/// Ends a thread's wait, if it is blocked, for the one core that succeeds: it learns what the thread waited for.
#[inline(always)]
pub fn unblock(thread: &Thread) -> Option<Wait> {
    let wait = thread.unblock()?;
    forget_deadline(thread);
    Some(wait)
}

/// As [`unblock`], for this wait alone.
#[inline(always)]
pub fn unblock_from(thread: &Thread, wait: WaitNumber) -> bool {
    let ended = thread.unblock_from(wait);
    if ended {
        forget_deadline(thread);
    }
    ended
}

/// What a thread has waited for whose wait the calling core has just ended.
#[inline(always)]
pub fn take_wait(thread: &Thread, won: Won) -> Wait {
    forget_deadline(thread);
    thread.take_wait(won)
}

/// As [`unblock_from`], of a thread that this core runs at once.
#[inline(always)]
pub fn unblock_from_to_run(core: usize, thread: &Thread, wait: WaitNumber) -> bool {
    let ended = thread.unblock_from_to_run(wait, core);
    if ended {
        forget_deadline(thread);
    }
    ended
}

/// Has this core end the next wait of a thread at a moment, unless it is over by then; 0 is never. The caller owns the
/// thread.
#[inline(always)]
pub fn set_deadline(thread: &Ref<Thread>, deadline: u64) {
    if deadline != 0 {
        add_deadline(thread, deadline);
    }
}

#[inline(never)]
fn add_deadline(thread: &Ref<Thread>, deadline: u64) {
    let (index, core) = this();
    core.add_deadline(index, thread.clone(), deadline);
}

/// Before the thread runs again: so no deadline is ever met in a later wait.
#[inline(always)]
fn forget_deadline(thread: &Thread) {
    if let Some(core) = thread.deadline_core() {
        // SAFETY: the thread is there.
        unsafe { arch::aside(remove_deadline, thread, core as u64) };
    }
}

/// Takes a thread out of a core's sleepers.
///
/// # Safety
/// It is there.
unsafe extern "C" fn remove_deadline(thread: *const Thread, core: u64) -> *const () {
    // SAFETY: the caller's.
    CORES[core as usize].remove_deadline(unsafe { &*thread });
    ptr::null()
}

/// Ends a wait whose deadline has come, and which this core has won.
pub(super) fn expire(thread: &Thread, wait: &Wait) {
    // It is there: only the core that ends a wait with a deadline takes the thread out of its list.
    let Some(thread) = wait.cancel(thread) else { return };
    refuse(thread, Error::TimedOut);
}

/// Ends the call of a thread that this core owns and that blocks no longer.
pub fn refuse(thread: Ref<Thread>, error: Error) {
    answer_with(&thread, error);
    make_ready(thread);
}

/// The same, but for making it ready.
pub fn answer_with(thread: &Ref<Thread>, error: Error) {
    // SAFETY: the core owns the thread, and it runs nowhere.
    unsafe { &mut *thread.context() }.set_result(error.to_register());
}

/// Blocks the current thread until a moment, in nanoseconds since the counter started.
pub fn sleep_until(deadline: u64) -> *mut Context {
    if let Some(thread) = this().1.fall_asleep(deadline) {
        Process::end_thread(thread, None);
    }
    next()
}

/// Has the current thread stand aside for a moment, in which less urgent threads run, too: to give way to those of its
/// own priority would wait for ever for one of a lower priority on the same core.
pub fn pause() -> *mut Context {
    sleep_until(Core::end_of_pause())
}

/// Has a thread, which this core owns and does not run, wait until its process is suspended no longer.
#[cold]
pub fn park(thread: Ref<Thread>) {
    let process = thread.process.clone();
    let mut aside = process.aside.lock();
    // Under the lock: the core that resumes the process has taken the mark away before it looks for threads here.
    if !process.is_suspended() {
        drop(aside);
        return make_ready(thread);
    }
    let ended = block_in(&mut aside.parked, Wait::in_part(process.clone(), |process| &process.aside), thread);
    drop(aside);
    if let Some(thread) = ended {
        Process::end_thread(thread, None);
    }
}

/// Has a core look at the mark of the process that it runs.
pub fn look_again(core: usize) {
    interrupts::wake(core);
}

/// Notes why a thread that has been taken out of its list need not wait any longer.
pub fn end_wait(thread: &Ref<Thread>, answer: Option<Answer>) {
    // It has been unblocked already, to be ended: its registers do not matter any more.
    let Some(_waited_for) = unblock(thread) else { return };
    if let Some(answer) = answer {
        // SAFETY: the core that takes a thread out of its list owns it, and this one is not running.
        let registers = unsafe { &mut *thread.context() };
        // It is blocked in its call: it goes on behind that, with the answer.
        registers.advance();
        registers.set_results(answer);
    }
}

/// Makes a thread of a process that has been marked as ending meet that mark soon. The caller keeps the
/// thread from being freed.
pub fn interrupt(thread: &Thread) {
    fence(Ordering::SeqCst);
    match thread.state() {
        // It will look at the mark before it runs.
        State::Ready => {}
        State::Running(core) => interrupts::wake(core),
        State::Blocked => {
            let Some(wait) = unblock(thread) else { return };
            // If it is not there any more, the core that took it out makes it ready.
            let taken = wait.cancel(thread);
            if let Some(thread) = taken {
                // As urgent as the thread that ends it, which may wait for that; not more, as it may have much to free.
                if let Some(current) = this().1.own.current.get() {
                    thread.lend_priority(current.priority());
                }
                make_ready(thread);
            }
        }
    }
}
