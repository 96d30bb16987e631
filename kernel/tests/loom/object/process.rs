//! A process: the mark that it is ending or suspended, its threads that stand aside, and their end.

use super::end::{self, End, Ends};
use super::list::List;
use super::thread::{Queued, Thread};
use super::wait::Queue;
use super::{Kind, Object, Ref};
use crate::lock::Mutex;
use crate::sched;
use crate::sched::crowd::Crowd;
use crate::sync::{AtomicU32, Ordering};

pub struct Process {
    mark: AtomicU32,
    end: End,
    pub aside: Mutex<Aside>,
}

const ENDING: u32 = 1;
const SUSPENDED: u32 = 2;

pub struct Aside {
    pub parked: List<Ref<Thread>, Queued>,
}

impl Queue for Mutex<Aside> {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.lock().parked.remove(thread)
    }
}

impl Process {
    pub fn new() -> Ref<Process> {
        let process = Ref::new(|_| Process {
            mark: AtomicU32::new(0),
            end: End::new(),
            aside: Mutex::new(Aside { parked: List::new() }),
        })
        .expect("there is memory");
        // No core but this one knows of it yet.
        assert!(!process.is_marked() && process.aside.lock().parked.is_empty() && process.end.answer().is_none());
        process.clone()
    }

    pub fn is_marked(&self) -> bool {
        self.mark.load(Ordering::SeqCst) != 0
    }

    pub fn is_ending(&self) -> bool {
        self.mark.load(Ordering::SeqCst) & ENDING != 0
    }

    pub fn is_suspended(&self) -> bool {
        self.mark.load(Ordering::SeqCst) == SUSPENDED
    }

    pub fn suspend(&self) {
        self.mark.fetch_or(SUSPENDED, Ordering::SeqCst);
    }

    /// As in the kernel, to the end.
    pub fn resume(&self) {
        self.mark.fetch_and(!SUSPENDED, Ordering::SeqCst);
        while !self.is_suspended() {
            let Some(thread) = self.aside.lock().parked.pop_front() else { return };
            sched::end_wait(&thread, None);
            sched::make_ready(thread);
        }
    }

    /// As in the kernel, of a process with this one thread.
    pub fn terminate(&self, thread: &Thread) {
        self.mark.store(ENDING, Ordering::SeqCst);
        sched::interrupt(thread);
    }

    pub fn end_thread(thread: Ref<Thread>, _value: Option<u64>) {
        thread.note_end();
    }

    /// Ends, for good.
    pub fn finish(process: Ref<Process>, status: u64) {
        end::tell(process, [0, status]);
    }
}

static PROCESS: Kind<Process> = Kind::new("process");

impl Object for Process {
    fn kind() -> &'static Kind<Self> {
        &PROCESS
    }
}

impl Ends for Process {
    fn end(&self) -> &End {
        &self.end
    }
}

impl Crowd for Process {
    fn take_one(&self) -> Option<Ref<Thread>> {
        self.end.take_one()
    }
}

impl Queue for Process {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.end.remove_waiter(thread)
    }
}
