//! Stretches of time between two readings of the machine's counter.

/// A measured stretch.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Counts from its first reading to its last.
    pub counts: u64,
    /// A reading that was taken at its end, or later but before the next stretch ended. A child tells its parent how
    /// long something took, but not when it ended.
    pub by: u64,
}

impl Span {
    /// The stretch between two readings.
    pub fn between(begin: u64, end: u64) -> Span {
        Span { counts: end - begin, by: end }
    }
}
