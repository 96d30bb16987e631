//! Memory that a child does not get, and memory of which little is ever touched.

use alloc::vec::Vec;

use graft_rt::abi::{EntryKind, PAGE_SIZE};
use graft_rt::memory::{self, Inherit};
use graft_rt::process::own_info;
use graft_rt::tables::mapped;
use graft_rt::test::depths::{EDGE, Test, byte, mark};
use graft_rt::test::{Numbers, Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Handle, Permissions, Process, Region, Share, claim, claim_eq, tables};

use crate::{place, references};

const GIB: usize = 1 << 30;

/// Reserved at every level, with pages touched in the middle: the child has none of it, and can use the addresses.
pub(crate) fn not_inherited(test: Test<'_>) -> Result<(), Error> {
    let beside = Region::at(EDGE - (2 << 20), 2 << 20)?;
    beside.fill(mark);
    for (start, bytes) in [
        (EDGE, byte(3)),
        (EDGE, 2 << 20),
        (EDGE + byte(1), 4 << 20),
        (EDGE + (4 << 20), GIB),
        // From one level-0 descriptor to the next.
        ((1 << 41) - GIB, 2 * GIB),
    ] {
        let own = Region::with(start, bytes, Inherit::No)?;
        for touched in [false, true] {
            let last = own.pages() - 1;
            if touched {
                own.write(0, 0x71);
                own.read(byte(1));
                own.write(byte(last), 0x72);
            }
            let child = Process::fork_into(test.share, || {
                if mapped(place(&own)).map(Iterator::count) != Ok(0) || beside.first_difference(mark).is_some() {
                    return 1;
                }
                // Its own memory, there.
                let Ok(mine) = Region::at(start, bytes) else { return 2 };
                let zero = mine.read(0) == 0 && mine.read(byte(last)) == 0;
                mine.write(0, 0x73);
                i32::from(!zero || mine.read(0) != 0x73) * 3
            })?;
            claim_success(test.report, &child, format_args!("a child without {bytes:#x} bytes at {start:#x}"));
            let reader = Process::fork_into(test.share, || own.read(byte(last)).into())?;
            let expected = ExitStatus::Faulted(FaultKind::Unmapped);
            claim_end(test.report, &reader, expected, format_args!("a child that reads what it did not get"));
            if touched {
                own_info();
                let before = own_info();
                let first = own.read(0);
                own.write(0, 0x71);
                own.write(byte(last), 0x74);
                claim_eq!(test.report, own_info().faults, before.faults, "faults of the parent's writes");
                claim_eq!(test.report, first, 0x71, "the parent's first page");
            }
        }
    }
    claim_eq!(test.report, beside.first_difference(mark), None, "a page of the memory beside");
    Ok(())
}

/// Such memory reads as zero, obeys permissions and takes no frames but its own; once it is gone, forks share its
/// tables again.
pub(crate) fn kept(test: Test<'_>) -> Result<(), Error> {
    let beside = Region::at(EDGE, byte(8))?;
    beside.fill(mark);
    let own = Region::with(EDGE + byte(8), byte(8), Inherit::No)?;
    let executable = memory::reserve(0, PAGE_SIZE, Permissions::ReadExecute, Inherit::No).map(drop);
    claim_eq!(test.report, executable, Err(Error::NotAllowed), "memory for execution that is not inherited");
    claim_eq!(test.report, own.read(byte(1)), 0, "fresh memory that is not inherited");
    for range in [0..byte(8), 0..byte(1), byte(1)..byte(2)] {
        let executable = own.protect(range.clone(), Permissions::ReadExecute);
        claim_eq!(test.report, executable, Err(Error::NotAllowed), "executing {range:x?} that is not inherited");
    }
    own.protect(0..byte(8), Permissions::Read)?;
    claim_eq!(test.report, (own.read(0), own.read(byte(1))), (0, 0), "what is read-only");
    own.protect(0..byte(8), Permissions::ReadWrite)?;
    own.write(byte(2), 0x75);
    let kinds: Vec<u8> = mapped(place(&own))?.map(|record| record.kind).collect();
    let (page, reserved) = (EntryKind::NoInheritPage as u8, EntryKind::Reserved as u8);
    let expected = [page, page, page, reserved, reserved, reserved, reserved, reserved];
    claim_eq!(test.report, kinds, expected, "what is there after two reads and a write");

    let shared_on_the_way = || -> Result<bool, Error> {
        let steps = Steps::new()?;
        let child = Process::fork_into(test.share, || i32::from(!steps.wait(1)))?;
        let records = tables::all_entries(Handle::SELF)?;
        steps.reach(1);
        claim_success(test.report, &child, format_args!("a child that waits"));
        Ok(references(&records, EDGE) == 2)
    };
    claim!(test.report, !shared_on_the_way()?, "a table with memory that is not inherited is not shared");
    drop(own);
    let shared = shared_on_the_way()?;
    claim_eq!(test.report, shared, test.share != Share::Copy, "whether the table is shared when that memory is gone");
    claim_eq!(test.report, beside.first_difference(mark), None, "a page beside");
    Ok(())
}

const TEBIBYTE: usize = 1 << 40;

pub(crate) fn tebibyte(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    own_info();
    let before = own_info();
    let memory = Region::at(2 * TEBIBYTE, TEBIBYTE)?;
    let after = own_info();
    claim_eq!(report, after.tables, before.tables, "tables after reserving a tebibyte");
    claim_eq!(report, after.reserved_pages - before.reserved_pages, 1 << 28, "pages reserved");
    let middle = TEBIBYTE / 2 + byte(77);
    let child = Process::fork_into(test.share, || {
        // Once for the stack.
        own_info();
        let before = own_info();
        memory.write(middle, 0x81);
        let after = own_info();
        let right = after.resident_pages == before.resident_pages + 1
            && after.tables == before.tables + 3
            && after.demand_zero == before.demand_zero + 1;
        if !right {
            return 2;
        }
        // Reads elsewhere: tables for the first in each 2 MiB, never a page.
        let mut numbers = Numbers::new(1);
        let zero = (0..500).all(|_| {
            let offset = numbers.below(TEBIBYTE);
            offset / PAGE_SIZE == middle / PAGE_SIZE || memory.read(offset) == 0
        });
        let read = own_info();
        let near = (0..200).all(|page| page == 77 || memory.read(TEBIBYTE / 2 + byte(page)) == 0);
        let near = near && own_info().tables == read.tables;
        i32::from(!(zero && near && own_info().resident_pages == after.resident_pages)) * 3
    })?;
    claim_success(report, &child, format_args!("a child that touches a tebibyte (2: frames for a write, 3: a read)"));

    own_info();
    let before = own_info();
    claim_eq!(report, memory.read(middle), 0, "the parent's page");
    claim_eq!(report, memory.read(middle + byte(1)), 0, "its neighbour");
    let after = own_info();
    claim_eq!(report, after.resident_pages, before.resident_pages, "pages after reading");
    claim_eq!(report, after.tables, before.tables + 3, "tables after reading");
    let kinds = mapped(memory.address() + middle..memory.address() + middle + byte(2))?.map(|record| record.kind);
    claim!(report, kinds.eq([EntryKind::ZeroPage as u8; 2]), "what has been read shows the page of zeroes");

    // The whole range moves as quickly as it was reserved.
    memory.write(middle, 0x82);
    memory.protect(0..TEBIBYTE, Permissions::Read)?;
    memory.protect(0..TEBIBYTE, Permissions::ReadWrite)?;
    let memory = memory.move_to(5 * TEBIBYTE).map_err(|(error, _)| error)?;
    claim_eq!(report, (memory.read(middle), memory.read(0)), (0x82, 0), "a tebibyte that was moved");
    memory.discard(0..TEBIBYTE)?;
    claim_eq!(report, memory.read(middle), 0, "a tebibyte that was discarded");
    Ok(())
}
