//! Jobs: what processes are born into, and can be ended through. Of being suspended nothing is said here.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::state::{Entry, Id, Job, Process};
use alloc::vec;
use alloc::vec::Vec;
use graft_abi::{Error, ExitStatus, JOB_LEVELS, JobOperation, Rights};

/// What the maker of a job may do with it.
const RIGHTS: Rights = Rights::WRITE.or(Rights::KILL).or(Rights::DUPLICATE);

impl Step {
    /// `job_create`: a job within those that the caller is in, and how many these are.
    pub(crate) fn job_create(&mut self, process: Id) -> Answer {
        let outer = self.state.get::<Process>(process).jobs.clone();
        if outer.len() == JOB_LEVELS {
            return Err(Error::NotAllowed);
        }
        let level = outer.len() as u64;
        let object = self.state.add(Job { outer });
        Ok(Next::Goes(vec![Expect::Handle(0, Entry { object, rights: RIGHTS }), Expect::X(1, level)]))
    }

    /// `job_enter`: a job directly within the caller's, or none.
    pub(crate) fn job_enter(&mut self, process: Id, handle: u64) -> Answer {
        let births = match handle {
            0 => None,
            _ => Some(self.named::<Job>(process, handle, Rights::WRITE)?),
        };
        if births.is_some_and(|job| self.state.get::<Job>(job).outer != self.state.get::<Process>(process).jobs) {
            return Err(Error::NotAllowed);
        }
        self.state.get_mut::<Process>(process).births = births;
        x0(0)
    }

    /// `job_control`: what to do, the job. The caller may be in it.
    pub(crate) fn job_control(&mut self, process: Id, handle: u64, operation: u64, code: u64) -> Answer {
        let operation = JobOperation::from_number(operation).ok_or(Error::BadArgument)?;
        let job = self.named::<Job>(process, handle, Rights::KILL)?;
        match operation {
            JobOperation::Suspend => unimplemented!("no history suspends a job: see docs/judges.md"),
            JobOperation::Resume => {}
            JobOperation::Kill => {
                let is_in = |(id, process): (Id, &Process)| process.jobs.contains(&job).then_some(id);
                let members: Vec<Id> = self.state.all().filter_map(is_in).collect();
                for member in members {
                    self.end_process(member, ExitStatus::Killed(code as i32));
                }
            }
        }
        x0(0)
    }

    /// The jobs that a process made by this one is born into.
    pub(crate) fn jobs_of_births(&self, maker: Id) -> Vec<Id> {
        let maker = self.state.get::<Process>(maker);
        maker.jobs.iter().copied().chain(maker.births).collect()
    }
}
