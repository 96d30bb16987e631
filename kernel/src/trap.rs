//! What brings a thread into the kernel, and what becomes of it.

use crate::arch::{self, Abort, AbortCause, Context, Trap};
use crate::memory::frames;
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::program::elf::STACK_GUARD;
use crate::{call, sched};
use core::{fmt, ptr};
use graft_abi::{ExitStatus, FaultKind, STACK_SIZE, STACK_TOP};
use graft_paging::{Access, Fault, VirtAddr};

/// What happens after a trap.
pub enum Next {
    /// The thread goes on. A call has changed none of its registers but `x0` to `x17`.
    Resume,
    /// The call was refused for want of memory. Nothing has changed, its arguments are still in the registers.
    WantMemory,
    /// The thread goes on with other registers.
    Restart,
    /// The thread has been put somewhere else; whoever is next runs.
    Switch,
    /// The thread's process is ending.
    End,
    /// The thread ends with this value.
    EndThread(u64),
    /// The thread lets others go first.
    GiveWay,
    /// The thread sleeps until this moment, in nanoseconds since the counter started.
    Sleep(u64),
}

/// Every native call ends up here, on the core's kernel stack and with interrupts masked. Returns the
/// registers of the thread to resume, or null if that is the caller and only `x0` to `x17` have changed: the
/// vectors then restore no more than those, and a call is measured in instructions.
#[unsafe(no_mangle)]
extern "C" fn call_from_user(context: *mut Context) -> *mut Context {
    // SAFETY: the vectors stored the registers of the thread that was resumed last on this core, which is
    // its current one, and stays so until the `Next` below is carried out.
    let (thread, registers) = unsafe { (Thread::of(context), &mut *context) };
    match call::dispatch(thread, registers) {
        Next::Resume => ptr::null_mut(),
        next => carry_out(next, context),
    }
}

/// Every other trap from EL0 ends up here, likewise. Returns the registers of the thread to resume.
///
/// `syndrome` is `ESR_EL1`, or `u64::MAX` for an interrupt; `fault_address` is `FAR_EL1`.
#[unsafe(no_mangle)]
extern "C" fn trap_from_user(context: *mut Context, syndrome: u64, fault_address: u64) -> *mut Context {
    // SAFETY: as in `call_from_user`.
    let (thread, registers) = unsafe { (Thread::of(context), &mut *context) };
    let next = match arch::decode(syndrome, fault_address) {
        Trap::Interrupt => return sched::interrupted(context),
        Trap::Abort(abort) => answer_abort(thread, registers.pc, abort),
        trap => answer_other(thread, registers.pc, trap),
    };
    match next {
        Next::Resume => context,
        next => carry_out(next, context),
    }
}

fn carry_out(next: Next, context: *mut Context) -> *mut Context {
    match next {
        Next::Resume | Next::Restart => context,
        Next::WantMemory => {
            // SAFETY: as in `call_from_user`; the borrow of the registers there has ended.
            call::want_memory(unsafe { &mut *context });
            context
        }
        Next::Switch => sched::next(),
        Next::End => sched::end_current(None),
        Next::EndThread(value) => sched::end_current(Some(value)),
        Next::GiveWay => sched::give_way(context),
        Next::Sleep(deadline) => sched::sleep_until(deadline),
    }
}

/// Looks for the cause of an abort in the tree, and repairs it there if it can.
#[inline(always)]
fn answer_abort(thread: &Thread, pc: u64, abort: Abort) -> Next {
    let process = &*thread.process;
    process.statistics.count_fault();
    let repairable = matches!(abort.cause, AbortCause::Translation | AbortCause::Permission | AbortCause::AccessFlag);
    if repairable
        && let Some(address) = VirtAddr::new(abort.address)
        && let Ok(mut tree) = process.space.lock()
    {
        match tree.fault(address, abort.access) {
            Ok(resolved) => {
                process.statistics.count(&resolved);
                return Next::Resume;
            }
            Err(fault) => {
                drop(tree);
                // The same fault comes again, and finds what other cores have given back.
                if fault == Fault::OutOfMemory && frames::gather() {
                    return Next::Resume;
                }
                return end(thread, pc, kind_of_fault(abort, fault), Some(abort.address));
            }
        }
    }
    end_by_abort(thread, pc, abort)
}

/// Aborts that no tree has an answer to.
#[cold]
fn end_by_abort(thread: &Thread, pc: u64, abort: Abort) -> Next {
    let kind = match abort.cause {
        AbortCause::TlbConflict => {
            // Arm ARM, "TLB conflict aborts": invalidate and try again.
            arch::tlb::invalidate_all();
            return Next::Resume;
        }
        AbortCause::Translation | AbortCause::Permission | AbortCause::AccessFlag => {
            // Bit 63 tells the kernel's half; between the halves is nothing.
            if abort.address >> 63 == 1 { FaultKind::KernelAddress } else { FaultKind::Unmapped }
        }
        AbortCause::Alignment => FaultKind::Unaligned,
        AbortCause::AddressSize | AbortCause::External | AbortCause::Other(_) => FaultKind::Machine,
    };
    end(thread, pc, kind, Some(abort.address))
}

fn kind_of_fault(abort: Abort, fault: Fault) -> FaultKind {
    let stack = (STACK_TOP - STACK_SIZE) as u64;
    match fault {
        Fault::Unmapped if (stack - STACK_GUARD as u64..stack).contains(&abort.address) => FaultKind::StackOverflow,
        Fault::Unmapped => FaultKind::Unmapped,
        Fault::Denied(_) => match abort.access {
            Access::Read => FaultKind::ReadDenied,
            Access::Write => FaultKind::WriteDenied,
            Access::Execute => FaultKind::ExecuteDenied,
        },
        Fault::OutOfMemory | Fault::Contended => FaultKind::OutOfMemory,
    }
}

/// Traps that are neither native calls nor aborts nor interrupts.
#[cold]
fn answer_other(thread: &Thread, pc: u64, trap: Trap) -> Next {
    let kind = match trap {
        Trap::FloatingPoint => {
            sched::use_floating_point(thread);
            return Next::Resume;
        }
        Trap::Call { .. } => FaultKind::ForeignCall,
        Trap::Breakpoint => FaultKind::Breakpoint,
        Trap::Unaligned(_) => FaultKind::Unaligned,
        Trap::SystemError => FaultKind::Machine,
        Trap::Undefined | Trap::Other { .. } => FaultKind::Undefined,
        Trap::Abort(_) | Trap::Interrupt => return Next::Resume,
    };
    end(thread, pc, kind, None)
}

/// Ends the thread's process with a report on the console.
#[cold]
fn end(thread: &Thread, pc: u64, kind: FaultKind, address: Option<u64>) -> Next {
    // Whoever is ending already has been told why. Nobody hears of this end before its report: the process
    // waits for this thread.
    if thread.process.terminate(ExitStatus::Faulted(kind), thread) {
        println!("{}", Report { process: &thread.process, kind, address, pc });
    }
    Next::End
}

/// Who did what, where.
struct Report<'a> {
    process: &'a Process,
    kind: FaultKind,
    address: Option<u64>,
    pc: u64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.process.name();
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let identifier = self.process.identifier();
        write!(f, "graft: process {identifier} ({}) {}", name[..end].escape_ascii(), self.kind.message())?;
        if let Some(address) = self.address {
            write!(f, ": address {address:#x}")?;
        }
        write!(f, ", pc {:#x}", self.pc)
    }
}
