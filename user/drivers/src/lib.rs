//! Drivers, and what their clients know of them.
//!
//! ```text
//!   starter ── registers, interrupt, rings, notifications ──▶ driver        nothing else: no handle to the system
//!   client  ◀── ring, notification ──▶ driver ◀── interrupt ── device
//! ```
//!
//! For each device there is a part without a system, which the host tests, and a program that brings it together with
//! the handles that it was started with.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod pl011;
