//! When the line of a device interrupts, on every architecture.

/// What of a line is an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Each rising edge.
    Edge,
    /// That it is high.
    Level,
}
