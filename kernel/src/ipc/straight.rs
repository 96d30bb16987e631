//! The straight way of a call and of its answer, when the other side waits for them: most of the time.
//!
//! Whatever is not so goes the way of `mod.rs`. Up to the exchange that ends the other thread's wait nothing has
//! changed, and the call can still go there. After it the core switches: no queue, no choice of the next thread, and no
//! timer but for a deadline.

use super::{handle_in, transfer_handle};
use crate::arch::{Context, core_index};
use crate::object::Ref;
use crate::object::endpoint::{Connection, Kept, Reply, Sides, Taken};
use crate::object::process::{Handles, Process};
use crate::object::thread::Thread;
use crate::object::wait::Wait;
use crate::sched::{self, Running, TakenOver};
use graft_abi::{Rights, TraceKind};

/// What a message brings, and with it a call.
#[derive(Clone, Copy, PartialEq)]
pub enum Brings {
    /// Words.
    Words,
    /// A handle or a deadline, too.
    More,
}

/// `call`, to a server that waits. [`None`] if there is none, or if the call is to be refused: then nothing has
/// changed.
#[inline(always)]
pub fn call(core: usize, running: Running<'_>, registers: &Context, brings: Brings) -> Option<*mut Context> {
    let [handle, ..] = registers.arguments();
    let handles = running.thread().process.handles.lock();
    let connection: &Connection = handles.named_by(handle, Rights::WRITE).ok()?.0.as_kind::<Connection>()?;
    let sender = sender_of_handle(&handles, registers, running.thread(), brings)?;
    let mut sides = connection.sides().ok()?;
    let (resumed, kept) = hand_over(core, running, &mut sides, connection.badge, registers, brings)?;
    drop(sides);
    drop(handles);
    move_handle(&resumed, sender);
    Some(go_on(resumed, kept))
}

/// A fault, to a supervisor that waits; likewise.
pub fn fault(thread: &Thread, registers: &Context, connection: &Connection) -> Option<*mut Context> {
    let mut sides = connection.sides().ok()?;
    let (resumed, kept) =
        hand_over(core_index(), Running::checked(thread), &mut sides, connection.badge, registers, Brings::Words)?;
    drop(sides);
    Some(go_on(resumed, kept))
}

/// Has the first of the servers that wait run with the current thread's message, and keeps its call.
#[inline(always)]
fn hand_over(
    core: usize,
    running: Running<'_>,
    sides: &mut Sides,
    badge: u64,
    registers: &Context,
    brings: Brings,
) -> Option<(TakenOver, Kept)> {
    let (server, won) = sides
        .receivers
        .pop_front_if(|server| if server.may_run_on(core) { server.unblock_to_run(core) } else { None })?;
    let reply = match sched::take_wait(&server, won) {
        Wait::Message(reply) => reply,
        _ => unreachable!("receivers wait for messages"),
    };
    sched::deliver(&server, registers.message(), badge);
    let priority = server.work_for_caller(running.thread().priority());
    let (resumed, caller) = sched::take_over(core, running, (server, sched::level_of(priority)), TraceKind::Call);
    if brings == Brings::More {
        sched::set_deadline(&caller, registers.deadline());
    }
    let kept = reply.keep(sides, caller);
    reply.drop_aside();
    Some((resumed, kept))
}

#[inline(always)]
fn go_on(resumed: TakenOver, kept: Kept) -> *mut Context {
    if kept.is_settled() {
        return sched::go_on(resumed, None);
    }
    let Kept { older, ended } = kept;
    settle(resumed, older, ended)
}

#[cold]
#[inline(never)]
fn settle(resumed: TakenOver, older: Option<Taken>, ended: Option<Ref<Thread>>) -> *mut Context {
    sched::go_on(resumed, Kept { older, ended }.settle())
}

/// `reply_receive`, to a caller that waits, with no other in line. [`None`] if it is not so, or if the answer is to be
/// refused: then nothing has changed.
#[inline(always)]
pub fn reply_receive(core: usize, running: Running<'_>, registers: &Context, brings: Brings) -> Option<*mut Context> {
    let [handle, ..] = registers.arguments();
    let handles = running.thread().process.handles.lock();
    let reply = handles.named_by(handle, Rights::READ.or(Rights::WRITE)).ok()?.0.as_kind::<Reply>()?;
    let sender = sender_of_handle(&handles, registers, running.thread(), brings)?;
    let (mut sides, caller, level) = reply.take_to_run(core)?;
    sched::deliver_answer(&caller, registers.message());
    let wait = Wait::Message(reply.clone());
    let (resumed, server) = sched::take_over(core, running, (caller, level), TraceKind::Answer);
    if brings == Brings::More {
        sched::set_deadline(&server, registers.deadline());
    }
    server.work_for_itself();
    let ended = sched::block_in(&mut sides.receivers, wait, server);
    drop(sides);
    drop(handles);
    move_handle(&resumed, sender);
    Some(if resumed.is_stopped() { sched::go_on_after_fault(resumed, ended) } else { sched::go_on(resumed, ended) })
}

/// The process whose handle moves with a message, if one does; [`None`] if it must not.
#[inline(always)]
fn sender_of_handle(
    handles: &Handles,
    registers: &Context,
    thread: &Thread,
    brings: Brings,
) -> Option<Option<Ref<Process>>> {
    let moved = registers.message()[6];
    if brings == Brings::Words || moved == 0 {
        return Some(None);
    }
    handles.named_by(moved, Rights::DUPLICATE).ok()?;
    Some(Some(thread.process.clone()))
}

/// Moves the handle of a message to the thread to which it has been delivered, which this core runs now. No lock is
/// held: the two tables are locked for it.
#[inline(always)]
fn move_handle(resumed: &TakenOver, sender: Option<Ref<Process>>) {
    if let Some(sender) = sender {
        let transfer = |receiver: &Thread, moved| transfer_handle(handle_in(moved), &sender, &receiver.process);
        sched::deliver_handle(resumed, transfer);
    }
}
