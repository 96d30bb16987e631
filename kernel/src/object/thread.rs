//! Threads: registers, and where they wait.

use crate::arch::{self, Context, floating_point};
use crate::object::end::{End, Ends};
use crate::object::heap::{Heaped, Node};
use crate::object::list::{Link, Linked};
use crate::object::process::Process;
use crate::object::wait::{Queue, Wait};
use crate::object::{Kind, Object, Ref, write_fields};
use crate::sched::work::{Stop, Work};
use core::cell::{Cell, UnsafeCell};
use core::mem::{MaybeUninit, size_of};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use graft_abi::{Error, FaultKind, PAGE_SIZE, PRIORITIES, PRIORITY_DEFAULT};

/// The lists of threads that run next or wait: run queues, waiters for an end, readers of the console.
pub struct Queued;
/// The list of a process's threads.
pub struct OfProcess;

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
const READY: u64 = 0;
const BLOCKED: u64 = 1;
const RUNNING: u64 = 2;
const CALLING: u64 = 0xff;
const KIND: u64 = 0xff;

/// One of a thread's waits for an answer, told from all its others: what [`Thread::block_for_answer`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitNumber(u64);

/// That a core has ended the wait of this thread in a queue: good for taking what it has waited for, once.
#[derive(Debug)]
pub struct Won(NonNull<Thread>);

/// A thread of execution.
///
/// One counted reference to it travels with it: from the core that runs it into a queue and back. The core
/// that has taken that reference out of its place owns the thread: its registers and its floating-point
/// state. A second reference stays in the process's list until the thread has ended; others may be handles.
///
/// ```text
///   frame   | counts | this structure | Context | floating-point state, from its first use on |
/// ```
///
/// In the order in which it is laid out: what every switch needs lies in two cache lines, and the work, which is large,
/// comes last.
#[repr(C)]
pub struct Thread {
    /// The process it belongs to.
    pub process: Ref<Process>,
    own: NonNull<Registers>,
    state: AtomicU64,
    floating_point: Cell<FloatingPoint>,
    queue: Link<Thread>,
    /// Initialised while it is blocked, but for an answer.
    wait: UnsafeCell<MaybeUninit<Wait>>,
    /// The state in its last wait for an answer.
    calling: Cell<u64>,
    /// One more than the core among whose sleepers the thread stands beside its place in a queue; 0 for none.
    deadline: AtomicU8,
    /// The priority that counts: its own, or a higher one that a caller lends it.
    priority: AtomicU8,
    scheduling: AtomicU32,
    siblings: Link<Thread>,
    end: End,
    sleep: Node<Thread>,
    /// What it has to do in the kernel before it goes on.
    pub work: Work,
}

/// How a thread is scheduled: its own priority, the highest that it may give, and the cores that it may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling(u32);

impl Scheduling {
    // Bits 0 to 7: cores; 8 to 15: priority; 16 to 23: limit; 31: no part of it, but in the same word of a thread.
    const ALL_CORES: u32 = 0xff;
    const STOPPED: u32 = 1 << 31;

    /// The first thread's.
    pub const FIRST: Scheduling =
        Scheduling(Self::ALL_CORES | (PRIORITY_DEFAULT as u32) << 8 | (PRIORITIES as u32 - 1) << 16);

    /// The thread's own priority.
    #[inline(always)]
    pub fn priority(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The highest priority that it may give.
    pub fn limit(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The cores that it may run on, a bit for each.
    pub fn cores(self) -> u32 {
        self.0 & Self::ALL_CORES
    }

    /// With this priority, on these cores; 0 is all.
    #[must_use]
    pub fn with(self, priority: u8, cores: u32) -> Scheduling {
        let cores = if cores == 0 { Self::ALL_CORES } else { cores & Self::ALL_CORES };
        Scheduling(self.0 & 0xff_0000 | u32::from(priority) << 8 | cores)
    }

    /// For a program of its own: it may go no higher.
    #[must_use]
    pub fn limited(self) -> Scheduling {
        Scheduling(self.0 & 0xffff | u32::from(self.priority()) << 16)
    }
}

const _: () = assert!(arch::MAX_CORES <= 8 && PRIORITIES <= 256);

/// What lies behind a thread in its frame.
#[repr(C)]
struct Registers {
    context: Context,
    /// Initialised from the first save on.
    floating_point: MaybeUninit<floating_point::State>,
    /// Initialised while the thread is stopped.
    stopped: MaybeUninit<Stopped>,
}

/// What a thread was when it was stopped.
struct Stopped {
    registers: Context,
    fault: Fault,
}

/// Why a thread cannot go on.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What it did.
    pub kind: FaultKind,
    /// The address that it used, if it was one.
    pub address: Option<u64>,
    /// Where it was.
    pub pc: u64,
}

/// Where a thread's floating-point state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatingPoint {
    /// Nowhere: it has not used any yet.
    Unused,
    /// In its frame.
    Saved,
    /// In its frame, and still in the registers of this core unless it has loaded another state since.
    SavedOn(usize),
}

// SAFETY: `floating_point` and what `own` leads to are accessed only by the thread's owner (see above),
// and ownership is handed over through the lock of a queue. `wait` is written by the owner before the
// state becomes blocked (release), and taken by the core that makes it ready again, once (acquire). The links
// follow `list.rs` and `heap.rs`.
unsafe impl Sync for Thread {}

static THREAD: Kind<Thread> = Kind::new("thread");

impl Object for Thread {
    fn kind() -> &'static Kind<Self> {
        &THREAD
    }
}

impl Ends for Thread {
    fn end(&self) -> &End {
        &self.end
    }
}

impl Queue for Thread {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.end.remove_waiter(thread)
    }
}

// SAFETY: always the one field.
unsafe impl Linked<Queued> for Thread {
    fn link(&self) -> &Link<Thread> {
        &self.queue
    }
}

// SAFETY: always the one field.
unsafe impl Linked<OfProcess> for Thread {
    fn link(&self) -> &Link<Thread> {
        &self.siblings
    }
}

// SAFETY: always the one field.
unsafe impl Heaped for Thread {
    fn node(&self) -> &Node<Thread> {
        &self.sleep
    }
}

impl Thread {
    /// A thread of `process` that will begin with these registers, as `change` leaves them. No core runs it
    /// yet.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[inline(always)]
    pub fn new(
        process: Ref<Process>,
        scheduling: Scheduling,
        registers: &Context,
        change: impl FnOnce(&mut Context),
    ) -> Result<Ref<Thread>, Error> {
        let make = |place: *mut Thread, rest: &'static mut [MaybeUninit<u64>]| {
            const { assert!(size_of::<Registers>() + size_of::<Thread>() + 64 <= PAGE_SIZE) };
            let own = NonNull::from(rest).cast::<Registers>();
            // SAFETY: the rest of a new frame, large enough (above) and aligned to 16 bytes; copied straight to
            // where it stays, because a context is large.
            let context = unsafe {
                let context = &raw mut (*own.as_ptr()).context;
                registers.copy_to(context);
                &mut *context
            };
            change(context);
            // SAFETY: `place` is the new object's.
            unsafe {
                write_fields!(
                    place,
                    Thread {
                        process: process,
                        own: own,
                        state: AtomicU64::new(READY),
                        floating_point: Cell::new(FloatingPoint::Unused),
                        queue: Link::new(),
                        wait: UnsafeCell::new(MaybeUninit::uninit()),
                        calling: Cell::new(CALLING),
                        deadline: AtomicU8::new(0),
                        priority: AtomicU8::new(scheduling.priority()),
                        scheduling: AtomicU32::new(scheduling.0),
                        siblings: Link::new(),
                        end: End::new(),
                        sleep: Node::new(),
                        work: Work::none(),
                    }
                );
            }
        };
        // SAFETY: every field is written.
        unsafe { Ref::new_in_place(make) }
    }

    /// The thread whose registers these are.
    ///
    /// # Safety
    /// They are some thread's, and that thread outlives `'a`.
    #[inline(always)]
    pub unsafe fn of<'a>(context: *mut Context) -> &'a Thread {
        // Not through the context's own address, which is good for the registers alone.
        let frame = core::ptr::with_exposed_provenance::<u8>(context.addr() & !(PAGE_SIZE - 1));
        // SAFETY: a context lies in its thread's frame, at whose start the thread is; frames are exposed memory.
        unsafe { &*frame.add(Ref::<Thread>::OFFSET).cast::<Thread>() }
    }

    /// Where its registers are while it does not run.
    #[inline(always)]
    pub fn context(&self) -> *mut Context {
        // SAFETY: `own` leads into the thread's own frame.
        unsafe { &raw mut (*self.own.as_ptr()).context }
    }

    #[inline(always)]
    fn floating_point_registers(&self) -> *mut floating_point::State {
        // SAFETY: as in `context`.
        unsafe { (&raw mut (*self.own.as_ptr()).floating_point).cast() }
    }

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
        // SAFETY: no other core looks at `wait` before the state is blocked, and what it waited for last has been taken.
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

    /// As [`unblock`](Self::unblock), if it waits in a queue, for a core that runs it at once. The core takes what it has
    /// waited for with what is returned.
    #[inline(always)]
    pub fn unblock_to_run(&self, core: usize) -> Option<Won> {
        arch::stall();
        self.exchange(BLOCKED, RUNNING + core as u64).then(|| Won(NonNull::from(self)))
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

    /// The core among whose sleepers it stands beside its place in a queue. Changed with the lock on these only; a core
    /// that finds none sees also that the core has tried to end the wait, if it has.
    #[inline(always)]
    pub fn deadline_core(&self) -> Option<usize> {
        (self.deadline.load(Ordering::Acquire) as usize).checked_sub(1)
    }

    /// Notes that, or that it stands there no longer.
    pub fn set_deadline_core(&self, core: Option<usize>) {
        self.deadline.store(core.map_or(0, |core| core as u8 + 1), Ordering::Release);
    }

    /// The priority that counts.
    #[inline(always)]
    pub fn priority(&self) -> u8 {
        self.priority.load(Ordering::Relaxed)
    }

    /// How it is scheduled by itself.
    #[inline(always)]
    pub fn scheduling(&self) -> Scheduling {
        Scheduling(self.scheduling.load(Ordering::Relaxed) & !Scheduling::STOPPED)
    }

    /// Changes that, from the next time on that it begins to run.
    pub fn set_scheduling(&self, scheduling: Scheduling) {
        let change = |word| Some(scheduling.0 | word & Scheduling::STOPPED);
        let _ = self.scheduling.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Whether this core may run it, and its registers are what it goes on with.
    #[inline(always)]
    pub fn may_resume_on(&self, core: usize) -> bool {
        self.scheduling.load(Ordering::Relaxed) & (Scheduling::STOPPED | 1 << core) == 1 << core
    }

    /// Whether this core may run it.
    #[inline(always)]
    pub fn may_run_on(&self, core: usize) -> bool {
        self.scheduling.load(Ordering::Relaxed) >> core & 1 != 0
    }

    /// Whether it is stopped.
    pub fn is_stopped(&self) -> bool {
        self.scheduling.load(Ordering::Relaxed) & Scheduling::STOPPED != 0
    }

    /// Stops it at a fault: its registers are put aside, so that it can make a call of the kernel's, and it
    /// [goes on](Self::go_on) as its work when that has been answered.
    ///
    /// # Safety
    /// The caller owns the thread, which is not stopped.
    pub unsafe fn stop(&self, fault: Fault) {
        // SAFETY: room for it, this thread's alone.
        unsafe {
            let own = &mut *self.own.as_ptr();
            let stopped = own.stopped.as_mut_ptr();
            own.context.copy_to(&raw mut (*stopped).registers);
            (&raw mut (*stopped).fault).write(fault);
        }
        self.scheduling.fetch_or(Scheduling::STOPPED, Ordering::Relaxed);
        self.work.note_stop(Stop::Stopped);
    }

    /// Gives it its registers back, and tells why it was stopped.
    ///
    /// # Safety
    /// The caller owns the thread, which is stopped.
    pub unsafe fn go_on(&self) -> Fault {
        self.scheduling.fetch_and(!Scheduling::STOPPED, Ordering::Relaxed);
        self.work.note_stop(Stop::GoesOn);
        // SAFETY: initialised when it was stopped.
        unsafe {
            let own = &mut *self.own.as_ptr();
            let stopped = own.stopped.assume_init_ref();
            stopped.registers.copy_to(&raw mut own.context);
            stopped.fault
        }
    }

    /// The registers with which it will go on.
    ///
    /// # Safety
    /// The caller owns the thread, which is stopped.
    #[expect(clippy::mut_from_ref, reason = "the owner alone has it")]
    pub unsafe fn stopped_registers(&self) -> &mut Context {
        // SAFETY: initialised when it was stopped.
        unsafe { &mut (*self.own.as_ptr()).stopped.assume_init_mut().registers }
    }

    /// Lends it a priority, until [`return_priority`](Self::return_priority). The calling core owns it.
    #[inline(always)]
    pub fn lend_priority(&self, priority: u8) {
        self.priority.store(self.scheduling().priority().max(priority), Ordering::Relaxed);
    }

    /// Has its own priority count again.
    #[inline(always)]
    pub fn return_priority(&self) {
        self.priority.store(self.scheduling().priority(), Ordering::Relaxed);
    }

    /// Where its floating-point state is.
    pub fn floating_point(&self) -> FloatingPoint {
        self.floating_point.get()
    }

    /// Stores the core's floating-point registers, which are this thread's.
    ///
    /// # Safety
    /// The caller owns the thread and is this core.
    pub unsafe fn save_floating_point(&self, core: usize) {
        // SAFETY: room for a state, this thread's alone.
        floating_point::save(unsafe { &mut *self.floating_point_registers() });
        self.floating_point.set(FloatingPoint::SavedOn(core));
    }

    /// Loads the thread's floating-point state into the core's registers, where others' may be.
    ///
    /// # Safety
    /// The caller owns the thread.
    pub unsafe fn load_floating_point(&self) {
        match self.floating_point.get() {
            FloatingPoint::Unused => floating_point::scrub(),
            // SAFETY: saved before, thus initialised.
            _ => floating_point::restore(unsafe { &*self.floating_point_registers() }),
        }
    }

    /// Its saved floating-point state; `None` if it has not used any.
    ///
    /// # Safety
    /// The caller owns the thread, whose state has been saved if it was in the registers.
    pub unsafe fn saved_floating_point(&self) -> Option<&floating_point::State> {
        // SAFETY: initialised when it was saved.
        (self.floating_point.get() != FloatingPoint::Unused).then(|| unsafe { &*self.floating_point_registers() })
    }

    /// Replaces the floating-point state, which is in no core's registers.
    ///
    /// # Safety
    /// The caller owns the thread.
    pub unsafe fn set_floating_point(&self, state: Option<&floating_point::State>) {
        let Some(state) = state else { return self.floating_point.set(FloatingPoint::Unused) };
        // SAFETY: room for a state, this thread's alone.
        unsafe { self.floating_point_registers().write(state.clone()) };
        self.floating_point.set(FloatingPoint::Saved);
    }

    /// Gives this thread, which has not run yet, a copy of another's saved state.
    ///
    /// # Safety
    /// The caller owns both threads.
    pub unsafe fn copy_floating_point(&self, other: &Thread) {
        if other.floating_point.get() != FloatingPoint::Unused {
            // SAFETY: both are room for a state in different frames, and the other's is initialised.
            unsafe {
                core::ptr::copy_nonoverlapping(other.floating_point_registers(), self.floating_point_registers(), 1)
            };
            self.floating_point.set(FloatingPoint::Saved);
        }
    }
}
