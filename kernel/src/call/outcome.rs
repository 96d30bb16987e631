//! What calls have in common: what follows them, how they are answered, and what they name.

#![forbid(unsafe_code)]

use crate::arch::Context;
use crate::memory::left;
use crate::memory::space::{self, Obstacle};
use crate::object::Ref;
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::sched::work::Task;
use graft_abi::{Error, ExitStatus, Handle, Rights};

/// What happens after a trap.
pub enum Next {
    /// The thread goes on. A call has changed none of its registers but those that a call may change.
    Resume,
    /// The call was refused for want of memory. Nothing has changed, its arguments are still in the registers.
    WantMemory,
    /// It was refused for good.
    NoMemory,
    /// The thread goes on with other registers.
    Restart,
    /// The thread has been taken off this core, which runs the one with these registers.
    Resumed(*mut Context),
    /// The thread has been taken off this core; the next one runs.
    Switch,
    /// The thread has been taken off this core; this one, which is the core's, runs in what is left of its slice.
    SwitchTo(Ref<Thread>),
    /// The thread goes on later; this one, which is the core's, runs first.
    GiveWayTo(Ref<Thread>),
    /// The thread's process is ending.
    End,
    /// The thread ends with this value.
    EndThread(u64),
    /// The thread has work to do in the kernel before it goes on.
    Work,
    /// The thread lets others go first.
    GiveWay,
    /// The thread stands aside for a moment, and then goes on.
    Pause,
    /// The thread sleeps until this moment, in nanoseconds since the counter started.
    Sleep(u64),
}

/// The handle in a register. One that does not fit its 32 bits names nothing.
#[inline(always)]
pub(super) fn handle(register: u64) -> Handle {
    u32::try_from(register).map_or(Handle::NONE, Handle)
}

#[inline(always)]
pub(super) fn answer(registers: &mut Context, result: Result<u64, Error>) -> Next {
    match result {
        Ok(first) => {
            registers.set_result(first);
            Next::Resume
        }
        Err(error) => refuse(registers, error),
    }
}

#[inline(always)]
pub(super) fn answer_two(registers: &mut Context, result: Result<(u64, u64), Error>) -> Next {
    match result {
        Ok((first, second)) => {
            registers.set_results([first, second]);
        }
        Err(error) => return refuse(registers, error),
    }
    Next::Resume
}

/// What has become of a call that may take long.
pub(super) enum Outcome {
    /// It is done, with these results.
    Done((u64, u64)),
    /// The calling thread has been given the rest as its work.
    Begun,
    /// Another thread of the process is in the middle of an operation on its memory: the call is made again.
    Busy,
    /// Room has not been found yet: the call is made again, and the search goes on.
    Searching,
}

#[inline(always)]
pub(super) fn outcome(thread: &Thread, registers: &mut Context, result: Result<Outcome, Error>) -> Next {
    let next = match result {
        Ok(Outcome::Done((first, second))) => {
            registers.set_results([first, second]);
            Next::Resume
        }
        Ok(Outcome::Begun) => return Next::Work,
        Ok(Outcome::Busy) => again_later(registers),
        Ok(Outcome::Searching) => {
            registers.rewind();
            Next::Restart
        }
        Err(error) => refuse_noted(thread, registers, error),
    };
    tidy(thread, next)
}

/// Has the thread free what its call has left before it goes on.
#[inline(always)]
pub(super) fn tidy(thread: &Thread, next: Next) -> Next {
    if left::has_left() { tidy_first(thread, next) } else { next }
}

#[cold]
fn tidy_first(thread: &Thread, next: Next) -> Next {
    // That may be the memory that the call has wanted.
    let task = matches!(next, Next::WantMemory).then_some(Task::Refuse(Error::OutOfMemory));
    thread.work.give(task);
    Next::Work
}

/// Has a thread make its call again, after the others, for what another core is about to do.
#[cold]
pub fn again(registers: &mut Context) -> Next {
    registers.rewind();
    Next::GiveWay
}

/// Has a thread make its call again later, for what another thread is in the middle of. That one may be less urgent,
/// and has its turn meanwhile.
#[cold]
pub fn again_later(registers: &mut Context) -> Next {
    registers.rewind();
    Next::Pause
}

/// Has a thread make a call again that has met an obstacle.
#[cold]
pub fn again_behind(obstacle: Obstacle, registers: &mut Context) -> Next {
    match obstacle {
        Obstacle::Absence => again_later(registers),
        Obstacle::Tables => {
            registers.rewind();
            Next::Restart
        }
    }
}

/// As [`refuse`], of a call that may have met an obstacle and is then made again.
#[cold]
#[inline(never)]
pub(super) fn refuse_or_again(registers: &mut Context, error: Error) -> Next {
    match (error, space::met_obstacle()) {
        (Error::OutOfMemory, Some(obstacle)) => again_behind(obstacle, registers),
        _ => refuse(registers, error),
    }
}

/// A refused call has changed nothing; one that was refused for want of memory may be tried again.
///
/// Not inlined: what it needs would be prepared on the way of every call.
#[cold]
#[inline(never)]
pub(super) fn refuse(registers: &mut Context, error: Error) -> Next {
    if error == Error::OutOfMemory {
        return Next::WantMemory;
    }
    registers.set_result(error.to_register());
    Next::Resume
}

/// As [`refuse`], of a call that may have noted something for when it is made again.
#[cold]
#[inline(never)]
fn refuse_noted(thread: &Thread, registers: &mut Context, error: Error) -> Next {
    if error != Error::OutOfMemory {
        thread.work.forget();
    }
    refuse(registers, error)
}

/// Ends the calling process.
pub(super) fn end(thread: &Thread, status: ExitStatus) -> Next {
    thread.process.terminate(status, thread);
    Next::End
}

/// The process that a handle names, the caller's own for [`Handle::SELF`].
pub(super) fn named_process(thread: &Thread, handle: Handle, needed: Rights) -> Result<Ref<Process>, Error> {
    if handle == Handle::SELF { Ok(thread.process.clone()) } else { thread.process.object(handle, needed) }
}
