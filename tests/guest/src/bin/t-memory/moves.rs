//! Giving memory other addresses.

use alloc::vec::Vec;
use core::ops::Range;

use graft_rt::abi::{EntryKind, EntryRecord, PAGE_SIZE};
use graft_rt::memory::{Inherit, Shared};
use graft_rt::process::{Fork, exit, fork, own_info};
use graft_rt::tables::mapped;
use graft_rt::test::depths::{self, EDGE, Test, byte, mark};
use graft_rt::test::{Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Permissions, Process, Region, claim, claim_eq, memory};

use crate::place;

/// New places for memory from [`EDGE`] on: where all tables can stay as they are, where level-3 tables can, where only
/// pages can, nearby and below another level-0 descriptor.
const PLACES: [usize; 5] =
    [EDGE + (5 << 30), EDGE + (6 << 20), EDGE + (6 << 20) + 3 * PAGE_SIZE, EDGE + (1 << 39), EDGE - (5 << 20)];

/// AP[2] of a page descriptor: no stores.
const READ_ONLY: u64 = 1 << 7;

fn emptied(range: Range<usize>) -> Result<bool, Error> {
    Ok(mapped(range)?.next().is_none())
}

pub(crate) fn alone(test: Test<'_>) -> Result<(), Error> {
    for to in PLACES.into_iter().chain([0]) {
        let memory = depths::memory()?;
        let old = place(&memory);
        own_info();
        let before = own_info();
        let moved = match memory.move_to(to) {
            Ok(moved) => moved,
            Err((error, _)) => {
                claim!(test.report, false, "a move to {to:#x}: {error}");
                continue;
            }
        };
        claim_eq!(test.report, own_info().resident_pages, before.resident_pages, "pages after a move to {to:#x}");
        claim!(test.report, to == 0 || moved.address() == to, "a move to {to:#x} arrives there");
        claim_eq!(test.report, moved.first_difference(mark), None, "a page after a move to {to:#x}");
        claim!(test.report, emptied(old.clone())?, "nothing is left at the old place");
        moved.fill(|_| 0x31);
        claim_eq!(test.report, moved.first_difference(|_| 0x31), None, "a page that was written after a move");
        // The old place is free again, and fresh.
        let fresh = depths::memory()?;
        claim_eq!(test.report, fresh.first_difference(mark), None, "a page of new memory at the old place");
        claim_eq!(test.report, moved.first_difference(|_| 0x31), None, "a page of what was moved");
    }
    Ok(())
}

pub(crate) fn both_sides(test: Test<'_>) -> Result<(), Error> {
    // The moving process's part, and whether all claims held.
    let act = |memory: Region, to: usize| {
        let old = place(&memory);
        let Ok(moved) = memory.move_to(to) else { return false };
        let whole = moved.first_difference(mark).is_none() && emptied(old) == Ok(true);
        (0..moved.pages()).step_by(3).for_each(|page| moved.write(byte(page), 0x42));
        let expected = |page: usize| if page.is_multiple_of(3) { 0x42 } else { mark(page) };
        whole && moved.first_difference(expected).is_none()
    };
    for to in PLACES {
        let memory = depths::memory()?;
        let child = match fork(test.share)? {
            Fork::Child => exit(i32::from(!act(memory, to))),
            Fork::Parent(child) => child,
        };
        claim_success(test.report, &child, format_args!("the child that moves to {to:#x}"));
        claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's, left where it was");
        let steps = Steps::new()?;
        let child = Process::fork_into(test.share, || {
            if !steps.wait(1) || memory.first_difference(mark).is_some() {
                return 1;
            }
            memory.fill(|_| 0x43);
            memory.first_difference(|_| 0x43).map_or(0, |_| 2)
        })?;
        claim!(test.report, act(memory, to), "the parent moves to {to:#x}");
        steps.reach(1);
        claim_success(test.report, &child, format_args!("the child of a parent that moves to {to:#x}"));
    }
    Ok(())
}

/// What the records of a range say, wherever it is. Write permission aside: it comes back with the next write.
fn essences(range: Range<usize>) -> Result<Vec<EntryRecord>, Error> {
    let start = range.start as u64;
    let essence = |record: EntryRecord| {
        // The page of zeroes stands for a reservation, and moves as one.
        let untouched = record.kind == EntryKind::ZeroPage as u8 || record.kind == EntryKind::Reserved as u8;
        EntryRecord {
            address: record.address - start,
            descriptor: if untouched { 0 } else { record.descriptor & !READ_ONLY },
            kind: if untouched { EntryKind::Reserved as u8 } else { record.kind },
            table: 0,
            writable_now: 0,
            ..record
        }
    };
    Ok(mapped(range)?.map(essence).collect())
}

/// Eight pages, each of another kind, in the middle of one table and across the edge of two.
pub(crate) fn carried(test: Test<'_>) -> Result<(), Error> {
    for (from, to) in [
        (EDGE, EDGE + (3 << 30)),
        (EDGE, EDGE + byte(9)),
        (EDGE + (2 << 20) - byte(4), EDGE + byte(5)),
        (EDGE + byte(100), EDGE + (4 << 20) - byte(3)),
    ] {
        let object = Shared::new(byte(2))?;
        let private = Region::at(from, byte(4))?;
        let shared = object.map_at(from + byte(4), Permissions::ReadWrite)?;
        let kept = Region::with(from + byte(6), byte(2), Inherit::No)?;
        // 0 written, 1 never touched, 2 a hole, 3 read and read-only.
        private.write(0, 0x51);
        let address = private.address();
        // SAFETY: a region of this test's, to which no reference exists; nothing is mapped before it is dropped.
        #[allow(unsafe_code)]
        unsafe { memory::unmap(address + byte(2), byte(1)) }?;
        private.read(byte(3));
        private.protect(byte(3)..byte(4), Permissions::Read)?;
        shared.write(0, 0x52);
        kept.write(0, 0x53);
        let child = Process::fork_into(test.share, || 0)?;
        claim_success(test.report, &child, format_args!("a child that leaves everything read-only"));

        let before = essences(from..from + byte(8))?;
        claim_eq!(test.report, before.len(), 7, "descriptors before the move");
        core::mem::forget((private, shared, kept));
        // SAFETY: the regions whose place this is have ended.
        #[allow(unsafe_code)]
        let all = unsafe { Region::from_raw(from, byte(8)) };
        let all = all.move_to(to).map_err(|(error, _)| error)?;
        claim_eq!(test.report, essences(place(&all))?, before, "descriptors after moving {from:#x} to {to:#x}");
        let read = |page: usize| all.read(byte(page));
        let write = |page: usize, value| all.write(byte(page), value);
        claim_eq!(test.report, [0, 1, 3, 4, 6, 7].map(read), [0x51, 0, 0, 0x52, 0x53, 0], "contents after the move");
        let mirror = object.map(Permissions::ReadWrite)?;
        write(4, 0x54);
        mirror.write(byte(1), 0x55);
        claim_eq!(test.report, (mirror.read(0), read(5)), (0x54, 0x55), "the object through its moved mapping");
        [0, 1, 6, 7].into_iter().for_each(|page| write(page, 0x56));
        claim_eq!(test.report, [0, 1, 6, 7].map(read), [0x56; 4], "what was written after the move");
        for (page, expected) in
            [(2, FaultKind::Unmapped), (3, FaultKind::WriteDenied), (6, FaultKind::Unmapped), (7, FaultKind::Unmapped)]
        {
            let child = Process::fork_into(test.share, || {
                write(page, 1);
                0
            })?;
            claim_end(
                test.report,
                &child,
                ExitStatus::Faulted(expected),
                format_args!("a child that writes to page {page}"),
            );
        }
    }
    Ok(())
}

pub(crate) fn refused(test: Test<'_>) -> Result<(), Error> {
    let memory = depths::memory()?;
    // In the way: something present, something reserved, a page of an object.
    let present = Region::at(EDGE + (16 << 20), byte(1))?;
    present.write(0, 0x61);
    let reserved = Region::at(EDGE + (1 << 30), 2 << 20)?;
    let object = Shared::new(byte(1))?;
    let shared = object.map_at(EDGE + (2 << 30), Permissions::ReadWrite)?;
    let child_of = |memory: &Region| {
        Process::fork_into(test.share, || i32::from(memory.first_difference(mark).is_some() || present.read(0) != 0x61))
    };
    let before = essences(EDGE..EDGE + (3 << 30))?;
    let own = own_info();
    let mut memory = memory;
    for to in [
        present.address(),
        present.address() + byte(1) - memory.bytes(),
        reserved.address() + byte(1),
        shared.address() - byte(5),
        memory.address(),
        memory.address() + byte(1),
        memory.address() - byte(1),
    ] {
        memory = match memory.move_to(to) {
            Ok(memory) => {
                claim!(test.report, false, "a move to {to:#x}, which is taken, succeeds");
                memory
            }
            Err((error, memory)) => {
                claim_eq!(test.report, error, Error::Occupied, "a move to {to:#x}");
                memory
            }
        };
        claim_eq!(test.report, essences(EDGE..EDGE + (3 << 30))?, before, "descriptors after a refused move");
        claim_eq!(test.report, own_info().tables, own.tables, "tables after a refused move");
    }
    claim_success(test.report, &child_of(&memory)?, format_args!("a child after moves that were refused"));
    claim_eq!(test.report, memory.first_difference(mark), None, "a page after moves that were refused");
    let kinds = mapped(place(&shared))?.map(|record| record.kind);
    claim!(test.report, kinds.eq([EntryKind::SharedPage as u8]), "the page of the object is still one");
    // A hole moves as a hole: nothing happens, also where the kernel chooses the place.
    // SAFETY: nothing is mapped there.
    #[allow(unsafe_code)]
    let nothing = unsafe { memory::relocate(EDGE + (8 << 30), byte(3), 0) };
    claim!(test.report, nothing.is_ok_and(|address| emptied(address..address + byte(3)) == Ok(true)), "a hole moves");
    Ok(())
}
