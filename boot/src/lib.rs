//! From power-on to the kernel.
#![no_std]
