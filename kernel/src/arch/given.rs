//! What the kernel gives to the architecture for its reports, by name: this room imports nothing from above it.
//! `panic.rs` and `platform/console.rs` define these.

use super::FaultFrame;
use core::fmt;

unsafe extern "Rust" {
    /// Reports an exception that the kernel caused itself, and ends the machine.
    pub(super) safe fn report_fault(frame: &FaultFrame, cause: &dyn fmt::Display) -> !;

    /// Writes to the console.
    pub(super) safe fn write_to_console(bytes: &[u8]);

    /// Waits until everything has left the console.
    pub(super) safe fn flush_console();
}
