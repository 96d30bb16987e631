//! Floating-point registers of threads: the host's programs use none, so that the state is one word.

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
