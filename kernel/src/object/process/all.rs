//! All processes: the list through which they are found, and how many there are.

use super::Process;
use super::mark::Order;
use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::lineage::Lineage;
use crate::object::list::{List, Pointer};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

static PROCESSES: Processes =
    Processes { alive: AtomicU64::new(0), all: Mutex::new(All { list: List::new(), last: 0, gone: 0, turn: None }) };

/// In one cache line what every birth and every end needs.
#[repr(C, align(64))]
struct Processes {
    alive: AtomicU64,
    all: Mutex<All>,
}

#[repr(C)]
struct All {
    /// Every process that has started and is still referred to, in the order of identifiers. The list owns none of them:
    /// dropping the last reference takes the process out. A process in the making is not here, so nothing but the call
    /// that makes it can come to hold it.
    list: List<Remembered, Process>,
    /// The last identifier given.
    last: u64,
    /// The processor time of those that have been taken out, in counts of the timer's.
    gone: u64,
    /// What is done to a job.
    turn: Option<Done>,
}

/// What is done to a job, and becomes of those that are born into it meanwhile.
#[repr(C)]
struct Done {
    order: Option<Order>,
    job: Lineage,
}

/// An uncounted reference in the list.
struct Remembered(NonNull<Process>);

// SAFETY: used under the list's lock only.
unsafe impl Send for Remembered {}

// SAFETY: a process takes itself out of the list before its memory goes (`Object::forget`), and never moves.
unsafe impl Pointer for Remembered {
    type Target = Process;

    fn into_raw(self) -> NonNull<Process> {
        self.0
    }

    unsafe fn from_raw(raw: NonNull<Process>) -> Self {
        Remembered(raw)
    }
}

/// Lists a process that starts, under the next identifier, which `told` is told before others can find it.
///
/// What becomes of its jobs reaches it: a thread that goes through all processes finds it at the end of the list, or has
/// marked its maker before.
#[inline(always)]
pub(super) fn add(process: &Process, maker: Option<&Process>, told: impl FnOnce(u64)) -> u64 {
    PROCESSES.alive.fetch_add(1, Ordering::Relaxed);
    let mut all = PROCESSES.all.lock();
    all.last += 1;
    let identifier = all.last;
    told(identifier);
    if all.turn.is_some() || maker.is_some_and(Process::is_marked) {
        inherit(&all, process, maker);
    }
    all.list.push_back(Remembered(NonNull::from(process)));
    identifier
}

#[cold]
#[inline(never)]
fn inherit(all: &All, process: &Process, maker: Option<&Process>) {
    let order = all.turn.as_ref().and_then(|done| done.order.filter(|_| process.jobs.own().is_in(done.job)));
    process.inherit(maker, order);
}

/// Takes a process out that is referred to no longer.
pub(super) fn remove(process: &Process) {
    let mut all = PROCESSES.all.lock();
    all.list.remove(process);
    all.gone = all.gone.wrapping_add(process.ended.times().sum());
}

/// Notes that a process has ended.
pub(super) fn note_end() {
    PROCESSES.alive.fetch_sub(1, Ordering::Relaxed);
}

/// What is done to a job for as long as this is there: processes that are born into the job get the order. There is one
/// at a time.
pub struct Turn(());

impl Turn {
    /// Begins it.
    pub fn take(job: Lineage, order: Option<Order>) -> Turn {
        let before = PROCESSES.all.lock().turn.replace(Done { order, job });
        debug_assert!(before.is_none(), "two at a time");
        Turn(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        PROCESSES.all.lock().turn = None;
    }
}

/// What a look at the processes behind one has found.
pub enum Found {
    /// One of the job.
    Member(Ref<Process>),
    /// None so far, up to this one.
    None(Ref<Process>),
    /// None to the end.
    End,
}

/// Processes looked at at once.
const LOOKS: usize = 128;

/// The next process of a job behind this one, or from the first on.
pub fn next_of(job: Lineage, behind: Option<&Process>) -> Found {
    let all = PROCESSES.all.lock();
    let mut looks = 0;
    for process in all.list.iter_behind(behind) {
        looks += 1;
        let is_member = process.jobs.own().is_in(job);
        if !is_member && looks < LOOKS {
            continue;
        }
        // SAFETY: it cannot leave the list, thus not lose its memory, while this holds the lock.
        if let Some(process) = unsafe { Ref::revive(process) } {
            return if is_member { Found::Member(process) } else { Found::None(process) };
        }
    }
    Found::End
}

impl Process {
    /// The process with the smallest identifier above `identifier`.
    pub fn next_after(identifier: u64) -> Option<Ref<Process>> {
        let all = PROCESSES.all.lock();
        all.list.iter().filter(|process| process.identifier() > identifier).find_map(|process| {
            // SAFETY: it cannot leave the list, thus not lose its memory, while this holds the lock.
            unsafe { Ref::revive(process) }
        })
    }

    /// The processor time of those to which nothing refers any more, in counts of the timer's.
    pub fn gone_time() -> u64 {
        PROCESSES.all.lock().gone
    }

    /// How many processes have not ended.
    pub fn alive() -> u64 {
        PROCESSES.alive.load(Ordering::Relaxed)
    }
}
