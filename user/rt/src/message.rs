//! Messages between processes: a few words, and a handle, that are answered.
//!
//! ```text
//!   client                              server
//!   Connection::call ───────────────▶   Receiver::receive
//!                    ◀───────────────   Receiver::reply_receive, which waits for the next one, too
//! ```
//!
//! An [`Endpoint`] is what a server makes. It gives away [`Connection`]s, each with a badge that tells it who calls, and
//! receives with a [`Receiver`], one for each of its threads. A server that ends, or that will not answer, ends its
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

/// Makes a call that carries a message.
#[cfg(target_os = "none")]
#[inline(always)]
fn carry(call: Call, handle: Handle, message: Message, deadline: u64) -> Result<Received, Error> {
    let (mut x0, mut x7, mut x9) = (u64::from(handle.0), u64::from(message.handle.0), deadline);
    let [mut w1, mut w2, mut w3, mut w4, mut w5, mut w6] = message.words;
    // SAFETY: the kernel preserves x18–x30 and sp; what it does not preserve is declared. The call touches no memory.
    unsafe {
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
            inlateout("x8") call as u64 => _,
            inlateout("x9") x9,
            lateout("x10") _, lateout("x11") _, lateout("x12") _, lateout("x13") _, lateout("x14") _,
            lateout("x15") _, lateout("x16") _, lateout("x17") _,
            options(nostack),
        );
    }
    Error::from_register(x0)?;
    let message = Message { words: [w1, w2, w3, w4, w5, w6], handle: Handle(x7 as u32) };
    Ok(Received { message, badge: x9 })
}

/// On a host there is no kernel to call.
#[cfg(not(target_os = "none"))]
fn carry(call: Call, _handle: Handle, _message: Message, _deadline: u64) -> Result<Received, Error> {
    panic!("{call:?} on a machine that does not run Graft")
}
