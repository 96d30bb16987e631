//! Jobs: what processes are born into, to be suspended, resumed and ended together with all that they start.
//!
//! ```text
//!   job       (7, 12)         the twelfth job ever made, by a process of the seventh
//!   process   (7, 12, 31)     is of that job, and of the job 7: its lineage begins so
//! ```
//!
//! A job is no list of processes: a process has its lineage from its maker, which costs a fork a few instructions, and
//! no process can leave it. What is done to a job goes through all processes of the system, in pieces, one job at a
//! time; those that are born into the job meanwhile get the same.

use crate::lock::Mutex;
use crate::object::lineage::Lineage;
use crate::object::process::{Found, Order, Process, Turn, next_of};
use crate::object::thread::Thread;
use crate::object::{Kind, Object, Ref};
use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::{Error, ExitStatus};
use graft_paging::Progress;

/// The last number that a job has got. None is used twice, and they do not end: at one each nanosecond the last bit of
/// the word is reached after 292 years.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The object behind a handle that `job_create` has returned.
pub struct Job(Lineage);

static KIND: Kind<Job> = Kind::new("job");

impl Object for Job {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }
}

impl Job {
    /// One more, of which there is no process yet, within the maker's own.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if the maker is in as many as can be in each other; [`Error::OutOfMemory`].
    pub fn new(maker: &Process) -> Result<Ref<Job>, Error> {
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let lineage = maker.jobs.own().with(number).ok_or(Error::NotAllowed)?;
        Ref::new(|_| Job(lineage))
    }

    /// In how many others it is.
    pub fn level(&self) -> usize {
        self.0.depth() - 1
    }

    /// Has a process's children be born into a job, or into its own.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if the job is not one that this process could have made.
    pub fn enter(process: &Process, job: Option<&Job>) -> Result<(), Error> {
        let number = match job {
            None => 0,
            Some(job) => {
                let number = job.0.innermost();
                if process.jobs.own().with(number) != Some(job.0) {
                    return Err(Error::NotAllowed);
                }
                number
            }
        };
        process.jobs.set_births(number);
        Ok(())
    }
}

/// What is done to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// All of its processes end.
    End(ExitStatus),
    /// None of their threads runs any more.
    Suspend,
    /// They do.
    Resume,
}

impl Operation {
    /// What it has the processes of a job of this level do, and those that are born into it meanwhile.
    fn order(self, level: usize) -> Option<Order> {
        match self {
            Operation::End(status) => Some(Order::end(status)),
            Operation::Suspend => Some(Order::suspend(level)),
            Operation::Resume => None,
        }
    }
}

/// A way through the processes of a job.
struct Walk {
    job: Ref<Job>,
    operation: Operation,
    /// Held for as long as it takes.
    _turn: Turn,
    /// The last that it has come by.
    at: Option<Ref<Process>>,
    /// That one has not done yet what it has been told.
    is_awaited: bool,
}

/// The one walk that is under way, and how many there have been.
///
/// Whoever asks for another goes on with this one first: its thread may be one that less urgent threads of its own keep
/// from running.
static UNDER_WAY: Mutex<(u64, Option<Walk>)> = Mutex::new((0, None));

/// Looks at that while another core goes on with it, before others run.
const LOOKS: u32 = 100;

/// What is to be done to a job, as work of a thread.
pub struct Control {
    job: Ref<Job>,
    operation: Operation,
    /// Which of the walks is its own; 0 before that has begun.
    number: u64,
}

/// What a step has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// There is more to do.
    More,
    /// There is, for which another thread has to go on first.
    Later,
    /// All of it is done.
    Done,
}

impl Control {
    /// Nothing has been done yet.
    pub fn new(job: Ref<Job>, operation: Operation) -> Control {
        Control { job, operation, number: 0 }
    }

    /// Goes on with it, or with what is done to another job before: one process at most.
    pub fn step(&mut self, thread: &Thread) -> Stepped {
        let Some(mut under_way) = UNDER_WAY.lock_within(LOOKS) else { return Stepped::Later };
        let (number, place) = &mut *under_way;
        if self.number != 0 && (self.number != *number || place.is_none()) {
            return Stepped::Done;
        }
        let Some(walk) = place else {
            *number += 1;
            self.number = *number;
            *place = Some(Walk::new(self.job.clone(), self.operation));
            return Stepped::More;
        };
        let passed = walk.at.clone();
        let stepped = walk.step(thread);
        let ended = if stepped == Stepped::Done { place.take() } else { None };
        // Without the lock: they may be the last references.
        drop(under_way);
        drop((passed, ended));
        // The next step of one that has ended finds it gone.
        if stepped == Stepped::Done { Stepped::More } else { stepped }
    }
}

impl Walk {
    fn new(job: Ref<Job>, operation: Operation) -> Walk {
        let turn = Turn::take(job.0, operation.order(job.level()));
        Walk { job, operation, _turn: turn, at: None, is_awaited: false }
    }

    fn step(&mut self, thread: &Thread) -> Stepped {
        if let Some(process) = self.at.as_deref().filter(|_| self.is_awaited) {
            self.is_awaited = match self.operation {
                Operation::End(_) => false,
                Operation::Suspend if process.is_on_core(thread) => return Stepped::Later,
                Operation::Suspend => false,
                Operation::Resume => process.resume_some() == Progress::More,
            };
            return Stepped::More;
        }
        match next_of(self.job.0, self.at.as_deref()) {
            Found::None(process) => self.at = Some(process),
            Found::Member(process) => {
                let level = self.job.level();
                match self.operation.order(level) {
                    Some(order) => process.obey(order, thread),
                    None => process.take_back(Order::suspend(level)),
                }
                (self.at, self.is_awaited) = (Some(process), true);
            }
            Found::End => return Stepped::Done,
        }
        Stepped::More
    }
}
