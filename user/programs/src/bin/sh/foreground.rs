//! The foreground: the program that is waited for gets what is typed, and control-C ends it.

use graft_rt::console::{self, INTERRUPT, Job};
use graft_rt::notification::Notification;
use graft_rt::{Error, ExitStatus, Handle, Process};

use crate::shell::INTERRUPTED;

/// Of the shell's notification, beside what the console sets: the program that is waited for has ended.
const ENDED: u64 = 1 << 8;

/// The console's session of the programs that the shell starts. A copy of the shell has one of its own.
pub(crate) struct Foreground {
    told: Notification,
    job: Job,
}

impl Foreground {
    /// A session. There is none where the console has no server, or no room for one more: then what is typed is the
    /// shell's and the programs' alike, and control-C is a byte.
    pub(crate) fn new() -> Option<Foreground> {
        let told = Notification::new().ok()?;
        let job = Job::new(&told).ok()?;
        Some(Foreground { told, job })
    }

    /// What programs get as their console.
    pub(crate) fn console(&self) -> Handle {
        self.job.handle()
    }

    /// Waits for a program, which is in the foreground meanwhile. Control-C ends it.
    pub(crate) fn wait(&self, process: &Process) -> Result<ExitStatus, Error> {
        // What was typed for another program is none of this one's.
        self.told.take()?;
        if self.told.bind_end(ENDED, process.handle()).is_ok() && self.job.to_foreground().is_ok() {
            loop {
                let bits = self.told.wait()?;
                if bits & INTERRUPT != 0 {
                    // One that has ended meanwhile cannot be ended.
                    let _ = process.kill(INTERRUPTED);
                }
                if bits & ENDED != 0 {
                    break;
                }
            }
            console::take_foreground()?;
        }
        process.wait()
    }
}
