//! Floating-point and SIMD registers of threads.
//!
//! A thread that never uses them never pays: they are off at EL0 until the first use traps
//! (`CPACR_EL1.FPEN`), and the scheduler remembers which thread's values the registers hold.

use aarch64_cpu::{
    asm::barrier,
    registers::{CPACR_EL1, ReadWriteable},
};
use core::arch::global_asm;

/// The registers of one thread: `v0` to `v31`, `FPCR` and `FPSR`.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct State {
    vectors: [u128; 32],
    control: u64,
    status: u64,
}

impl State {
    /// What a thread finds at its first use: zeroes, round to nearest, no trap.
    pub const fn zeroed() -> Self {
        State { vectors: [0; 32], control: 0, status: 0 }
    }
}

/// EL0 may use the registers, whose values must be the current thread's.
pub fn enable() {
    CPACR_EL1.modify(CPACR_EL1::FPEN::TrapNothing);
    barrier::isb(barrier::SY);
}

/// The next use at EL0 traps.
pub fn disable() {
    CPACR_EL1.modify(CPACR_EL1::FPEN::TrapEl0);
    barrier::isb(barrier::SY);
}

/// Stores the registers.
pub fn save(state: &mut State) {
    // SAFETY: the routine stores to the state only.
    unsafe { save_floating_point(state) }
}

/// Loads the registers.
pub fn restore(state: &State) {
    // SAFETY: the kernel itself keeps nothing in these registers.
    unsafe { restore_floating_point(state) }
}

/// Forgets what the registers hold.
pub fn scrub() {
    restore(&State::zeroed());
}

unsafe extern "C" {
    fn save_floating_point(state: *mut State);
    fn restore_floating_point(state: *const State);
}

macro_rules! all_vectors {
    ($instruction:literal) => {
        concat!(
            $instruction,
            " q0, q1, [x0]\n",
            $instruction,
            " q2, q3, [x0, #32]\n",
            $instruction,
            " q4, q5, [x0, #64]\n",
            $instruction,
            " q6, q7, [x0, #96]\n",
            $instruction,
            " q8, q9, [x0, #128]\n",
            $instruction,
            " q10, q11, [x0, #160]\n",
            $instruction,
            " q12, q13, [x0, #192]\n",
            $instruction,
            " q14, q15, [x0, #224]\n",
            $instruction,
            " q16, q17, [x0, #256]\n",
            $instruction,
            " q18, q19, [x0, #288]\n",
            $instruction,
            " q20, q21, [x0, #320]\n",
            $instruction,
            " q22, q23, [x0, #352]\n",
            $instruction,
            " q24, q25, [x0, #384]\n",
            $instruction,
            " q26, q27, [x0, #416]\n",
            $instruction,
            " q28, q29, [x0, #448]\n",
            $instruction,
            " q30, q31, [x0, #480]\n",
        )
    };
}

global_asm!(
    ".section .text.floating_point, \"ax\"",
    ".arch_extension simd",
    ".global save_floating_point",
    "save_floating_point:",
    all_vectors!("stp"),
    "mrs x1, fpcr",
    "mrs x2, fpsr",
    "str x1, [x0, #512]",
    "str x2, [x0, #520]",
    "ret",
    ".global restore_floating_point",
    "restore_floating_point:",
    all_vectors!("ldp"),
    "ldr x1, [x0, #512]",
    "ldr x2, [x0, #520]",
    "msr fpcr, x1",
    "msr fpsr, x2",
    "ret",
    ".arch_extension nosimd",
);
