//! The exception vectors: in from EL0 and back, and where an exception from EL1 ends.

use super::{context::Context, core_local::CoreLocal, fault::FaultFrame};
use core::arch::global_asm;

global_asm!(
    include_str!("vectors.s"),
    CALL = const graft_abi::SVC_IMMEDIATE,
    X30_SP = const Context::X30_SP,
    PC_PSTATE = const Context::PC_PSTATE,
    THREAD_POINTER = const Context::THREAD_POINTER,
    STACK_TOP = const CoreLocal::STACK_TOP,
    EMERGENCY_TOP = const CoreLocal::EMERGENCY_TOP,
    FAULT = const CoreLocal::FAULT,
    FAULT_X30_SP = const FaultFrame::X30_SP,
    FAULT_PC_PSTATE = const FaultFrame::PC_PSTATE,
);

unsafe extern "C" {
    safe fn exception_vectors();
}

/// What goes into `VBAR_EL1`.
pub(super) fn address() -> u64 {
    exception_vectors as *const () as u64
}
