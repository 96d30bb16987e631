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

use crate::object::lineage::Lineage;
use crate::object::process::{Found, Order, Process, Turn, next_of, take_turn};
use crate::object::thread::Thread;
use crate::object::{Kind, Object, Ref};
use core::sync::atomic::{AtomicU32, Ordering};
use graft_abi::{Error, ExitStatus};
use graft_paging::Progress;

/// The last number that a job has got. None is used twice.
static LAST: AtomicU32 = AtomicU32::new(0);

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
        let next = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(1));
        let number = next.map_err(|_| Error::HandlesExhausted)? + 1;
        let lineage = maker.lineage.with(number).ok_or(Error::NotAllowed)?;
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
        let own = process.lineage;
        let lineage = match job {
            None => own,
            Some(job) if job.0.is_in(own) && job.0.depth() == own.depth() + 1 => job.0,
            Some(_) => return Err(Error::NotAllowed),
        };
        process.births.set(lineage);
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

/// A way through the processes of a job.
pub struct Walk {
    job: Ref<Job>,
    operation: Operation,
    turn: Option<Turn>,
    /// The last that it has come by.
    at: Option<Ref<Process>>,
    /// That one has not done yet what it has been told.
    is_awaited: bool,
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

impl Walk {
    /// One that has not begun.
    pub fn new(job: Ref<Job>, operation: Operation) -> Walk {
        Walk { job, operation, turn: None, at: None, is_awaited: false }
    }

    /// Goes on with it: one process of the job at most.
    pub fn step(&mut self, thread: &Thread) -> Stepped {
        let (lineage, suspend) = (self.job.0, Order::suspend(self.job.level()));
        let order = match self.operation {
            Operation::End(status) => Some(Order::end(status)),
            Operation::Suspend => Some(suspend),
            Operation::Resume => None,
        };
        if self.turn.is_none() {
            self.turn = take_turn(lineage, order);
            return if self.turn.is_some() { Stepped::More } else { Stepped::Later };
        }
        if let Some(process) = self.at.as_deref().filter(|_| self.is_awaited) {
            self.is_awaited = match self.operation {
                Operation::End(_) => false,
                Operation::Suspend if process.is_on_core(thread) => return Stepped::Later,
                Operation::Suspend => false,
                Operation::Resume => process.resume_some() == Progress::More,
            };
            return Stepped::More;
        }
        let found = next_of(lineage, self.at.as_deref());
        match found {
            Found::None(process) => self.at = Some(process),
            Found::Member(process) => {
                match order {
                    Some(order) => process.obey(order, thread),
                    None => process.take_back(suspend),
                }
                (self.at, self.is_awaited) = (Some(process), true);
            }
            Found::End => return Stepped::Done,
        }
        Stepped::More
    }
}
