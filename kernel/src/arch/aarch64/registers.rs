//! System registers that every core sets once.

use super::{core_local, vectors};
use aarch64_cpu::{
    asm::barrier,
    registers::{
        CNTKCTL_EL1, CPACR_EL1, ID_AA64DFR0_EL1, ID_AA64MMFR1_EL1, MDSCR_EL1, OSLAR_EL1, Readable, SCTLR_EL1, TCR_EL1,
        TPIDRRO_EL0, VBAR_EL1, Writeable,
    },
};
use core::arch::asm;

/// Makes the calling core the one with this index and sets the registers that Rust code relies on.
pub(super) fn prepare_core(index: usize) {
    core_local::adopt(index);
    VBAR_EL1.set(vectors::address());
    TPIDRRO_EL0.set(0);
    switch_off_debug_exceptions();
    // Floating point and SIMD work in the kernel, which copies pages with them, and trap from EL0.
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapEl0);
    // EL0 may read the virtual counter; timers and the physical counter stay the kernel's.
    CNTKCTL_EL1.write(CNTKCTL_EL1::EL0VCTEN::SET);
    start_cycle_counter();
    barrier::isb(barrier::SY);
    switch_on_privileged_access_never();

    // The whole design of fork: hierarchical permissions count (Arm ARM, `TCR_EL1`, HPD0 and HPD1).
    assert_eq!(TCR_EL1.get() >> 41 & 3, 0, "hierarchical permissions are disabled");
}

/// No program is stepped, and none stops at a breakpoint or watchpoint that the loader has left behind; EL0 does
/// not reach the debug communications channel (TDCC).
///
/// The fields of `MDSCR_EL1` are UNKNOWN after a reset, and every program runs with PSTATE.D clear. Once they are
/// known the OS lock goes, which a reset sets and which keeps an external debugger from most debug registers
/// (Arm ARM, "Debug OS Save and Restore sequences", "The OS Lock").
fn switch_off_debug_exceptions() {
    MDSCR_EL1.write(MDSCR_EL1::TDCC::SET);
    barrier::isb(barrier::SY);
    OSLAR_EL1.write(OSLAR_EL1::OSLK::CLEAR);
}

/// `PMCCNTR_EL0` counts at every exception level and EL0 may read it.
fn start_cycle_counter() {
    let version = ID_AA64DFR0_EL1.get() >> 8 & 0xF;
    if version == 0 || version == 0xF {
        return;
    }
    // SAFETY: PMUv3 is there. PMCR: E, C, LC. PMCNTENSET: C. PMUSERENR: CR, read access to the cycle
    // counter alone. No overflow interrupt is enabled.
    unsafe {
        asm!(
            "msr pmccfiltr_el0, xzr",
            "msr pmcr_el0, {control}",
            "msr pmcntenset_el0, {cycles}",
            "msr pmuserenr_el0, {readable}",
            control = in(reg) 1_u64 | 1 << 2 | 1 << 6,
            cycles = in(reg) 1_u64 << 31,
            readable = in(reg) 1_u64 << 2,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// With FEAT_PAN a stray kernel access to a user page faults. The kernel makes none on purpose: it
/// reaches user memory through the direct map. Armv8.0 cores, such as the Pi 4's, do without.
fn switch_on_privileged_access_never() {
    if ID_AA64MMFR1_EL1.get() >> 20 & 0xF == 0 {
        return;
    }
    const SPAN: u64 = 1 << 23;
    // SPAN = 0: every exception to EL1 sets PSTATE.PAN.
    SCTLR_EL1.set(SCTLR_EL1.get() & !SPAN);
    // SAFETY: FEAT_PAN is there, and the kernel accesses no user page by its user address.
    unsafe {
        asm!(".arch_extension pan", "msr pan, #1", options(nomem, nostack));
    }
    barrier::isb(barrier::SY);
}
