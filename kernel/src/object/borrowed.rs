//! A stopped thread that its supervisor acts for: meanwhile it is the supervisor's, as it is a core's that runs it.
//!
//! ```text
//!   reply: the call of a stopped thread ──▶ taken ──▶ an operation on its process, in pieces ──▶ brought back
//! ```
//!
//! So all that is true while a thread of a process carries out a call of its own is true here: the process does not
//! come to its end, it has no other thread that takes itself for its only one, and what is under way has one owner.

#![forbid(unsafe_code)]

use super::Ref;
use super::endpoint::Reply;
use super::thread::Thread;
use core::ops::Deref;
use graft_abi::Error;

/// A stopped thread, taken out of the reply that keeps its call. It is brought back with the end of this.
pub struct Borrowed {
    reply: Ref<Reply>,
    thread: Option<Ref<Thread>>,
}

impl Borrowed {
    /// The thread whose call is kept in a reply.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none is, or it is not stopped, or stands there no longer; [`Error::NotReady`] while
    /// another thread has it.
    pub fn take(reply: Ref<Reply>) -> Result<Borrowed, Error> {
        let taken = reply.take_lent(&mut reply.lock(), true);
        let thread = taken.map_err(|error| if error == Error::BadArgument { Error::NotFound } else { error })?;
        Ok(Borrowed { reply, thread: Some(thread) })
    }
}

impl Deref for Borrowed {
    type Target = Ref<Thread>;

    fn deref(&self) -> &Ref<Thread> {
        self.thread.as_ref().expect("there to the end")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let kept = self.reply.bring_back(&mut self.reply.lock(), thread);
        kept.settle_later();
    }
}
