//! Time: the kernel's clock, and the processor's counter read without a call.

use core::time::Duration;

use graft_abi::Call;

use crate::call::call;

/// Time since the machine's counter started, as the kernel tells it.
pub fn clock() -> Duration {
    // SAFETY: the call touches no memory. It cannot fail.
    Duration::from_nanos(unsafe { call(Call::Clock, []) }.map_or(0, |answer| answer.x0))
}

/// The generic timer's virtual count, `CNTVCT_EL0`, after everything before it has completed.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub fn counter() -> u64 {
    let count: u64;
    // SAFETY: reads a counter; the kernel leaves it readable at EL0. The barrier keeps the read
    // from being done early (Arm ARM, "The generic timer in AArch64 state").
    unsafe { core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) count, options(nostack)) };
    count
}

/// Counts per second, `CNTFRQ_EL0`.
#[cfg(target_arch = "aarch64")]
pub fn frequency() -> u64 {
    let frequency: u64;
    // SAFETY: reads a register that firmware has set and that does not change afterwards.
    unsafe { core::arch::asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack, preserves_flags)) };
    frequency
}

/// Counts of a clock with this frequency in nanoseconds, rounded to the nearest.
pub fn to_nanoseconds(counts: u64, frequency: u64) -> u64 {
    let frequency = u128::from(frequency.max(1));
    ((u128::from(counts) * 1_000_000_000 + frequency / 2) / frequency) as u64
}

#[cfg(test)]
mod tests {
    use super::to_nanoseconds;

    #[test]
    fn counts_become_nanoseconds_without_overflow() {
        assert_eq!(to_nanoseconds(1, 1_000_000_000), 1);
        assert_eq!(to_nanoseconds(625, 62_500_000), 10_000);
        assert_eq!(to_nanoseconds(54, 54_000_000), 1_000);
        assert_eq!(to_nanoseconds(2, 3_000_000_000), 1);
        assert_eq!(to_nanoseconds(1 << 50, 1_000_000_000), 1 << 50);
    }
}
