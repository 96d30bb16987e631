//! Judges from outside the kernel: a solver that proves laws of the descriptors, and a break-before-make checker of
//! traces.

pub mod prove;
pub mod runs;
pub mod tables;
