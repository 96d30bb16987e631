//! Notifications: bits that are set without waiting, by a program or by what happens, and waited for.
//!
//! One thread can serve everything with one: calls, ends of processes and threads, interrupts, other threads, and, by
//! the deadline of its wait, the passing of time.

use core::time::Duration;

use graft_abi::{Call, Error, Handle};

use crate::call::call;
use crate::device::Interrupt;
use crate::message::{Connection, Endpoint, NEVER, moment, owner};

owner! {
    /// 64 bits. Its handle follows into a forked child.
    Notification
}

impl Notification {
    /// A new one, without a bit.
    pub fn new() -> Result<Notification, Error> {
        // SAFETY: the call touches no memory.
        Ok(Notification::from_handle(unsafe { call(Call::NotificationCreate, []) }?.handle()))
    }

    /// Sets bits. A thread that waits gets all that are set then.
    pub fn notify(&self, bits: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { call(Call::Notify, [self.handle().0.into(), bits]) }.map(drop)
    }

    /// Waits until a bit is set, and takes all of them.
    pub fn wait(&self) -> Result<u64, Error> {
        self.wait_for(NEVER)
    }

    /// As [`wait`](Self::wait), until this moment of the [clock](crate::time::clock): [`Error::TimedOut`].
    pub fn wait_until(&self, deadline: Duration) -> Result<u64, Error> {
        self.wait_for(moment(deadline))
    }

    /// Takes the bits that are set; 0 if there are none.
    pub fn take(&self) -> Result<u64, Error> {
        match self.wait_for(1) {
            Err(Error::TimedOut) => Ok(0),
            bits => bits,
        }
    }

    fn wait_for(&self, deadline: u64) -> Result<u64, Error> {
        // SAFETY: the call touches no memory.
        unsafe { call(Call::NotificationWait, [self.handle().0.into(), deadline]) }.map(|answer| answer.x1)
    }

    /// Has bits set when the process or the thread with this handle ends.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if its end has been bound already.
    pub fn bind_end(&self, bits: u64, of: Handle) -> Result<(), Error> {
        self.bind(bits, of)
    }

    /// Has bits set whenever a call comes in line at an endpoint because no thread receives there. What was bound to it
    /// before is not told any more.
    pub fn bind_endpoint(&self, bits: u64, endpoint: &Endpoint) -> Result<(), Error> {
        self.bind(bits, endpoint.handle())
    }

    /// Has bits set when an interrupt comes, from now on, or at once if one is pending. What was bound to it before is
    /// not told any more.
    pub fn bind_interrupt(&self, bits: u64, interrupt: &Interrupt) -> Result<(), Error> {
        self.bind(bits, interrupt.handle())
    }

    /// Has bits set when the last handle to a connection has been given up, and no call through it is in line. What was
    /// bound to it before is not told any more.
    pub fn bind_connection(&self, bits: u64, connection: &Connection) -> Result<(), Error> {
        self.bind(bits, connection.handle())
    }

    fn bind(&self, bits: u64, source: Handle) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { call(Call::NotificationBind, [self.handle().0.into(), bits, source.0.into()]) }.map(drop)
    }
}
