//! System calls: from registers to typed arguments, and back.
//!
//! Nothing that a program passes is believed: numbers are checked here, addresses where they are used.

#![forbid(unsafe_code)]

mod child;
mod console;
mod device;
mod handle;
mod job;
mod memory;
mod message;
mod outcome;
mod process;
mod snapshot;
mod statistics;
mod supervise;
mod thread;
mod wait;

use crate::arch::{Context, timer};
use crate::ipc::lent::Way;
use crate::object::thread::Thread;
use graft_abi::{Call, Error, ExitStatus, Rights};
pub use outcome::{Next, again, again_behind, again_later};
use outcome::{answer, answer_two, end, handle, outcome, tidy};
use snapshot::Restored;
use statistics::Look;

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
        Call::SpawnWarm => outcome(thread, registers, process::spawn_warm(thread, x0, handle(x1))),
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
        Call::ThreadCreate => answer(registers, thread::create(thread, thread, [x0, x1, x2, x3])),
        Call::ThreadExit => Next::EndThread(x0),
        Call::ThreadJoin => thread::join(thread, registers, handle(x0)),
        Call::Map => outcome(thread, registers, memory::map(thread, process, x0, x1, x2, x3)),
        Call::Unmap => outcome(thread, registers, memory::unmap(thread, process, x0, x1)),
        Call::Protect => outcome(thread, registers, memory::protect(thread, process, x0, x1, x2)),
        Call::MapObject => outcome(thread, registers, memory::map_object(thread, process, handle(x0), x1, x2)),
        Call::Discard => outcome(thread, registers, memory::discard(thread, process, x0, x1)),
        Call::Move => outcome(thread, registers, memory::relocate(thread, process, x0, x1, x2)),
        Call::MemoryCreate => create_memory(thread, registers, x0),
        Call::ConsoleWrite => answer(registers, console::write(process, handle(x0), x1, x2)),
        Call::Close => {
            let closed = handle::close(process, handle(x0));
            tidy(thread, answer(registers, closed))
        }
        Call::Duplicate => answer(registers, handle::duplicate(thread, handle(x0), Rights(x1 as u32))),
        Call::ProcessInfo => answer(registers, statistics::process_info(thread, handle(x0), x1)),
        Call::ThreadInfo => answer(registers, statistics::thread_info(thread, handle(x0), x1)),
        Call::Tables => look(registers, statistics::tables(thread, handle(x0), x1)),
        Call::MemorySizes => look(registers, statistics::memory_sizes(thread, handle(x0), x1)),
        Call::SystemInfo => answer(registers, statistics::system_info(process, handle(x0), x1)),
        Call::Notify => message::notify(thread, registers),
        Call::EndpointCreate
        | Call::ConnectionCreate
        | Call::ReplyCreate
        | Call::Call
        | Call::Receive
        | Call::Reply
        | Call::ReplyReceive
        | Call::Send
        | Call::NotificationCreate
        | Call::NotificationWait
        | Call::NotificationBind
        | Call::WaitOn
        | Call::Wake
        | Call::CallLending => message::carry_out(thread, registers),
        Call::LentRead => message::copy_lent(thread, registers, Way::Read),
        Call::LentWrite => message::copy_lent(thread, registers, Way::Write),
        Call::Supervise | Call::FaultRegisters | Call::ProcessRead | Call::ProcessWrite | Call::OnBehalf => {
            supervise::carry_out(thread, registers)
        }
        Call::InterruptCreate
        | Call::InterruptAcknowledge
        | Call::DeviceCreate
        | Call::DmaCreate
        | Call::MemoryAddress
        | Call::DeviceTree
        | Call::Reset => device::carry_out(thread, registers),
        Call::Schedule => give_way(answer(registers, thread::schedule(thread, handle(x0), x1, x2))),
        Call::JobCreate | Call::JobEnter | Call::JobControl => job::carry_out(thread, registers),
        Call::Trace => answer(registers, statistics::trace(process, handle(x0), x1)),
        Call::TraceSwitch => answer(registers, statistics::trace_switch(process, handle(x0), x1)),
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

#[cold]
fn look(registers: &mut Context, result: Result<Look, Error>) -> Next {
    match result {
        Ok(Look::Done(value)) => answer(registers, Ok(value)),
        Ok(Look::Busy) => again_later(registers),
        Err(error) => answer(registers, Err(error)),
    }
}

/// In a function of its own, so that no other call has to carry the constant.
#[cold]
#[inline(never)]
fn unknown(registers: &mut Context) -> Next {
    answer(registers, Err(Error::BadCall))
}
