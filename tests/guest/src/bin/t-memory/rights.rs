//! What a handle lets its holder do with an object.

use graft_rt::abi::{EntryKind, PAGE_SIZE, USER_END};
use graft_rt::memory::Shared;
use graft_rt::process::own_info;
use graft_rt::tables::mapped;
use graft_rt::test::depths::{EDGE, Test, byte};
use graft_rt::test::{claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Permissions, Process, Rights, claim, claim_eq};

pub(crate) fn restricted(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    let object = Shared::new(byte(2))?;
    let shared = object.map_at(EDGE, Permissions::ReadWrite)?;
    shared.write(0, 0x11);

    for permissions in [Permissions::None, Permissions::ReadExecute] {
        let refusal = object.map(permissions).map(drop);
        claim_eq!(report, refusal, Err(Error::NotAllowed), "mapping an object with {permissions:?}");
    }
    let everything = Permissions::ReadWrite;
    for (address, error) in [
        (EDGE, Error::Occupied),
        (EDGE - PAGE_SIZE, Error::Occupied),
        (EDGE + PAGE_SIZE, Error::Occupied),
        (EDGE + 8, Error::Unaligned),
        (PAGE_SIZE, Error::BadAddress),
        (USER_END - PAGE_SIZE, Error::BadAddress),
    ] {
        let refusal = object.map_at(address, everything).map(drop);
        claim_eq!(report, refusal, Err(error), "mapping two pages at {address:#x}");
    }
    claim_eq!(report, mapped(EDGE - PAGE_SIZE..EDGE + byte(3))?.count(), 2, "pages after what was refused");
    for (what, rights, read, write) in [
        ("reading", Rights::READ, Ok(()), Err(Error::NoRight)),
        ("writing alone", Rights::WRITE, Err(Error::NoRight), Err(Error::NoRight)),
        ("reading and writing", Rights::READ.or(Rights::WRITE), Ok(()), Ok(())),
        ("nothing", Rights::NONE, Err(Error::NoRight), Err(Error::NoRight)),
    ] {
        let handle = object.duplicate(rights.or(Rights::DUPLICATE))?;
        claim_eq!(report, handle.map(Permissions::Read).map(drop), read, "mapping with a handle for {what}, to read");
        claim_eq!(report, handle.map(everything).map(drop), write, "mapping with a handle for {what}, to write");
        let copy = handle.duplicate(Rights::ALL)?;
        claim_eq!(report, copy.map(everything).map(drop), write, "the same with a copy of the handle");
        let stuck = object.duplicate(rights)?;
        claim_eq!(report, stuck.duplicate(rights).map(drop), Err(Error::NoRight), "a copy without the right to");
    }

    // Mapped to read: no `protect` adds the right to write, in any process, whether the table is shared or not.
    let reading = object.duplicate(Rights::READ)?;
    let seen = reading.map_at(EDGE + byte(4), Permissions::Read)?;
    claim_eq!(report, seen.read(0), 0x11, "the object through a mapping to read");
    let gains_nothing = || {
        let more = [Permissions::ReadWrite, Permissions::ReadExecute];
        let refused = more.iter().all(|&more| seen.protect(0..byte(1), more) == Err(Error::NotAllowed));
        let down = seen.protect(0..byte(2), Permissions::None);
        let up = seen.protect(0..byte(2), Permissions::Read);
        refused && down.is_ok() && up.is_ok() && seen.read(0) == 0x11
    };
    let forbidden = |what: &str| {
        let child = Process::fork_into(test.share, || {
            seen.write(0, 1);
            0
        });
        let expected = ExitStatus::Faulted(FaultKind::WriteDenied);
        child.map(|child| claim_end(report, &child, expected, format_args!("a child that writes to {what}")))
    };
    claim!(report, gains_nothing(), "a mapping to read gains nothing");
    forbidden("what is mapped to read")?;
    let child = Process::fork_into(test.share, || i32::from(!gains_nothing()))?;
    claim_success(report, &child, format_args!("a child whose mapping to read gains nothing"));

    // Mapped to write and then made read-only: the right to write is gone, and only mapping again brings it back.
    shared.protect(byte(1)..byte(2), Permissions::ReadWrite)?;
    let executable = shared.protect(0..byte(1), Permissions::ReadExecute);
    claim_eq!(report, executable, Err(Error::NotAllowed), "executing what can be written");
    shared.protect(0..byte(1), Permissions::Read)?;
    let regained = shared.protect(0..byte(1), Permissions::ReadWrite);
    claim_eq!(report, regained, Err(Error::NotAllowed), "making writable again what was made read-only");
    let executable = shared.protect(0..byte(1), Permissions::ReadExecute);
    claim_eq!(report, executable, Err(Error::NotAllowed), "executing what was made read-only");
    // A range of which a half is refused is refused as a whole.
    let both = shared.protect(0..byte(2), Permissions::ReadWrite);
    claim_eq!(report, both, Err(Error::NotAllowed), "making a range writable half of which is read-only");
    shared.write(byte(1), 0x12);
    let now: [u8; 2] = [Permissions::Read as u8, Permissions::ReadWrite as u8];
    let found = mapped(EDGE..EDGE + byte(2))?.filter(|record| record.kind == EntryKind::SharedPage as u8);
    claim!(report, found.map(|record| record.permissions).eq(now), "permissions after what was refused");
    drop(shared);
    let again = object.map_at(EDGE, everything)?;
    let faults = own_info().faults;
    again.write(PAGE_SIZE, 0x13);
    claim_eq!(report, own_info().faults, faults, "faults of a write to what is mapped again");
    claim_eq!(report, (again.read(0), seen.read(PAGE_SIZE)), (0x11, 0x13), "the object, mapped again");
    Ok(())
}
