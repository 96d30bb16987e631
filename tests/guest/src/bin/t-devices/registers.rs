//! Device registers as memory: what can be done with the mapping, and what cannot.

use graft_lib::device_tree::Device;
use graft_rt::abi::{Call, PAGE_SIZE};
use graft_rt::device::{address, device};
use graft_rt::memory::Shared;
use graft_rt::snapshot::{Taken, take};
use graft_rt::test::{Report, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Permissions, Process, Region, Rights, Share, claim, claim_eq};

use crate::alarm::{Alarm, STATUS};
use crate::refusals::raw;

pub fn run(report: &Report, alarm: &Alarm, device_node: &Device) -> Result<(), Error> {
    let at = device_node.registers[0].address & !(PAGE_SIZE as u64 - 1);
    let memory = device(at, PAGE_SIZE as u64)?;
    claim_eq!(report, address(&memory), Ok(at), "the physical address");
    let region = memory.map(Permissions::ReadWrite)?;
    alarm.raise();
    claim!(report, alarm.status_says_high(load(alarm, &region)), "what one mapping starts another one sees");
    alarm.lower();
    claim!(report, !alarm.status_says_high(load(alarm, &region)), "and its end");
    permissions(report, alarm, &memory, &region);
    kernel(report, &region);
    family(report, alarm, &memory, &region)?;
    back_in_time(report, alarm, &memory)?;
    let region = moved(report, alarm, region)?;
    drop(memory);
    // The mapping needs no handle.
    load(alarm, &region);
    report.done(format_args!("device registers are mapped, moved and unmapped, and reach no child and no snapshot"));
    Ok(())
}

/// The register that can be read at any time.
#[expect(unsafe_code, reason = "a region is read byte by byte, and registers are words")]
fn load(alarm: &Alarm, region: &Region) -> u32 {
    // SAFETY: in the region, which owns its addresses; what is not mapped ends the program.
    unsafe { ((region.address() + alarm.in_page + STATUS) as *const u32).read_volatile() }
}

/// The same, of which only matters that it does not end the program.
fn look(alarm: &Alarm, region: &Region) -> i32 {
    load(alarm, region);
    0
}

fn permissions(report: &Report, alarm: &Alarm, memory: &Shared, region: &Region) {
    let execute = memory.map(Permissions::ReadExecute).err();
    claim_eq!(report, execute, Some(Error::NotAllowed), "mapped to be executed");
    let all = 0..PAGE_SIZE;
    claim_eq!(report, region.protect(all.clone(), Permissions::ReadExecute), Err(Error::NotAllowed), "made executable");
    claim_eq!(report, region.discard(all.clone()), Err(Error::NotAllowed), "discarded");
    claim_eq!(report, region.protect(all.clone(), Permissions::ReadWrite), Ok(()), "the permissions that it has");
    let read_only = memory.duplicate(Rights::READ);
    let refused = read_only.and_then(|memory| memory.map(Permissions::ReadWrite)).err();
    claim_eq!(report, refused, Some(Error::NoRight), "mapped to be written, without the right");
    if let Ok(second) = memory.map(Permissions::ReadWrite) {
        claim_eq!(report, second.protect(all.clone(), Permissions::Read), Ok(()), "made read-only");
        load(alarm, &second);
        claim_eq!(report, second.protect(all, Permissions::ReadWrite), Err(Error::NotAllowed), "made writable again");
    } else {
        claim!(report, false, "a second mapping");
    }
}

/// No call reads or writes device registers on a program's behalf.
fn kernel(report: &Report, region: &Region) {
    let at = region.address() as u64;
    let bad = Err(Error::BadAddress);
    claim_eq!(report, raw(Call::ProcessInfo, [u32::MAX.into(), at, 0]), bad, "the result of a call");
    claim_eq!(report, raw(Call::WaitOn, [at, 0, 1]), bad, "a word that is waited on");
    claim_eq!(report, raw(Call::Spawn, [at, 0, 0]), bad, "a request to spawn");
}

fn family(report: &Report, alarm: &Alarm, memory: &Shared, region: &Region) -> Result<(), Error> {
    let unmapped = ExitStatus::Faulted(FaultKind::Unmapped);
    for share in Share::ALL {
        let child = Process::fork_into(share, || look(alarm, region))?;
        claim_end(report, &child, unmapped, format_args!("{share:?}: a child that reads the parent's registers"));
        // It has the handle, and maps them itself; so do its children.
        let child = Process::fork_into(share, || {
            let Ok(own) = memory.map(Permissions::ReadWrite) else { return 1 };
            load(alarm, &own);
            match Process::fork_into(share, || look(alarm, &own)).and_then(|child| child.wait()) {
                Ok(status) if status == unmapped => 0,
                _ => 2,
            }
        })?;
        claim_success(report, &child, format_args!("{share:?}: a child that maps them itself"));
        load(alarm, region);
    }
    Ok(())
}

fn back_in_time(report: &Report, alarm: &Alarm, memory: &Shared) -> Result<(), Error> {
    // In a child: a restore forgets what has been claimed.
    let child = Process::fork_into(Share::default(), || {
        let Ok(region) = memory.map(Permissions::ReadWrite) else { return 1 };
        let at = region.address();
        match take(Share::default()) {
            Ok(Taken::Now(snapshot)) => {
                load(alarm, &region);
                snapshot.restore(1);
                2
            }
            // The mapping is gone, and its place is free.
            Ok(Taken::Again(..)) => match memory.map_at(at, Permissions::ReadWrite) {
                Ok(again) => look(alarm, &again),
                Err(_) => 3,
            },
            _ => 4,
        }
    })?;
    claim_success(report, &child, format_args!("a program that goes back to a snapshot maps its registers anew"));
    Ok(())
}

fn moved(report: &Report, alarm: &Alarm, region: Region) -> Result<Region, Error> {
    let old = region.address();
    let region = region.move_to(0).map_err(|(error, _)| error)?;
    claim!(report, region.address() != old, "other addresses");
    load(alarm, &region);
    Ok(region)
}
