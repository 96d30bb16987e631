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

use crate::object::process::{Found, Order, Process, Turn, next_of, take_turn};
use crate::object::thread::Thread;
use crate::object::{Kind, Object, Ref};
use core::sync::atomic::{AtomicU32, Ordering};
use graft_abi::{Error, ExitStatus, JOB_LEVELS};
use graft_paging::Progress;

/// The numbers of the jobs that a process is in, the outermost first; 0 behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage([u32; JOB_LEVELS]);

/// The last number that a job has got. None is used twice.
static LAST: AtomicU32 = AtomicU32::new(0);

impl Lineage {
    /// Of no job.
    pub const NONE: Lineage = Lineage([0; JOB_LEVELS]);

    /// How many jobs.
    fn depth(self) -> usize {
        self.0.iter().take_while(|&&number| number != 0).count()
    }

    /// Whether what has this lineage is of a job.
    pub fn is_in(self, job: Lineage) -> bool {
        self.0[..job.depth()] == job.0[..job.depth()]
    }

    /// With one more job in it, if there may be one.
    fn with(mut self, number: u32) -> Option<Lineage> {
        let depth = self.depth();
        *self.0.get_mut(depth)? = number;
        Some(self)
    }
}

/// The job, one level below a process's own, that its children are born into; 0: its own.
pub struct Births(AtomicU32);

impl Births {
    /// Into the process's own.
    pub const fn into_own() -> Births {
        Births(AtomicU32::new(0))
    }

    /// The lineage of a child that is born now.
    #[inline(always)]
    pub fn lineage(&self, own: Lineage) -> Lineage {
        match self.0.load(Ordering::Relaxed) {
            0 => own,
            number => own.with(number).unwrap_or(own),
        }
    }
}

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
        let number = match job {
            None => 0,
            Some(job) => {
                let number = job.0.0[job.level()];
                if process.lineage.with(number) != Some(job.0) {
                    return Err(Error::NotAllowed);
                }
                number
            }
        };
        process.births.0.store(number, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_is_of_the_jobs_that_it_begins_with() {
        let outer = Lineage::NONE.with(7).unwrap();
        let inner = outer.with(12).unwrap();
        assert!(inner.is_in(inner) && inner.is_in(outer) && outer.is_in(outer) && inner.is_in(Lineage::NONE));
        assert!(!outer.is_in(inner) && !Lineage::NONE.is_in(outer));
        assert!(!outer.with(13).unwrap().is_in(inner) && !Lineage::NONE.with(12).unwrap().is_in(outer));
        assert_eq!((outer.depth(), inner.depth(), Lineage::NONE.depth()), (1, 2, 0));
    }

    #[test]
    fn jobs_are_in_each_other_no_deeper_than_there_are_levels() {
        let deepest = (1..=JOB_LEVELS as u32).fold(Lineage::NONE, |lineage, number| lineage.with(number).unwrap());
        assert_eq!((deepest.depth(), deepest.with(9)), (JOB_LEVELS, None));
        let births = Births(AtomicU32::new(9));
        assert_eq!(births.lineage(deepest), deepest);
        assert_eq!(births.lineage(Lineage::NONE), Lineage([9, 0, 0, 0]));
        assert_eq!(Births::into_own().lineage(deepest), deepest);
    }
}
