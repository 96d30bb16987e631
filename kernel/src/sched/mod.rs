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
//! A process ends by a mark that its threads meet when they are about to run. The core that sets the mark
//! also looks where each thread is: it makes blocked ones ready, and interrupts a core that runs
//! one. Both sides first write and then read, with a full barrier in between, so that one of them sees
//! the other (`run`, `block` and `interrupt` below).

mod floating_point;
mod local;
mod ready;
pub mod work;

pub use floating_point::{
    copy_floating_point, floating_point, give_floating_point, replace_floating_point, use_floating_point,
};

use self::local::{CORES, Core};
use self::ready::{Compared, level};
use crate::arch::interrupts::{self, Source};
use crate::arch::{self, Context, MAX_CORES, timer};
use crate::memory::frames;
use crate::object::Ref;
use crate::object::end::Answer;
use crate::object::list::List;
use crate::object::process::Process;
use crate::object::stop;
use crate::object::terminal::Terminal;
use crate::object::thread::{Fault, Queued, Scheduling, State, Thread, WaitNumber, Won};
use crate::object::wait::Wait;
use crate::platform::platform;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use graft_abi::{Error, FaultKind, Handle, REGISTERS};

/// How long a thread runs before another one's turn comes, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// Interrupts answered before the core goes on: one of each source. Others stay pending, and come as soon as it does.
const INTERRUPTS_AT_ONCE: usize = 3;
/// Threads that end, one after the other, before interrupts are answered.
const ENDED_AT_ONCE: u32 = 8;
/// Sleepers woken for one interrupt of the timer.
const WOKEN: usize = 32;
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
    ONLINE.fetch_or(1 << arch::core_index(), Ordering::Relaxed);
    frames::answer_from_here();
    let context = next();
    // SAFETY: the thread has just been made this core's own, and its registers are a program's.
    unsafe { arch::resume(context) }
}

/// Makes a thread ready that stands in no queue: here if this core is about to look for something to run and has nothing
/// else, otherwise on an idle core if there is one, on the one that runs the lowest priority if that is below the thread's,
/// or here.
pub fn make_ready(thread: Ref<Thread>) {
    let (index, core) = this();
    thread.set_state(State::Ready);
    let (cores, this_one) = (thread.scheduling().cores(), 1 << index);
    let others = cores & online_cores() & !this_one;
    if cores & this_one != 0 && (others == 0 || core.is_free()) {
        core.ready.push(thread);
        // Otherwise it is set when the core has found something to run.
        if core.running() != 0 {
            core.set_timer();
        }
    } else {
        make_ready_somewhere(thread, others);
    }
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

/// Gives a thread another priority and other cores: one that is ready at once, one that runs or waits when it is ready
/// again. What a caller lends it at this moment ends with that.
pub fn reschedule(thread: &Thread, scheduling: Scheduling) {
    let level = thread.priority();
    thread.set_scheduling(scheduling);
    thread.return_priority();
    let found = CORES.iter().find_map(|core| core.ready.remove(level, thread));
    if let Some(thread) = found {
        make_ready(thread);
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
    }
    next()
}

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
    list.push_back(thread);
    fence(Ordering::SeqCst);
    // If the mark was set before the thread could be seen as blocked, no other core may come to wake it.
    if list.last()?.process.is_ending() { take_back(list) } else { None }
}

/// Takes the thread that has just been put into a list out of it, if no other core has ended its wait.
#[cold]
fn take_back(list: &mut List<Ref<Thread>, Queued>) -> Option<Ref<Thread>> {
    let last = list.last()?;
    let watched = core::ptr::from_ref(last);
    unblock(last)?;
    // SAFETY: it stands in the list, whose reference keeps it, and whose lock the caller holds.
    list.remove(unsafe { &*watched })
}

/// As [`block`], until a moment in nanoseconds since the counter started, at which the call is answered with
/// [`Error::TimedOut`]; 0 is never. Nor is the call made again for any other reason: the core that ends the wait answers
/// it, and takes the thread out of its list in the same step.
#[must_use]
pub fn block_until(list: &mut List<Ref<Thread>, Queued>, wait: Wait, deadline: u64) -> Option<Ref<Thread>> {
    let (_, core) = this();
    let current = core.own.current.get()?;
    set_deadline(&current, deadline);
    drop(current);
    block(list, wait)
}

/// Takes the current thread off this core, for a caller that puts it where others see it.
pub fn leave() -> Option<Ref<Thread>> {
    this().1.leave()
}

/// Runs a thread that this core owns, in what is left of the slice of the one that has just left, unless another has to
/// run first or it has to run elsewhere.
pub fn switch_to(thread: Ref<Thread>) -> *mut Context {
    let (index, core) = this();
    if thread.is_stopped() || !may_run_next(index, &thread) {
        make_ready(thread);
        return next();
    }
    let slice_end = core.own.slice_end.get();
    core.run(index, thread, |_| slice_end).unwrap_or_else(next)
}

/// Whether the core may run this thread in what is left of the current one's slice, and no other has to run first. One of
/// the same priority may be ready if the current thread has that, too: then the timer is set for its turn.
#[inline(always)]
pub fn may_run_next(core: usize, thread: &Thread) -> bool {
    let level = level(thread);
    thread.may_run_on(core)
        && match CORES[core].ready.compare(level) {
            Compared::Lower => true,
            Compared::Same => level == CORES[core].running(),
            Compared::Higher => false,
        }
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
    let left = core.exchange(index, thread);
    core.begin_slice();
    if let Some(left) = left {
        make_ready(left);
    }
    core.set_timer();
    // The barrier stands between the state and the mark, as in `run`.
    fence(Ordering::SeqCst);
    if core.own.current.is_ending() { end_current(None) } else { context }
}

/// Has a higher priority of a caller's count for the current thread, which works for it; [`None`]: its own again.
pub fn set_priority(current: &Thread, lent: Option<u8>) {
    let (_, core) = this();
    match lent {
        Some(priority) => current.lend_priority(priority),
        None => current.return_priority(),
    }
    core.note_priority(current);
    core.set_timer();
}

/// Makes a thread that the calling core owns, and whose state says so already, the one that it runs, in what is left of
/// the slice of the one that it has run until now. Returns the registers of the one, and the other, which has no presence
/// on the core any more: the caller blocks it, with a full barrier behind that, and then [goes on](go_on).
///
/// # Panics
/// If the core runs none.
#[inline(always)]
pub fn take_over(core: usize, next: Ref<Thread>) -> (TakenOver, Ref<Thread>) {
    let context = next.context();
    let left = CORES[core].exchange(core, next);
    (TakenOver(context), left.expect("a thread that calls"))
}

/// The registers of a thread that has become a core's current one.
#[must_use]
pub struct TakenOver(*mut Context);

/// Goes on with the current thread after the one before it has been blocked, or has to end.
#[inline(always)]
pub fn go_on(TakenOver(context): TakenOver, ended: Option<Ref<Thread>>) -> *mut Context {
    // A core that marks a process as ending after that barrier finds its thread running here, and interrupts it.
    // SAFETY: the core's current thread, which is there until this core does otherwise.
    if ended.is_some() || unsafe { Thread::of(context) }.process.is_ending() {
        return end_some(TakenOver(context), ended);
    }
    context
}

/// As [`go_on`], of a thread whose fault has been answered.
#[cold]
#[inline(never)]
pub fn go_on_after_fault(TakenOver(context): TakenOver, ended: Option<Ref<Thread>>) -> *mut Context {
    // SAFETY: as in `go_on`.
    let thread = unsafe { Thread::of(context) };
    if !thread.process.is_ending() {
        stop::conclude(thread);
    }
    go_on(TakenOver(context), ended)
}

/// Ends a thread that could not be blocked, and the current one if its process is ending.
#[cold]
fn end_some(TakenOver(context): TakenOver, ended: Option<Ref<Thread>>) -> *mut Context {
    if let Some(thread) = ended {
        Process::end_thread(thread, None);
    }
    // SAFETY: as in `go_on`.
    if unsafe { Thread::of(context) }.process.is_ending() { end_current(None) } else { context }
}

/// Whether the process of a thread that has just been blocked is ending, and no other core has ended its wait: then
/// the caller ends the thread.
pub fn meets_end(thread: &Thread, wait: WaitNumber) -> bool {
    // As in `block`.
    fence(Ordering::SeqCst);
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
        let (index, core) = this();
        core.add_deadline(index, thread.clone(), deadline);
    }
}

/// Before the thread runs again: so no deadline is ever met in a later wait.
#[inline(always)]
fn forget_deadline(thread: &Thread) {
    if let Some(core) = thread.deadline_core() {
        CORES[core].remove_deadline(thread);
    }
}

/// Gives a message to a thread that was waiting for one and that this core owns.
#[inline(always)]
pub fn deliver(receiver: &Ref<Thread>, message: [u64; 7], badge: u64) {
    // SAFETY: the caller has taken it out of its list and ended its wait, so that it is this core's, and it runs
    // nowhere.
    unsafe { &mut *receiver.context() }.set_message(message, badge);
}

/// Gives the current thread, to which a message has been delivered, the handle in it, as `transfer` leaves it.
#[cold]
pub fn deliver_handle(transfer: impl FnOnce(&Thread) -> Handle) {
    let Some(receiver) = this().1.own.current.get() else { return };
    let handle = transfer(&receiver);
    // SAFETY: the current thread is this core's own.
    unsafe { &mut *receiver.context() }.set_handle(handle.0.into());
}

/// Gives a thread that was waiting for bits of a notification, and that this core owns, those bits.
pub fn deliver_bits(waiter: &Ref<Thread>, bits: u64) {
    // SAFETY: as in `deliver`.
    unsafe { &mut *waiter.context() }.set_results([0, bits]);
}

/// Whether a thread that waits on a word waits on this one. The list that it stands in is locked.
pub fn waits_on(waiter: &Thread, address: u64) -> bool {
    // SAFETY: it runs nowhere while it stands in the list, and nothing but that changes this register.
    unsafe { &*waiter.context() }.arguments()[1] == address
}

/// Gives an answer to a thread that was waiting for it and that this core owns.
#[inline(always)]
pub fn deliver_answer(caller: &Ref<Thread>, message: [u64; 7]) {
    // SAFETY: as in `deliver`.
    unsafe { &mut *caller.context() }.set_message(message, 0);
}

/// Stops the current thread at a fault, and makes the message of it with which it calls its supervisor.
pub fn stop(current: &Thread, fault: Fault) -> [u64; 7] {
    // SAFETY: the current thread is this core's own, and nothing else borrows its registers.
    let registers = unsafe { &mut *current.context() };
    let [x0, x1, x2, ..] = registers.arguments();
    let address = match fault.kind {
        FaultKind::ForeignCall => registers.call_number(),
        _ => fault.address.unwrap_or(0),
    };
    // SAFETY: as above; a thread that runs is not stopped.
    unsafe { current.stop(fault) };
    let message = [fault.kind as u64, address, fault.pc, x0, x1, x2, 0];
    registers.set_message(message, 0);
    message
}

/// Looks at the registers of the current thread.
pub fn with_registers<R>(current: &Thread, look: impl FnOnce(&Context) -> R) -> R {
    // SAFETY: the current thread is this core's own, and nothing else borrows its registers.
    look(unsafe { &*current.context() })
}

/// Gives the current thread, which was to be stopped, its registers back.
pub fn go_on_stopped(current: &Thread) -> Fault {
    // SAFETY: the current thread is this core's own, and it has been stopped.
    unsafe { current.go_on() }
}

/// As [`go_on_stopped`], and has it execute the instruction again.
pub fn try_again(current: &Thread) {
    if go_on_stopped(current).kind == FaultKind::ForeignCall {
        // SAFETY: as above.
        unsafe { &mut *current.context() }.rewind();
    }
}

/// Reads or changes the registers of a stopped thread that this core owns.
pub fn with_stopped_registers(stopped: &Ref<Thread>, look: impl FnOnce(&mut [u64; REGISTERS])) {
    // SAFETY: its wait has been ended by this core, which therefore owns it; it is stopped.
    let registers = unsafe { stopped.stopped_registers() };
    let mut words = registers.to_words();
    look(&mut words);
    registers.set_words(&words);
}

/// Takes the message of a thread that was in line with it and that this core owns, and the deadline of its call.
#[inline(always)]
pub fn collect(caller: &Ref<Thread>) -> ([u64; 7], u64) {
    // SAFETY: as in `deliver`.
    let registers = unsafe { &*caller.context() };
    (registers.message(), registers.deadline())
}

/// Ends a wait whose deadline has come, and which this core has won.
fn expire(thread: &Thread, wait: &Wait) {
    // It is there: only the core that ends a wait with a deadline takes the thread out of its list.
    let Some(thread) = wait.cancel(thread) else { return };
    refuse(thread, Error::TimedOut);
}

/// Ends the call of a thread that this core owns and that blocks no longer.
pub fn refuse(thread: Ref<Thread>, error: Error) {
    // SAFETY: the core owns the thread, and it runs nowhere.
    unsafe { &mut *thread.context() }.set_result(error.to_register());
    make_ready(thread);
}

/// Blocks the current thread until a moment, in nanoseconds since the counter started.
pub fn sleep_until(deadline: u64) -> *mut Context {
    let (_, core) = this();
    let current = core.leave();
    if let Some(thread) = current {
        let watched = thread.clone();
        // Locked first: a core that sees the thread blocked and takes it out to end it must find it here.
        let mut sleepers = core.sleepers.lock();
        // SAFETY: the current thread is this core's own.
        unsafe { thread.block(Wait::in_place(core)) };
        sleepers.push(thread, deadline);
        core.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let ended =
            if watched.process.is_ending() && watched.unblock().is_some() { sleepers.remove(&watched) } else { None };
        // Before the lock, so that this is never the last reference.
        drop(watched);
        drop(sleepers);
        if let Some(thread) = ended {
            Process::end_thread(thread, None);
        }
    }
    next()
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

/// The thread to run now, made this core's own. Waits until there is one.
pub fn next() -> *mut Context {
    let (index, core) = this();
    let mut ended = 0;
    loop {
        let thread = core.ready.pop().unwrap_or_else(|| core.find_work(index));
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
    let (_, core) = this();
    handle_interrupts(core);
    if core.own.current.is_ending() {
        return end_current(None);
    }
    if core.must_give_way() {
        return give_way(context);
    }
    core.set_timer();
    context
}

fn handle_interrupts(core: &Core) {
    for _ in 0..INTERRUPTS_AT_ONCE {
        let Some(interrupt) = interrupts::acknowledge() else { return };
        match interrupt.source {
            Source::Timer => {
                timer::clear();
                core.own.timer.set(NEVER);
                core.wake_sleepers();
            }
            Source::Console => Terminal::receive(),
            // Mostly it has done its work by ending the wait, or by bringing a running thread here.
            Source::Wakeup => {
                frames::bring_if_asked();
                Terminal::wake_more();
            }
            // Nothing else was ever enabled.
            Source::Other(_) => {}
        }
        interrupts::finish(interrupt);
    }
}
