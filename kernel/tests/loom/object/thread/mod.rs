//! A thread: the kernel's own way of waiting, and a count of how often it has been let run.

#[path = "../../../../src/object/thread/waiting.rs"]
mod waiting;

use super::heap::{Heaped, Node};
use super::list::{Link, Linked, List};
use super::process::Process;
use super::wait::Wait;
use super::{Kind, Object, Ref};
use crate::arch::Context;
use crate::sched::work::Work;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering, Owned};
use std::cell::Cell;
use std::mem::MaybeUninit;
use waiting::{CALLING, READY};
pub use waiting::{State, WaitNumber, Won};

pub struct Queued;

pub struct Thread {
    pub process: Ref<Process>,
    state: AtomicU64,
    queue: Link<Thread>,
    wait: Owned<MaybeUninit<Wait>>,
    calling: Cell<u64>,
    deadline: AtomicU8,
    sleep: Node<Thread>,
    context: Owned<Context>,
    pub work: Work,
    made_ready: AtomicU32,
    ended: AtomicU32,
}

// SAFETY: as in the kernel, and loom looks after what one core owns at a time.
unsafe impl Sync for Thread {}

static THREAD: Kind<Thread> = Kind::new("thread");

impl Object for Thread {
    fn kind() -> &'static Kind<Self> {
        &THREAD
    }
}

// SAFETY: always the one field.
unsafe impl Linked<Queued> for Thread {
    fn link(&self) -> &Link<Thread> {
        &self.queue
    }
}

// SAFETY: always the one field.
unsafe impl Heaped for Thread {
    fn node(&self) -> &Node<Thread> {
        &self.sleep
    }
}

impl Thread {
    pub fn new(process: Ref<Process>) -> Ref<Thread> {
        let make = |_: &mut _| Thread {
            process,
            state: AtomicU64::new(READY),
            queue: Link::new(),
            wait: Owned::new(MaybeUninit::uninit()),
            calling: Cell::new(CALLING),
            deadline: AtomicU8::new(0),
            sleep: Node::new(),
            context: Owned::new(Context::default()),
            work: Work,
            made_ready: AtomicU32::new(0),
            ended: AtomicU32::new(0),
        };
        let thread = Ref::new(make).expect("there is memory");
        // No core but this one knows of it yet.
        assert!(thread.state() == State::Ready && thread.deadline_core().is_none() && thread.let_run() == (0, 0));
        assert!(List::<Ref<Thread>, Queued>::new().remove(&thread).is_none());
        thread.clone()
    }

    pub fn context(&self) -> *mut Context {
        self.context.get()
    }

    pub fn priority(&self) -> u8 {
        0
    }

    pub fn lend_priority(&self, _priority: u8) {}

    pub fn is_stopped(&self) -> bool {
        false
    }

    pub fn note_ready(&self) {
        self.made_ready.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note_end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has been made ready, and how often it has ended instead of blocking.
    pub fn let_run(&self) -> (u32, u32) {
        (self.made_ready.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
    }
}
