//! Which processes see a memory object, and how long it exists.

use graft_rt::abi::PAGE_SIZE;
use graft_rt::memory::Shared;
use graft_rt::process::{self, STANDARD_HANDLES};
use graft_rt::test::depths::{EDGE, TABLE, Test, byte, mark};
use graft_rt::test::{FreeFrames, Report, Steps, claim_success};
use graft_rt::{Error, Handle, Permissions, Process, Rights, claim, claim_eq, system};

use crate::HEIR;

/// Where a spawned program finds the object that it was handed after the standard handles.
const HANDED: Handle = Handle(STANDARD_HANDLES.len() as u32 + 1);
/// Pages of the objects here: more than one table maps.
const PAGES: usize = TABLE + 40;

pub(crate) fn generations(test: Test<'_>) -> Result<(), Error> {
    let object = Shared::new(byte(PAGES))?;
    let shared = object.map_at(EDGE, Permissions::ReadWrite)?;
    claim_eq!(test.report, shared.bytes(), byte(PAGES), "the length of the mapping");
    claim_eq!(test.report, shared.first_difference(|_| 0), None, "a page of a new object");
    let steps = Steps::new()?;
    shared.fill(|_| 1);
    let child = Process::fork_into(test.share, || {
        let grandchild = Process::fork_into(test.share, || {
            // What the child writes after the fork is seen here, and the other way round.
            if !steps.wait(1) || shared.first_difference(|_| 2).is_some() {
                return 1;
            }
            shared.fill(|_| 3);
            steps.reach(2);
            i32::from(!steps.wait(3) || shared.first_difference(|_| 4).is_some())
        });
        let Ok(grandchild) = grandchild else { return 1 };
        let from_parent = shared.first_difference(|_| 1).is_none();
        shared.fill(|_| 2);
        // A second mapping of the same object, made here.
        let Ok(again) = object.map(Permissions::ReadWrite) else { return 2 };
        steps.reach(1);
        let from_grandchild = steps.wait(2) && again.first_difference(|_| 3).is_none();
        steps.reach(4);
        let success = steps.wait(3) && again.first_difference(|_| 4).is_none();
        again.write(7, 5);
        let ended = grandchild.wait().is_ok_and(|status| status.is_success());
        i32::from(!(from_parent && from_grandchild && success && ended)) * 3
    })?;
    claim!(test.report, steps.wait(4), "child and grandchild have written");
    claim_eq!(test.report, shared.first_difference(|_| 3), None, "a page that the grandchild has written");
    shared.fill(|_| 4);
    steps.reach(3);
    claim_success(test.report, &child, format_args!("the child that shares with parent and grandchild"));
    claim_eq!(test.report, shared.read(7), 5, "what the child has written through a mapping of its own");
    let faults = process::own_info().faults;
    shared.fill(|_| 6);
    claim_eq!(test.report, process::own_info().faults, faults, "faults of writes to an object after forks");
    Ok(())
}

/// Frames free when both counts agree: another core may be giving some back.
fn free() -> Result<u64, Error> {
    FreeFrames::now();
    system::free_frames()
}

pub(crate) fn lifetime(test: Test<'_>) -> Result<(), Error> {
    let pages = PAGES as u64;
    // The tables for the mappings are there before anything is counted.
    let warm = Shared::new(byte(PAGES))?.map_at(EDGE, Permissions::ReadWrite)?;
    drop(warm);

    // The handle goes first.
    let (frames, before) = (FreeFrames::now(), free()?);
    let object = Shared::new(byte(PAGES))?;
    let taken = before - free()?;
    claim!(test.report, (pages + 1..pages + 9).contains(&taken), "an object of {pages} pages takes {taken} frames");
    let shared = object.map_at(EDGE, Permissions::ReadWrite)?;
    shared.fill(mark);
    drop(object);
    claim_eq!(test.report, shared.first_difference(mark), None, "a page of an object without a handle");
    let child = Process::fork_into(test.share, || {
        let seen = shared.first_difference(mark);
        shared.write(1, 0x77);
        seen.map_or(0, |_| 1)
    })?;
    claim_success(test.report, &child, format_args!("a child with a mapping of an object without a handle"));
    claim_eq!(test.report, shared.read(1), 0x77, "what the child has written");
    // A part of the mapping keeps its part of the object.
    let held = before - free()?;
    claim!(test.report, (pages..pages + 9).contains(&held), "the mapping of {pages} pages holds {held} frames");
    // SAFETY: nothing is mapped there before the region is dropped.
    #[allow(unsafe_code)]
    unsafe { shared.unmap(0..byte(PAGES - 3)) }?;
    let held = before - free()?;
    claim!(test.report, (3..12).contains(&held), "the last 3 pages of the mapping hold {held} frames");
    claim_eq!(test.report, shared.read(byte(PAGES - 1)), mark(PAGES - 1), "the last page of a mapping cut short");
    drop((shared, child));
    frames.claim_same(test.report, format_args!("without handle and mapping"));

    // The mapping goes first, and what was written is there for the next.
    let object = Shared::new(byte(PAGES))?;
    object.map_at(EDGE, Permissions::ReadWrite)?.fill(mark);
    let second = object.duplicate(Rights::READ)?;
    drop(object);
    let shared = second.map_at(EDGE, Permissions::Read)?;
    claim_eq!(test.report, shared.first_difference(mark), None, "a page of an object that is mapped again");
    drop(shared);
    drop(second);
    frames.claim_same(test.report, format_args!("without mapping and handle"));

    // The process that made it ends first.
    let object = Shared::new(byte(PAGES))?;
    let child = Process::fork_into(test.share, || {
        let Ok(own) = Shared::new(byte(PAGES)) else { return 1 };
        let (Ok(own), Ok(shared)) = (own.map(Permissions::ReadWrite), object.map(Permissions::ReadWrite)) else {
            return 2;
        };
        own.fill(|_| 9);
        shared.fill(mark);
        0
    })?;
    drop(object.duplicate(Rights::NONE)?);
    claim_success(test.report, &child, format_args!("a child that makes an object and ends"));
    claim_eq!(test.report, object.map(Permissions::Read)?.first_difference(mark), None, "what it wrote to another");
    drop((object, child));
    frames.claim_same(test.report, format_args!("after a child with objects"));

    // An object that cannot be made takes no frame at all.
    for bytes in [byte(system::info()?.total_frames as usize + 1), 1 << 47] {
        let refusal = Shared::new(bytes).map(drop);
        claim_eq!(test.report, refusal, Err(Error::OutOfMemory), "an object of {bytes:#x} bytes");
    }
    frames.claim_same(test.report, format_args!("after objects that were refused"));
    Ok(())
}

pub(crate) fn apart(test: Test<'_>) -> Result<(), Error> {
    let object = Shared::new(byte(2))?;
    let private = object.duplicate(Rights::ALL.or(Rights::NO_INHERIT))?;
    let shared = private.map_at(EDGE, Permissions::ReadWrite)?;
    let child = Process::fork_into(test.share, || {
        let mapped = private.map(Permissions::Read).map(drop);
        shared.write(0, 0x11);
        // The other handle is still there, for a place of its own.
        let Ok(elsewhere) = object.map(Permissions::ReadWrite) else { return 1 };
        elsewhere.write(byte(1), 0x22);
        i32::from(mapped != Err(Error::BadHandle) || elsewhere.read(0) != 0x11) * 2
    })?;
    claim_success(test.report, &child, format_args!("a child with one of two handles"));
    claim_eq!(test.report, (shared.read(0), shared.read(byte(1))), (0x11, 0x22), "what the child wrote");
    // A child that has given the mapping up makes it again, and finds the content.
    let child = Process::fork_into(test.share, || {
        drop(shared);
        match object.map_at(EDGE, Permissions::ReadWrite) {
            Ok(again) if again.read(0) == 0x11 => again.write(1, 0x33),
            _ => return 1,
        }
        0
    })?;
    claim_success(test.report, &child, format_args!("a child that maps again what it has unmapped"));
    let seen = object.map(Permissions::Read)?.read(1);
    claim_eq!(test.report, seen, 0x33, "what the child wrote through its new mapping");
    Ok(())
}

/// A copy of this program that is handed an object: all of it, or to read only.
pub(crate) fn handed_over(report: &Report, image: &[u8]) -> Result<(), Error> {
    let object = Shared::new(byte(2))?;
    let shared = object.map(Permissions::ReadWrite)?;
    let reading = object.duplicate(Rights::READ.or(Rights::DUPLICATE))?;
    let [console, archive, system] = STANDARD_HANDLES;
    for (way, handed) in [("writes", &object), ("reads", &reading)] {
        shared.write(PAGE_SIZE, 0x61);
        shared.write(PAGE_SIZE + 1, 0);
        let handles = [console, archive, system, handed.handle()];
        let heir = Process::spawn_image(image, &["t-memory", HEIR, way], &handles)?;
        claim_success(report, &heir, format_args!("a spawned program that {way} (1: no mapping, 2: too much allowed)"));
        let expected = if way == "writes" { 0x62 } else { 0 };
        claim_eq!(report, shared.read(PAGE_SIZE + 1), expected, "what the spawned program that {way} has written");
    }
    // A handle without the right to be passed on is not passed on.
    let stuck = object.duplicate(Rights::READ.or(Rights::WRITE))?;
    let refusal =
        Process::spawn_image(image, &["t-memory", HEIR, "reads"], &[console, archive, system, stuck.handle()]);
    claim_eq!(report, refusal.map(drop), Err(Error::NoRight), "handing over what may not be duplicated");
    Ok(())
}

/// What the spawned copy does.
pub(crate) fn heir(way: &str) -> i32 {
    let object = Shared::from_handle(HANDED);
    let Ok(seen) = object.map(Permissions::Read) else { return 1 };
    if seen.read(PAGE_SIZE) != 0x61 {
        return 1;
    }
    let more = seen.protect(0..PAGE_SIZE, Permissions::ReadWrite);
    let again = object.duplicate(Rights::ALL).and_then(|more| more.map(Permissions::ReadWrite));
    if way == "reads" {
        let refused = more == Err(Error::NotAllowed) && again.map(drop) == Err(Error::NoRight);
        return i32::from(!refused) * 2;
    }
    match again {
        Ok(memory) => memory.write(PAGE_SIZE + 1, 0x62),
        Err(_) => return 1,
    }
    i32::from(seen.read(PAGE_SIZE + 1) != 0x62 || more != Err(Error::NotAllowed)) * 2
}
