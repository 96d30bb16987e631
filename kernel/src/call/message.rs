//! Calls that carry a message, and those that make what they go through.

#![forbid(unsafe_code)]

use super::{again, refuse};
use crate::arch::Context;
use crate::call::Next;
use crate::ipc::{self, Outcome};
use crate::object::endpoint::Endpoint;
use crate::object::process::Process;
use crate::object::thread::Thread;
use graft_abi::{Call, Error, Handle, Rights};

/// `endpoint_create`.
pub(super) fn create_endpoint(process: &Process) -> Result<u64, Error> {
    let endpoint = Endpoint::new()?;
    let handle = process.handles.lock().insert(endpoint.erase(), Rights::READ.or(Rights::DUPLICATE))?;
    Ok(handle.0.into())
}

/// `connection_create`.
pub(super) fn create_connection(process: &Process, endpoint: Handle, badge: u64) -> Result<u64, Error> {
    let connection = process.object::<Endpoint>(endpoint, Rights::READ)?.connection(badge)?;
    let handle = process.handles.lock().insert(connection.erase(), Rights::WRITE.or(Rights::DUPLICATE))?;
    Ok(handle.0.into())
}

/// `reply_create`.
pub(super) fn create_reply(process: &Process, endpoint: Handle) -> Result<u64, Error> {
    let reply = process.object::<Endpoint>(endpoint, Rights::READ)?.reply()?;
    let rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE).or(Rights::NO_INHERIT);
    let handle = process.handles.lock().insert(reply.erase(), rights)?;
    Ok(handle.0.into())
}

/// A call that carries a message.
#[inline(always)]
pub(super) fn carry(call: Call, thread: &Thread, registers: &mut Context, handle: Handle) -> Next {
    let outcome = match call {
        Call::Call => ipc::call(thread, registers, handle),
        Call::Receive => ipc::receive(thread, registers, handle),
        Call::Reply => ipc::reply(thread, registers, handle),
        Call::ReplyReceive => ipc::reply_receive(thread, registers, handle),
        _ => ipc::send(thread, registers, handle),
    };
    match outcome {
        Ok(Outcome::Goes) => Next::Restart,
        Ok(Outcome::SwitchTo(next)) => Next::SwitchTo(next),
        Ok(Outcome::Blocked) => Next::Switch,
        Ok(Outcome::Again) => again(registers),
        Err(error) => refuse(registers, error),
    }
}
