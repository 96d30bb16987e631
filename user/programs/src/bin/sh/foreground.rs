//! The job in the foreground: programs that get what is typed, and that control-C ends.

use graft_rt::console::{self, INTERRUPT, Job};
use graft_rt::notification::Notification;
use graft_rt::{Error, ExitStatus, Handle, Process};

/// The code that control-C ends a program with.
pub(crate) const INTERRUPTED: i32 = 130;

/// Of the shell's notification, beside what the console sets: the program that is waited for has ended.
const ENDED: u64 = 1 << 8;

/// A job. With it ends its turn to get what is typed.
pub(crate) struct Foreground {
    told: Result<Notification, Error>,
    /// None where the console has no server, or no room for one more: then what is typed is the shell's and the
    /// programs' alike.
    job: Option<Job>,
}

impl Foreground {
    /// A job without a program.
    pub(crate) fn new() -> Foreground {
        let told = Notification::new();
        let job = told.as_ref().ok().and_then(|told| Job::new(told).ok());
        let job = job.filter(|job| job.to_foreground().is_ok());
        Foreground { told, job }
    }

    /// What its programs get as their console.
    pub(crate) fn console(&self) -> Handle {
        self.job.as_ref().map_or_else(console::handle, Job::handle)
    }

    /// Waits for a program of the job. Control-C ends all that are given here.
    pub(crate) fn wait<'a>(
        &self,
        process: &Process,
        all: impl Iterator<Item = &'a Process> + Clone,
    ) -> Result<ExitStatus, Error> {
        // Without a notification there is nothing to be told.
        if let (Ok(told), Some(_)) = (&self.told, &self.job) {
            told.bind_end(ENDED, process.handle())?;
            loop {
                let bits = told.wait()?;
                if bits & INTERRUPT != 0 {
                    all.clone().for_each(|process| _ = process.kill(INTERRUPTED));
                }
                if bits & ENDED != 0 {
                    break;
                }
            }
        }
        process.wait()
    }
}
