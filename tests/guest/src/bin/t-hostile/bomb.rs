//! Threads without end: one process makes them until it is refused.

use graft_rt::test::Bare;
use graft_rt::{Error, process};

/// What the bomb does with the handles of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handles {
    /// It keeps them, until its table is full.
    Kept,
    /// It gives them up, until it has as many threads as a process can have.
    GivenUp,
}

/// Makes threads that stay, until that is refused. Returns how many there are, and the refusal.
pub(crate) fn light(handles: Handles) -> (u64, Error) {
    for number in 0.. {
        match Bare::Sleep.create(1 << 40) {
            Err(error) => return (number, error),
            Ok(thread) if handles == Handles::GivenUp => _ = process::close(thread),
            Ok(_) => {}
        }
    }
    unreachable!("there are fewer threads than numbers")
}
