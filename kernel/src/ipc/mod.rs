//! Messages between processes: the calls that bring a thread with a message and one without together.
//!
//! ```text
//!   call ──▶ a receiver waits? ──▶ it has the message, and this core; the caller waits for its answer
//!                    └── no ──▶ in line, and another thread runs
//!   reply and receive ──▶ the caller has its answer ──▶ another call waits? ──▶ the server goes on with that one
//!                                                              └── no ──▶ the server waits; the caller has this core
//! ```
//!
//! A message is in the registers of the thread that sends it and goes straight into those of the one that gets it. The
//! rendezvous is locked only to find that thread: whatever follows is done by the core that has taken it out of its
//! list and ended its wait, which makes it that core's own.

#![forbid(unsafe_code)]

pub mod circle;
pub mod fault;
pub mod lent;
pub mod notify;
pub mod straight;

use crate::arch::{Context, timer};
use crate::lock::MutexGuard;
use crate::object::Ref;
use crate::object::endpoint::{Connection, Reply, Sides, take_first};
use crate::object::process::Process;
use crate::object::thread::{Account, Thread};
use crate::object::wait::Wait;
use crate::sched;
use graft_abi::{Call, Error, Handle, Rights};

/// What follows for the calling thread.
pub enum Outcome {
    /// It goes on; its registers are as they should be.
    Goes,
    /// It is blocked. This one runs in its place, in the same slice.
    SwitchTo(Ref<Thread>),
    /// It goes on later; this one, which is more urgent, runs first.
    GiveWayTo(Ref<Thread>),
    /// It is blocked.
    Blocked,
    /// It makes its call again, after others.
    Again,
    /// It makes its call again later, for what another thread is in the middle of.
    Later,
}

/// The handle in a register. One that does not fit names nothing.
fn handle_in(register: u64) -> Handle {
    u32::try_from(register).map_or(Handle::NONE, Handle)
}

/// Refuses a message with a handle that cannot be moved.
#[inline(always)]
fn check(sender: &Process, message: &[u64; 7]) -> Result<(), Error> {
    match message[6] {
        0 => Ok(()),
        _ => sender.handles.lock().get(handle_in(message[6]), Rights::DUPLICATE).map(|_| ()),
    }
}

/// Moves a message's handle, if it has one.
#[inline(always)]
fn transfer(message: &mut [u64; 7], from: &Process, to: &Process) {
    if message[6] != 0 {
        message[6] = transfer_handle(handle_in(message[6]), from, to).0.into();
    }
}

/// Both tables are locked, so that the handle is in one of them at any moment. It stays where it is if the receiver
/// has no room, or if another thread of the sender's has taken it away since [`check`]. That a table is locked by
/// another core is no reason: what holds it is the kernel, for a piece of work, and the message cannot come again.
#[cold]
fn transfer_handle(handle: Handle, from: &Process, to: &Process) -> Handle {
    if core::ptr::eq(from, to) {
        return handle;
    }
    let (first, second) = if core::ptr::from_ref(from) < core::ptr::from_ref(to) { (from, to) } else { (to, from) };
    let (first_table, second_table) = (first.handles.lock(), second.handles.lock());
    let (mut theirs, mut ours) =
        if core::ptr::eq(first, from) { (first_table, second_table) } else { (second_table, first_table) };
    if !ours.has_room() {
        return Handle::NONE;
    }
    let Ok((_, rights)) = theirs.get(handle, Rights::DUPLICATE) else { return Handle::NONE };
    let Ok(object) = theirs.remove(handle) else { return Handle::NONE };
    ours.insert(object, rights).unwrap_or(Handle::NONE)
}

/// Whether a call that would have to wait has come too late.
fn is_over(deadline: u64) -> bool {
    deadline != 0 && deadline <= timer::now()
}

/// Ends a thread that was to block and whose process is ending.
fn end_if_some(ended: Option<Ref<Thread>>) {
    if let Some(thread) = ended {
        Process::end_thread(thread, None);
    }
}

/// `call`.
pub fn call(thread: &Thread, registers: &mut Context, handle: Handle) -> Result<Outcome, Error> {
    let connection = thread.process.object::<Connection>(handle, Rights::WRITE)?;
    let message = registers.message();
    check(&thread.process, &message)?;
    Ok(match call_through(thread, connection, message, registers.deadline())? {
        Called::SwitchTo(server) => Outcome::SwitchTo(server),
        Called::Blocked => Outcome::Blocked,
        Called::NotYet => Outcome::Again,
    })
}

/// What has become of a call.
enum Called {
    /// The caller is blocked. This server has its message.
    SwitchTo(Ref<Thread>),
    /// The caller is blocked, and in line.
    Blocked,
    /// Nothing: another core is about to take away the servers that seemed to wait.
    NotYet,
}

/// Calls through a connection with this message, which is in the thread's registers, too.
fn call_through(
    thread: &Thread,
    connection: Ref<Connection>,
    mut message: [u64; 7],
    deadline: u64,
) -> Result<Called, Error> {
    let mut sides = connection.sides()?;
    let (server, wait) = match take_first(&mut sides.receivers) {
        Some(Ok(taken)) => taken,
        Some(Err(_)) => return Ok(Called::NotYet),
        None if is_over(deadline) => return Err(Error::TimedOut),
        None if deadline == 0 && circle::may_close(thread, &connection) => {
            drop(sides);
            return circle::wait(thread, connection);
        }
        None => {
            end_if_some(wait_in_line(sides, connection.clone(), deadline));
            return Ok(Called::Blocked);
        }
    };
    drop(sides);
    let Wait::Message(reply) = wait else { unreachable!("receivers wait for messages") };
    transfer(&mut message, &thread.process, &server.process);
    sched::deliver(&server, message, connection.badge);
    server.work_for_caller(thread.priority());
    let Some(caller) = sched::leave() else { return Ok(Called::SwitchTo(server)) };
    sched::set_deadline(&caller, deadline);
    let kept = reply.keep(&mut reply.lock(), caller);
    end_if_some(kept.settle());
    Ok(Called::SwitchTo(server))
}

/// Has the current thread, with its call, wait in line. One that is returned is to be ended.
fn wait_in_line(mut sides: MutexGuard<'_, Sides>, connection: Ref<Connection>, deadline: u64) -> Option<Ref<Thread>> {
    let ended = sched::block_until(&mut sides.callers, Wait::in_object(connection), deadline);
    sides.announce();
    ended
}

/// `send`.
pub fn send(thread: &Thread, registers: &mut Context, handle: Handle) -> Result<Outcome, Error> {
    let connection = thread.process.object::<Connection>(handle, Rights::WRITE)?;
    let mut message = registers.message();
    check(&thread.process, &message)?;
    let taken = take_first(&mut connection.sides()?.receivers);
    let server = match taken {
        Some(Ok((server, _))) => server,
        Some(Err(_)) => return Ok(Outcome::Again),
        None => return Err(Error::NotReady),
    };
    transfer(&mut message, &thread.process, &server.process);
    sched::deliver(&server, message, connection.badge);
    sched::make_ready(server);
    registers.set_result(0);
    Ok(Outcome::Goes)
}

/// `receive`.
pub fn receive(thread: &Thread, registers: &mut Context, handle: Handle) -> Result<Outcome, Error> {
    let reply = thread.process.object::<Reply>(handle, Rights::READ)?;
    let mut sides = reply.lock();
    if reply.is_lent(&mut sides) {
        return Ok(Outcome::Later);
    }
    let older = reply.take(&mut sides);
    drop(sides);
    if let Some(older) = older {
        older.give_up(Error::Gone);
    }
    // Another thread may have answered the call for which it has worked.
    if thread.is_lent_priority() || thread.account() != Account::Own {
        sched::set_priority(thread, None);
    }
    take_message(thread, registers, &reply)
}

/// `reply`.
pub fn reply(thread: &Thread, registers: &mut Context, handle: Handle) -> Result<Outcome, Error> {
    let reply = thread.process.object::<Reply>(handle, Rights::WRITE)?;
    match answer(thread, registers, &reply) {
        Err(Error::NotReady) => Ok(Outcome::Later),
        caller => {
            sched::make_ready(caller?);
            registers.set_result(0);
            Ok(Outcome::Goes)
        }
    }
}

/// `reply_receive`.
pub fn reply_receive(thread: &Thread, registers: &mut Context, handle: Handle) -> Result<Outcome, Error> {
    let reply = thread.process.object::<Reply>(handle, Rights::READ.or(Rights::WRITE))?;
    let caller = match answer(thread, registers, &reply) {
        Ok(caller) => Some(caller),
        Err(Error::Gone) => None,
        Err(Error::NotReady) => return Ok(Outcome::Later),
        Err(error) => return Err(error),
    };
    // What is left of the call, if it has to be made again: the answer is on its way, or came too late.
    registers.set_call_number(Call::Receive as u64);
    let received = take_message(thread, registers, &reply);
    let Some(caller) = caller else { return received };
    if let Ok(Outcome::Blocked) = received {
        return Ok(Outcome::SwitchTo(caller));
    }
    sched::make_ready(caller);
    received
}

/// Answers the call that is kept in a reply. The caller, which has the answer, is this core's. [`Error::NotReady`] if
/// that is to be tried again.
#[inline(always)]
fn answer(thread: &Thread, registers: &Context, reply: &Reply) -> Result<Ref<Thread>, Error> {
    let mut message = registers.message();
    check(&thread.process, &message)?;
    let mut sides = reply.lock();
    if reply.is_lent(&mut sides) {
        return Err(Error::NotReady);
    }
    let taken = reply.take(&mut sides);
    drop(sides);
    let taken = taken.ok_or(Error::NotFound)?;
    // Whether or not the caller still waits.
    sched::set_priority(thread, None);
    let caller = taken.claim().ok_or(Error::Gone)?;
    transfer(&mut message, &thread.process, &caller.process);
    sched::deliver_answer(&caller, message);
    Ok(caller)
}

/// Takes the first message in line, or waits for one.
#[inline(always)]
fn take_message(thread: &Thread, registers: &mut Context, reply: &Ref<Reply>) -> Result<Outcome, Error> {
    let mut sides = reply.sides()?;
    let (caller, wait) = match take_first(&mut sides.callers) {
        Some(Ok(taken)) => taken,
        Some(Err(_)) => return Ok(Outcome::Again),
        None if is_over(registers.deadline()) => return Err(Error::TimedOut),
        None => {
            let wait = Wait::Message(reply.clone());
            let ended = sched::block_until(&mut sides.receivers, wait, registers.deadline());
            drop(sides);
            end_if_some(ended);
            return Ok(Outcome::Blocked);
        }
    };
    drop(sides);
    let connection = wait.object::<Connection>().expect("callers wait in a connection");
    let (mut message, deadline) = sched::collect(&caller);
    transfer(&mut message, &caller.process, &thread.process);
    registers.set_message(message, connection.badge);
    sched::set_priority(thread, Some(caller.priority()));
    sched::set_deadline(&caller, deadline);
    let kept = reply.keep(&mut reply.lock(), caller);
    end_if_some(kept.settle());
    Ok(Outcome::Goes)
}
