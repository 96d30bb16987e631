//! What becomes of a thread that cannot go on: its supervisor's answer, or the end of its process with a report.

use super::process::{Name, Process};
use super::thread::{Fault, Thread};
use core::fmt;
use graft_abi::{ExitStatus, FaultAnswer};

const GO_ON: u64 = FaultAnswer::GoOn as u64;
const RETURN: u64 = FaultAnswer::Return as u64;
const GO_ON_AT: u64 = FaultAnswer::GoOnAt as u64;

/// Does with the current thread what its supervisor has answered, or what is done without one.
pub fn conclude(thread: &Thread) {
    // SAFETY: the current thread is this core's own.
    let registers = unsafe { &mut *thread.context() };
    let [failure, answer, value, ..] = registers.arguments();
    // SAFETY: as above; it is stopped until here.
    let fault = unsafe { thread.go_on() };
    match answer {
        _ if failure != 0 => end(thread, fault),
        GO_ON => {}
        RETURN => registers.set_result(value),
        GO_ON_AT => registers.set_program_counter(value),
        _ => end(thread, fault),
    }
}

/// Ends the thread's process with a report on the console.
#[cold]
pub fn end(thread: &Thread, fault: Fault) {
    // A process that is ending already has its reason. No waiter learns of this end before its report: the
    // process waits for this thread.
    if thread.process.terminate(ExitStatus::Faulted(fault.kind), thread) {
        println!("{}", Report { process: &thread.process, fault });
    }
}

/// Which process did what, and where.
struct Report<'a> {
    process: &'a Process,
    fault: Fault,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name(name) = self.process.name();
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let identifier = self.process.identifier();
        write!(f, "graft: process {identifier} ({}) {}", name[..end].escape_ascii(), self.fault.kind.message())?;
        if let Some(address) = self.fault.address {
            write!(f, ": address {address:#x}")?;
        }
        write!(f, ", pc {:#x}", self.fault.pc)
    }
}
