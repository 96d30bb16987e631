//! Which user space a core translates through: `TTBR0_EL1`.

use super::core_local;
use aarch64_cpu::{
    asm::barrier,
    registers::{ID_AA64MMFR0_EL1, Readable, TTBR0_EL1, Writeable},
};

/// Bits in an address space identifier: 8 or 16.
pub fn asid_bits() -> u32 {
    if ID_AA64MMFR0_EL1.get() >> 4 & 0xF == 2 { 16 } else { 8 }
}

/// Translates user addresses through the level-0 table at physical address `root` from now on.
///
/// Table and ASID change in one register, so no walk ever combines the one with the other's past
/// (`TCR_EL1.A1` is 0). The barrier makes the change visible to what follows; an exception return
/// would do as well, but the kernel may translate by hand (`AT`) before it returns.
#[inline(always)]
pub fn activate(root: u64, asid: u16) {
    TTBR0_EL1.set(root | u64::from(asid) << 48);
    barrier::isb(barrier::SY);
}

/// No user address translates any more on this core.
///
/// ASID 0 belongs to the empty table alone, so speculation under it can fill the TLB with nothing.
pub fn deactivate() {
    activate(core_local::empty_root(), 0);
}
