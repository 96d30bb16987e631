//! Jobs: processes that are suspended, resumed and ended together, with all that they start.
//!
//! ```text
//!   let job = Job::new()?;
//!   job.enter()?;                  what is started now is in it, and what that starts
//!   Process::spawn(…)?; fork(…)?;
//!   leave()?;
//!   job.suspend()?; job.resume()?; job.kill(130)?;
//! ```

use graft_abi::{Call, Error, Handle, JobOperation};

use crate::call::call;
use crate::message::owner;

owner! {
    /// A job. Dropping it leaves its processes as they are.
    Job
}

impl Job {
    /// A new one, within those that the calling process is in.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if these are as many as there can be.
    pub fn new() -> Result<Job, Error> {
        Job::with_level().map(|(job, _)| job)
    }

    /// A new one, and in how many others it is.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_level() -> Result<(Job, u64), Error> {
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::JobCreate, []) }?;
        Ok((Job::from_handle(answer.handle()), answer.x1))
    }

    /// Has what the calling process starts from now on be in it, until [`leave`].
    ///
    /// # Errors
    /// [`Error::NotAllowed`] for a job that is not directly within the calling process's.
    pub fn enter(&self) -> Result<(), Error> {
        enter(self.handle())
    }

    /// Ends all processes in it. Those that have ended stay what they are.
    ///
    /// # Errors
    /// [`Error::NoRight`].
    pub fn kill(&self, code: i32) -> Result<(), Error> {
        self.control(JobOperation::Kill, code)
    }

    /// Has none of its processes run in its program when this returns, until they are [resumed](Self::resume).
    ///
    /// # Errors
    /// [`Error::NoRight`].
    pub fn suspend(&self) -> Result<(), Error> {
        self.control(JobOperation::Suspend, 0)
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// [`Error::NoRight`].
    pub fn resume(&self) -> Result<(), Error> {
        self.control(JobOperation::Resume, 0)
    }

    fn control(&self, operation: JobOperation, code: i32) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { call(Call::JobControl, [self.handle().0.into(), operation as u64, code as u32 as u64]) }.map(drop)
    }
}

/// Has what the calling process starts from now on be in the jobs that the process is in itself, and no other.
///
/// # Errors
/// None.
pub fn leave() -> Result<(), Error> {
    enter(Handle::NONE)
}

fn enter(job: Handle) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    unsafe { call(Call::JobEnter, [job.0.into()]) }.map(drop)
}
