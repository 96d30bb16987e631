//! Messages between processes: a few words, and a handle, that are answered.
//!
//! ```text
//!   client                              server
//!   Connection::call ───────────────▶   Receiver::receive
//!                    ◀───────────────   Receiver::reply_receive, which waits for the next one, too
//! ```
//!
//! An [`Endpoint`] is what a server makes. It gives away [`Connection`]s, each with a badge that tells it who calls,
//! and receives with a [`Receiver`], one for each of its threads. A server that ends, or that will not answer, ends its
//! clients' calls with [`Error::Gone`].

use core::time::Duration;

use graft_abi::{Call, Error, Handle};

use crate::call::call;

/// What is sent, and what is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Words, whose meaning is between the two.
    pub words: [u64; 6],
    /// A handle that moves with them; [`Handle::NONE`] for none. The sender does not have it any more.
    pub handle: Handle,
}

impl Message {
    /// Words alone.
    pub const fn words(words: [u64; 6]) -> Message {
        Message { words, handle: Handle::NONE }
    }

    /// The words of a message that is to have no handle. One that has come with them is closed: the other side could
    /// use up all handles of this program otherwise.
    pub fn into_words(self) -> [u64; 6] {
        if self.handle != Handle::NONE {
            let _ = crate::process::close(self.handle);
        }
        self.words
    }
}

/// A message, and where it has come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// What was sent.
    pub message: Message,
    /// Of the connection.
    pub badge: u64,
}

/// A type that owns a handle, and closes it when it is dropped.
macro_rules! owner {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq)]
        pub struct $name {
            handle: graft_abi::Handle,
        }

        impl $name {
            /// The handle, for raw calls and for passing on.
            pub const fn handle(&self) -> graft_abi::Handle {
                self.handle
            }

            /// Takes over a handle to one, which the caller does not close.
            pub const fn from_handle(handle: graft_abi::Handle) -> $name {
                $name { handle }
            }

            /// Gives the handle out of this value's hands.
            pub fn into_handle(self) -> graft_abi::Handle {
                core::mem::ManuallyDrop::new(self).handle
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                let _ = $crate::process::close(self.handle);
            }
        }
    };
}

pub(crate) use owner;

owner! {
    /// A place to which messages are sent. Closing it ends every call that waits there.
    Endpoint
}
owner! {
    /// A way to an endpoint.
    Connection
}
owner! {
    /// Where messages from an endpoint are received and answered, one after the other. Closing it ends a call that has
    /// not been answered.
    Receiver
}

impl Endpoint {
    /// A new one.
    pub fn new() -> Result<Endpoint, Error> {
        // SAFETY: the call touches no memory.
        Ok(Endpoint { handle: unsafe { call(Call::EndpointCreate, []) }?.handle() })
    }

    /// A way here, whose messages arrive with this badge.
    pub fn connect(&self, badge: u64) -> Result<Connection, Error> {
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::ConnectionCreate, [self.handle.0.into(), badge]) }?;
        Ok(Connection { handle: answer.handle() })
    }

    /// A place to receive at.
    pub fn receiver(&self) -> Result<Receiver, Error> {
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::ReplyCreate, [self.handle.0.into()]) }?;
        Ok(Receiver { handle: answer.handle() })
    }
}

impl Connection {
    /// Sends a message and waits for the answer.
    #[inline(always)]
    pub fn call(&self, message: Message) -> Result<Message, Error> {
        carry(Call::Call, self.handle, message, NEVER).map(|received| received.message)
    }

    /// As [`call`](Self::call), until this moment of the [clock](crate::time::clock):
    /// [`Error::TimedOut`].
    pub fn call_until(&self, message: Message, deadline: Duration) -> Result<Message, Error> {
        carry(Call::Call, self.handle, message, moment(deadline)).map(|received| received.message)
    }

    /// As [`call`](Self::call), and lends the server memory until it has answered: it may read the one part with
    /// [`Receiver::read`], and write the other with [`Receiver::write`].
    pub fn call_lending(&self, message: Message, read: &[u8], write: &mut [u8]) -> Result<Message, Error> {
        self.call_lending_until(message, read, write, Duration::ZERO)
    }

    /// As [`call_lending`](Self::call_lending), until this moment of the [clock](crate::time::clock), if it is not
    /// zero: [`Error::TimedOut`].
    pub fn call_lending_until(
        &self,
        message: Message,
        read: &[u8],
        write: &mut [u8],
        deadline: Duration,
    ) -> Result<Message, Error> {
        let deadline = if deadline.is_zero() { NEVER } else { moment(deadline) };
        // SAFETY: the server reads what is borrowed, and writes what is borrowed mutably, until this returns.
        unsafe { carry_lending(self.handle, message, deadline, read, write) }.map(|received| received.message)
    }

    /// Sends a message to a receiver that waits for one, without an answer: [`Error::NotReady`] if none does.
    pub fn send(&self, message: Message) -> Result<(), Error> {
        carry(Call::Send, self.handle, message, NEVER).map(drop)
    }
}

impl Receiver {
    /// Waits for a message. A call that has not been answered ends with [`Error::Gone`].
    #[inline(always)]
    pub fn receive(&self) -> Result<Received, Error> {
        carry(Call::Receive, self.handle, Message::default(), NEVER)
    }

    /// As [`receive`](Self::receive), until this moment of the [clock](crate::time::clock): [`Error::TimedOut`].
    pub fn receive_until(&self, deadline: Duration) -> Result<Received, Error> {
        carry(Call::Receive, self.handle, Message::default(), moment(deadline))
    }

    /// Reads what the caller of the call that was received last has lent to be read, from this offset on.
    /// [`Error::BadArgument`] if it has lent no such part, [`Error::NotFound`] if it waits no longer.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), Error> {
        self.copy(Call::LentRead, offset, buffer.as_mut_ptr().addr(), buffer.len())
    }

    /// Writes into what the caller of the call that was received last has lent to be written, from this offset on;
    /// errors as [`read`](Self::read).
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.copy(Call::LentWrite, offset, bytes.as_ptr().addr(), bytes.len())
    }

    /// The kernel copies a part at a time.
    fn copy(&self, way: Call, offset: usize, buffer: usize, bytes: usize) -> Result<(), Error> {
        let mut done = 0;
        loop {
            let arguments =
                [self.handle.0.into(), (offset + done) as u64, (buffer + done) as u64, (bytes - done) as u64];
            // SAFETY: the kernel reads or writes the buffer, which the callers have borrowed accordingly.
            done += unsafe { call(way, arguments) }?.x0 as usize;
            if done == bytes {
                return Ok(());
            }
        }
    }

    /// Answers the call that was received last.
    pub fn reply(&self, answer: Message) -> Result<(), Error> {
        carry(Call::Reply, self.handle, answer, NEVER).map(drop)
    }

    /// Answers the call that was received last, and waits for the next one. A caller that waits no longer is no error.
    #[inline(always)]
    pub fn reply_receive(&self, answer: Message) -> Result<Received, Error> {
        carry(Call::ReplyReceive, self.handle, answer, NEVER)
    }
}

impl Receiver {
    /// As [`reply_receive`](Self::reply_receive), for a server whose clients may do anything: a message that was sent
    /// without waiting needs no answer, and a handle that the caller does not take is closed.
    #[inline(always)]
    pub fn answer_receive(&self, answer: Message) -> Result<Received, Error> {
        if answer.handle != Handle::NONE {
            return self.hand_over(answer);
        }
        match self.reply_receive(answer) {
            Err(Error::NotFound) => self.receive(),
            received => received,
        }
    }

    #[inline(never)]
    fn hand_over(&self, answer: Message) -> Result<Received, Error> {
        let _ = self.reply(answer);
        // If it has moved, this names nothing: no handle has come since.
        let _ = crate::process::close(answer.handle);
        self.receive()
    }
}

/// No deadline.
pub(crate) const NEVER: u64 = 0;

/// A deadline as the kernel counts it: 0 is none.
pub(crate) fn moment(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The instruction of a call that carries a message, with what else it reads.
#[cfg(target_os = "none")]
macro_rules! exchange {
    ($call:expr, $handle:expr, $message:expr, $deadline:expr $(, $operand:tt($register:tt) $value:expr)*) => {{
        let message: Message = $message;
        let (mut x0, mut x7, mut x9) = (u64::from($handle.0), u64::from(message.handle.0), $deadline);
        let [mut w1, mut w2, mut w3, mut w4, mut w5, mut w6] = message.words;
        core::arch::asm!(
            "svc #{immediate}",
            immediate = const graft_abi::SVC_MESSAGE,
            inlateout("x0") x0,
            inlateout("x1") w1,
            inlateout("x2") w2,
            inlateout("x3") w3,
            inlateout("x4") w4,
            inlateout("x5") w5,
            inlateout("x6") w6,
            inlateout("x7") x7,
            inlateout("x8") $call as u64 => _,
            inlateout("x9") x9,
            $($operand($register) $value,)*
            lateout("x10") _, lateout("x11") _, lateout("x12") _, lateout("x13") _, lateout("x14") _,
            lateout("x15") _, lateout("x16") _, lateout("x17") _,
            options(nostack),
        );
        Error::from_register(x0)?;
        Ok(Received { message: Message { words: [w1, w2, w3, w4, w5, w6], handle: Handle(x7 as u32) }, badge: x9 })
    }};
}

/// Makes a call that carries a message.
#[cfg(target_os = "none")]
#[inline(always)]
fn carry(call: Call, handle: Handle, message: Message, deadline: u64) -> Result<Received, Error> {
    // SAFETY: the kernel preserves x18–x30 and sp; what it does not preserve is declared. The call touches no memory.
    unsafe { exchange!(call, handle, message, deadline) }
}

/// Makes a call that lends memory.
///
/// # Safety
/// The server may read the one part and write the other until this returns.
#[cfg(target_os = "none")]
unsafe fn carry_lending(
    handle: Handle,
    message: Message,
    deadline: u64,
    read: &[u8],
    write: &mut [u8],
) -> Result<Received, Error> {
    // SAFETY: as in `carry`; what memory is touched, the caller allows.
    unsafe {
        exchange!(
            Call::CallLending, handle, message, deadline,
            in("x20") read.as_ptr(), in("x21") read.len(), in("x22") write.as_mut_ptr(), in("x23") write.len()
        )
    }
}

/// On a host there is no kernel to call.
#[cfg(not(target_os = "none"))]
unsafe fn carry_lending(_: Handle, _: Message, _: u64, _: &[u8], _: &mut [u8]) -> Result<Received, Error> {
    panic!("{:?} on a machine that does not run Graft", Call::CallLending)
}

/// On a host there is no kernel to call.
#[cfg(not(target_os = "none"))]
fn carry(call: Call, _handle: Handle, _message: Message, _deadline: u64) -> Result<Received, Error> {
    panic!("{call:?} on a machine that does not run Graft")
}
