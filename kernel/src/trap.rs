//! What brings a thread into the kernel, and what becomes of it.

use crate::arch::{self, Cause, Context, Failure, Trap};
use crate::call::{self, Next};
use crate::ipc::fault::{self, Sent};
use crate::ipc::straight::{self, Brings};
use crate::memory::user_copy::Owner;
use crate::memory::{frames, space};
use crate::object::process::Process;
use crate::object::thread::{Fault, Thread};
use crate::sched::{self, Running};
use crate::trace;
use core::ptr;
use graft_abi::{Call, Error, FaultKind, STACK_GUARD, STACK_SIZE, STACK_TOP, TraceKind};
use graft_paging::{self as paging, Access, Action, Resolved, VirtAddr};

arch::entries!(answer_call, answer_message, answer_more, answer_trap);

/// Every native call ends up here, on the core's kernel stack and with interrupts masked. Returns the
/// registers of the thread to resume, or null if that is the caller and only what a call may change has changed: the
/// vectors then restore no more than that, and a call is measured in instructions.
///
/// # Safety
/// The registers are those of the thread that was resumed last on this core.
#[inline(always)]
unsafe fn answer_call(context: *mut Context) -> *mut Context {
    // SAFETY: that thread is the core's current one, and stays so until the `Next` below is carried out.
    let (thread, registers) = unsafe { (Thread::of(context), &mut *context) };
    match call::dispatch(thread, registers) {
        Next::Resume => ptr::null_mut(),
        Next::WantMemory => carry_out(dispatch_again(thread, registers), context),
        Next::GiveWay => sched::give_way(context),
        next => carry_out(next, context),
    }
}

/// Calls that carry a message end up here, likewise, on this core. Returns the registers of the thread to resume;
/// [`None`] of a call that brings more than words, and of those that are rarer, which [`answer_more`] answers.
///
/// # Safety
/// As [`answer_call`].
#[inline(always)]
unsafe fn answer_message(context: *mut Context, core: usize) -> Option<*mut Context> {
    // SAFETY: as in `answer_call`.
    let (running, registers) = unsafe { (Running::new(Thread::of(context)), &*context) };
    let resumed = match registers.call_number() {
        _ if registers.brings_more() => return None,
        CALL => straight::call(core, running, registers, Brings::Words),
        REPLY_RECEIVE => straight::reply_receive(core, running, registers, Brings::Words),
        _ => return None,
    };
    // SAFETY: as above; the borrow of the registers has ended.
    Some(resumed.unwrap_or_else(|| unsafe { answer_message_otherwise(context) }))
}

const CALL: u64 = Call::Call as u64;
const CALL_LENDING: u64 = Call::CallLending as u64;
const REPLY_RECEIVE: u64 = Call::ReplyReceive as u64;

/// The same of those, of all of which it returns the registers.
///
/// # Safety
/// As [`answer_call`].
#[inline(always)]
unsafe fn answer_more(context: *mut Context, core: usize) -> *mut Context {
    // SAFETY: as in `answer_call`.
    let (running, registers) = unsafe { (Running::new(Thread::of(context)), &*context) };
    let resumed = match registers.call_number() {
        CALL | CALL_LENDING => straight::call(core, running, registers, Brings::More),
        REPLY_RECEIVE => straight::reply_receive(core, running, registers, Brings::More),
        _ => None,
    };
    // SAFETY: as above; the borrow of the registers has ended.
    resumed.unwrap_or_else(|| unsafe { answer_message_otherwise(context) })
}

/// Not inlined: what it needs would be prepared on the straight way.
///
/// # Safety
/// As [`answer_call`].
#[cold]
#[inline(never)]
unsafe fn answer_message_otherwise(context: *mut Context) -> *mut Context {
    // SAFETY: as in `answer_call`.
    let (thread, registers) = unsafe { (Thread::of(context), &mut *context) };
    match call::dispatch_message(thread, registers) {
        Next::WantMemory => carry_out(dispatch_again(thread, registers), context),
        next => carry_out(next, context),
    }
}

/// How often an operation that was refused for want of memory is tried again, after all cores have brought back their
/// magazines. Other threads may take those frames first, but must not keep this one in the kernel for as long as they
/// go on allocating.
const RETRIES: u32 = 4;

/// Makes a call again that was refused for want of memory: it has changed nothing.
#[cold]
fn dispatch_again(thread: &Thread, registers: &mut Context) -> Next {
    for _ in 0..RETRIES {
        if let Some(obstacle) = space::met_obstacle() {
            return call::again_behind(obstacle, registers);
        }
        if !frames::gather() {
            break;
        }
        match call::dispatch(thread, registers) {
            Next::WantMemory => {}
            next => return next,
        }
    }
    thread.work.forget();
    Next::NoMemory
}

/// Every other trap of a thread ends up here, likewise. Returns the registers of the thread to resume.
///
/// # Safety
/// As [`answer_call`].
#[inline(always)]
unsafe fn answer_trap(context: *mut Context, trap: Trap) -> *mut Context {
    // SAFETY: as in `answer_call`.
    let (thread, registers) = unsafe { (Thread::of(context), &mut *context) };
    let pc = registers.program_counter();
    let next = match trap {
        Trap::Interrupt => return sched::interrupted(context),
        Trap::Access(failure) => answer_failure(thread, pc, failure),
        Trap::FloatingPoint => {
            sched::use_floating_point(thread);
            Next::Resume
        }
        Trap::Again => Next::Resume,
        Trap::Error(kind) => end(thread, pc, kind, None),
    };
    match next {
        Next::Resume => context,
        next => carry_out(next, context),
    }
}

fn carry_out(next: Next, context: *mut Context) -> *mut Context {
    match next {
        Next::Resume | Next::Restart => context,
        Next::WantMemory | Next::NoMemory => {
            // SAFETY: as in `answer_call`; the borrow of the registers there has ended.
            unsafe { &mut *context }.set_result(Error::OutOfMemory.to_register());
            context
        }
        Next::Switch => sched::next(),
        Next::Resumed(resumed) => resumed,
        Next::SwitchTo(thread) => sched::switch_to(thread),
        Next::GiveWayTo(thread) => sched::give_way_to(thread, context),
        Next::End => sched::end_current(None),
        Next::EndThread(value) => sched::end_current(Some(value)),
        Next::Work => sched::work(),
        Next::GiveWay => sched::give_way(context),
        Next::Sleep(deadline) => sched::sleep_until(deadline),
        Next::Pause => sched::pause(),
    }
}

/// Looks for the cause of a failed access in the tree, and repairs it there if it can.
#[inline(always)]
fn answer_failure(thread: &Thread, pc: u64, failure: Failure) -> Next {
    if failure.cause != Cause::Descriptor {
        return end_by_failure(thread, pc, failure);
    }
    let process = &*thread.process;
    process.statistics.count_fault();
    if let Some(address) = VirtAddr::new(failure.address)
        && let Ok(mut tree) = process.space.lock()
    {
        match tree.fault(address, failure.access) {
            Ok(resolved) => {
                process.statistics.count(&resolved);
                if trace::is_on() {
                    note_repair(process, failure.address, &resolved);
                }
                return Next::Resume;
            }
            Err(fault) => {
                drop(tree);
                return repair_again(thread, pc, failure, (address, fault));
            }
        }
    }
    end_by_failure(thread, pc, failure)
}

/// Records what was done about an access. Not inlined: the way of every fault would have to prepare it.
#[cold]
#[inline(never)]
fn note_repair(process: &Process, address: u64, resolved: &Resolved) {
    let kind = match resolved.action {
        _ if resolved.table_splits != 0 => TraceKind::Split,
        Action::Copy => TraceKind::Copy,
        Action::DemandZero | Action::ZeroPage => TraceKind::DemandZero,
        Action::Reuse | Action::Nothing => TraceKind::Reuse,
    };
    trace::note(|| (kind, process.identifier(), address));
}

/// Answers a fault again if there was no frame for it, with what other cores have given back, then with what is kept
/// back, or ends the process.
#[cold]
fn repair_again(thread: &Thread, pc: u64, failure: Failure, (address, mut fault): (VirtAddr, paging::Fault)) -> Next {
    let process = &*thread.process;
    for attempt in 0..=RETRIES {
        if fault != paging::Fault::OutOfMemory {
            break;
        }
        let is_last = attempt == RETRIES || !frames::gather();
        if is_last && !process.may_use_reserve() {
            break;
        }
        let Ok(mut tree) = process.space.lock() else { return end_by_failure(thread, pc, failure) };
        let mut answer = || tree.fault(address, failure.access);
        match if is_last { frames::with_reserve(answer) } else { answer() } {
            Ok(resolved) => {
                process.statistics.count(&resolved);
                if trace::is_on() {
                    note_repair(process, failure.address, &resolved);
                }
                return Next::Resume;
            }
            Err(again) => fault = again,
        }
        if is_last {
            break;
        }
    }
    end(thread, pc, kind_of_fault(failure, fault), Some(failure.address))
}

/// Failures to which no tree has an answer; but a tree that is away comes back: a fork is one moment for the thread,
/// which tries again.
#[cold]
fn end_by_failure(thread: &Thread, pc: u64, failure: Failure) -> Next {
    if failure.cause == Cause::Descriptor {
        if space::met_obstacle().is_some() {
            return Next::Pause;
        }
    } else {
        thread.process.statistics.count_fault();
    }
    let kind = match failure.cause {
        // Between the kernel's half and the user's is nothing.
        Cause::Descriptor if arch::is_kernel_half(failure.address) => FaultKind::KernelAddress,
        Cause::Descriptor => FaultKind::Unmapped,
        Cause::Error(kind) => kind,
    };
    end(thread, pc, kind, Some(failure.address))
}

fn kind_of_fault(failure: Failure, fault: paging::Fault) -> FaultKind {
    let stack = (STACK_TOP - STACK_SIZE) as u64;
    match fault {
        paging::Fault::Unmapped if (stack - STACK_GUARD as u64..stack).contains(&failure.address) => {
            FaultKind::StackOverflow
        }
        paging::Fault::Unmapped => FaultKind::Unmapped,
        paging::Fault::Denied(_) => match failure.access {
            Access::Read => FaultKind::ReadDenied,
            Access::Write => FaultKind::WriteDenied,
            Access::Execute => FaultKind::ExecuteDenied,
        },
        paging::Fault::OutOfMemory | paging::Fault::Contended => FaultKind::OutOfMemory,
    }
}

/// Records a fault, likewise.
#[cold]
#[inline(never)]
fn note_fault(thread: &Thread, address: u64) {
    trace::note(|| (TraceKind::Fault, thread.process.identifier(), address));
}

/// Sends a fault to the process's supervisor, or ends the process.
#[cold]
#[inline(never)]
fn end(thread: &Thread, pc: u64, kind: FaultKind, address: Option<u64>) -> Next {
    if trace::is_on() {
        note_fault(thread, address.unwrap_or(pc));
    }
    match fault::send(thread, Fault { kind, address, pc }) {
        Some(Sent::Resumed(resumed)) => Next::Resumed(resumed),
        Some(Sent::SwitchTo(supervisor)) => Next::SwitchTo(supervisor),
        Some(Sent::Blocked) => Next::Switch,
        Some(Sent::Again) => Next::GiveWay,
        None => Next::End,
    }
}
