//! Judges from outside the kernel: a solver that proves laws of the descriptors, a model checker for the protocol of
//! messages, and a break-before-make checker of traces.

pub mod protocol;
pub mod prove;
pub mod runs;
pub mod tables;
