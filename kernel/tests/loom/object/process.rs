//! A process: the mark that it is ending, and its threads' end.

use super::end::{self, End, Ends};
use super::thread::Thread;
use super::wait::Queue;
use super::{Kind, Object, Ref};
use crate::sched;
use crate::sched::crowd::Crowd;
use crate::sync::{AtomicU32, Ordering};

pub struct Process {
    ending: AtomicU32,
    end: End,
}

impl Process {
    pub fn new() -> Ref<Process> {
        let process = Ref::new(|_| Process { ending: AtomicU32::new(0), end: End::new() }).expect("there is memory");
        // No core but this one knows of it yet.
        assert!(!process.is_ending() && process.end.answer().is_none());
        process.clone()
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst) != 0
    }

    /// As in the kernel, of a process with this one thread.
    pub fn terminate(&self, thread: &Thread) {
        self.ending.store(1, Ordering::SeqCst);
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
