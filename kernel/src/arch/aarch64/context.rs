//! A thread's registers while it is not running in user space.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use graft_abi::REGISTERS;

/// What the vectors save on entry from EL0 and restore before they go back.
///
/// While a thread runs, `SP_EL1` points to its context, so that a trap has somewhere to store
/// without a scratch register. The kernel's own stack is found through `TPIDR_EL1`.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Context {
    /// General-purpose registers.
    x: [u64; 31],
    /// `SP_EL0`.
    sp: u64,
    /// Where to go on: `ELR_EL1`.
    pc: u64,
    /// Flags and mode: `SPSR_EL1`.
    pstate: u64,
    /// `TPIDR_EL0`.
    thread_pointer: u64,
}

/// Negative, zero, carry and overflow in `SPSR_EL1`.
const FLAGS: u64 = 0xf << 28;
/// Bytes of `svc`.
const CALL_INSTRUCTION: u64 = 4;

impl Context {
    pub(super) const X: usize = offset_of!(Context, x);
    pub(super) const X30_SP: usize = offset_of!(Context, x) + 30 * size_of::<u64>();
    pub(super) const PC_PSTATE: usize = offset_of!(Context, pc);
    pub(super) const THREAD_POINTER: usize = offset_of!(Context, thread_pointer);

    /// What the address of an instruction is a multiple of.
    pub const ENTRY_ALIGNMENT: u64 = 4;
    /// What a stack pointer is a multiple of (Procedure Call Standard; the processor checks it, `SCTLR_EL1.SA0`).
    pub const STACK_ALIGNMENT: u64 = 16;

    /// The registers with which a program or a thread begins: where, with which stack, with two arguments.
    /// `pstate` 0 is EL0 in AArch64 state with nothing masked.
    pub const fn new_user(entry: u64, stack: u64, arguments: [u64; 2]) -> Self {
        let mut context = Context { x: [0; 31], sp: stack, pc: entry, pstate: 0, thread_pointer: 0 };
        context.x[0] = arguments[0];
        context.x[1] = arguments[1];
        context
    }

    /// The same with this thread pointer.
    pub const fn with_thread_pointer(mut self, thread_pointer: u64) -> Self {
        self.thread_pointer = thread_pointer;
        self
    }

    /// Writes a copy to where another thread's registers stay.
    ///
    /// # Safety
    /// The place is good for writes of a context, and is not this one.
    #[inline(always)]
    pub unsafe fn copy_to(&self, place: *mut Context) {
        const { assert!(size_of::<Context>() == 18 * 16) };
        // A pair of registers at a time: `memcpy` takes twice as many instructions, most of them about the length.
        // SAFETY: one context is read and another written, from end to end.
        unsafe {
            asm!(
                ".irp at, 0, 32, 64, 96, 128, 160, 192, 224, 256",
                "ldp {a}, {b}, [{from}, #\\at]",
                "ldp {c}, {d}, [{from}, #\\at + 16]",
                "stp {a}, {b}, [{to}, #\\at]",
                "stp {c}, {d}, [{to}, #\\at + 16]",
                ".endr",
                from = in(reg) self,
                to = in(reg) place,
                a = out(reg) _,
                b = out(reg) _,
                c = out(reg) _,
                d = out(reg) _,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Where the thread goes on.
    #[inline(always)]
    pub fn program_counter(&self) -> u64 {
        self.pc
    }

    /// Has the thread go on there.
    pub fn set_program_counter(&mut self, address: u64) {
        self.pc = address;
    }

    /// The number of the call that the thread has made.
    #[inline(always)]
    pub fn call_number(&self) -> u64 {
        self.x[8]
    }

    /// Makes another call of the one that the thread is about to make.
    #[inline(always)]
    pub fn set_call_number(&mut self, number: u64) {
        self.x[8] = number;
    }

    /// The call's arguments.
    #[inline(always)]
    pub fn arguments(&self) -> [u64; 6] {
        let [x0, x1, x2, x3, x4, x5, ..] = self.x;
        [x0, x1, x2, x3, x4, x5]
    }

    /// The words of the message that a call carries, and the handle behind them.
    #[inline(always)]
    pub fn message(&self) -> [u64; 7] {
        let [_, x1, x2, x3, x4, x5, x6, x7, ..] = self.x;
        [x1, x2, x3, x4, x5, x6, x7]
    }

    /// Whether a call that carries a message has a handle in it or a deadline.
    #[inline(always)]
    pub fn brings_more(&self) -> bool {
        self.x[7] | self.x[9] != 0
    }

    /// The memory that a call lends: address and length of what may be read, and of what may be written.
    pub fn lent(&self) -> [(u64, u64); 2] {
        [(self.x[20], self.x[21]), (self.x[22], self.x[23])]
    }

    /// Stores a message, which has arrived, and the badge of the connection that it came through.
    #[inline(always)]
    pub fn set_message(&mut self, message: [u64; 7], badge: u64) {
        self.x[0] = 0;
        self.x[1..8].copy_from_slice(&message);
        self.x[9] = badge;
    }

    /// Stores the handle of a message that has arrived.
    pub fn set_handle(&mut self, handle: u64) {
        self.x[7] = handle;
    }

    /// As the words that a supervisor sees.
    pub fn to_words(&self) -> [u64; REGISTERS] {
        let mut words = [0; REGISTERS];
        words[..31].copy_from_slice(&self.x);
        [words[31], words[32], words[33]] = [self.sp, self.pc, self.pstate & FLAGS];
        words
    }

    /// From those words. The mode stays that of a program.
    pub fn set_words(&mut self, words: &[u64; REGISTERS]) {
        self.x.copy_from_slice(&words[..31]);
        (self.sp, self.pc, self.pstate) = (words[31], words[32], self.pstate & !FLAGS | words[33] & FLAGS);
    }

    /// Until when a call that carries a message waits.
    #[inline(always)]
    pub fn deadline(&self) -> u64 {
        self.x[9]
    }

    /// Stores a call's result.
    #[inline(always)]
    pub fn set_result(&mut self, result: u64) {
        self.x[0] = result;
    }

    /// Stores the two results of a call that has two.
    #[inline(always)]
    pub fn set_results(&mut self, results: [u64; 2]) {
        [self.x[0], self.x[1]] = results;
    }

    /// Sets the registers of a thread that has made a call back to those before it: the thread makes the call again.
    /// Not after a result has been stored, which may lie where the number or an argument was.
    #[inline(always)]
    pub fn rewind(&mut self) {
        self.pc -= CALL_INSTRUCTION;
    }

    /// Takes [`rewind`](Self::rewind) back: the registers after the call.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.pc += CALL_INSTRUCTION;
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
