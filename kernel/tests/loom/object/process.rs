//! A process: the mark that it is ending or suspended, its threads that stand aside, and their end.

use super::end::{self, End, Ends};
use super::list::List;
use super::thread::{Queued, Thread};
use super::wait::Queue;
use super::{Kind, Object, Ref};
use crate::lock::{Mutex, MutexGuard};
use crate::sched;
use crate::sched::crowd::Crowd;
use crate::sync::{AtomicU32, Ordering};

pub struct Process {
    mark: AtomicU32,
    end: End,
    pub parked: Parked,
}

const ENDING: u32 = 1;
const SUSPENDED: u32 = 2;

pub struct Parked(Mutex<List<Ref<Thread>, Queued>>);

impl Parked {
    pub fn lock(&self) -> MutexGuard<'_, List<Ref<Thread>, Queued>> {
        self.0.lock()
    }
}

impl Queue for Parked {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.lock().remove(thread)
    }
}

impl Process {
    pub fn new() -> Ref<Process> {
        let process =
            Ref::new(|_| Process { mark: AtomicU32::new(0), end: End::new(), parked: Parked(Mutex::new(List::new())) })
                .expect("there is memory");
        // No core but this one knows of it yet.
        assert!(!process.is_marked() && process.parked.lock().is_empty() && process.end.answer().is_none());
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
            let Some(thread) = self.parked.lock().pop_front() else { return };
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
