//! Calls that carry a message, and those that make what they go through.

#![forbid(unsafe_code)]

use super::outcome::{Next, again, again_later, answer, handle, refuse_or_again};
use crate::arch::Context;
use crate::ipc::lent::{self, Way};
use crate::ipc::{self, Outcome, notify};
use crate::object::endpoint::Endpoint;
use crate::object::notification::Notification;
use crate::object::process::Process;
use crate::object::thread::Thread;
use graft_abi::{Call, Error, Handle, Rights};

/// `endpoint_create`.
fn create_endpoint(process: &Process) -> Result<u64, Error> {
    let endpoint = Endpoint::new()?;
    let handle = process.handles.lock().insert(endpoint.erase(), Rights::READ.or(Rights::DUPLICATE))?;
    Ok(handle.0.into())
}

/// `connection_create`.
fn create_connection(process: &Process, endpoint: Handle, badge: u64) -> Result<u64, Error> {
    let connection = process.object::<Endpoint>(endpoint, Rights::READ)?.connection(badge)?;
    let handle = process.handles.lock().insert(connection.erase(), Rights::WRITE.or(Rights::DUPLICATE))?;
    Ok(handle.0.into())
}

/// `notification_create`.
fn create_notification(process: &Process) -> Result<u64, Error> {
    let notification = Notification::new()?;
    let rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE);
    let handle = process.handles.lock().insert(notification.erase(), rights)?;
    Ok(handle.0.into())
}

/// `reply_create`.
fn create_reply(process: &Process, endpoint: Handle) -> Result<u64, Error> {
    let reply = process.object::<Endpoint>(endpoint, Rights::READ)?.reply(process.identifier())?;
    let rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE).or(Rights::NO_INHERIT);
    let handle = process.handles.lock().insert(reply.erase(), rights)?;
    Ok(handle.0.into())
}

/// `lent_read` and `lent_write`. Made again while another thread makes one, or one of the two processes is in the middle of a
/// fork.
#[inline(never)]
pub(super) fn copy_lent(thread: &Thread, registers: &mut Context, way: Way) -> Next {
    let [x0, x1, x2, x3, ..] = registers.arguments();
    match lent::copy(thread, handle(x0), x1, x2, x3, way) {
        Ok(bytes) => answer(registers, Ok(bytes)),
        Err(Error::NotReady) => again_later(registers),
        Err(error) => refuse_or_again(registers, error),
    }
}

/// One of these calls. Not inlined, and with few arguments: others would have to save the registers that it needs.
#[inline(never)]
pub(super) fn carry_out(thread: &Thread, registers: &mut Context) -> Next {
    let [x0, x1, x2, ..] = registers.arguments();
    let (process, object) = (&thread.process, handle(x0));
    let outcome = match Call::from_number(registers.call_number()) {
        Some(Call::EndpointCreate) => return answer(registers, create_endpoint(process)),
        Some(Call::ConnectionCreate) => return answer(registers, create_connection(process, object, x1)),
        Some(Call::ReplyCreate) => return answer(registers, create_reply(process, object)),
        Some(Call::Call | Call::CallLending) => ipc::call(thread, registers, object),
        Some(Call::Receive) => ipc::receive(thread, registers, object),
        Some(Call::Reply) => ipc::reply(thread, registers, object),
        Some(Call::ReplyReceive) => ipc::reply_receive(thread, registers, object),
        Some(Call::Send) => ipc::send(thread, registers, object),
        Some(Call::NotificationCreate) => return answer(registers, create_notification(process)),
        Some(Call::Notify) => return notify(thread, registers),
        Some(Call::NotificationWait) => notify::wait(thread, registers, object, x1),
        Some(Call::NotificationBind) => return answer(registers, notify::bind(process, object, x1, handle(x2))),
        Some(Call::LentRead) => return copy_lent(thread, registers, Way::Read),
        Some(Call::LentWrite) => return copy_lent(thread, registers, Way::Write),
        Some(Call::WaitOn) => notify::wait_on(thread, registers, x0, x1, x2),
        Some(Call::Wake) => return answer(registers, notify::wake(process, x0)),
        _ => Err(Error::BadCall),
    };
    follow(registers, outcome)
}

/// `notify`, which is not to save the registers that the others need.
#[inline(never)]
pub(super) fn notify(thread: &Thread, registers: &mut Context) -> Next {
    let [x0, x1, ..] = registers.arguments();
    let outcome = notify::notify(thread, registers, handle(x0), x1);
    follow(registers, outcome)
}

#[inline(always)]
fn follow(registers: &mut Context, outcome: Result<Outcome, Error>) -> Next {
    match outcome {
        Ok(Outcome::Goes) => Next::Restart,
        Ok(Outcome::SwitchTo(next)) => Next::SwitchTo(next),
        Ok(Outcome::GiveWayTo(next)) => Next::GiveWayTo(next),
        Ok(Outcome::Blocked) => Next::Switch,
        Ok(Outcome::Again) => again(registers),
        Ok(Outcome::Later) => again_later(registers),
        // The process may be in the middle of a fork.
        Err(error) => refuse_or_again(registers, error),
    }
}
