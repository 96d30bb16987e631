//! Snapshots of the calling process: going back in time, and making processes that begin there.

use graft_abi::{Call, Error, Handle, Share};

use crate::call::call;
use crate::process::Process;

/// A snapshot that this process holds a handle to. Dropping it gives the handle up.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    handle: Handle,
}

/// Which of its returns a call of [`take`] is.
#[derive(Debug)]
pub enum Taken {
    /// The first: the snapshot has been taken.
    Now(Snapshot),
    /// After a [`restore`](Snapshot::restore), with the value that was given to it.
    Again(Snapshot, u64),
    /// In a process that was [made of the snapshot](Snapshot::fork).
    Child,
}

/// Keeps this process's memory and registers as they are. Returns once for each time they are brought back.
///
/// What this process has outside its memory stays as it is: handles above all. A value that owns one and was made
/// after the snapshot is forgotten, not dropped. So are other threads: as after a [`fork`](crate::process::fork), a
/// lock that one of them held stays locked, except for the heap's.
pub fn take(share: Share) -> Result<Taken, Error> {
    // Held at the moment that the snapshot keeps, and let go of after each return.
    #[cfg(target_os = "none")]
    let _heap = crate::heap::lock();
    // SAFETY: memory and registers come back together, so every object is what it was when this returned first. The
    // handle is the process's own: after a restore nothing that came back knows of it but this.
    let answer = unsafe { call(Call::Snapshot, [Handle::SELF.0.into(), share as u64, 0]) }?;
    let snapshot = Snapshot { handle: answer.handle() };
    Ok(match (answer.handle(), answer.x1) {
        (Handle::NONE, _) => {
            core::mem::forget(snapshot);
            Taken::Child
        }
        (_, 0) => Taken::Now(snapshot),
        (_, value) => Taken::Again(snapshot, value),
    })
}

impl Snapshot {
    /// One that this process was sent.
    pub(crate) const fn from_handle(handle: Handle) -> Snapshot {
        Snapshot { handle }
    }

    /// The handle, for raw calls.
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// Brings memory and registers back: [`take`] returns again, with this value, which must not be 0. Returns only on
    /// failure.
    pub fn restore(&self, value: u64) -> Error {
        // SAFETY: see `take`; on success nothing of this moment is left that could notice.
        match unsafe { call(Call::Restore, [Handle::SELF.0.into(), self.handle.0.into(), value]) } {
            Err(error) => error,
            Ok(answer) => unreachable!("restore returned {answer:?}"),
        }
    }

    /// Makes a process that goes on where the snapshot was taken: there [`take`] returns [`Taken::Child`].
    pub fn fork(&self) -> Result<Process, Error> {
        // SAFETY: the child runs in memory of its own.
        let answer = unsafe { call(Call::Fork, [self.handle.0.into(), Share::default() as u64, 0]) }?;
        Ok(Process::from_parts(answer.handle(), answer.x1))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = crate::process::close(self.handle);
    }
}
