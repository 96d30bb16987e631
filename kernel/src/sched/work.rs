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
//! The kernel has one stack for each core and is never interrupted, so a task keeps what it needs to go on in the thread, between the pieces too. Those
//! leave every structure valid: faults of the process's other threads are answered meanwhile. A process that is ended meanwhile drops the task and
//! goes on with the debris only, which nothing but the freeing of memory is left of.

#![forbid(unsafe_code)]

use crate::arch::Context;
use crate::call::{self, Launch, Launched};
use crate::lock::Mutex;
use crate::memory::kernel_memory::KernelMemory;
use crate::memory::space::{self, Debris, Forked, Moved, Operation, PIECE};
use crate::object::Ref;
use crate::object::memory::{Making, MemoryObject};
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use core::sync::atomic::{AtomicBool, Ordering};
use graft_abi::{Error, ThreadEnd};
use graft_paging::Progress;

/// The work of one thread. Only the thread's owner touches it.
pub struct Work {
    any: AtomicBool,
    state: Mutex<State>,
}

struct State {
    task: Option<Task>,
    debris: Debris,
}

/// What is to be done besides freeing debris.
pub enum Task {
    /// A change of a range of the process's memory; what the call answers in the end.
    Edit(Operation, Option<Ref<MemoryObject>>, (u64, u64)),
    /// A memory object.
    Create(Making),
    /// A fork, and the child's thread.
    Fork(Forked, Ref<Thread>),
    /// A fork that becomes a snapshot.
    Keep(Forked, Ref<Snapshot>),
    /// A move; what the call answers in the end.
    Move(Moved, (u64, u64)),
    /// A snapshot's content that takes the place of the process's, and what the call answers that took it.
    Restore(Forked, Ref<Snapshot>, [u64; 2]),
    /// A program, for this process or a new one.
    Launch(Launch),
    /// Nothing more: the call is refused.
    Refuse(Error),
    /// The end of the process, whose last thread ends in this way.
    Finish(Option<u64>),
}

/// What a piece of work has led to.
pub enum Step {
    /// There is more to do.
    More,
    /// The call that led to it has this answer in `x0` and `x1`.
    Answer(Result<(u64, u64), Error>),
    /// The thread goes on with other registers.
    Registers(Context),
    /// It is done.
    Done,
    /// The process has given everything back, and ends now. Its last thread has ended in this way.
    Ended(Option<u64>),
}

impl Work {
    /// None.
    pub const fn none() -> Work {
        let debris = Debris::none(KernelMemory);
        Work { any: AtomicBool::new(false), state: Mutex::new(State { task: None, debris }) }
    }

    /// Whether there is any.
    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Gives the thread a task, and what has been left to this core.
    pub fn give(&self, task: Option<Task>) {
        let mut state = self.state.lock();
        state.debris.append(space::take_left());
        state.task = task;
        self.any.store(true, Ordering::Relaxed);
    }

    /// Does a piece of it.
    pub fn step(&self, thread: &Thread) -> Step {
        let mut state = self.state.lock();
        state.debris.append(space::take_left());
        if !state.debris.is_empty() {
            let cleared = state.debris.clear(PIECE);
            if cleared == Progress::More || state.task.is_some() {
                return Step::More;
            }
        }
        let Some(task) = state.task.take() else {
            self.any.store(false, Ordering::Relaxed);
            return Step::Done;
        };
        let step = if thread.process.is_ending() && !matches!(task, Task::Finish(_)) {
            drop(task);
            Step::More
        } else {
            let (step, rest) = task.step(thread);
            state.task = rest;
            step
        };
        let more = state.task.is_some() || space::has_left();
        self.any.store(more, Ordering::Relaxed);
        match step {
            Step::More if !more => Step::Done,
            step => step,
        }
    }
}

impl Task {
    fn step(self, thread: &Thread) -> (Step, Option<Task>) {
        let process = &thread.process;
        match self {
            Task::Edit(mut operation, object, answer) => {
                let progress = process.space.lock().and_then(|tree| {
                    tree.go_on(&mut operation, |page| object.as_ref().expect("pages have an object").frame(page))
                });
                match progress {
                    Ok(Progress::More) => (Step::More, Some(Task::Edit(operation, object, answer))),
                    Ok(Progress::Done) => (Step::Answer(Ok(answer)), None),
                    Err(error) => (Step::Answer(Err(error)), None),
                }
            }
            Task::Create(mut making) => match making.step() {
                Ok(Progress::More) => (Step::More, Some(Task::Create(making))),
                Ok(Progress::Done) => (Step::Answer(making.finish(process).map(|handle| (handle, 0))), None),
                Err(error) => (Step::Answer(Err(error)), None),
            },
            Task::Fork(mut forked, child) => match forked.step() {
                Ok(Progress::More) => (Step::More, Some(Task::Fork(forked, child))),
                Ok(Progress::Done) => {
                    let tree = forked.finish().expect("it was under way");
                    (Step::Answer(call::complete_fork(process, tree, child)), None)
                }
                Err(error) => (Step::Answer(Err(error)), None),
            },
            Task::Keep(mut forked, snapshot) => match forked.step() {
                Ok(Progress::More) => (Step::More, Some(Task::Keep(forked, snapshot))),
                Ok(Progress::Done) => {
                    snapshot.fill(forked.finish_snapshot().expect("it was under way"));
                    (Step::Answer(call::complete_snapshot(process, snapshot)), None)
                }
                Err(error) => (Step::Answer(Err(error)), None),
            },
            Task::Move(mut moved, answer) => match moved.step() {
                Ok(Progress::More) => (Step::More, Some(Task::Move(moved, answer))),
                result => (Step::Answer(result.map(|_| answer)), None),
            },
            Task::Restore(mut forked, snapshot, results) => match forked.step() {
                Ok(Progress::More) => (Step::More, Some(Task::Restore(forked, snapshot, results))),
                Ok(Progress::Done) => {
                    let tree = forked.finish().expect("it was under way");
                    (Step::Registers(call::complete_restore(thread, tree, &snapshot, results)), None)
                }
                Err(error) => (Step::Answer(Err(error)), None),
            },
            Task::Launch(launch) => match launch.step(thread) {
                Ok(Launched::More(launch)) => (Step::More, Some(Task::Launch(launch))),
                Ok(Launched::Spawned(answer)) => (Step::Answer(Ok(answer)), None),
                Ok(Launched::Replaced(registers)) => (Step::Registers(registers), None),
                Err(error) => (Step::Answer(Err(error)), None),
            },
            Task::Refuse(error) => (Step::Answer(Err(error)), None),
            Task::Finish(value) => match process.give_back() {
                Progress::More => (Step::More, Some(Task::Finish(value))),
                Progress::Done => (Step::Ended(value), None),
            },
        }
    }
}

/// How a thread ends: with a value of its own, or with its process.
pub fn thread_end(process: &Process, value: Option<u64>) -> ThreadEnd {
    value.map_or_else(|| ThreadEnd::WithProcess(process.last_status()), ThreadEnd::Exited)
}
