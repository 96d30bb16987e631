//! The Graft microkernel.
#![no_std]
