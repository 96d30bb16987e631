//! Threads: registers, and where they wait.

mod scheduling;
mod stopped;

pub use scheduling::Scheduling;
pub use stopped::Fault;

use stopped::Stopped;

use crate::arch::{self, Context, floating_point};
use crate::object::end::{End, Ends};
use crate::object::heap::{Heaped, Node};
use crate::object::list::{Link, Linked};
use crate::object::process::Process;
use crate::object::wait::{Queue, Wait};
use crate::object::{Kind, Object, Ref, write_fields};
use crate::sched::crowd::Crowd;
use crate::sched::work::{Stop, Work};
use core::cell::{Cell, UnsafeCell};
use core::mem::{MaybeUninit, size_of};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use graft_abi::{Error, PAGE_SIZE};

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

/// What lies behind a thread in its frame.
#[repr(C)]
struct Registers {
    context: Context,
    /// Initialised from the first save on.
    floating_point: MaybeUninit<floating_point::State>,
    /// Initialised while the thread is stopped.
    stopped: MaybeUninit<Stopped>,
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

impl Crowd for Thread {
    fn take_one(&self) -> Option<Ref<Thread>> {
        self.end.take_one()
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
