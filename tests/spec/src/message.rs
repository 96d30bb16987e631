//! Messages: endpoints, connections, replies.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::request::{Deadline, Request};
use crate::state::{Connection, Endpoint, Id, Message, Process, Reply, Thread, Wait};
use alloc::vec::Vec;
use graft_abi::{Call, Error, ExitStatus, FaultAnswer, FaultKind, Rights};

impl Message {
    fn of(request: &Request) -> Message {
        let [_, words @ .., handle, _, _] = request.x;
        Message { words: words.map(Some), handle }
    }
}

impl Step {
    /// `endpoint_create`.
    pub(crate) fn endpoint_create(&mut self) -> Answer {
        self.made(Endpoint::default(), Rights::READ.or(Rights::DUPLICATE))
    }

    /// `connection_create`.
    pub(crate) fn connection_create(&mut self, process: Id, endpoint: u64, badge: u64) -> Answer {
        let endpoint = self.named::<Endpoint>(process, endpoint, Rights::READ)?;
        self.made(Connection { endpoint, badge, bound: None }, Rights::WRITE.or(Rights::DUPLICATE))
    }

    /// `reply_create`: a forked child does not get it.
    pub(crate) fn reply_create(&mut self, process: Id, endpoint: u64) -> Answer {
        let endpoint = self.named::<Endpoint>(process, endpoint, Rights::READ)?;
        let rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE).or(Rights::NO_INHERIT);
        self.made(Reply { endpoint, open: None }, rights)
    }

    /// Whether the handle of a message can be sent: it must be the sender's, who may duplicate it.
    fn check_moved(&self, process: Id, handle: u64) -> Result<(), Error> {
        match handle {
            0 => Ok(()),
            _ if self.entry(process, handle)?.rights.contains(Rights::DUPLICATE) => Ok(()),
            _ => Err(Error::NoRight),
        }
    }

    /// Moves the handle of a message. One that its sender has given up since then does not arrive.
    fn transfer(&mut self, handle: u64, from: Id, to: Id) -> Expect {
        if handle == 0 || from == to {
            return Expect::X(7, handle);
        }
        match self.entry(from, handle) {
            Ok(entry) if entry.rights.contains(Rights::DUPLICATE) => {
                self.state.get_mut::<Process>(from).handles.remove(&(handle as u32));
                Expect::Handle(7, entry)
            }
            _ => Expect::X(7, 0),
        }
    }

    /// What the receiver of a message finds; a caller finds no badge.
    fn delivered(&mut self, message: Message, from: Id, to: Id, badge: Option<u64>) -> Vec<Expect> {
        let word = |(place, word): (usize, Option<u64>)| word.map(|word| Expect::X(place + 1, word));
        let mut expects: Vec<Expect> = message.words.into_iter().enumerate().filter_map(word).collect();
        expects.push(Expect::X(0, 0));
        expects.push(self.transfer(message.handle, from, to));
        expects.extend(badge.map(|badge| Expect::X(9, badge)));
        expects
    }

    /// Keeps a caller's call. One that was kept there is given up.
    fn keep(&mut self, reply: Id, caller: Id) {
        let number = self.state.call_number();
        self.state.get_mut::<Thread>(caller).wait = Some(Wait::Answer(number));
        let older = self.state.get_mut::<Reply>(reply).open.replace((caller, number));
        self.give_up(older);
    }

    /// The server works as urgently as its caller until it answers or receives again.
    fn lend_priority(&mut self, server: Id, caller: Id) {
        let lent = self.state.get::<Thread>(caller).counts;
        let server = self.state.get_mut::<Thread>(server);
        server.counts = server.own.max(lent);
    }

    /// `call`, `call_lending`: the connection, the handle, then as below.
    pub(crate) fn call(&mut self, thread: Id, request: &Request) -> Answer {
        let process = self.process_of(thread);
        let connection = self.named::<Connection>(process, request.x[0], Rights::WRITE)?;
        self.check_moved(process, request.x[7])?;
        let lends = request.number == Call::CallLending as u64;
        self.state.get_mut::<Thread>(thread).lent = lends.then_some(request.lent);
        self.call_through(thread, connection, Message::of(request), request.deadline)
    }

    /// Whether the endpoint is there, a receiver, and the deadline.
    pub(crate) fn call_through(&mut self, thread: Id, connection: Id, message: Message, until: Deadline) -> Answer {
        let Connection { endpoint, badge, .. } = *self.state.get::<Connection>(connection);
        let Endpoint { closed, ref receivers, bound, .. } = *self.state.get::<Endpoint>(endpoint);
        let count = receivers.len();
        if closed {
            return Err(Error::Gone);
        }
        if count == 0 {
            self.may_wait(thread, until)?;
            // Not every circle is found.
            if until == Deadline::Never && self.closes_circle(thread, connection) && self.choose(2) == 0 {
                return Err(Error::WouldDeadlock);
            }
            self.state.get_mut::<Endpoint>(endpoint).callers.push(thread);
            self.state.get_mut::<Thread>(thread).wait = Some(Wait::Receiver(connection, message));
            self.fires.extend(bound);
            return Ok(Next::Stays);
        }
        let (server, reply) = self.choose_receiver(endpoint);
        let expects = self.delivered(message, self.process_of(thread), self.process_of(server), Some(badge));
        self.wake_with(server, expects);
        self.lend_priority(server, thread);
        self.keep(reply, thread);
        // It waits, but not for long.
        if until != Deadline::Never {
            self.expires = Some(thread);
        }
        Ok(Next::Stays)
    }

    /// Any of those that wait.
    fn choose_receiver(&mut self, endpoint: Id) -> (Id, Id) {
        let chosen = self.choose(self.state.get::<Endpoint>(endpoint).receivers.len());
        let server = self.state.get::<Endpoint>(endpoint).receivers[chosen];
        match self.state.get::<Thread>(server).wait {
            Some(Wait::Message(reply)) => (server, reply),
            _ => unreachable!("receivers wait for messages"),
        }
    }

    /// `send`: the connection, the handle, whether the endpoint is there, and a receiver.
    pub(crate) fn send(&mut self, thread: Id, request: &Request) -> Answer {
        let process = self.process_of(thread);
        let connection = self.named::<Connection>(process, request.x[0], Rights::WRITE)?;
        self.check_moved(process, request.x[7])?;
        let Connection { endpoint, badge, .. } = *self.state.get::<Connection>(connection);
        if self.state.get::<Endpoint>(endpoint).closed {
            return Err(Error::Gone);
        }
        if self.state.get::<Endpoint>(endpoint).receivers.is_empty() {
            return Err(Error::NotReady);
        }
        let (server, _) = self.choose_receiver(endpoint);
        let expects = self.delivered(Message::of(request), process, self.process_of(server), Some(badge));
        self.wake_with(server, expects);
        x0(0)
    }

    /// `receive`: a call that is kept there ends, and with it the caller's priority.
    pub(crate) fn receive(&mut self, thread: Id, request: &Request) -> Answer {
        let reply = self.named::<Reply>(self.process_of(thread), request.x[0], Rights::READ)?;
        let older = self.state.get_mut::<Reply>(reply).open.take();
        self.give_up(older);
        self.return_priority(thread);
        self.take_message(thread, reply, request.deadline)
    }

    /// Whether the endpoint is there, the first call in line, the deadline.
    fn take_message(&mut self, thread: Id, reply: Id, until: Deadline) -> Answer {
        // The call that was kept may have been the fault of its own process.
        if !self.lives(thread) {
            return Ok(Next::Stays);
        }
        let endpoint = self.state.get::<Reply>(reply).endpoint;
        if self.state.get::<Endpoint>(endpoint).closed {
            return Err(Error::Gone);
        }
        let Some(&caller) = self.state.get::<Endpoint>(endpoint).callers.first() else {
            self.may_wait(thread, until)?;
            self.state.get_mut::<Endpoint>(endpoint).receivers.push(thread);
            self.state.get_mut::<Thread>(thread).wait = Some(Wait::Message(reply));
            return Ok(Next::Stays);
        };
        let Some(Wait::Receiver(connection, message)) = self.state.get::<Thread>(caller).wait else {
            unreachable!("callers wait for a receiver")
        };
        self.unblock(caller);
        let badge = self.state.get::<Connection>(connection).badge;
        let expects = self.delivered(message, self.process_of(caller), self.process_of(thread), Some(badge));
        self.lend_priority(thread, caller);
        self.keep(reply, caller);
        Ok(Next::Goes(expects))
    }

    /// `reply`: the reply, the handle, whether a call is kept, whether its caller waits.
    pub(crate) fn reply(&mut self, thread: Id, request: &Request) -> Answer {
        let reply = self.named::<Reply>(self.process_of(thread), request.x[0], Rights::WRITE)?;
        self.answer(thread, reply, request)?;
        x0(0)
    }

    /// `reply_receive`: both. That the caller waits no longer is no error here.
    pub(crate) fn reply_receive(&mut self, thread: Id, request: &Request) -> Answer {
        let rights = Rights::READ.or(Rights::WRITE);
        let reply = self.named::<Reply>(self.process_of(thread), request.x[0], rights)?;
        match self.answer(thread, reply, request) {
            Ok(()) | Err(Error::Gone) => self.take_message(thread, reply, request.deadline),
            Err(error) => Err(error),
        }
    }

    /// The answer goes to the caller; a call is answered once.
    fn answer(&mut self, thread: Id, reply: Id, request: &Request) -> Result<(), Error> {
        let process = self.process_of(thread);
        self.check_moved(process, request.x[7])?;
        let open = self.state.get_mut::<Reply>(reply).open.take();
        if open.is_none() {
            return Err(Error::NotFound);
        }
        self.return_priority(thread);
        let caller = self.still_waits(open).ok_or(Error::Gone)?;
        match self.state.get_mut::<Thread>(caller).stopped.take() {
            None => {
                let expects = self.delivered(Message::of(request), process, self.process_of(caller), None);
                self.wake_with(caller, expects);
            }
            Some(x0) => self.answer_fault(caller, x0, request.x[1], request.x[2]),
        }
        Ok(())
    }

    /// A thread that was stopped goes on, goes on as if a call had returned, or ends with its process.
    fn answer_fault(&mut self, thread: Id, x0: u64, answer: u64, value: u64) {
        const GO_ON: u64 = FaultAnswer::GoOn as u64;
        const RETURN: u64 = FaultAnswer::Return as u64;
        match answer {
            GO_ON => self.wake_with(thread, Vec::from([Expect::X(0, x0)])),
            RETURN => self.wake_with(thread, Vec::from([Expect::X(0, value)])),
            _ => {
                self.unblock(thread);
                self.end_process(self.process_of(thread), ExitStatus::Faulted(FaultKind::ForeignCall));
            }
        }
    }
}
