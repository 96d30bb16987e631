//! Judges from outside: what a solver says of the descriptors, and a break-before-make checker of traces.

pub mod prove;
pub mod tables;
