//! From numbers to calls.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::request::{Request, Trap};
use crate::state::{Id, Process};
use alloc::vec;
use graft_abi::{Call, Error};

/// The calls that are specified.
pub const SPECIFIED: &[Call] = &[
    Call::Identify,
    Call::Clock,
    Call::Yield,
    Call::Sleep,
    Call::Exit,
    Call::Kill,
    Call::Wait,
    Call::Fork,
    Call::ProcessInfo,
    Call::Snapshot,
    Call::Restore,
    Call::ThreadCreate,
    Call::ThreadExit,
    Call::ThreadJoin,
    Call::ThreadInfo,
    Call::Schedule,
    Call::Map,
    Call::Unmap,
    Call::Protect,
    Call::MapObject,
    Call::Discard,
    Call::Move,
    Call::MemoryCreate,
    Call::Close,
    Call::Duplicate,
    Call::EndpointCreate,
    Call::ConnectionCreate,
    Call::ReplyCreate,
    Call::Call,
    Call::CallLending,
    Call::Receive,
    Call::Reply,
    Call::ReplyReceive,
    Call::Send,
    Call::NotificationCreate,
    Call::Notify,
    Call::NotificationWait,
    Call::NotificationBind,
    Call::WaitOn,
    Call::Wake,
    Call::Supervise,
    Call::ProcessRead,
    Call::ProcessWrite,
    Call::LentRead,
    Call::LentWrite,
    Call::JobCreate,
    Call::JobEnter,
    Call::JobControl,
];

/// Those that are not, each with the reason.
pub const NOT_SPECIFIED: &[(Call, &str)] = &[
    (Call::Spawn, IMAGE),
    (Call::Exec, IMAGE),
    (Call::SpawnWarm, IMAGE),
    (
        Call::FaultRegisters,
        "stores more than the driver's buffer holds, at a program counter that the driver alone knows",
    ),
    (
        Call::OnBehalf,
        "carries out other calls in the place of a stopped thread, of which histories do not make enough yet",
    ),
    (Call::ConsoleWrite, MACHINE),
    (Call::SystemInfo, MACHINE),
    (Call::NextProcess, MACHINE),
    (Call::Trace, MACHINE),
    (Call::TraceSwitch, MACHINE),
    (Call::InterruptCreate, MACHINE),
    (Call::InterruptAcknowledge, MACHINE),
    (Call::DeviceCreate, MACHINE),
    (Call::DmaCreate, MACHINE),
    (Call::MemoryAddress, MACHINE),
    (Call::DeviceTree, MACHINE),
    (Call::Reset, MACHINE),
    (Call::Tables, FRAMES),
    (Call::MemorySizes, FRAMES),
];
const IMAGE: &str = "makes memory of segments, of which the driver's own program would have to be one";
const MACHINE: &str = "needs the handle to the system, or its console: no history has it";
const FRAMES: &str = "tells how memory is kept, which no call promises";

impl Step {
    /// What a thread's registers ask for.
    pub(crate) fn carry_out(&mut self, thread: Id, request: &Request) -> Answer {
        let process = self.process_of(thread);
        let [a, b, c, d, ..] = request.x;
        if request.trap == Trap::Foreign {
            return self.foreign_call(thread, request);
        }
        match Call::from_number(request.number).ok_or(Error::BadCall)? {
            Call::Identify => x0(self.state.get::<Process>(process).identifier),
            Call::Clock => Ok(Next::Goes(vec![Expect::Success])),
            Call::Yield | Call::Sleep => x0(0),
            Call::Exit => self.exit(process, a),
            Call::Kill => self.kill(process, a, b),
            Call::Wait => self.wait(thread, a),
            Call::Fork => self.fork(thread, a, b, c, request.newcomer),
            Call::ProcessInfo => self.process_info(process, a, b),
            Call::Snapshot => self.snapshot(thread, a, b, c),
            Call::Restore => self.restore(thread, a, b, c),
            Call::ThreadCreate => self.thread_create(thread, a, b, c),
            Call::ThreadExit => self.thread_exit(thread, a),
            Call::ThreadJoin => self.thread_join(thread, a),
            Call::ThreadInfo => self.thread_info(thread, a, b),
            Call::Schedule => self.schedule(thread, a, b, c),
            Call::Map => self.map(process, a, b, c, d),
            Call::Unmap => self.unmap(process, a, b),
            Call::Protect => self.protect(process, a, b, c),
            Call::MapObject => self.map_object(process, a, b, c),
            Call::Discard => self.discard(process, a, b),
            Call::Move => self.relocate(process, a, b, c),
            Call::MemoryCreate => self.memory_create(a),
            Call::Close => self.close(thread, a),
            Call::Duplicate => self.duplicate(process, a, b),
            Call::EndpointCreate => self.endpoint_create(),
            Call::ConnectionCreate => self.connection_create(process, a, b),
            Call::ReplyCreate => self.reply_create(process, a),
            Call::Call | Call::CallLending => self.call(thread, request),
            Call::Receive => self.receive(thread, request),
            Call::Reply => self.reply(thread, request),
            Call::ReplyReceive => self.reply_receive(thread, request),
            Call::Send => self.send(thread, request),
            Call::NotificationCreate => self.notification_create(),
            Call::Notify => self.notify(process, a, b),
            Call::NotificationWait => self.notification_wait(thread, request),
            Call::NotificationBind => self.notification_bind(process, a, b, c),
            Call::WaitOn => self.wait_on(thread, request),
            Call::Wake => self.wake(process, a),
            Call::Supervise => self.supervise(process, a, b),
            Call::ProcessRead => self.process_read(process, a, b, c, d),
            Call::ProcessWrite => self.process_write(process, request),
            Call::LentRead => self.lent_read(process, request),
            Call::LentWrite => self.lent_write(process, request),
            Call::JobCreate => self.job_create(process),
            Call::JobEnter => self.job_enter(process, a),
            Call::JobControl => self.job_control(process, a, b, c),
            other => unimplemented!("{other:?} is not specified"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_specified_or_there_is_a_reason() {
        for call in Call::ALL {
            let times =
                SPECIFIED.iter().chain(NOT_SPECIFIED.iter().map(|(call, _)| call)).filter(|other| *other == call);
            assert_eq!(times.count(), 1, "{call:?}");
        }
    }
}
