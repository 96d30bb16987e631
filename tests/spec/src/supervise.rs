//! Calls of those who reach into another process: its supervisor, and the server of a caller that lends memory.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::request::{Deadline, Request};
use crate::state::{Connection, Id, Message, Process, Reply, Thread};
use alloc::vec;
use graft_abi::{Error, ExitStatus, FaultKind, Rights};

impl Step {
    /// `supervise`: the process, the connection.
    pub(crate) fn supervise(&mut self, process: Id, handle: u64, connection: u64) -> Answer {
        let target = self.named_process(process, handle, Rights::SUPERVISE)?;
        let supervisor = match connection {
            0 => None,
            _ => Some(self.named::<Connection>(process, connection, Rights::WRITE)?),
        };
        self.state.get_mut::<Process>(target).supervisor = supervisor;
        x0(0)
    }

    /// A call of another system: a message to the supervisor, or the end.
    pub(crate) fn foreign_call(&mut self, thread: Id, request: &Request) -> Answer {
        let process = self.process_of(thread);
        let [x0, x1, x2, ..] = request.x;
        if let Some(connection) = self.state.get::<Process>(process).supervisor {
            self.state.get_mut::<Thread>(thread).stopped = Some(x0);
            let kind = FaultKind::ForeignCall as u64;
            // Where it was is the driver's to know.
            let words = [Some(kind), Some(request.number), None, Some(x0), Some(x1), Some(x2)];
            if let Ok(next) = self.call_through(thread, connection, Message { words, handle: 0 }, Deadline::Never) {
                return Ok(next);
            }
        }
        self.end_process(process, ExitStatus::Faulted(FaultKind::ForeignCall));
        Ok(Next::Stays)
    }

    /// `process_read`: how many bytes; what is to be read, and where it goes.
    pub(crate) fn process_read(&mut self, process: Id, handle: u64, address: u64, buffer: u64, bytes: u64) -> Answer {
        let target = self.named_process(process, handle, Rights::SUPERVISE)?;
        self.copy_out((target, address), buffer, bytes)
    }

    /// `process_write`: the other way.
    pub(crate) fn process_write(&mut self, process: Id, request: &Request) -> Answer {
        let [handle, address, buffer, bytes, ..] = request.x;
        let target = self.named_process(process, handle, Rights::SUPERVISE)?;
        self.copy_in((target, address), buffer, bytes, request.data)
    }

    /// The part of what a caller lends, if one is kept that waits, and lends as much.
    fn lent_part(&mut self, process: Id, request: &Request, which: usize) -> Result<(Id, u64), Error> {
        let [handle, offset, _, bytes, ..] = request.x;
        let reply = self.named::<Reply>(process, handle, Rights::WRITE)?;
        let open = self.state.get::<Reply>(reply).open;
        let is_fault = open.is_some_and(|(caller, _)| self.state.get::<Thread>(caller).stopped.is_some());
        let waits = self.still_waits(open);
        // A fault's call lends nothing. Of one that has ended, either is true.
        if is_fault && (waits.is_some() || self.choose(2) == 0) {
            return Err(Error::BadArgument);
        }
        let caller = waits.ok_or(Error::NotFound)?;
        let lent = self.state.get::<Thread>(caller).lent.ok_or(Error::BadArgument)?;
        let (address, length) = (lent[which * 2], lent[which * 2 + 1]);
        let end = offset.checked_add(bytes).ok_or(Error::BadArgument)?;
        if end > length {
            return Err(Error::BadArgument);
        }
        Ok((self.process_of(caller), address.checked_add(offset).ok_or(Error::BadArgument)?))
    }

    /// `lent_read`.
    pub(crate) fn lent_read(&mut self, process: Id, request: &Request) -> Answer {
        let from = self.lent_part(process, request, 0)?;
        self.copy_out(from, request.x[2], request.x[3])
    }

    /// `lent_write`.
    pub(crate) fn lent_write(&mut self, process: Id, request: &Request) -> Answer {
        let to = self.lent_part(process, request, 1)?;
        self.copy_in(to, request.x[2], request.x[3], request.data)
    }

    fn copy_out(&mut self, (owner, address): (Id, u64), buffer: u64, bytes: u64) -> Answer {
        if bytes == 0 {
            return x0(0);
        }
        self.check_lives(owner)?;
        self.check_buffer(buffer)?;
        let word = self.load(owner, address)?;
        Ok(Next::Goes(vec![Expect::X(0, bytes), Expect::Data(0, word)]))
    }

    fn copy_in(&mut self, (owner, address): (Id, u64), buffer: u64, bytes: u64, word: u64) -> Answer {
        if bytes == 0 {
            return x0(0);
        }
        self.check_lives(owner)?;
        self.check_buffer(buffer)?;
        self.store(owner, address, word)?;
        x0(bytes)
    }

    fn check_lives(&self, process: Id) -> Result<(), Error> {
        if self.state.get::<Process>(process).status.is_some() { Err(Error::NotFound) } else { Ok(()) }
    }
}
