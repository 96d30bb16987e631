//! One core's part of the scheduler: its queue, its sleepers, its timer, the thread that it runs.

use super::{IDLE, NEVER, SLICE, handle_interrupts, make_ready, steal, this};
use crate::arch::{self, Context, MAX_CORES, floating_point, timer};
use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::heap::Heap;
use crate::object::list::Pointer;
use crate::object::process::Process;
use crate::object::stop;
use crate::object::thread::{State, Thread};
use crate::sched::ready::{Compared, Ready, level};
use crate::sched::times::CoreTimes;
use crate::sched::wait::park;
use crate::sched::work::{self, Step};
use crate::trace;
use core::cell::Cell;
use core::hint::cold_path;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use graft_abi::TraceKind;

/// One core's part of the scheduler.
#[repr(C, align(1024))]
pub(super) struct Core {
    pub(super) own: Own,
    /// Where its time goes.
    pub(super) times: CoreTimes,
    /// The level of the thread that it runs; 0 for none. For others to see.
    running: AtomicU32,
    pub(super) sleepers: Mutex<Heap<Ref<Thread>>>,
    /// When the first of them is to wake.
    pub(super) first_wake: AtomicU64,
    pub(super) ready: Ready,
}

/// What only the core itself touches.
pub(super) struct Own {
    pub(super) current: Current,
    /// When its time is over, in nanoseconds.
    pub(super) slice_end: Cell<u64>,
    /// What the timer is set to.
    pub(super) timer: Cell<u64>,
    /// Whether the floating-point registers are the current thread's and switched on.
    pub(super) floating_point: Cell<bool>,
    /// The thread that used them last.
    pub(super) floating_point_owner: Cell<*const Thread>,
}

/// The thread that a core runs.
pub(super) struct Current(Cell<Option<Ref<Thread>>>);

impl Current {
    pub(super) fn is_some(&self) -> bool {
        self.is(|_| true)
    }

    /// The process that it is of; 0 if there is none.
    #[cold]
    #[inline(never)]
    pub(super) fn process(&self) -> u64 {
        self.get().map_or(0, |thread| thread.process.identifier())
    }

    /// Whether it is this one.
    pub(super) fn is_thread(&self, thread: &Thread) -> bool {
        self.is(|current| ptr::eq(current, thread))
    }

    /// Whether something keeps its process from running.
    pub(super) fn is_marked(&self) -> bool {
        self.is(|thread| thread.process.is_marked())
    }

    /// Whether this core may run it.
    pub(super) fn may_run_on(&self, core: usize) -> bool {
        self.is(|thread| thread.may_run_on(core))
    }

    #[inline(always)]
    fn is(&self, condition: impl FnOnce(&Thread) -> bool) -> bool {
        let thread = self.0.take();
        let is = thread.as_deref().is_some_and(condition);
        self.0.set(thread);
        is
    }

    pub(super) fn get(&self) -> Option<Ref<Thread>> {
        let thread = self.0.take();
        let another = thread.clone();
        self.0.set(thread);
        another
    }

    pub(super) fn take(&self) -> Option<Ref<Thread>> {
        self.0.take()
    }

    /// Makes it this one, and returns the one that it was.
    #[inline(always)]
    pub(super) fn replace(&self, thread: Ref<Thread>) -> Option<Ref<Thread>> {
        self.0.replace(Some(thread))
    }

    /// The same, where it is known which one it was.
    ///
    /// # Safety
    /// It is `current`.
    #[inline(always)]
    pub(super) unsafe fn replace_known(&self, current: &Thread, thread: Ref<Thread>) -> Ref<Thread> {
        core::mem::forget(self.0.replace(Some(thread)));
        // SAFETY: the reference that has just been forgotten.
        unsafe { Ref::from_raw(NonNull::from(current)) }
    }

    /// Makes it this one, where there was none.
    #[inline(always)]
    pub(super) fn put(&self, thread: Ref<Thread>) {
        let none = self.0.replace(Some(thread));
        debug_assert!(none.is_none());
        core::mem::forget(none);
    }
}

// SAFETY: `own` is used by the core with this index only (see `this`), which is never interrupted in the
// kernel; everything else is atomic or locked.
unsafe impl Sync for Core {}

pub(super) static CORES: [Core; MAX_CORES] = [const {
    Core {
        own: Own {
            current: Current(Cell::new(None)),
            slice_end: Cell::new(NEVER),
            timer: Cell::new(NEVER),
            floating_point: Cell::new(false),
            floating_point_owner: Cell::new(ptr::null()),
        },
        times: CoreTimes::new(),
        running: AtomicU32::new(0),
        sleepers: Mutex::new(Heap::new()),
        first_wake: AtomicU64::new(NEVER),
        ready: Ready::new(),
    }
}; MAX_CORES];

/// Saves a thread's floating-point registers, and switches them off.
///
/// # Safety
/// They are this thread's, which is the calling core's own.
unsafe extern "C" fn put_away(thread: *const Thread, _: u64) -> *const () {
    let (index, core) = this();
    // SAFETY: the caller's.
    unsafe { (*thread).save_floating_point(index) };
    floating_point::disable();
    core.own.floating_point.set(false);
    ptr::null()
}

impl Core {
    /// Gives the current thread a whole slice from now on.
    pub(super) fn begin_slice(&self) {
        self.own.slice_end.set(timer::now() + SLICE);
    }

    /// Whether it runs no thread and none is waiting for it.
    pub(super) fn is_free(&self) -> bool {
        !self.own.current.is_some() && self.ready.is_empty()
    }

    /// The level of the thread that it runs, or ran a moment ago; 0 for none.
    #[inline(always)]
    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Notes the priority of the thread that it runs.
    #[inline(always)]
    pub(super) fn note_priority(&self, current: &Thread) {
        self.running.store(level(current), Ordering::Relaxed);
    }

    /// Whether the current thread may go on here. Its priority and its cores may have been changed meanwhile.
    pub(super) fn may_go_on(&self, index: usize) -> bool {
        let may_run = self.own.current.is(|thread| {
            self.note_priority(thread);
            thread.may_run_on(index)
        });
        may_run && !self.must_give_way()
    }

    /// Whether the current thread has to let another one run: one of a higher priority, or, when its time is over, one
    /// of the same.
    pub(super) fn must_give_way(&self) -> bool {
        match self.ready.compare(self.running()) {
            Compared::Higher => true,
            Compared::Same => timer::now() >= self.own.slice_end.get(),
            Compared::Lower => false,
        }
    }

    /// Ends the current thread's presence on this core and returns it.
    pub(super) fn leave(&self) -> Option<Ref<Thread>> {
        let thread = self.own.current.take()?;
        if self.own.floating_point.get() {
            // SAFETY: it has been the current thread until here, and the registers are its.
            unsafe { arch::aside(put_away, &raw const *thread, 0) };
        }
        arch::mmu::deactivate();
        self.running.store(0, Ordering::Relaxed);
        self.times.charge(&thread);
        Some(thread)
    }

    /// Makes this core ready for a thread of this level that it owns.
    #[inline(always)]
    pub(super) fn prepare(&self, index: usize, next: &Thread, level: u32) {
        next.process.space.activate(index);
        self.running.store(level, Ordering::Relaxed);
    }

    /// Ends the presence on this core of a thread in whose place another is now the current one.
    #[inline(always)]
    pub(super) fn retire(&self, left: &Thread, why: TraceKind) {
        if self.own.floating_point.get() {
            cold_path();
            // SAFETY: it has been the current thread until here, and the registers are its.
            unsafe { arch::aside(put_away, left, 0) };
        }
        self.times.charge(left);
        trace::note(|| (why, self.own.current.process(), left.process.identifier()));
    }

    /// Makes a thread the current one, unless its process is ending or suspended: then it ends here, or stands aside.
    /// It runs until the moment that `slice_end` makes of the present one.
    #[inline(always)]
    pub(super) fn run(
        &'static self,
        index: usize,
        thread: Ref<Thread>,
        slice_end: impl FnOnce(u64) -> u64,
    ) -> Option<*mut Context> {
        thread.set_state(State::Running(index));
        fence(Ordering::SeqCst);
        if thread.process.is_marked() || thread.work.is_pending() {
            return self.run_otherwise(index, thread);
        }
        thread.process.space.activate(index);
        self.own.slice_end.set(slice_end(timer::now()));
        let context = thread.context();
        self.note_priority(&thread);
        trace::note(|| (TraceKind::Switch, thread.process.identifier(), 0));
        self.own.current.put(thread);
        self.set_timer();
        Some(context)
    }

    /// A thread that has something to do in the kernel first, or to end, or to stand aside.
    #[cold]
    fn run_otherwise(&'static self, index: usize, thread: Ref<Thread>) -> Option<*mut Context> {
        if !thread.work.is_pending() {
            self.put_aside(thread);
            return None;
        }
        self.own.slice_end.set(timer::now() + SLICE);
        self.note_priority(&thread);
        trace::note(|| (TraceKind::Switch, thread.process.identifier(), 0));
        self.own.current.put(thread);
        self.set_timer();
        self.work(index)
    }

    /// Ends a thread whose process is ending, and has one of a process that is suspended stand aside. This core owns it,
    /// and does not run it.
    pub(super) fn put_aside(&self, thread: Ref<Thread>) {
        if thread.process.is_ending() {
            Process::end_thread(thread, None);
        } else {
            park(thread);
        }
        self.times.charge_idle();
    }

    /// Does the current thread's work, with interrupts answered between the pieces, until it is done or others have
    /// waited long enough. Answers with the thread's registers if it goes on.
    pub(super) fn work(&'static self, index: usize) -> Option<*mut Context> {
        loop {
            let thread = self.own.current.get()?;
            match thread.work.step(&thread) {
                Step::More => {}
                Step::Later => {
                    drop(thread);
                    self.stand_aside();
                    return None;
                }
                Step::Answer(answer) => {
                    if !matches!(answer, Err(graft_abi::Error::OutOfMemory)) {
                        thread.work.forget();
                    }
                    // SAFETY: the current thread is this core's own.
                    work::complete_task(unsafe { &mut *thread.context() }, &thread.work, answer);
                    if !thread.work.is_pending() {
                        return self.go_on(index, thread);
                    }
                }
                Step::Registers(registers) => {
                    thread.work.forget();
                    // SAFETY: as above.
                    unsafe { *thread.context() = registers };
                    if !thread.work.is_pending() {
                        return self.go_on(index, thread);
                    }
                }
                Step::FaultAnswered => {
                    stop::conclude(&thread);
                    return self.go_on(index, thread);
                }
                Step::Done => return self.go_on(index, thread),
                Step::Ended(value, counted) => {
                    let process = thread.process.clone();
                    drop(thread);
                    Process::finish(process, self.leave()?, value, counted);
                    self.times.charge_idle();
                    return None;
                }
            }
            drop(thread);
            handle_interrupts(self);
            self.set_timer();
            if self.must_give_way() {
                make_ready(self.leave()?);
                return None;
            }
        }
    }

    /// Lets the current thread, whose work is done, go on in its slice.
    fn go_on(&self, index: usize, thread: Ref<Thread>) -> Option<*mut Context> {
        if thread.process.is_marked() {
            drop(thread);
            // Its end may take a piece, and so may what has come before and what comes next.
            handle_interrupts(self);
            self.put_aside(self.leave()?);
            handle_interrupts(self);
            return None;
        }
        thread.process.space.activate(index);
        self.set_timer();
        Some(thread.context())
    }

    /// Sets the timer so that it fires in time: at once if a thread of a higher priority is waiting for the current
    /// one, at the end of the slice if one of the same is, and for the first sleeper. It may fire too early: then this
    /// is called again.
    pub(super) fn set_timer(&self) {
        let running = self.running();
        let slice = match self.ready.compare(running) {
            _ if running == 0 => NEVER,
            Compared::Lower => NEVER,
            Compared::Same => self.own.slice_end.get(),
            Compared::Higher => 0,
        };
        let wanted = slice.min(self.first_wake.load(Ordering::Relaxed));
        if wanted < self.own.timer.get() {
            timer::set_deadline(wanted);
            self.own.timer.set(wanted);
        }
    }

    /// A thread from another core, or the first that comes. Until then the core sleeps, with no address space and no
    /// timer but for the sleepers.
    #[inline(never)]
    pub(super) fn find_work(&self, index: usize) -> Ref<Thread> {
        trace::note(|| (TraceKind::Idle, 0, 0));
        self.times.begin_idle();
        loop {
            if let Some(thread) = steal(index) {
                return thread;
            }
            IDLE.fetch_or(1 << index, Ordering::SeqCst);
            self.set_timer();
            fence(Ordering::SeqCst);
            // Work sent to this core comes with an interrupt, which ends the wait even if it was pending before. Work
            // that another core put aside before it could see the bit is found here.
            let found = self.ready.pop().or_else(|| steal(index));
            if found.is_none() {
                arch::wait_for_interrupt();
            }
            IDLE.fetch_and(!(1 << index), Ordering::Relaxed);
            if let Some(thread) = found {
                return thread;
            }
            handle_interrupts(self);
            if let Some(thread) = self.ready.pop() {
                return thread;
            }
        }
    }
}
