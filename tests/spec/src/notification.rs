//! Notifications, and waiting on a word of memory.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::request::Request;
use crate::state::{Binding, Connection, Endpoint, Id, Notification, Process, Thread, Wait};
use alloc::vec;
use graft_abi::{Error, Rights};

impl Step {
    /// `notification_create`.
    pub(crate) fn notification_create(&mut self) -> Answer {
        self.made(Notification::default(), Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE))
    }

    /// Sets bits. The thread that has waited for longest has all of them.
    pub(crate) fn set_bits(&mut self, notification: Id, bits: u64) {
        let state = self.state.get_mut::<Notification>(notification);
        state.bits |= bits;
        if state.bits == 0 {
            return;
        }
        let Some(&waiter) = state.waiters.first() else { return };
        let bits = core::mem::take(&mut state.bits);
        self.wake_with(waiter, vec![Expect::X(0, 0), Expect::X(1, bits)]);
    }

    /// `notify`.
    pub(crate) fn notify(&mut self, process: Id, handle: u64, bits: u64) -> Answer {
        let notification = self.named::<Notification>(process, handle, Rights::WRITE)?;
        self.set_bits(notification, bits);
        x0(0)
    }

    /// `notification_wait`: bits that are set come before the deadline.
    pub(crate) fn notification_wait(&mut self, thread: Id, request: &Request) -> Answer {
        let notification = self.named::<Notification>(self.process_of(thread), request.x[0], Rights::READ)?;
        match core::mem::take(&mut self.state.get_mut::<Notification>(notification).bits) {
            0 => {}
            bits => return Ok(Next::Goes(vec![Expect::X(0, 0), Expect::X(1, bits)])),
        }
        self.may_wait(thread, request.deadline)?;
        self.state.get_mut::<Notification>(notification).waiters.push(thread);
        self.state.get_mut::<Thread>(thread).wait = Some(Wait::Bits(notification));
        Ok(Next::Stays)
    }

    /// `notification_bind`: the notification, the source, its kind, the right that this needs. If it has happened
    /// already, the bits are set at once.
    pub(crate) fn notification_bind(&mut self, process: Id, handle: u64, bits: u64, source: u64) -> Answer {
        let notification = self.named::<Notification>(process, handle, Rights::WRITE)?;
        let binding = Binding { notification, bits };
        let source = self.entry(process, source)?;
        let need = |right| if source.rights.contains(right) { Ok(()) } else { Err(Error::NoRight) };
        let object = source.object;
        if self.state.is::<Endpoint>(object) {
            need(Rights::READ)?;
            let endpoint = self.state.get_mut::<Endpoint>(object);
            endpoint.bound = Some(binding);
            let calls = !endpoint.callers.is_empty();
            self.fires.extend(calls.then_some(binding));
        } else if self.state.is::<Connection>(object) {
            need(Rights::WRITE)?;
            self.state.get_mut::<Connection>(object).bound = Some(binding);
        } else if self.state.is::<Thread>(object) {
            need(Rights::WAIT)?;
            let thread = self.state.get_mut::<Thread>(object);
            let ended = thread.ended.is_some();
            self.bind_end(ended, binding, |step| &mut step.state.get_mut::<Thread>(object).bound)?;
        } else if self.state.is::<Process>(object) {
            need(Rights::WAIT)?;
            let ended = self.state.get::<Process>(object).status.is_some();
            self.bind_end(ended, binding, |step| &mut step.state.get_mut::<Process>(object).bound)?;
        } else {
            return Err(Error::WrongObject);
        }
        x0(0)
    }

    /// An end has one binding.
    fn bind_end(
        &mut self,
        ended: bool,
        binding: Binding,
        bound: impl Fn(&mut Step) -> &mut Option<Binding>,
    ) -> Result<(), Error> {
        if ended {
            self.fires.push(binding);
        } else if bound(self).is_some() {
            return Err(Error::NotAllowed);
        } else {
            *bound(self) = Some(binding);
        }
        Ok(())
    }

    /// `wait_on`: alignment, the address, the word, the deadline.
    pub(crate) fn wait_on(&mut self, thread: Id, request: &Request) -> Answer {
        let [address, expected, ..] = request.x;
        let process = self.process_of(thread);
        if !address.is_multiple_of(4) {
            return Err(Error::Unaligned);
        }
        if self.load(process, address)? as u32 as u64 != expected {
            return Err(Error::NotReady);
        }
        self.may_wait(thread, request.deadline)?;
        self.state.get_mut::<Process>(process).words.push(thread);
        self.state.get_mut::<Thread>(thread).wait = Some(Wait::Word(address));
        Ok(Next::Stays)
    }

    /// `wake`: any address will do; the thread that has waited there for longest goes on.
    pub(crate) fn wake(&mut self, process: Id, address: u64) -> Answer {
        let waits = |thread: &&Id| self.state.get::<Thread>(**thread).wait == Some(Wait::Word(address));
        let Some(&waiter) = self.state.get::<Process>(process).words.iter().find(waits) else { return x0(0) };
        self.wake_with(waiter, vec![Expect::X(0, 0)]);
        x0(1)
    }
}
