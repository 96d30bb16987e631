//! Time: the host's monotonic clock, in nanoseconds, and a deadline for each core.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread_local;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static DEADLINE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Nanoseconds since the first question.
pub fn now() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The clock's own counts, which are nanoseconds.
pub fn counts() -> u64 {
    now()
}

/// So many counts in nanoseconds.
pub fn to_nanoseconds(counts: u64) -> u64 {
    counts
}

/// Makes this core's timer interrupt be pending from `deadline` nanoseconds on.
pub fn set_deadline(deadline: u64) {
    DEADLINE.set(Some(deadline));
}

/// Takes the deadline back, and with it the interrupt.
pub fn clear() {
    DEADLINE.set(None);
}

pub(super) fn is_due() -> bool {
    remaining() == Some(0)
}

/// Nanoseconds until the deadline, if there is one.
pub(super) fn remaining() -> Option<u64> {
    DEADLINE.get().map(|deadline| deadline.saturating_sub(now()))
}
