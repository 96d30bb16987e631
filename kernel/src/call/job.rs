//! Calls about jobs.

#![forbid(unsafe_code)]

use super::outcome::{Next, answer_two, handle};
use crate::arch::Context;
use crate::object::job::{Control, Job, Operation};
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::sched::work::Task;
use graft_abi::{Call, Error, ExitStatus, Handle, JobOperation, Rights};

const JOB_RIGHTS: Rights = Rights::WRITE.or(Rights::KILL).or(Rights::DUPLICATE);

/// `job_create`.
fn create(process: &Process) -> Result<(u64, u64), Error> {
    let job = Job::new(process)?;
    let level = job.level() as u64;
    let handle = process.handles.lock().insert(job.erase(), JOB_RIGHTS)?;
    Ok((handle.0.into(), level))
}

/// `job_enter`.
fn enter(process: &Process, job: Handle) -> Result<(u64, u64), Error> {
    match job {
        Handle::NONE => Job::enter(process, None)?,
        job => Job::enter(process, Some(&*process.object::<Job>(job, Rights::WRITE)?))?,
    }
    Ok((0, 0))
}

/// `job_control`.
fn control(thread: &Thread, job: Handle, operation: u64, code: i32) -> Result<(), Error> {
    let operation = match JobOperation::from_number(operation).ok_or(Error::BadArgument)? {
        JobOperation::Kill => Operation::End(ExitStatus::Killed(code)),
        JobOperation::Suspend => Operation::Suspend,
        JobOperation::Resume => Operation::Resume,
    };
    let job = thread.process.object::<Job>(job, Rights::KILL)?;
    thread.work.give(Some(Task::Control(Control::new(job, operation))));
    Ok(())
}

/// One of these calls. Not inlined: others would have to save the registers that it needs.
#[inline(never)]
pub(super) fn carry_out(thread: &Thread, registers: &mut Context) -> Next {
    let [x0, x1, x2, ..] = registers.arguments();
    let result = match Call::from_number(registers.call_number()) {
        Some(Call::JobCreate) => create(&thread.process),
        // A number that is no handle is not 0.
        Some(Call::JobEnter) if x0 != 0 && handle(x0) == Handle::NONE => Err(Error::BadHandle),
        Some(Call::JobEnter) => enter(&thread.process, handle(x0)),
        Some(Call::JobControl) => match control(thread, handle(x0), x1, x2 as i32) {
            Ok(()) => return Next::Work,
            Err(error) => Err(error),
        },
        _ => Err(Error::BadCall),
    };
    answer_two(registers, result)
}
