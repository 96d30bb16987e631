//! Memory: frames, the spaces that programs see them in, and copies between a program and the kernel.

pub mod asid;
pub mod change;
pub mod frames;
pub mod kernel_memory;
pub mod left;
pub mod space;
pub mod statistics;
pub mod user_copy;
