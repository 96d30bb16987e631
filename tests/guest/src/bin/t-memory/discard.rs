//! Giving up the content of memory.

use graft_rt::abi::{EntryKind, PAGE_SIZE};
use graft_rt::memory::{Inherit, Shared};
use graft_rt::process::own_info;
use graft_rt::tables::mapped;
use graft_rt::test::depths::{self, EDGE, TABLE, Test, byte, mark};
use graft_rt::test::{Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Handle, Permissions, Process, Region, claim, claim_eq, memory};

use crate::place;

/// Ranges of pages within a table, over whole tables, and over the edges of both.
const RANGES: [(usize, usize); 5] = [(3, 5), (0, 1), (TABLE, 2 * TABLE), (TABLE - 10, TABLE + 10), (7, 2 * TABLE + 9)];

/// What the pages hold after the range has been discarded.
fn zero_in((from, to): (usize, usize)) -> impl Fn(usize) -> u8 {
    move |page| if (from..to).contains(&page) { 0 } else { mark(page) }
}

pub(crate) fn alone(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        let memory = depths::memory()?;
        let pages = (range.1 - range.0) as u64;
        own_info();
        let before = own_info();
        claim_eq!(test.report, memory.discard(byte(range.0)..byte(range.1)), Ok(()), "discard {range:?}");
        let after = own_info();
        claim_eq!(test.report, after.resident_pages, before.resident_pages - pages, "pages resident after {range:?}");
        claim_eq!(test.report, after.reserved_pages, before.reserved_pages + pages, "pages reserved after {range:?}");
        claim_eq!(test.report, memory.first_difference(zero_in(range)), None, "a page after {range:?}");
        claim_eq!(test.report, own_info().resident_pages, after.resident_pages, "pages resident after reading zeroes");
        // Once more: pages of zeroes, and then nothing at all.
        for _ in 0..2 {
            claim_eq!(test.report, memory.discard(byte(range.0)..byte(range.1)), Ok(()), "discard {range:?} again");
        }
        memory.fill(|_| 0x21);
        claim_eq!(test.report, memory.first_difference(|_| 0x21), None, "a page that was written again");
    }
    read_only(test)
}

/// Read-only memory may be discarded, and stays read-only.
fn read_only(test: Test<'_>) -> Result<(), Error> {
    let memory = Region::at(EDGE, byte(2))?;
    memory.fill(mark);
    memory.protect(0..byte(1), Permissions::Read)?;
    claim_eq!(test.report, memory.discard(0..byte(1)), Ok(()), "discarding what is read-only");
    claim_eq!(test.report, (memory.read(0), memory.read(byte(1))), (0, mark(1)), "a page and its neighbour");
    let child = Process::fork_into(test.share, || {
        memory.write(0, 1);
        0
    })?;
    let expected = ExitStatus::Faulted(FaultKind::WriteDenied);
    claim_end(test.report, &child, expected, format_args!("a child that writes to what was read-only"));
    Ok(())
}

pub(crate) fn both_sides(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        for child_acts in [true, false] {
            let memory = depths::memory()?;
            let steps = Steps::new()?;
            let discard = || {
                let discarded = memory.discard(byte(range.0)..byte(range.1)).is_ok();
                let zero = memory.first_difference(zero_in(range)).is_none();
                (range.0..range.1).for_each(|page| memory.write(byte(page), 0x5a));
                let written = (range.0..range.1).all(|page| memory.read(byte(page)) == 0x5a);
                discarded && zero && written
            };
            let child = Process::fork_into(test.share, || {
                if child_acts {
                    return i32::from(!discard());
                }
                if !steps.wait(1) || memory.first_difference(mark).is_some() {
                    return 2;
                }
                memory.fill(|_| 0x6b);
                memory.first_difference(|_| 0x6b).map_or(0, |_| 3)
            })?;
            if !child_acts {
                claim!(test.report, discard(), "the parent discards {range:?}");
                steps.reach(1);
            }
            claim_success(test.report, &child, format_args!("the child (it discards: {child_acts}), {range:?}"));
            if child_acts {
                let difference = memory.first_difference(mark);
                claim_eq!(test.report, difference, None, "a page of the parent's after the child discarded {range:?}");
                memory.fill(|_| 0x7c);
                claim_eq!(test.report, memory.first_difference(|_| 0x7c), None, "a page that the parent wrote");
            }
        }
    }
    Ok(())
}

/// Private memory before and after memory that is not private.
pub(crate) fn refused(test: Test<'_>) -> Result<(), Error> {
    let object = Shared::new(PAGE_SIZE)?;
    let (_, archive_bytes) = map_and_unmap_archive()?;
    for archive in [true, false] {
        let middle = if archive { archive_bytes } else { PAGE_SIZE };
        let before = Region::at(EDGE, byte(1))?;
        let after = Region::with(EDGE + byte(1) + middle, byte(1), Inherit::No)?;
        let shared = if archive {
            memory::map_object(Handle::ARCHIVE, EDGE + byte(1), Permissions::Read)?;
            None
        } else {
            Some(object.map_at(EDGE + byte(1), Permissions::ReadWrite)?)
        };
        before.write(0, 0x11);
        after.write(0, 0x22);
        shared.iter().for_each(|shared| shared.write(0, 0x33));
        let bytes = middle + byte(2);
        // SAFETY: regions of this test, in which no Rust object lives.
        #[allow(unsafe_code)]
        let discard = |address, bytes| unsafe { memory::discard(address, bytes) };
        for (address, bytes) in [(EDGE, bytes), (EDGE, byte(2)), (EDGE + middle, byte(2)), (EDGE + byte(1), middle)] {
            claim_eq!(
                test.report,
                discard(address, bytes),
                Err(Error::NotAllowed),
                "discarding {bytes:#x} bytes at {address:#x} (the archive: {archive})"
            );
        }
        claim_eq!(test.report, (before.read(0), after.read(0)), (0x11, 0x22), "private pages after a refused discard");
        claim!(test.report, shared.iter().all(|shared| shared.read(0) == 0x33), "the shared page");
        // A range with holes is none the worse for them; what is not inherited stays so.
        claim_eq!(test.report, discard(EDGE - (64 << 20), (64 << 20) + byte(1)), Ok(()), "discarding mostly holes");
        claim_eq!(test.report, discard(EDGE + byte(1) + middle, 64 << 20), Ok(()), "discarding before a hole");
        claim_eq!(test.report, (before.read(0), after.read(0)), (0, 0), "private pages that were discarded");
        after.write(0, 0x44);
        let kinds = mapped(place(&after))?.map(|record| record.kind);
        claim!(test.report, kinds.eq([EntryKind::NoInheritPage as u8]), "a page that is not inherited stays so");
        if archive {
            unmap(EDGE + byte(1), middle)?;
        }
    }
    Ok(())
}

/// The length of the archive's mapping.
fn map_and_unmap_archive() -> Result<(usize, usize), Error> {
    let (address, bytes) = memory::map_object(Handle::ARCHIVE, 0, Permissions::Read)?;
    let bytes = bytes.next_multiple_of(PAGE_SIZE);
    unmap(address, bytes)?;
    Ok((address, bytes))
}

#[allow(unsafe_code)]
fn unmap(address: usize, bytes: usize) -> Result<(), Error> {
    // SAFETY: mappings of this test, to which no reference exists.
    unsafe { memory::unmap(address, bytes) }
}
