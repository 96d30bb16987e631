//! From numbers to calls.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::request::{Request, Trap};
use crate::state::{Id, Process};
use alloc::vec;
use graft_abi::{Call, Error};

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
            // Nothing is promised here about the rest: see docs/judges.md.
            other => unimplemented!("{other:?} is not specified"),
        }
    }
}
