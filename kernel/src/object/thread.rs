//! Threads: registers, and where they wait.

mod scheduling;
mod stopped;
mod times;
mod waiting;

pub use scheduling::Scheduling;
pub use stopped::Fault;
pub use times::{Account, Noted, Times};
pub use waiting::{State, WaitNumber, Won};

use stopped::Stopped;
use waiting::{CALLING, READY};

use crate::arch::{Context, floating_point};
use crate::object::end::{End, Ends};
use crate::object::heap::{Heaped, Node};
use crate::object::list::{Link, Linked};
use crate::object::process::Process;
use crate::object::wait::{Queue, Wait};
use crate::object::{Kind, Object, Ref, write_fields};
use crate::sched::crowd::Crowd;
use crate::sched::work::{Stop, Work};
use core::cell::{Cell, UnsafeCell};
use core::mem::{MaybeUninit, offset_of, size_of};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use graft_abi::{Error, PAGE_SIZE};

/// The lists of threads that run next or wait: run queues, waiters for an end, callers and receivers.
pub struct Queued;
/// The list of a process's threads.
pub struct OfProcess;

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
    /// One more than the core among whose sleepers the thread stands beside its place in a queue; 0 for none.
    deadline: AtomicU8,
    /// The priority that counts: its own, or a higher one that a caller lends it.
    priority: AtomicU8,
    /// Which of its times grows while it runs: an [`Account`].
    account: AtomicU8,
    /// A [`FloatingPoint`].
    floating_point: Cell<u8>,
    scheduling: AtomicU32,
    /// The time that it has used.
    times: Noted,
    queue: Link<Thread>,
    /// The state in its last wait for an answer.
    calling: Cell<u64>,
    /// Initialised while it is blocked, but for an answer.
    wait: UnsafeCell<MaybeUninit<Wait>>,
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

impl FloatingPoint {
    /// In a byte: there are few cores.
    const fn to_byte(self) -> u8 {
        match self {
            FloatingPoint::Unused => 0,
            FloatingPoint::Saved => 1,
            FloatingPoint::SavedOn(core) => core as u8 + 2,
        }
    }

    /// The other way.
    const fn from_byte(byte: u8) -> FloatingPoint {
        match byte {
            0 => FloatingPoint::Unused,
            1 => FloatingPoint::Saved,
            core => FloatingPoint::SavedOn(core as usize - 2),
        }
    }
}

// Every switch touches the first two cache lines; of the wait, what says which kind it is.
const _: () = {
    assert!(Ref::<Thread>::OFFSET + offset_of!(Thread, wait) < 2 * 64);
    // The registers begin with a line, so that they lie in no more of them than they need.
    assert!((Ref::<Thread>::OFFSET + size_of::<Thread>()).next_multiple_of(align_of::<Registers>()).is_multiple_of(64));
};

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
        const { assert!(size_of::<Registers>() + size_of::<Thread>() + 64 <= PAGE_SIZE) };
        let (place, rest) = Ref::<Thread>::place()?;
        let own = NonNull::from(rest).cast::<Registers>();
        // SAFETY: the rest of a new frame, large enough (above) and aligned to 16 bytes; copied straight to
        // where it stays, because a context is large.
        let context = unsafe {
            let context = &raw mut (*own.as_ptr()).context;
            registers.copy_to(context);
            &mut *context
        };
        change(context);
        // SAFETY: the place is the new object's, and every field is written.
        unsafe {
            write_fields!(
                place.as_ptr(),
                Thread {
                    process: process,
                    own: own,
                    state: AtomicU64::new(READY),
                    deadline: AtomicU8::new(0),
                    priority: AtomicU8::new(scheduling.priority()),
                    account: AtomicU8::new(Account::Own as u8),
                    floating_point: Cell::new(FloatingPoint::Unused.to_byte()),
                    scheduling: AtomicU32::new(scheduling.0),
                    times: Noted::default(),
                    queue: Link::new(),
                    wait: UnsafeCell::new(MaybeUninit::uninit()),
                    calling: Cell::new(CALLING),
                    siblings: Link::new(),
                    end: End::new(),
                    sleep: Node::new(),
                    work: Work::none(),
                }
            );
            Ok(Ref::placed(place))
        }
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

    /// Where its floating-point state is.
    pub fn floating_point(&self) -> FloatingPoint {
        FloatingPoint::from_byte(self.floating_point.get())
    }

    /// Stores the core's floating-point registers, which are this thread's.
    ///
    /// # Safety
    /// The caller owns the thread and is this core.
    pub unsafe fn save_floating_point(&self, core: usize) {
        // SAFETY: room for a state, this thread's alone.
        floating_point::save(unsafe { &mut *self.floating_point_registers() });
        self.floating_point.set(FloatingPoint::SavedOn(core).to_byte());
    }

    /// Loads the thread's floating-point state into the core's registers, where others' may be.
    ///
    /// # Safety
    /// The caller owns the thread.
    pub unsafe fn load_floating_point(&self) {
        match self.floating_point() {
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
        (self.floating_point() != FloatingPoint::Unused).then(|| unsafe { &*self.floating_point_registers() })
    }

    /// Replaces the floating-point state, which is in no core's registers.
    ///
    /// # Safety
    /// The caller owns the thread.
    pub unsafe fn set_floating_point(&self, state: Option<&floating_point::State>) {
        let Some(state) = state else { return self.floating_point.set(FloatingPoint::Unused.to_byte()) };
        // SAFETY: room for a state, this thread's alone.
        unsafe { self.floating_point_registers().write(state.clone()) };
        self.floating_point.set(FloatingPoint::Saved.to_byte());
    }
}
