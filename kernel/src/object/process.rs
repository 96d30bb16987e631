//! Processes: an address space, a handle table, threads, and a status that outlives them.
//!
//! ```text
//!   frame   | counts, name, locks ... | handle table: 16 bytes a handle, as many as fit |
//! ```

mod all;
mod handles;
mod mark;
mod name;

pub use all::{Found, Turn, next_of};
pub use handles::Handles;
pub use mark::{Mark, Order};
pub use name::{NAME_SIZE, Name};

use crate::arch::{self, Context, timer};
use crate::lock::Mutex;
use crate::memory::left;
use crate::memory::space::Space;
use crate::memory::statistics::Statistics;
use crate::memory::user_copy::Owner;
use crate::object::end::{self, End, Ends};
use crate::object::endpoint::Connection;
use crate::object::lineage::{Jobs, Lineage};
use crate::object::list::{Link, Linked, List};
use crate::object::table::{Slot, Table};
use crate::object::thread::{Noted, OfProcess, Queued, State, Thread, Times};
use crate::object::wait::Queue;
use crate::object::{AnyRef, Kind, Object, Ref, write_fields};
use crate::sched;
use crate::sched::crowd::Crowd;
use crate::sched::work::{self, Task};
use crate::trace;
use core::mem::{MaybeUninit, offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::{Error, Handle, ProcessInfo, ProcessState, Rights, THREADS_MAX, TraceKind};
use graft_paging::Progress;

/// Threads of a process that do not run, in lists of the process's own.
pub struct Aside {
    /// Those that wait on a word of its memory: which word is in their registers.
    pub on_words: List<Ref<Thread>, Queued>,
    /// Those that would run if it were not suspended.
    pub parked: List<Ref<Thread>, Queued>,
}

/// A process.
///
/// In the order in which it is laid out, by use, one cache line after the other, of which the first one begins with the
/// counts: a thread's switch to it and its messages need the second and the third.
#[repr(C)]
pub struct Process {
    /// And how many they are.
    threads: Mutex<(List<Ref<Thread>, OfProcess>, usize)>,
    /// The process that made it, 0 for the first.
    pub parent: u64,
    // The second line.
    /// Its memory.
    pub space: Space,
    // The third.
    /// What keeps its threads from running, if anything does.
    mark: Mark,
    /// What it can name.
    pub handles: Mutex<Handles>,
    /// Given when it starts, never used twice. 0 before.
    identifier: AtomicU64,
    /// What it has done to its memory.
    pub statistics: Statistics,
    /// The time of its threads that have ended. The list of threads is locked, or empty.
    ended: Noted,
    // The rest of the fourth.
    all: Link<Process>,
    // The fifth.
    end: End,
    // The sixth.
    /// Where its faults go; in place of an end.
    supervisor: Mutex<Option<Ref<Connection>>>,
    name: Mutex<Name>,
    /// Its threads that stand in lists of its own.
    pub aside: Mutex<Aside>,
    /// The jobs that it is in, and those that its children are born into.
    pub jobs: Jobs,
}

const _: () = {
    const fn line(offset: usize) -> usize {
        (Ref::<Process>::OFFSET + offset) / 64
    }
    assert!(line(offset_of!(Process, space)) == 1 && line(offset_of!(Process, mark)) == 2);
    assert!(line(offset_of!(Process, statistics)) == 2 && line(offset_of!(Process, end)) == 4);
};

/// Handles that a process that ends gives up before interrupts are answered.
const HANDLES_AT_ONCE: usize = 32;

/// The process whose end is the machine's.
const FIRST: u64 = 1;

// SAFETY: always the one field.
unsafe impl Linked<Process> for Process {
    fn link(&self) -> &Link<Process> {
        &self.all
    }
}

static KIND: Kind<Process> = Kind::new("process");

impl Object for Process {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }

    fn forget(&self) {
        // One that was never started stands in no list, and its call alone can drop it.
        if self.identifier() != 0 {
            all::remove(self);
        }
    }
}

impl Owner for Process {
    #[inline(always)]
    fn space(&self) -> &Space {
        &self.space
    }

    #[inline(always)]
    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn may_use_reserve(&self) -> bool {
        self.jobs.own() == Lineage::NONE
    }
}

impl Ends for Process {
    fn end(&self) -> &End {
        &self.end
    }
}

impl Queue for Mutex<Aside> {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        let mut aside = self.lock();
        aside.on_words.remove(thread).or_else(|| aside.parked.remove(thread))
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

impl Drop for Process {
    fn drop(&mut self) {
        debug_assert!(self.threads.get_mut().0.is_empty() && self.space.lock().is_err());
        // Not empty when the process was never completed.
        let handles = self.handles.get_mut();
        while handles.remove_last().is_some() {}
    }
}

impl Process {
    /// A process without memory, threads and handles, made by this one, if it is not the first, and in its jobs.
    ///
    /// No other thread can find it before it is [started](Self::start). Dropped before that, it leaves no trace.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[inline(always)]
    pub fn new(maker: Option<&Process>, name: Name) -> Result<Ref<Process>, Error> {
        let (parent, lineage) = match maker {
            Some(maker) => (maker.identifier(), maker.jobs.of_births()),
            None => (0, Lineage::NONE),
        };
        let (place, rest) = Ref::<Process>::place()?;
        // SAFETY: the place is the new object's, and every field is written.
        unsafe {
            write_fields!(
                place.as_ptr(),
                Process {
                    identifier: AtomicU64::new(0),
                    parent: parent,
                    space: Space::empty(),
                    handles: Mutex::new(Table::new(as_slots(rest))),
                    statistics: Statistics::default(),
                    ended: Noted::default(),
                    supervisor: Mutex::new(None),
                    name: Mutex::new(name),
                    threads: Mutex::new((List::new(), 1)),
                    aside: Mutex::new(Aside { on_words: List::new(), parked: List::new() }),
                    end: End::new(),
                    mark: Mark::none(),
                    all: Link::new(),
                    jobs: Jobs::new(lineage),
                }
            );
            Ok(Ref::placed(place))
        }
    }

    /// Gives a process, complete but for its first thread, that thread and an identifier, lists it, and lets it run
    /// from now on, unless its maker is being ended or suspended with its job: then so is it. `change` may tell the
    /// thread the identifier. Returns the identifier. What has made it is recorded.
    #[inline(always)]
    pub fn start(
        thread: Ref<Thread>,
        maker: Option<&Process>,
        kind: TraceKind,
        change: impl FnOnce(&mut Context, u64),
    ) -> u64 {
        let process = &thread.process;
        // Nothing else leads to the process yet: every core that finds it in the list sees what is stored here and
        // before.
        process.threads.lock().0.push_back(thread.clone());
        let identifier = all::add(process, maker, |identifier| {
            process.identifier.store(identifier, Ordering::Relaxed);
            // SAFETY: the thread is this core's until it is ready, below, and runs nowhere.
            change(unsafe { &mut *thread.context() }, identifier);
        });
        trace::note(|| (kind, process.parent, identifier));
        sched::make_ready(thread);
        identifier
    }

    /// Its identifier.
    #[inline(always)]
    pub fn identifier(&self) -> u64 {
        self.identifier.load(Ordering::Relaxed)
    }

    /// Lets a further thread of a process, made by one of its others, run from now on.
    ///
    /// # Errors
    /// [`Error::ThreadsExhausted`].
    pub fn start_further(thread: Ref<Thread>) -> Result<(), Error> {
        let mut threads = thread.process.threads.lock();
        if threads.1 >= THREADS_MAX {
            return Err(Error::ThreadsExhausted);
        }
        threads.1 += 1;
        threads.0.push_back(thread.clone());
        drop(threads);
        // If the process is ending, this one meets the mark before it runs.
        sched::make_ready(thread);
        Ok(())
    }

    /// The object of kind `T` that a handle names, if it carries the rights.
    ///
    /// # Errors
    /// [`Error::BadHandle`], [`Error::WrongObject`], [`Error::NoRight`].
    #[inline(always)]
    pub fn object<T: Object>(&self, handle: Handle, needed: Rights) -> Result<Ref<T>, Error> {
        self.with_object(handle, needed, Ref::clone)
    }

    /// Does something with that object while the handle stays, because the table is locked.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    #[inline(always)]
    pub fn with_object<T: Object, R>(
        &self,
        handle: Handle,
        needed: Rights,
        with: impl FnOnce(&Ref<T>) -> R,
    ) -> Result<R, Error> {
        let handles = self.handles.lock();
        let (object, rights) = handles.get(handle, Rights::NONE)?;
        let object = object.get::<T>()?;
        if !rights.contains(needed) {
            return Err(Error::NoRight);
        }
        Ok(with(object))
    }

    /// Where its faults go, if it has a supervisor.
    pub fn supervisor(&self) -> Option<Ref<Connection>> {
        self.supervisor.lock().clone()
    }

    /// Has its faults go elsewhere. Returns where they went, to be dropped without the lock.
    #[must_use]
    pub fn set_supervisor(&self, supervisor: Option<Ref<Connection>>) -> Option<Ref<Connection>> {
        core::mem::replace(&mut self.supervisor.lock(), supervisor)
    }

    /// Its name.
    pub fn name(&self) -> Name {
        *self.name.lock()
    }

    /// Takes another program's name.
    pub fn set_name(&self, name: Name) {
        *self.name.lock() = name;
    }

    /// Whether there are threads that have not ended besides the calling one.
    pub fn has_other_threads(&self) -> bool {
        self.threads.lock().1 > 1
    }

    /// Takes a thread, which runs on no core, out of the process; the last thread ends the process. With a value, the
    /// thread has ended itself; without one, it ends with its process.
    pub fn end_thread(thread: Ref<Thread>, value: Option<u64>) {
        let process = thread.process.clone();
        let mut threads = process.threads.lock();
        drop(threads.0.remove(&thread));
        threads.1 -= 1;
        let last = threads.0.is_empty();
        // Every thread that ends with its process passes the mark on to one that is still blocked: none is left behind.
        if process.is_ending()
            && let Some(blocked) = threads.0.find(|thread| thread.state() == State::Blocked)
        {
            sched::interrupt(blocked);
        }
        // It runs nowhere any more: its time stands still.
        thread.set_state(State::Ready);
        let times = thread.times();
        if !last {
            process.ended.add(times);
            drop(threads);
            end::tell(thread, work::thread_end(&process, value).to_registers());
            return;
        }
        drop(threads);
        if process.give_back() == Progress::Done {
            Process::finish(process, thread, value, Times::default());
        } else {
            // In pieces, for which the thread goes on being scheduled.
            process.ended.add(times);
            thread.work.give(Some(Task::Finish(value, times)));
            sched::make_ready(thread);
        }
    }

    /// Gives back a piece of what a process without threads has: everything but the status.
    #[inline(always)]
    pub fn give_back(&self) -> Progress {
        self.space.destroy();
        // No call can be looking a handle up any more: the lock keeps nothing waiting.
        let mut handles = self.handles.lock();
        for _ in 0..HANDLES_AT_ONCE {
            if handles.remove_last().is_none() {
                return if left::has_left() { Progress::More } else { Progress::Done };
            }
        }
        Progress::More
    }

    /// Tells the waiters how the last thread of a process has ended, and then how the process has, which has given
    /// everything back. So much of the thread's time has been counted before.
    #[inline(always)]
    pub fn finish(process: Ref<Process>, thread: Ref<Thread>, value: Option<u64>, counted: Times) {
        process.ended.add(thread.times() - counted);
        end::tell(thread, work::thread_end(&process, value).to_registers());
        let status = process.last_status();
        trace::note(|| (TraceKind::End, process.identifier(), status.to_register()));
        all::note_end();
        if process.identifier() == FIRST {
            arch::power::exit(status.shell_code());
        }
        end::tell(process, [0, status.to_register()]);
    }

    /// Its statistics, for `process_info`.
    pub fn info(&self) -> ProcessInfo {
        // Without the lock on the space, so that an onlooker does not wait for the process's operations.
        let usage = self.space.usage();
        let (mut threads, mut blocked, mut priority) = (0, 0, 0_u32);
        let all = self.threads.lock();
        let mut times = self.ended.times();
        for thread in all.0.iter() {
            // Few instructions: there may be a thousand of them.
            threads += 1;
            priority = priority.max(thread.priority().into());
            times += match thread.state() {
                State::Running(_) => sched::times_now(thread).0,
                State::Ready => thread.times(),
                State::Blocked => {
                    blocked += 1;
                    thread.times()
                }
            };
        }
        drop(all);
        let status = self.end.answer();
        let state = match status {
            Some(_) => ProcessState::Ended,
            None if self.is_suspended() => ProcessState::Suspended,
            None if threads != 0 && blocked == threads => ProcessState::Blocked,
            None => ProcessState::Ready,
        };
        let mut info = ProcessInfo {
            identifier: self.identifier(),
            parent: self.parent,
            state: state as u32,
            threads,
            priority,
            processor_time: timer::to_nanoseconds(times.sum()),
            caller_time: timer::to_nanoseconds(times.callers),
            resident_pages: usage.pages,
            reserved_pages: usage.reserved,
            tables: usage.tables,
            exit_status: status.map_or(0, |[_, status]| status),
            name: self.name().0,
            ..ProcessInfo::default()
        };
        self.statistics.report(&mut info);
        info
    }
}

/// The rest of a process's frame as places for handles.
fn as_slots(rest: &'static mut [MaybeUninit<u64>]) -> &'static mut [MaybeUninit<Slot<AnyRef>>] {
    const SLOT: usize = size_of::<Slot<AnyRef>>() / size_of::<u64>();
    const { assert!(SLOT * size_of::<u64>() == size_of::<Slot<AnyRef>>() && align_of::<Slot<AnyRef>>() <= 8) };
    // SAFETY: the same uninitialised memory, in pieces whose size and alignment have been checked.
    unsafe { core::slice::from_raw_parts_mut(rest.as_mut_ptr().cast(), rest.len() / SLOT) }
}
