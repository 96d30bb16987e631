//! A thread's registers while it is not running in user space.

use core::mem::{offset_of, size_of};

/// What the vectors save on entry from EL0 and restore before they go back.
///
/// While a thread runs, `SP_EL1` points to its context, so that a trap has somewhere to store
/// without a scratch register. The kernel's own stack is found through `TPIDR_EL1`.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Context {
    /// General-purpose registers.
    pub x: [u64; 31],
    /// `SP_EL0`.
    pub sp: u64,
    /// Where to go on: `ELR_EL1`.
    pub pc: u64,
    /// Flags and mode: `SPSR_EL1`.
    pub pstate: u64,
    /// `TPIDR_EL0`.
    pub thread_pointer: u64,
}

impl Context {
    pub(super) const X: usize = offset_of!(Context, x);
    pub(super) const X30_SP: usize = offset_of!(Context, x) + 30 * size_of::<u64>();
    pub(super) const PC_PSTATE: usize = offset_of!(Context, pc);
    pub(super) const THREAD_POINTER: usize = offset_of!(Context, thread_pointer);

    /// All registers zero. `pstate` 0 is EL0 in AArch64 state with nothing masked.
    pub const fn zeroed() -> Self {
        Context { x: [0; 31], sp: 0, pc: 0, pstate: 0, thread_pointer: 0 }
    }

    /// The registers with which a program begins.
    pub const fn new_user(entry: u64, stack: u64, x0: u64, x1: u64) -> Self {
        let mut context = Self::zeroed();
        context.x[0] = x0;
        context.x[1] = x1;
        context.sp = stack;
        context.pc = entry;
        context
    }
}

// The vectors store x30 and sp, then pc and pstate, as pairs.
const _: () = assert!(Context::X == 0 && Context::X30_SP + 8 == offset_of!(Context, sp));
const _: () = assert!(Context::PC_PSTATE + 8 == offset_of!(Context, pstate));

unsafe extern "C" {
    /// Leaves the kernel for the thread whose registers these are, abandoning the kernel stack.
    ///
    /// # Safety
    ///
    /// The context is the calling core's alone until the next trap, and `pstate` means EL0.
    pub fn resume(context: *mut Context) -> !;
}
