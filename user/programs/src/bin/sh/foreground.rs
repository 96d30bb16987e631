//! The foreground: the command that is waited for gets what is typed; control-C ends it, and control-Z stops it.
//!
//! ```text
//!   command ─┬─▶ a job of the kernel's: its processes, and what these start    control-C: ended, control-Z: suspended
//!            └─▶ a session of the console's, which it takes with it into the background
//! ```

use alloc::rc::Rc;
use core::fmt;

use graft_rt::console::{self, INTERRUPT, Job as Session, SUSPEND};
use graft_rt::job::Job;
use graft_rt::message::Connection;
use graft_rt::notification::Notification;
use graft_rt::{Error, Handle, Process};

use crate::jobs::has_ended;
use crate::shell::INTERRUPTED;

/// Of a terminal's notification, beside what the console sets: a program that has been waited for has ended.
const ENDED: u64 = 1 << 8;

/// How a shell controls its commands: one that a person talks to, or the first of all. What another shell starts is
/// part of the command that the shell itself is.
pub(crate) struct Control {
    /// Whether a command may be stopped: somebody is there to let it go on.
    may_stop: bool,
    /// What the next command gets; none where the console has no server, or no room for another session: then what is
    /// typed is the shell's and the programs' alike, and control-C is a byte.
    terminal: Option<Rc<Terminal>>,
}

/// A session of the console's, and how its signs come.
struct Terminal {
    told: Notification,
    session: Session,
}

impl Terminal {
    fn new() -> Option<Rc<Terminal>> {
        let told = Notification::new().ok()?;
        let session = Session::new(&told).ok()?;
        Some(Rc::new(Terminal { told, session }))
    }
}

/// A job of the kernel's. What the command has left of it when the shell has seen its processes end, ends too: nothing
/// else could name it any more, and it may be all that there is room for.
#[derive(Debug)]
struct Whole(Job);

impl Drop for Whole {
    fn drop(&mut self) {
        let _ = self.0.kill(INTERRUPTED);
    }
}

/// What the processes of a command have in common; of a shell without [`Control`], nothing.
#[derive(Clone, Default)]
pub(crate) struct Group {
    job: Option<Rc<Whole>>,
    terminal: Option<Rc<Terminal>>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job.fmt(f)
    }
}

/// What may become of a command that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stops {
    /// It may be stopped.
    May,
    /// It may not: there is nothing that could let it go on.
    No,
}

impl Control {
    /// A shell's to which a person talks, or else the first one's.
    pub(crate) fn new(is_interactive: bool) -> Option<Control> {
        let (_, level) = Job::with_level().ok()?;
        (is_interactive || level == 0).then(|| Control { may_stop: is_interactive, terminal: Terminal::new() })
    }

    /// What a copy of the shell is left with: it prints and reads where its command does, and ends no session.
    pub(crate) fn leave_to_parent(self) {
        if let Some(terminal) = &self.terminal {
            console::use_server(Connection::from_handle(terminal.session.handle()));
        }
        core::mem::forget(self);
    }

    /// What programs get as their console.
    pub(crate) fn console(&self) -> Handle {
        self.terminal.as_ref().map_or_else(console::handle, |terminal| terminal.session.handle())
    }

    /// Has the next command have a session of its own, if there is room for one more: the one that there is is that of
    /// a command that has left the foreground. Returns it.
    pub(crate) fn renew(&mut self) {
        if let Some(terminal) = Terminal::new() {
            self.terminal = Some(terminal);
        }
    }

    /// A group for the processes that are started until [`graft_rt::job::leave`].
    pub(crate) fn group(&self) -> Group {
        let job = Job::new().and_then(|job| job.enter().map(|()| Rc::new(Whole(job)))).ok();
        Group { job, terminal: self.terminal.clone() }
    }

    /// Whether a command that may be stopped is.
    pub(crate) fn allows(&self, stops: Stops) -> bool {
        self.may_stop && stops == Stops::May
    }
}

impl Group {
    /// Gives the job and the session up, which are another shell's to end.
    pub(crate) fn leave_to_parent(self) {
        core::mem::forget(self);
    }

    /// Ends all of it, if that can be named. Returns whether it can.
    pub(crate) fn kill(&self, code: i32) -> bool {
        self.job.as_ref().is_some_and(|job| job.0.kill(code).is_ok())
    }

    /// Lets all of it go on.
    pub(crate) fn resume(&self) {
        if let Some(job) = &self.job {
            let _ = job.0.resume();
        }
    }

    /// Waits for processes of it, which is in the foreground meanwhile: control-C ends all of it, and control-Z stops
    /// it. Returns whether it has been stopped.
    pub(crate) fn wait<'a>(
        &self,
        mut processes: impl Iterator<Item = &'a Process>,
        may_stop: bool,
    ) -> Result<bool, Error> {
        let Some(Terminal { told, session }) = self.terminal.as_deref() else { return Ok(false) };
        // What was typed for another command is none of this one's.
        told.take()?;
        if session.to_foreground().is_err() {
            return Ok(false);
        }
        let stopped =
            processes.try_fold(
                false,
                |stopped, process| {
                    if stopped { Ok(true) } else { self.wait_for(process, told, may_stop) }
                },
            );
        console::take_foreground()?;
        stopped
    }

    fn wait_for(&self, process: &Process, told: &Notification, may_stop: bool) -> Result<bool, Error> {
        match told.bind_end(ENDED, process.handle()) {
            // It has been waited for before.
            Ok(()) | Err(Error::NotAllowed) => {}
            Err(error) => return Err(error),
        }
        while !has_ended(process) {
            let bits = told.wait()?;
            if bits & INTERRUPT != 0 && !self.kill(INTERRUPTED) {
                // One that has ended meanwhile cannot be ended.
                let _ = process.kill(INTERRUPTED);
            }
            if bits & SUSPEND != 0
                && may_stop
                && let Some(job) = &self.job
                && !has_ended(process)
            {
                return job.0.suspend().map(|()| true);
            }
        }
        Ok(false)
    }
}
