//! Calls about snapshots that must be refused, and change nothing.

use graft_rt::abi::Call;
use graft_rt::snapshot::{self, Taken};
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Error, Handle, Process, Rights, Share, call, claim_eq, process};

pub(crate) fn calls(report: &Report) -> Result<(), Error> {
    let frames = FreeFrames::now();
    let this = u64::from(Handle::SELF.0);
    let other = Process::fork_into(Share::default(), || {
        process::sleep(core::time::Duration::from_secs(600));
        0
    })?;
    let Taken::Now(snapshot) = snapshot::take(Share::default())? else { unreachable!("nothing restores it") };
    let weak = process::duplicate(snapshot.handle(), Rights::DUPLICATE)?;
    let [mine, weak, other_handle, console] =
        [snapshot.handle(), weak, other.handle(), Handle::CONSOLE].map(|handle| u64::from(handle.0));
    for (what, wanted, call, arguments) in [
        ("a depth that is none", Error::BadArgument, Call::Snapshot, [this, 7, 0]),
        ("flags", Error::BadArgument, Call::Snapshot, [this, 3, 1]),
        ("another process", Error::NotAllowed, Call::Snapshot, [other_handle, 3, 0]),
        ("the console", Error::WrongObject, Call::Snapshot, [console, 3, 0]),
        ("no handle", Error::BadHandle, Call::Snapshot, [0, 3, 0]),
        ("a wild handle", Error::BadHandle, Call::Snapshot, [u64::MAX, 3, 0]),
        ("the value 0", Error::BadArgument, Call::Restore, [this, mine, 0]),
        ("another process", Error::NotAllowed, Call::Restore, [other_handle, mine, 1]),
        ("the console", Error::WrongObject, Call::Restore, [this, console, 1]),
        ("a process", Error::WrongObject, Call::Restore, [this, other_handle, 1]),
        ("a handle without the right", Error::NoRight, Call::Restore, [this, weak, 1]),
        ("no handle", Error::BadHandle, Call::Restore, [this, 0, 1]),
        ("a handle without the right", Error::NoRight, Call::Fork, [weak, 3, 0]),
        ("a guarantee for a snapshot", Error::BadArgument, Call::Fork, [mine, 3, 1]),
        ("flags that are none", Error::BadArgument, Call::Fork, [this, 3, 2]),
        ("no request", Error::BadAddress, Call::SpawnWarm, [8, mine, 0]),
        ("a process", Error::WrongObject, Call::SpawnWarm, [8, other_handle, 0]),
        ("a handle without the right", Error::NoRight, Call::SpawnWarm, [8, weak, 0]),
        ("waiting for a snapshot", Error::WrongObject, Call::Wait, [mine, 0, 0]),
    ] {
        let refused = refused(call, arguments);
        claim_eq!(report, refused, Some(wanted), "{call:?}: {what}");
    }
    process::close(Handle(weak as u32))?;
    other.kill(0)?;
    other.wait()?;
    drop((other, snapshot));
    frames.claim_same(report, format_args!("after calls that are refused"));
    report.done(format_args!("calls that must be refused are"));
    Ok(())
}

#[allow(unsafe_code)]
fn refused(call: Call, [x0, x1, x2]: [u64; 3]) -> Option<Error> {
    // SAFETY: refused, the call changes nothing; carried out, it makes a snapshot or a process that is lost, and the
    // claim fails.
    unsafe { call::raw(call as u64, [x0, x1, x2, 0, 0, 0]) }.result().err()
}
