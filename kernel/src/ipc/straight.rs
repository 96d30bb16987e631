//! The straight way of a call and of its answer, when the other side waits for them: most of the time.
//!
//! Whatever is not so goes the way of `mod.rs`. Up to the exchange that ends the other thread's wait nothing has
//! changed, and the call can still go there. After it the core switches: no queue, no choice of the next thread, and no
//! timer but for a deadline.

use super::{handle_in, transfer_handle};
use crate::arch::{Context, core_index};
use crate::object::Ref;
use crate::object::endpoint::{Connection, Kept, Reply, Sides};
use crate::object::process::{Handles, Process};
use crate::object::thread::Thread;
use crate::object::wait::Wait;
use crate::sched::{self, TakenOver};
use graft_abi::{Handle, Rights, TraceKind};

/// `call`, to a server that waits. [`None`] if there is none, or if the call is to be refused: then nothing has
/// changed.
#[inline(always)]
pub fn call(thread: &Thread, registers: &Context, handle: Handle) -> Option<*mut Context> {
    let core = core_index();
    let moved = registers.message()[6];
    let handles = thread.process.handles.lock();
    let connection = handles.get(handle, Rights::WRITE).ok()?.0.as_kind::<Connection>()?;
    let sender = sender_of_handle(&handles, moved, thread)?;
    let mut sides = connection.sides().ok()?;
    let (resumed, kept) = hand_over(core, thread, &mut sides, connection.badge, registers)?;
    drop(sides);
    drop(handles);
    move_handle(moved, sender);
    Some(sched::go_on(resumed, kept.settle()))
}

/// A fault, to a supervisor that waits; likewise.
pub fn fault(thread: &Thread, registers: &Context, connection: &Connection) -> Option<*mut Context> {
    let mut sides = connection.sides().ok()?;
    let (resumed, kept) = hand_over(core_index(), thread, &mut sides, connection.badge, registers)?;
    drop(sides);
    Some(sched::go_on(resumed, kept.settle()))
}

/// Has the first of the servers that wait run with the current thread's message, and keeps its call.
#[inline(always)]
fn hand_over(
    core: usize,
    thread: &Thread,
    sides: &mut Sides,
    badge: u64,
    registers: &Context,
) -> Option<(TakenOver, Kept)> {
    let (server, won) = sides
        .receivers
        .pop_front_if(|server| if server.may_run_on(core) { server.unblock_to_run(core) } else { None })?;
    let reply = sched::take_wait(&server, won).object::<Reply>().expect("receivers wait in a reply");
    sched::deliver(&server, registers.message(), badge);
    server.work_for_caller(thread.priority());
    let (resumed, caller) = sched::take_over(core, server, TraceKind::Call);
    sched::set_deadline(&caller, registers.deadline());
    Some((resumed, reply.keep(sides, caller)))
}

/// `reply_receive`, to a caller that waits, with no other in line. [`None`] if it is not so, or if the answer is to be
/// refused: then nothing has changed.
#[inline(always)]
pub fn reply_receive(thread: &Thread, registers: &Context, handle: Handle) -> Option<*mut Context> {
    let core = core_index();
    let moved = registers.message()[6];
    let handles = thread.process.handles.lock();
    let reply = handles.get(handle, Rights::READ.or(Rights::WRITE)).ok()?.0.as_kind::<Reply>()?;
    let sender = sender_of_handle(&handles, moved, thread)?;
    let mut sides = reply.sides().ok()?;
    if !sides.callers.is_empty() {
        return None;
    }
    let caller = reply.take_to_run(&mut sides, core)?;
    let is_stopped = caller.is_stopped();
    sched::deliver_answer(&caller, registers.message());
    let wait = Wait::in_object(reply.clone());
    let (resumed, server) = sched::take_over(core, caller, TraceKind::Answer);
    sched::set_deadline(&server, registers.deadline());
    server.work_for_itself();
    let ended = sched::block_in(&mut sides.receivers, wait, server);
    drop(sides);
    drop(handles);
    move_handle(moved, sender);
    Some(if is_stopped { sched::go_on_after_fault(resumed, ended) } else { sched::go_on(resumed, ended) })
}

/// The process whose handle moves with a message, if one does; [`None`] if it must not.
#[inline(always)]
fn sender_of_handle(handles: &Handles, moved: u64, thread: &Thread) -> Option<Option<Ref<Process>>> {
    if moved == 0 {
        return Some(None);
    }
    handles.get(handle_in(moved), Rights::DUPLICATE).ok()?;
    Some(Some(thread.process.clone()))
}

/// Moves the handle of a message to the thread to which it has been delivered, which this core runs now. No lock is
/// held: the two tables are locked for it.
#[inline(always)]
fn move_handle(moved: u64, sender: Option<Ref<Process>>) {
    if let Some(sender) = sender {
        sched::deliver_handle(|receiver| transfer_handle(handle_in(moved), &sender, &receiver.process));
    }
}
