//! Ends: an object ends with the last reference to it, and what is bound to an end is told.

use crate::outcome::{Expect, Return, Step};
use crate::state::{
    Binding, Connection, Content, Endpoint, Entry, Id, Notification, Object, Process, Reply, Thread, Wait,
};
use alloc::vec;
use alloc::vec::Vec;
use graft_abi::{Error, ExitStatus, FaultKind};

impl Step {
    /// What follows a call before anything else happens.
    pub(crate) fn settle(&mut self) {
        self.settle_now();
        if let Some(thread) = self.expires.take()
            && self.state.is::<Thread>(thread)
            && self.state.get::<Thread>(thread).wait.is_some()
        {
            self.refuse(thread, Error::TimedOut);
            self.settle_now();
        }
    }

    fn settle_now(&mut self) {
        loop {
            self.end_dying();
            while self.end_unreferenced() {}
            if !self.dying.is_empty() {
                continue;
            }
            if self.fires.is_empty() {
                return;
            }
            // In which order is not promised; it shows where a thread waits.
            let waits = |binding: &&Binding| !self.state.get::<Notification>(binding.notification).waiters.is_empty();
            let shows = self.fires.len() > 1 && self.fires.iter().any(|binding| waits(&binding));
            let next = if shows { self.choose(self.fires.len()) } else { 0 };
            let Binding { notification, bits } = self.fires.remove(next);
            self.set_bits(notification, bits);
        }
    }

    fn end_dying(&mut self) {
        while let Some(process) = self.dying.pop() {
            self.end_process(process, ExitStatus::Faulted(FaultKind::ForeignCall));
        }
    }

    /// Ends one object that nothing leads to any more.
    fn end_unreferenced(&mut self) -> bool {
        let lives = |id: &Id| match &self.state.objects[id] {
            Object::Process(process) => process.status.is_none(),
            Object::Thread(thread) => thread.ended.is_none(),
            // What is closed stays for those who find it closed.
            Object::Endpoint(endpoint) => endpoint.closed,
            _ => false,
        };
        let found = self.state.objects.keys().copied().find(|id| !lives(id) && !self.is_referenced(*id));
        let Some(id) = found else { return false };
        match self.state.objects[&id].clone() {
            // Every call that waits there, and every later one, answers `Gone`.
            Object::Endpoint(endpoint) => {
                *self.state.get_mut(id) = Endpoint { closed: true, ..Endpoint::default() };
                for thread in endpoint.callers.into_iter().chain(endpoint.receivers) {
                    self.refuse(thread, Error::Gone);
                }
                return true;
            }
            Object::Connection(connection) => self.fires.extend(connection.bound),
            Object::Reply(reply) => self.give_up(reply.open),
            _ => {}
        }
        self.state.objects.remove(&id);
        true
    }

    /// Whether something leads to an object: handles, also on their way, mappings, waits, bindings.
    pub(crate) fn is_referenced(&self, id: Id) -> bool {
        let bound = |binding: &Option<Binding>| binding.is_some_and(|binding| binding.notification == id);
        let named = |entry: &Entry| entry.object == id;
        let shared = |content: Content| matches!(content, Content::Shared(memory, _) if memory == id);
        let on_its_way = |expect: &Expect| match expect {
            Expect::Handle(_, entry) => entry.object == id,
            Expect::Place(_, pages) => pages.iter().any(|(_, page)| shared(page.content)),
            _ => false,
        };
        let leads = |object: &Object| match object {
            Object::Process(process) => {
                process.handles.values().any(named)
                    || process.pages.values().any(|page| shared(page.content))
                    || process.supervisor == Some(id)
                    || bound(&process.bound)
            }
            // What is left of a thread keeps what is left of its process.
            Object::Thread(thread) => {
                thread.process == id
                    || bound(&thread.bound)
                    || match thread.wait {
                        Some(
                            Wait::End(other) | Wait::Receiver(other, _) | Wait::Message(other) | Wait::Bits(other),
                        ) => other == id,
                        _ => false,
                    }
            }
            Object::Endpoint(endpoint) => bound(&endpoint.bound),
            Object::Connection(connection) => bound(&connection.bound),
            Object::Reply(reply) => reply.open.is_some_and(|(caller, _)| caller == id),
            Object::Notification(_) | Object::Memory(_) | Object::Job(_) => false,
            Object::Snapshot(snapshot) => snapshot.pages.values().any(|page| shared(page.content)),
        };
        let returns = |Return { expects, .. }: &Return| expects.iter().any(on_its_way);
        self.fires.iter().any(|binding| binding.notification == id)
            || self.returns.iter().any(returns)
            || self.state.objects.values().any(leads)
    }

    /// Takes a thread out of what it waits in.
    pub(crate) fn unblock(&mut self, thread: Id) {
        let Some(wait) = self.state.get_mut::<Thread>(thread).wait.take() else { return };
        let gone = |list: &mut Vec<Id>| list.retain(|&other| other != thread);
        match wait {
            Wait::Receiver(connection, _) => {
                let endpoint = self.state.get::<Connection>(connection).endpoint;
                gone(&mut self.state.get_mut::<Endpoint>(endpoint).callers);
            }
            Wait::Message(reply) => {
                let endpoint = self.state.get::<Reply>(reply).endpoint;
                gone(&mut self.state.get_mut::<Endpoint>(endpoint).receivers);
            }
            Wait::Bits(notification) => gone(&mut self.state.get_mut::<Notification>(notification).waiters),
            Wait::Word(_) => {
                let process = self.process_of(thread);
                gone(&mut self.state.get_mut::<Process>(process).words);
            }
            Wait::End(_) | Wait::Answer(_) => {}
        }
    }

    /// Ends a thread's wait, which goes on with this.
    pub(crate) fn wake_with(&mut self, thread: Id, expects: Vec<Expect>) {
        self.unblock(thread);
        self.state.get_mut::<Thread>(thread).lent = None;
        self.goes_on(thread, expects);
    }

    /// Ends a thread's wait with an error. One that is stopped at a fault takes its process along.
    pub(crate) fn refuse(&mut self, thread: Id, error: Error) {
        if !self.lives(thread) {
            return;
        }
        self.unblock(thread);
        if self.state.get::<Thread>(thread).stopped.is_some() {
            // Its process ends by itself: at once, or while whoever has refused it goes on.
            self.dying.push(self.process_of(thread));
            if self.choose(2) == 0 {
                self.end_dying();
            }
            return;
        }
        self.wake_with(thread, vec![Expect::X(0, error.to_register())]);
    }

    /// Ends a call that a reply has kept, if its caller still waits, with `Gone`.
    pub(crate) fn give_up(&mut self, open: Option<(Id, u64)>) {
        if let Some(caller) = self.still_waits(open) {
            self.refuse(caller, Error::Gone);
        }
    }

    /// The caller of a call that is kept, if it waits for the answer.
    pub(crate) fn still_waits(&self, open: Option<(Id, u64)>) -> Option<Id> {
        let (caller, number) = open?;
        (self.state.get::<Thread>(caller).wait == Some(Wait::Answer(number))).then_some(caller)
    }

    fn waiters_for(&self, id: Id) -> Vec<Id> {
        self.state.all::<Thread>().filter(|(_, thread)| thread.wait == Some(Wait::End(id))).map(|(id, _)| id).collect()
    }

    /// Ends a thread: everything that waits for it has this answer.
    pub(crate) fn end_thread(&mut self, thread: Id, answer: [u64; 2]) {
        self.unblock(thread);
        let ending = self.state.get_mut::<Thread>(thread);
        ending.ended = Some(answer);
        let bound = ending.bound.take();
        self.fires.extend(bound);
        self.returns.retain(|other| other.thread != thread);
        self.tell(thread, answer);
    }

    fn tell(&mut self, id: Id, [x0, x1]: [u64; 2]) {
        for waiter in self.waiters_for(id) {
            self.wake_with(waiter, vec![Expect::X(0, x0), Expect::X(1, x1)]);
        }
    }

    /// Ends a process: its threads, its handles, its memory. The first status stands.
    pub(crate) fn end_process(&mut self, process: Id, status: ExitStatus) {
        let status = status.to_register();
        if self.state.get::<Process>(process).status.is_some() {
            return;
        }
        self.state.get_mut::<Process>(process).status = Some(status);
        for thread in self.state.threads_of(process) {
            self.end_thread(thread, [1, status]);
        }
        let ending = self.state.get_mut::<Process>(process);
        (ending.handles, ending.pages) = Default::default();
        let bound = ending.bound.take();
        self.fires.extend(bound);
        self.tell(process, [0, status]);
    }
}
