//! Handles: what they name, and with which rights.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::state::{Entry, Id, Kind, Process, Reply};
use alloc::vec;
use graft_abi::{Error, Handle, Rights};

impl Step {
    /// What a register names.
    pub(crate) fn entry(&self, process: Id, register: u64) -> Result<Entry, Error> {
        let number = u32::try_from(register).map_err(|_| Error::BadHandle)?;
        self.state.get::<Process>(process).handles.get(&number).copied().ok_or(Error::BadHandle)
    }

    /// The object that a register names. First that it names one, then of which kind, then the rights.
    pub(crate) fn named<T: Kind>(&self, process: Id, register: u64, needed: Rights) -> Result<Id, Error> {
        let entry = self.entry(process, register)?;
        if !self.state.is::<T>(entry.object) {
            return Err(Error::WrongObject);
        }
        if entry.rights.contains(needed) { Ok(entry.object) } else { Err(Error::NoRight) }
    }

    /// The process that a register names: with `SELF` the caller's own, with all rights.
    pub(crate) fn named_process(&self, process: Id, register: u64, needed: Rights) -> Result<Id, Error> {
        if is_self(register) { Ok(process) } else { self.named::<Process>(process, register, needed) }
    }

    /// A call that makes an object returns its handle.
    pub(crate) fn made<T: Kind>(&mut self, object: T, rights: Rights) -> Answer {
        let object = self.state.add(object);
        Ok(Next::Goes(vec![Expect::Handle(0, Entry { object, rights })]))
    }

    /// `close`.
    pub(crate) fn close(&mut self, thread: Id, handle: u64) -> Answer {
        let process = self.process_of(thread);
        let entry = self.entry(process, handle)?;
        self.state.get_mut::<Process>(process).handles.remove(&(handle as u32));
        // Whoever gives up the last way to a call that is kept works for its caller no longer.
        let keeps = |reply: &Reply| reply.open.is_some();
        if self.state.is::<Reply>(entry.object)
            && keeps(self.state.get(entry.object))
            && !self.is_referenced(entry.object)
        {
            self.return_priority(thread);
        }
        x0(0)
    }

    /// `duplicate`: no right is gained, and the mark is never lost.
    pub(crate) fn duplicate(&mut self, process: Id, handle: u64, wanted: u64) -> Answer {
        let wanted = Rights(wanted as u32);
        let held =
            if is_self(handle) { Entry { object: process, rights: Rights::ALL } } else { self.entry(process, handle)? };
        if !held.rights.contains(Rights::DUPLICATE) {
            return Err(Error::NoRight);
        }
        let mark = held.rights.or(wanted).and(Rights::NO_INHERIT);
        let rights = held.rights.and(wanted).or(mark);
        Ok(Next::Goes(vec![Expect::Handle(0, Entry { object: held.object, rights })]))
    }
}

/// Whether a register names the calling process, or thread, without an entry.
pub(crate) fn is_self(register: u64) -> bool {
    register == u64::from(Handle::SELF.0)
}
