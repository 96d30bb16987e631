//! Calls about the life of threads.

#![forbid(unsafe_code)]

use super::outcome::{Next, answer};
use super::wait;
use crate::arch::Context;
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::program;
use crate::sched;
use graft_abi::{Error, Handle, PRIORITIES, Rights};

/// The rights of the handle to a new thread that its maker gets.
const THREAD_RIGHTS: Rights = Rights::WAIT.or(Rights::INSPECT).or(Rights::DUPLICATE).or(Rights::SCHEDULE);

/// `thread_create`: a further thread of a process, made by one of its threads. Its handle is the caller's, which is that
/// thread, or acts for it.
pub(super) fn create(
    caller: &Thread,
    maker: &Thread,
    [entry, stack_top, argument, thread_pointer]: [u64; 4],
) -> Result<u64, Error> {
    let registers = program::registers(entry, stack_top, [argument, 0])?.with_thread_pointer(thread_pointer);
    // Locked to the end: room that is found now is still there when the thread runs.
    let mut handles = caller.process.handles.lock();
    if !handles.has_room() {
        return Err(Error::HandlesExhausted);
    }
    let thread = Thread::new(maker.process.clone(), maker.scheduling(), &registers, |_| {})?;
    Process::start_further(thread.clone())?;
    let handle = handles.insert(thread.erase(), THREAD_RIGHTS)?;
    Ok(handle.0.into())
}

/// `thread_join`: blocks until a thread has ended.
pub(super) fn join(thread: &Thread, registers: &mut Context, handle: Handle) -> Next {
    match thread.process.object::<Thread>(handle, Rights::WAIT) {
        Ok(target) if target.is(thread) => answer(registers, Err(Error::NotAllowed)),
        Ok(target) => wait::until_end(&target, registers),
        Err(error) => answer(registers, Err(error)),
    }
}

/// `schedule`: changes the priority of a thread, and the cores that it runs on.
pub(super) fn schedule(thread: &Thread, handle: Handle, priority: u64, cores: u64) -> Result<u64, Error> {
    let limit = thread.scheduling().limit();
    let priority = u8::try_from(priority).ok().filter(|&priority| usize::from(priority) < PRIORITIES);
    let priority = priority.ok_or(Error::BadArgument)?;
    if priority > limit {
        return Err(Error::NotAllowed);
    }
    let cores = u32::try_from(cores).map_err(|_| Error::BadArgument)?;
    if cores != 0 && cores & sched::online_cores() == 0 {
        return Err(Error::BadArgument);
    }
    if handle == Handle::SELF {
        sched::reschedule(thread, thread.scheduling().with(priority, cores));
        return Ok(0);
    }
    let other = thread.process.object::<Thread>(handle, Rights::SCHEDULE)?;
    sched::reschedule(&other, other.scheduling().with(priority, cores));
    Ok(0)
}
