//! All processes: the list through which they are found, and how many there are.

use super::Process;
use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::list::{List, Pointer};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// Every process that has started and is still referred to, in the order of identifiers. The list owns none of them:
/// dropping the last reference takes the process out. A process in the making is not here, so nothing but the call that
/// makes it can come to hold it.
static ALL: Mutex<All> = Mutex::new(All { list: List::new(), last: 0, gone: 0 });
static ALIVE: AtomicU64 = AtomicU64::new(0);

struct All {
    list: List<Remembered, Process>,
    /// The last identifier given.
    last: u64,
    /// The processor time of those that have been taken out, in counts of the timer's.
    gone: u64,
}

/// An uncounted reference in [`ALL`].
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
#[inline(always)]
pub(super) fn add(process: &Process, told: impl FnOnce(u64)) -> u64 {
    ALIVE.fetch_add(1, Ordering::Relaxed);
    let mut all = ALL.lock();
    all.last += 1;
    let identifier = all.last;
    told(identifier);
    all.list.push_back(Remembered(NonNull::from(process)));
    identifier
}

/// Takes a process out that is referred to no longer.
pub(super) fn remove(process: &Process) {
    let mut all = ALL.lock();
    all.list.remove(process);
    all.gone = all.gone.wrapping_add(process.ended.times().sum());
}

/// Notes that a process has ended.
pub(super) fn note_end() {
    ALIVE.fetch_sub(1, Ordering::Relaxed);
}

impl Process {
    /// The process with the smallest identifier above `identifier`.
    pub fn next_after(identifier: u64) -> Option<Ref<Process>> {
        let all = ALL.lock();
        all.list.iter().filter(|process| process.identifier() > identifier).find_map(|process| {
            // SAFETY: it cannot leave the list, thus not lose its memory, while this holds the lock.
            unsafe { Ref::revive(process) }
        })
    }

    /// The processor time of those to which nothing refers any more, in counts of the timer's.
    pub fn gone_time() -> u64 {
        ALL.lock().gone
    }

    /// How many processes have not ended.
    pub fn alive() -> u64 {
        ALIVE.load(Ordering::Relaxed)
    }
}
