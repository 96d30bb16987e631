//! Work that a thread has in the kernel and that takes longer than interrupts may wait: it goes in pieces.
//!
//! ```text
//!   call ──▶ first piece ──▶ that was all ──▶ the thread goes on, as ever
//!                  │
//!                  └──▶ a task ──▶ piece, interrupts, piece, interrupts ... ──▶ the answer, the thread goes on
//!                                     │          ▲
//!                        its slice is over: it goes to the end of the queue, and comes back
//! ```
//!
//! The kernel has one stack for each core and is never interrupted, so a task keeps what it needs to go on in the
//! thread, between the pieces too. Those leave every structure valid: faults of the process's other threads are
//! answered meanwhile. A thread whose process is ended meanwhile drops the task and goes on with the debris only: all
//! that is left to do is to free memory.

#![forbid(unsafe_code)]

use super::complete;
use super::launch::{Launch, Launched};
use crate::arch::Context;
use crate::lock::Mutex;
use crate::memory::change::PIECE;
use crate::memory::frames;
use crate::memory::kernel_memory::Debris;
use crate::memory::kernel_memory::KernelMemory;
use crate::memory::left;
use crate::memory::space::{self, Obstacle};
use crate::object::Ref;
use crate::object::borrowed::Borrowed;
use crate::object::job::{Control, Stepped};
use crate::object::memory::Making;
use crate::object::pieces::{Edited, Forked, Moved};
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use crate::object::thread::{Thread, Times};
use crate::sched::crowd::Rest;
use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::{Error, PAGE_SIZE, ThreadEnd};
use graft_paging::Progress;

/// How often a call in pieces that was refused for want of memory is made again.
const RETRIES: u64 = 4;

/// The work of one thread. Only the thread's owner touches it.
#[repr(C)]
pub struct Work {
    /// Whether there is any; in [`RETRIED`], how often a call has been made again in a row for want of memory; and the
    /// page from where a search for room goes on that a call has begun which is being made again. One word: a fork
    /// makes one of these.
    notes: AtomicU64,
    state: Mutex<State>,
}

/// There is work.
const ANY: u64 = 1;
/// The thread is stopped at a fault, and its supervisor has answered when it runs again.
const STOPPED: u64 = 1 << 4;
/// Where the retries are counted, and one of them.
const RETRIED: u64 = 7 * RETRY;
const RETRY: u64 = 1 << 1;
/// Where the page is.
const SEARCH: u64 = !(PAGE_SIZE as u64 - 1);

struct State {
    job: Option<Job>,
    debris: Debris,
}

/// A task, and the stopped thread of another process for which it is done, if it is.
struct Job {
    task: Task,
    behalf: Option<Borrowed>,
}

/// What is to be done besides freeing debris.
#[expect(clippy::large_enum_variant, reason = "there is no heap to put the large one on")]
pub enum Task {
    /// A change of a range of memory; what the call answers in the end.
    Edit(Edited, (u64, u64)),
    /// A memory object.
    Create(Making),
    /// A fork, and the child's thread.
    Fork(Forked, Ref<Thread>),
    /// A fork that becomes a snapshot.
    Keep(Forked, Ref<Snapshot>),
    /// A move; what the call answers in the end.
    Move(Moved, (u64, u64)),
    /// A snapshot's content that takes the place of the process's, and the results of the call that took it. Without
    /// the fork, there was no memory for it.
    Restore(Option<Forked>, Ref<Snapshot>, [u64; 2]),
    /// A program, for this process or a new one.
    Launch(Launch),
    /// Something that is done to all processes in a job.
    Control(Control),
    /// The threads that have waited where this one has.
    Wake(Rest),
    /// Nothing more: the call is refused.
    Refuse(Error),
    /// The end of the process, whose last thread ends in this way; the time of it that the process has counted.
    Finish(Option<u64>, Times),
}

/// Whether a thread is stopped at a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Until its supervisor has answered.
    Stopped,
    /// No more.
    GoesOn,
}

/// What a piece of work has led to.
#[expect(clippy::large_enum_variant, reason = "there is no heap to put the large one on")]
pub enum Step {
    /// There is more to do.
    More,
    /// There is, for which another thread has to do its work first.
    Later,
    /// The call that led to it has this answer in `x0` and `x1`.
    Answer(Result<(u64, u64), Error>),
    /// The thread goes on with other registers.
    Registers(Context),
    /// The thread's supervisor has answered its fault.
    FaultAnswered,
    /// It is done.
    Done,
    /// The process has given everything back, and ends now. Its last thread has ended in this way; the time of it that
    /// the process has counted.
    Ended(Option<u64>, Times),
}

impl Work {
    /// None.
    pub const fn none() -> Work {
        let debris = Debris::none(KernelMemory);
        Work { notes: AtomicU64::new(0), state: Mutex::new(State { job: None, debris }) }
    }

    /// Whether there is any.
    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & ANY != 0
    }

    /// The thread's owner alone stores.
    #[inline(always)]
    fn note(&self, mask: u64, value: u64) {
        self.notes.store(self.notes.load(Ordering::Relaxed) & !mask | value, Ordering::Relaxed);
    }

    /// Whether a call that had no memory may be made again.
    pub fn may_retry(&self) -> bool {
        let retries = (self.notes.load(Ordering::Relaxed) & RETRIED) / RETRY;
        self.note(RETRIED, (retries + 1) % (RETRIES + 1) * RETRY);
        retries < RETRIES
    }

    /// A call is over: the next one has its own retries, and its own search.
    pub fn forget(&self) {
        self.note(RETRIED | SEARCH, 0);
    }

    /// Where a search for room goes on, once.
    #[inline(always)]
    pub fn take_search(&self) -> u64 {
        let search = self.notes.load(Ordering::Relaxed) & SEARCH;
        if search != 0 {
            self.note(SEARCH, 0);
        }
        search
    }

    /// A search for room goes on at this page when the call is made again.
    #[cold]
    pub fn note_search(&self, address: u64) {
        self.note(SEARCH, address & SEARCH);
    }

    /// Gives the thread a task, and what has been left to this core.
    pub fn give(&self, task: Option<Task>) {
        let mut state = self.state.lock();
        state.debris.append(left::take_left());
        state.job = task.map(|task| Job { task, behalf: None });
        self.note(ANY, ANY);
    }

    /// Has the task that has just been given be done for a stopped thread, which is brought back with its end.
    pub fn keep_for_task(&self, stopped: Borrowed) {
        if let Some(job) = &mut self.state.lock().job {
            job.behalf = Some(stopped);
        }
    }

    /// Notes that the thread is stopped, or that it goes on.
    pub fn note_stop(&self, stop: Stop) {
        match stop {
            Stop::Stopped => self.note(0, STOPPED | ANY),
            // One that has just run, or whose other work is done.
            Stop::GoesOn => self.note(STOPPED | ANY, 0),
        }
    }

    /// Does a piece of it.
    pub fn step(&self, thread: &Thread) -> Step {
        let mut state = self.state.lock();
        state.debris.append(left::take_left());
        if !state.debris.is_empty() {
            let cleared = state.debris.clear(PIECE);
            if cleared == Progress::More || state.job.is_some() {
                return Step::More;
            }
        }
        let Some(Job { task, behalf }) = &mut state.job else {
            self.note(ANY, 0);
            let is_stopped = self.notes.load(Ordering::Relaxed) & STOPPED != 0;
            return if is_stopped { Step::FaultAnswered } else { Step::Done };
        };
        let is_over =
            thread.process.is_ending() && !matches!(task, Task::Finish(..) | Task::Wake(_) | Task::Control(_));
        let step = if is_over {
            Step::More
        } else if behalf.as_ref().is_some_and(|stopped| stopped.process.is_ending()) {
            Step::Answer(Err(Error::NotFound))
        } else {
            // In its place: a task may be large.
            task.step(thread, behalf.as_deref())
        };
        if is_over || !matches!(step, Step::More | Step::Later) {
            state.job = None;
        }
        // What this piece has cut off stays with the thread, which may go on on another core.
        if left::has_left() {
            state.debris.append(left::take_left());
        }
        let is_stopped = self.notes.load(Ordering::Relaxed) & STOPPED != 0;
        let more = state.job.is_some() || !state.debris.is_empty() || is_stopped;
        self.note(ANY, if more { ANY } else { 0 });
        match step {
            Step::More if !more => Step::Done,
            Step::Done if more => Step::More,
            step => step,
        }
    }
}

impl Task {
    fn step(&mut self, thread: &Thread, stopped: Option<&Ref<Thread>>) -> Step {
        let process = &thread.process;
        let (progress, answer) = match self {
            Task::Edit(edited, answer) => (edited.step(), Ok(*answer)),
            Task::Create(making) => match making.step() {
                Ok(Progress::Done) => (Ok(Progress::Done), making.finish(&process.handles).map(|handle| (handle, 0))),
                progress => (progress, Ok((0, 0))),
            },
            Task::Fork(forked, child) => match forked.step() {
                Ok(Progress::Done) => {
                    let tree = forked.finish().expect("it was under way");
                    let maker = stopped.map_or(process, |stopped| &stopped.process);
                    (Ok(Progress::Done), complete::fork(process, maker, tree, child.clone()))
                }
                progress => (progress, Ok((0, 0))),
            },
            Task::Keep(forked, snapshot) => match forked.step() {
                Ok(Progress::Done) => {
                    snapshot.fill(forked.finish_snapshot().expect("it was under way"));
                    (Ok(Progress::Done), complete::snapshot(process, snapshot.clone()))
                }
                progress => (progress, Ok((0, 0))),
            },
            Task::Move(moved, answer) => (moved.step(), Ok(*answer)),
            Task::Restore(fork, snapshot, results) => {
                let tree = match fork.as_mut().map(|forked| (forked.step(), forked)) {
                    Some((Ok(Progress::More), _)) => return Step::More,
                    // It must not fail for want of tables that it can do without. Those that it has got so far go
                    // first.
                    Some((Err(_), _)) => {
                        *fork = None;
                        return Step::More;
                    }
                    Some((Ok(Progress::Done), forked)) => Some(forked.finish().expect("it was under way")),
                    None => None,
                };
                return match complete::restore(thread, stopped, tree, snapshot, *results) {
                    Ok(Some(registers)) => Step::Registers(registers),
                    Ok(None) => Step::Answer(Ok((0, 0))),
                    Err(error) => Step::Answer(Err(error)),
                };
            }
            Task::Launch(launch) => match launch.step(thread) {
                Ok(Launched::More) => return Step::More,
                Ok(Launched::Spawned(answer)) => (Ok(Progress::Done), Ok(answer)),
                Ok(Launched::Replaced(registers)) => return Step::Registers(registers),
                // From where it was: a program whose other threads fork all the time would never get to the end from
                // the beginning.
                Err(error @ Error::OutOfMemory) => {
                    return match space::met_obstacle() {
                        Some(Obstacle::Absence) => Step::Later,
                        Some(Obstacle::Tables) => Step::More,
                        None => Step::Answer(Err(error)),
                    };
                }
                Err(error) => return Step::Answer(Err(error)),
            },
            Task::Control(control) => match control.step(thread) {
                Stepped::More => return Step::More,
                Stepped::Later => return Step::Later,
                Stepped::Done => (Ok(Progress::Done), Ok((0, 0))),
            },
            Task::Wake(rest) => {
                return match rest.wake_some() {
                    Progress::More => Step::More,
                    Progress::Done => Step::Done,
                };
            }
            Task::Refuse(error) => return Step::Answer(Err(*error)),
            Task::Finish(value, counted) => match process.give_back() {
                Progress::More => return Step::More,
                Progress::Done => return Step::Ended(*value, *counted),
            },
        };
        match progress {
            Ok(Progress::More) => Step::More,
            Ok(Progress::Done) => Step::Answer(answer),
            Err(error) => Step::Answer(Err(error)),
        }
    }
}

/// How a thread ends: with a value of its own, or with its process.
pub fn thread_end(process: &Process, value: Option<u64>) -> ThreadEnd {
    value.map_or_else(|| ThreadEnd::WithProcess(process.last_status()), ThreadEnd::Exited)
}

/// Stores the results of a call whose thread had work to do first.
pub fn complete_task(registers: &mut Context, work: &Work, answer: Result<(u64, u64), Error>) {
    match answer {
        Ok((first, second)) => registers.set_results([first, second]),
        // Nothing has changed: the call is made again, a few times, with what other cores have given back.
        Err(Error::OutOfMemory) if space::met_obstacle().is_some() || (work.may_retry() && frames::gather()) => {
            registers.rewind();
        }
        Err(error) => {
            work.forget();
            registers.set_result(error.to_register());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_over_leaves_no_note_for_the_next() {
        let work = Work::none();
        for _ in 0..2 * RETRIES {
            assert!(work.may_retry());
            work.note_search(0x1234_5000);
            work.forget();
            assert_eq!(work.take_search(), 0);
        }
        assert!((0..RETRIES).all(|_| work.may_retry()) && !work.may_retry());
        work.note_search(0x1234_5000);
        assert_eq!((work.take_search(), work.take_search(), work.is_pending()), (0x1234_5000, 0, false));
    }
}
