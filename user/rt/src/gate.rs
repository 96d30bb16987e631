//! A gate that one process opens and others wait at.
//!
//! A process can wait for one thing only: the end of a process that it has a handle to. So a gate
//! is a process that sleeps; opening the gate ends it. Handles follow into a forked child, hence
//! parent and child share every gate that was made before the fork.

use core::time::Duration;

use graft_abi::{Error, Handle, ProcessState, Share};

use crate::process::{self, Process};

/// A gate whose owner is gone ends by itself after this time, so that its process does not stay for good.
const PATIENCE: Duration = Duration::from_secs(600);

/// A closed gate. Dropping it opens it.
#[derive(Debug)]
pub struct Gate {
    sleeper: Process,
}

impl Gate {
    /// Makes a gate, closed.
    pub fn new() -> Result<Gate, Error> {
        let sleeper = Process::fork_into(Share::L1, || {
            process::sleep(PATIENCE);
            1
        })?;
        Ok(Gate { sleeper })
    }

    /// Opens the gate for good: the processes that wait at it go on, and later ones pass.
    pub fn open(&self) {
        // It may have ended already: then it is open.
        let _ = self.sleeper.kill(0);
    }

    /// Waits until the gate is open.
    pub fn pass(&self) {
        let _ = self.sleeper.wait();
    }

    /// Whether it has been opened.
    pub fn is_open(&self) -> bool {
        self.sleeper.info().is_ok_and(|info| info.state == ProcessState::Ended as u32)
    }

    /// The handle that raw calls wait for and kill.
    pub const fn handle(&self) -> Handle {
        self.sleeper.handle()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}
