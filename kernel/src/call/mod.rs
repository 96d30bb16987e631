//! System calls: from registers to typed arguments, and back.
//!
//! Nothing that a program passes is believed: numbers are checked here, addresses where they are used.

#![forbid(unsafe_code)]

mod console;
mod device;
mod handle;
mod memory;
mod message;
mod process;
mod snapshot;
mod statistics;
mod supervise;
mod thread;
mod wait;

use crate::arch::{Context, timer};
use crate::memory::left;
use crate::object::Ref;
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::sched::work::Task;
use graft_abi::{Call, Error, ExitStatus, Handle, Rights};
pub use process::{Launch, Launched, complete_fork};
use snapshot::Restored;
pub use snapshot::{complete as complete_snapshot, complete_restore, restore_at_once};
use statistics::Look;

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
    /// The thread sleeps until this moment, in nanoseconds since the counter started.
    Sleep(u64),
}

/// Carries out the call that a thread's registers ask for.
#[inline(always)]
pub fn dispatch(thread: &Thread, registers: &mut Context) -> Next {
    let Some(call) = Call::from_number(registers.call_number()) else {
        return unknown(registers);
    };
    let [x0, x1, x2, x3, ..] = registers.arguments();
    let process = &thread.process;
    match call {
        Call::Identify => answer(registers, Ok(process.identifier())),
        Call::Clock => answer(registers, Ok(timer::now())),
        Call::Exit => end(thread, ExitStatus::Exited(x0 as i32)),
        Call::Fork => {
            let result = process::fork(thread, registers, handle(x0), x1, x2);
            outcome(thread, registers, result)
        }
        Call::Snapshot => {
            let result = snapshot::take(thread, registers, handle(x0), x1, x2);
            outcome(thread, registers, result)
        }
        Call::Restore => match snapshot::restore(thread, registers, handle(x0), handle(x1), x2) {
            Ok(Restored::Done) => tidy(thread, Next::Restart),
            Ok(Restored::Begun) => Next::Work,
            Err(error) => outcome(thread, registers, Err(error)),
        },
        Call::Spawn => outcome(thread, registers, process::spawn(thread, x0)),
        Call::Exec => outcome(thread, registers, process::exec(thread, x0)),
        Call::Wait => process::wait_for(process, registers, handle(x0)),
        Call::Kill => process::kill(thread, registers, handle(x0), x1 as i32),
        Call::Yield => {
            registers.set_result(0);
            Next::GiveWay
        }
        Call::Sleep => {
            registers.set_result(0);
            Next::Sleep(timer::now().saturating_add(x0))
        }
        Call::ThreadCreate => answer(registers, thread::create(thread, x0, x1, x2, x3)),
        Call::ThreadExit => Next::EndThread(x0),
        Call::ThreadJoin => thread::join(thread, registers, handle(x0)),
        Call::Map => outcome(thread, registers, memory::map(thread, x0, x1, x2, x3)),
        Call::Unmap => outcome(thread, registers, memory::unmap(thread, x0, x1)),
        Call::Protect => outcome(thread, registers, memory::protect(thread, x0, x1, x2)),
        Call::MapObject => outcome(thread, registers, memory::map_object(thread, handle(x0), x1, x2)),
        Call::Discard => outcome(thread, registers, memory::discard(thread, x0, x1)),
        Call::Move => outcome(thread, registers, memory::relocate(thread, x0, x1, x2)),
        Call::MemoryCreate => create_memory(thread, registers, x0),
        Call::ConsoleWrite => answer(registers, console::write(process, handle(x0), x1, x2)),
        Call::ConsoleRead => console::read(process, registers, handle(x0), x1, x2),
        Call::Close => {
            let closed = handle::close(process, handle(x0));
            tidy(thread, answer(registers, closed))
        }
        Call::Duplicate => answer(registers, handle::duplicate(thread, handle(x0), Rights(x1 as u32))),
        Call::ProcessInfo => answer(registers, statistics::process_info(thread, handle(x0), x1)),
        Call::Tables => look(registers, statistics::tables(thread, handle(x0), x1)),
        Call::MemorySizes => look(registers, statistics::memory_sizes(thread, handle(x0), x1)),
        Call::SystemInfo => answer(registers, statistics::system_info(process, handle(x0), x1)),
        Call::EndpointCreate
        | Call::ConnectionCreate
        | Call::ReplyCreate
        | Call::Call
        | Call::Receive
        | Call::Reply
        | Call::ReplyReceive
        | Call::Send
        | Call::NotificationCreate
        | Call::Notify
        | Call::NotificationWait
        | Call::NotificationBind
        | Call::WaitOn
        | Call::Wake => message::carry_out(thread, registers),
        Call::Supervise | Call::FaultRegisters | Call::ProcessRead | Call::ProcessWrite => {
            supervise::carry_out(thread, registers)
        }
        Call::InterruptCreate
        | Call::InterruptAcknowledge
        | Call::DeviceCreate
        | Call::DmaCreate
        | Call::MemoryAddress
        | Call::DeviceTree => device::carry_out(thread, registers),
        Call::Schedule => give_way(answer(registers, thread::schedule(thread, handle(x0), x1, x2))),
        Call::NextProcess => answer_two(registers, statistics::next_process(process, handle(x0), x1)),
    }
}

/// Carries out the call of a thread that carries a message, if it is one of those.
pub fn dispatch_message(thread: &Thread, registers: &mut Context) -> Next {
    message::carry_out(thread, registers)
}

/// `memory_create`. Not inlined: what it needs would be prepared on the way of every call.
#[inline(never)]
fn create_memory(thread: &Thread, registers: &mut Context, bytes: u64) -> Next {
    if memory::is_hopeless(bytes) {
        return Next::NoMemory;
    }
    outcome(thread, registers, memory::create(thread, bytes))
}

/// Has the thread give way to others if it goes on.
#[cold]
fn give_way(next: Next) -> Next {
    if let Next::Resume = next { Next::GiveWay } else { next }
}

/// The handle in a register. One that does not fit its 32 bits names nothing.
#[inline(always)]
fn handle(register: u64) -> Handle {
    u32::try_from(register).map_or(Handle::NONE, Handle)
}

#[inline(always)]
fn answer(registers: &mut Context, result: Result<u64, Error>) -> Next {
    match result {
        Ok(first) => {
            registers.set_result(first);
            Next::Resume
        }
        Err(error) => refuse(registers, error),
    }
}

#[inline(always)]
fn answer_two(registers: &mut Context, result: Result<(u64, u64), Error>) -> Next {
    match result {
        Ok((first, second)) => {
            registers.set_results([first, second]);
        }
        Err(error) => return refuse(registers, error),
    }
    Next::Resume
}

#[cold]
fn look(registers: &mut Context, result: Result<Look, Error>) -> Next {
    match result {
        Ok(Look::Done(value)) => answer(registers, Ok(value)),
        Ok(Look::Busy) => again(registers),
        Err(error) => answer(registers, Err(error)),
    }
}

/// In a function of its own, so that no other call has to carry the constant.
#[cold]
#[inline(never)]
fn unknown(registers: &mut Context) -> Next {
    answer(registers, Err(Error::BadCall))
}

/// What has become of a call that may take long.
enum Outcome {
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
fn outcome(thread: &Thread, registers: &mut Context, result: Result<Outcome, Error>) -> Next {
    let next = match result {
        Ok(Outcome::Done((first, second))) => {
            registers.set_results([first, second]);
            Next::Resume
        }
        Ok(Outcome::Begun) => return Next::Work,
        Ok(Outcome::Busy) => again(registers),
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
fn tidy(thread: &Thread, next: Next) -> Next {
    if left::has_left() { tidy_first(thread, next) } else { next }
}

#[cold]
fn tidy_first(thread: &Thread, next: Next) -> Next {
    // That may be the memory that the call has wanted.
    let task = matches!(next, Next::WantMemory).then_some(Task::Refuse(Error::OutOfMemory));
    thread.work.give(task);
    Next::Work
}

/// Has a thread make its call again, after the others.
#[cold]
pub fn again(registers: &mut Context) -> Next {
    registers.rewind();
    Next::GiveWay
}

/// A refused call has changed nothing; one that was refused for want of memory may be tried again.
///
/// Not inlined: what it needs would be prepared on the way of every call.
#[cold]
#[inline(never)]
fn refuse(registers: &mut Context, error: Error) -> Next {
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
fn end(thread: &Thread, status: ExitStatus) -> Next {
    thread.process.terminate(status, thread);
    Next::End
}

/// The process that a handle names, the caller's own for [`Handle::SELF`].
fn named_process(thread: &Thread, handle: Handle, needed: Rights) -> Result<Ref<Process>, Error> {
    if handle == Handle::SELF { Ok(thread.process.clone()) } else { thread.process.object(handle, needed) }
}
