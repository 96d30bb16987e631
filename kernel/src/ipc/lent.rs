//! Memory that a caller lends its server until it is answered: the server copies from it and to it.
//!
//! ```text
//!   caller, blocked: may read ▒▒▒▒▒▒   may write ▒▒▒▒▒▒
//!                         │                   ▲
//!                         ▼ lent_read         │ lent_write
//!   server ───────────────────────────────────────────── reply: from then on nothing is lent
//! ```
//!
//! The caller does not run while bytes are copied, not even when its deadline comes: its call is this core's meanwhile.
//! What another thread of the server does with the same reply at that time is done when the call is back.

use super::{end_if_some, is_over};
use crate::memory::user_copy;
use crate::object::endpoint::Reply;
use crate::object::thread::Thread;
use crate::sched;
use graft_abi::{Error, Handle, Rights};

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From what the caller lets be read.
    Read,
    /// To what the caller lets be written.
    Write,
}

/// `lent_read` and `lent_write`.
///
/// # Errors
/// As the interface says; [`Error::NotReady`] if the call is to be made again, because another core copies.
#[inline(always)]
pub fn copy(thread: &Thread, handle: Handle, offset: u64, buffer: u64, bytes: u64, way: Way) -> Result<u64, Error> {
    let process = &*thread.process;
    let reply = process.object::<Reply>(handle, Rights::WRITE)?;
    let taken = reply.take_lent(&mut reply.lock(), false);
    let caller = taken?;
    let (lent, deadline) = sched::lent(&caller);
    let lent = lent.and_then(|[read, write]| part(if way == Way::Read { read } else { write }, offset, bytes));
    let result = match (lent, way) {
        (None, _) => Err(Error::BadArgument),
        (Some(address), Way::Read) => user_copy::between((&*caller.process, address), (process, buffer), bytes),
        (Some(address), Way::Write) => user_copy::between((process, buffer), (&*caller.process, address), bytes),
    };
    // Here and now: a server that copies on several cores could take it over each time before a timer comes.
    if is_over(deadline) {
        reply.end_lent(&mut reply.lock());
        sched::refuse(caller, Error::TimedOut);
        return result;
    }
    sched::set_deadline(&caller, deadline);
    let kept = reply.bring_back(&mut reply.lock(), caller);
    end_if_some(kept.settle());
    result
}

/// Where a part of what is lent begins, if that is a part.
fn part((address, length): (u64, u64), offset: u64, bytes: u64) -> Option<u64> {
    let end = offset.checked_add(bytes)?;
    if end > length { None } else { address.checked_add(offset) }
}
