//! Time: the generic timer's virtual counter, in nanoseconds (Arm ARM, "The Generic Timer").

use aarch64_cpu::{
    asm::barrier,
    registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable},
};
use core::sync::atomic::{AtomicU64, Ordering};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds in a tick, and ticks in a nanosecond, as 32.32 fixed point: no division after the start.
///
/// Exact for the frequencies of QEMU (62.5 MHz, 1 GHz); on the Pi 4 (54 MHz) `now` is off by less than
/// a nanosecond a minute.
static NANOSECONDS_PER_TICK: AtomicU64 = AtomicU64::new(0);
static TICKS_PER_NANOSECOND: AtomicU64 = AtomicU64::new(0);

/// The counter's frequency, in hertz, as firmware left it in `CNTFRQ_EL0`; zero if it did not.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Prepares the conversions for a counter of this frequency, in hertz; `None` if it is zero.
pub fn set_frequency(hertz: u64) -> Option<()> {
    NANOSECONDS_PER_TICK.store((SECOND << 32).checked_div(hertz)?, Ordering::Relaxed);
    TICKS_PER_NANOSECOND.store((hertz << 32) / SECOND, Ordering::Relaxed);
    Some(())
}

fn scale(value: u64, factor: &AtomicU64) -> u64 {
    ((u128::from(value) * u128::from(factor.load(Ordering::Relaxed))) >> 32) as u64
}

/// Nanoseconds since the counter started.
///
/// The barrier keeps the counter from being read before what precedes it in the program.
#[inline]
pub fn now() -> u64 {
    barrier::isb(barrier::SY);
    scale(CNTVCT_EL0.get(), &NANOSECONDS_PER_TICK)
}

/// The counter itself, perhaps read a little before what precedes it in the program.
#[inline(always)]
pub fn counts() -> u64 {
    CNTVCT_EL0.get()
}

/// So many counts in nanoseconds.
pub fn to_nanoseconds(counts: u64) -> u64 {
    scale(counts, &NANOSECONDS_PER_TICK)
}

/// Makes this core's timer interrupt fire at, or right after, `deadline` nanoseconds since the counter
/// started; at once if that has passed.
///
/// Counted from now, so that what the conversion rounds off does not grow with the time of day: an
/// interrupt that came early would be answered by setting the same deadline, again and again.
pub fn set_deadline(deadline: u64) {
    let ticks = scale(deadline.saturating_sub(now()), &TICKS_PER_NANOSECOND);
    CNTV_CVAL_EL0.set(CNTVCT_EL0.get().saturating_add(ticks).saturating_add(1));
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
    barrier::isb(barrier::SY);
}

/// Takes the deadline back, and with it the interrupt.
pub fn clear() {
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
    barrier::isb(barrier::SY);
}
