//! Calls about handles themselves.

#![forbid(unsafe_code)]

use crate::object::process::Process;
use crate::object::table::restrict;
use crate::object::thread::Thread;
use graft_abi::{Error, Handle, Rights};

/// `close`: gives a handle up.
#[inline(never)]
pub(super) fn close(process: &Process, handle: Handle) -> Result<u64, Error> {
    let object = process.handles.lock().remove(handle)?;
    // Without the lock: it may be the last reference.
    drop(object);
    Ok(0)
}

/// `duplicate`: a second handle to the same object, with no more rights.
pub(super) fn duplicate(thread: &Thread, handle: Handle, rights: Rights) -> Result<u64, Error> {
    let mut handles = thread.process.handles.lock();
    let second = if handle == Handle::SELF {
        handles.insert(thread.process.clone().erase(), restrict(Rights::ALL, rights))?
    } else {
        handles.duplicate(handle, rights)?
    };
    Ok(second.0.into())
}
