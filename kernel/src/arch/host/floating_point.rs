//! Floating-point registers of threads: one word.

use std::cell::Cell;
use std::thread_local;

/// The registers of one thread.
#[derive(Clone)]
pub struct State(u64);

thread_local! {
    static REGISTERS: Cell<u64> = const { Cell::new(0) };
    static ENABLED: Cell<bool> = const { Cell::new(false) };
}

/// Programs may use the registers.
pub fn enable() {
    ENABLED.set(true);
}

/// The next use traps.
pub fn disable() {
    ENABLED.set(false);
}

/// Stores the registers.
pub fn save(state: &mut State) {
    state.0 = REGISTERS.get();
}

/// Loads the registers.
pub fn restore(state: &State) {
    REGISTERS.set(state.0);
}

/// Forgets what the registers hold.
pub fn scrub() {
    REGISTERS.set(0);
}

/// Whether programs may use the registers.
pub fn is_enabled() -> bool {
    ENABLED.get()
}

/// What the registers hold.
///
/// # Panics
/// They are switched off: the program that asks has not trapped.
pub fn registers() -> u64 {
    assert!(is_enabled());
    REGISTERS.get()
}

/// Puts this into the registers.
///
/// # Panics
/// As [`registers`].
pub fn set_registers(value: u64) {
    assert!(is_enabled());
    REGISTERS.set(value);
}
