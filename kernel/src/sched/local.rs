//! One core's part of the scheduler: its queue, its sleepers, its timer, the thread that it runs.

use super::{IDLE, NEVER, SLICE, WOKEN, end_wait, expire, handle_interrupts, make_ready};
use crate::arch::{self, Context, MAX_CORES, floating_point, timer};
use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::heap::Heap;
use crate::object::list::List;
use crate::object::process::Process;
use crate::object::thread::{Queued, State, Thread};
use crate::object::wait::Queue;
use crate::sched::work::{self, Step};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// One core's part of the scheduler.
#[repr(align(128))]
pub(super) struct Core {
    pub(super) own: Own,
    queue: Mutex<List<Ref<Thread>, Queued>>,
    /// Threads in `queue`, for a look without the lock.
    pub(super) queued: AtomicU32,
    pub(super) sleepers: Mutex<Heap<Ref<Thread>>>,
    /// When the first of them is to wake.
    pub(super) first_wake: AtomicU64,
}

/// What only the core itself touches.
pub(super) struct Own {
    pub(super) current: Current,
    /// When the current thread began to run, in counts of the timer's.
    began: Cell<u64>,
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
        let thread = self.0.take();
        let is_some = thread.is_some();
        self.0.set(thread);
        is_some
    }

    /// Whether its process is ending.
    pub(super) fn is_ending(&self) -> bool {
        let thread = self.0.take();
        let is_ending = thread.as_ref().is_some_and(|thread| thread.process.is_ending());
        self.0.set(thread);
        is_ending
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
}

// SAFETY: `own` is used by the core with this index only (see `this`), which is never interrupted in the
// kernel; everything else is atomic or locked.
unsafe impl Sync for Core {}

pub(super) static CORES: [Core; MAX_CORES] = [const {
    Core {
        own: Own {
            current: Current(Cell::new(None)),
            began: Cell::new(0),
            slice_end: Cell::new(NEVER),
            timer: Cell::new(NEVER),
            floating_point: Cell::new(false),
            floating_point_owner: Cell::new(core::ptr::null()),
        },
        queue: Mutex::new(List::new()),
        queued: AtomicU32::new(0),
        sleepers: Mutex::new(Heap::new()),
        first_wake: AtomicU64::new(NEVER),
    }
}; MAX_CORES];

impl Core {
    pub(super) fn push(&self, thread: Ref<Thread>) {
        let mut queue = self.queue.lock();
        queue.push_back(thread);
        self.queued.store(queue.len() as u32, Ordering::Relaxed);
    }

    pub(super) fn pop(&self) -> Option<Ref<Thread>> {
        // Stale by a moment at worst: a core that pushes to an idle one interrupts it afterwards.
        if self.queued.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let thread = queue.pop_front();
        self.queued.store(queue.len() as u32, Ordering::Relaxed);
        thread
    }

    /// Ends the current thread's presence on this core and returns it.
    pub(super) fn leave(&self) -> Option<Ref<Thread>> {
        let thread = self.own.current.take()?;
        if self.own.floating_point.replace(false) {
            // SAFETY: the current thread is this core's own, and the registers are its.
            unsafe { thread.save_floating_point(arch::core_index()) };
            floating_point::disable();
        }
        arch::mmu::deactivate();
        thread.process.statistics.add_time(timer::counts().wrapping_sub(self.own.began.get()));
        Some(thread)
    }

    /// Makes a thread that this core owns the current one in what is left of the slice, and returns the one that has
    /// been, which has no presence on this core any more.
    #[inline(always)]
    pub(super) fn exchange(&self, index: usize, next: Ref<Thread>) -> Option<Ref<Thread>> {
        next.process.space.activate(index);
        let left = self.own.current.replace(next)?;
        if self.own.floating_point.replace(false) {
            // SAFETY: it has been the current thread until here, and the registers are its.
            unsafe { left.save_floating_point(index) };
            floating_point::disable();
        }
        let now = timer::counts();
        left.process.statistics.add_time(now.wrapping_sub(self.own.began.replace(now)));
        Some(left)
    }

    /// Makes a thread the current one, unless its process is ending: then it ends here.
    /// It runs until the moment that `slice_end` makes of the present one.
    #[inline(always)]
    pub(super) fn run(
        &self,
        index: usize,
        thread: Ref<Thread>,
        slice_end: impl FnOnce(u64) -> u64,
    ) -> Option<*mut Context> {
        thread.set_state(State::Running(index));
        fence(Ordering::SeqCst);
        if thread.process.is_ending() || thread.work.is_pending() {
            return self.run_otherwise(index, thread);
        }
        thread.process.space.activate(index);
        self.own.began.set(timer::counts());
        self.own.slice_end.set(slice_end(timer::now()));
        let context = thread.context();
        self.own.current.replace(thread);
        self.set_timer();
        Some(context)
    }

    /// A thread that has something to do in the kernel first, or to end.
    #[cold]
    fn run_otherwise(&self, index: usize, thread: Ref<Thread>) -> Option<*mut Context> {
        if !thread.work.is_pending() {
            Process::end_thread(thread, None);
            return None;
        }
        self.own.began.set(timer::counts());
        self.own.slice_end.set(timer::now() + SLICE);
        self.own.current.replace(thread);
        self.set_timer();
        self.work(index)
    }

    /// Does the current thread's work, with interrupts answered between the pieces, until it is done or others have
    /// waited long enough. Answers with the thread's registers if it goes on.
    pub(super) fn work(&self, index: usize) -> Option<*mut Context> {
        loop {
            let thread = self.own.current.get()?;
            match thread.work.step(&thread) {
                Step::More => {}
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
                Step::Done => return self.go_on(index, thread),
                Step::Ended(value) => {
                    let process = thread.process.clone();
                    drop(thread);
                    Process::finish(process, self.leave()?, value);
                    return None;
                }
            }
            drop(thread);
            handle_interrupts(self);
            self.set_timer();
            if self.queued.load(Ordering::Relaxed) != 0 && timer::now() >= self.own.slice_end.get() {
                make_ready(self.leave()?);
                return None;
            }
        }
    }

    /// Lets the current thread, whose work is done, go on in its slice.
    fn go_on(&self, index: usize, thread: Ref<Thread>) -> Option<*mut Context> {
        if thread.process.is_ending() {
            drop(thread);
            Process::end_thread(self.leave()?, None);
            return None;
        }
        thread.process.space.activate(index);
        self.set_timer();
        Some(thread.context())
    }

    /// Sets the timer so that it fires in time: for the end of the slice if another thread is waiting for it, and
    /// for the first sleeper. It may fire too early: then this is called again.
    pub(super) fn set_timer(&self) {
        let slice = if self.queued.load(Ordering::Relaxed) != 0 && self.own.current.is_some() {
            self.own.slice_end.get()
        } else {
            NEVER
        };
        let wanted = slice.min(self.first_wake.load(Ordering::Relaxed));
        if wanted < self.own.timer.get() {
            timer::set_deadline(wanted);
            self.own.timer.set(wanted);
        }
    }

    /// Wakes sleepers whose time has come, a few: for the others `first_wake` is over, and the timer fires again at
    /// once.
    pub(super) fn wake_sleepers(&self) {
        let now = timer::now();
        for _ in 0..WOKEN {
            let mut sleepers = self.sleepers.lock();
            let thread = sleepers.pop_until(now);
            self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
            let Some(thread) = thread else { break };
            if thread.deadline_core().is_some() {
                // In this order, and under the lock: a core that ends the wait otherwise lets the thread run only after
                // it has seen the note gone, or has had the lock. Until then this can end no other wait.
                let wait = thread.unblock();
                thread.set_deadline_core(None);
                drop(sleepers);
                if let Some(wait) = wait {
                    expire(&thread, &wait);
                }
                continue;
            }
            drop(sleepers);
            end_wait(&thread, None);
            make_ready(thread);
        }
    }

    /// Puts a thread among the sleepers beside the queue that it will stand in.
    #[cold]
    pub(super) fn add_deadline(&self, index: usize, thread: Ref<Thread>, deadline: u64) {
        let mut sleepers = self.sleepers.lock();
        thread.set_deadline_core(Some(index));
        sleepers.push(thread, deadline);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        drop(sleepers);
        self.set_timer();
    }

    /// Takes it out again.
    #[cold]
    pub(super) fn remove_deadline(&self, thread: &Thread) {
        let mut sleepers = self.sleepers.lock();
        thread.set_deadline_core(None);
        let removed = sleepers.remove(thread);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        drop(sleepers);
        drop(removed);
    }

    /// Sleeps until something happens, with no address space and no timer but for the sleepers.
    pub(super) fn idle(&self, index: usize) {
        IDLE.fetch_or(1 << index, Ordering::SeqCst);
        self.set_timer();
        fence(Ordering::SeqCst);
        // Work sent to this core comes with an interrupt, which ends the wait even if it was pending before. Work
        // that another core put aside before it could see the bit is found here.
        if CORES.iter().all(|core| core.queued.load(Ordering::Relaxed) == 0) {
            arch::wait_for_interrupt();
        }
        IDLE.fetch_and(!(1 << index), Ordering::Relaxed);
        handle_interrupts(self);
    }
}

/// Its sleepers.
impl Queue for Core {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        let mut sleepers = self.sleepers.lock();
        let thread = sleepers.remove(thread);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        thread
    }
}
