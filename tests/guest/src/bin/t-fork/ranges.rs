//! Unmapping, protecting and mapping inside tables that are shared.

use alloc::vec::Vec;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::gate::Gate;
use graft_rt::test::depths::{TABLE, Test, byte};
use graft_rt::test::{claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Permissions, Process, Region, claim_eq};

use crate::{EDGE, mark, memory};

/// Ranges of pages within a table, over whole tables, and over the edges of both.
const RANGES: [(usize, usize); 5] =
    [(3, 5), (0, 1), (TABLE, 2 * TABLE), (TABLE - 10, TABLE + 10), (2 * TABLE + 7, 4 * TABLE + 9)];

/// Unmaps pages of a region; nothing is mapped in their place before the region goes.
#[allow(unsafe_code)]
fn unmap(memory: &Region, (from, to): (usize, usize)) -> bool {
    // SAFETY: the kernel chooses the lowest addresses that are free, gigabytes below these, until
    // the region is mapped there again or dropped.
    unsafe { memory.unmap(byte(from)..byte(to)) }.is_ok()
}

fn outside((from, to): (usize, usize)) -> impl Fn(usize) -> bool + Copy {
    move |page| !(from..to).contains(&page)
}

/// Whether all pages but those of a range hold their marks.
fn marks_outside(memory: &Region, range: (usize, usize)) -> bool {
    (0..memory.pages()).filter(|&page| outside(range)(page)).all(|page| memory.read(byte(page)) == mark(page))
}

pub(crate) fn child_unmaps(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        let memory = memory()?;
        let child = Process::fork_into(test.share, || {
            if !unmap(&memory, range) || !marks_outside(&memory, range) {
                return 1;
            }
            // The child must fault on a page that it has unmapped.
            memory.read(byte(range.0));
            2
        })?;
        let expected = ExitStatus::Faulted(FaultKind::Unmapped);
        claim_end(test.report, &child, expected, format_args!("the child that reads what it has unmapped"));
        claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's after the child's unmap");
        memory.fill(|_| 1);
        claim_eq!(test.report, memory.first_difference(|_| 1), None, "a page that the parent has written");
    }
    Ok(())
}

pub(crate) fn parent_unmaps(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        let memory = memory()?;
        let gate = Gate::new()?;
        let child = Process::fork_into(test.share, || {
            gate.pass();
            if memory.first_difference(mark).is_some() {
                return 1;
            }
            memory.fill(|_| 2);
            memory.first_difference(|_| 2).map_or(0, |_| 2)
        })?;
        claim_eq!(test.report, unmap(&memory, range), true, "the parent's unmap");
        claim_eq!(test.report, marks_outside(&memory, range), true, "the parent's other pages");
        gate.open();
        claim_success(test.report, &child, format_args!("the child of a parent that unmaps"));
    }
    Ok(())
}

pub(crate) fn protect(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        for child_acts in [true, false] {
            let memory = memory()?;
            let gate = Gate::new()?;
            let bytes = byte(range.0)..byte(range.1);
            // Read-only and back, then a write: it must not reach the other side.
            let down_and_up = || {
                let down = memory.protect(bytes.clone(), Permissions::Read);
                let up = memory.protect(bytes.clone(), Permissions::ReadWrite);
                (range.0..range.1).for_each(|page| memory.write(byte(page), 0x5a));
                down.is_ok() && up.is_ok() && marks_outside(&memory, range)
            };
            let child = Process::fork_into(test.share, || {
                if child_acts {
                    return i32::from(!down_and_up());
                }
                gate.pass();
                memory.first_difference(mark).map_or(0, |_| 1)
            })?;
            if !child_acts {
                claim_eq!(test.report, down_and_up(), true, "the parent's change of permissions and back");
                gate.open();
            }
            claim_success(test.report, &child, format_args!("the child (it acts: {child_acts})"));
            if child_acts {
                claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
            }
        }
        forbidden(test, range)?;
    }
    Ok(())
}

/// What one side has made read-only faults there and not on the other side.
fn forbidden(test: Test<'_>, range: (usize, usize)) -> Result<(), Error> {
    let memory = memory()?;
    let child = Process::fork_into(test.share, || {
        if memory.protect(byte(range.0)..byte(range.1), Permissions::Read).is_err() {
            return 1;
        }
        memory.write(byte(range.1 - 1), 1);
        2
    })?;
    let expected = ExitStatus::Faulted(FaultKind::WriteDenied);
    claim_end(test.report, &child, expected, format_args!("the child that writes to what it has made read-only"));
    memory.fill(|_| 4);
    claim_eq!(test.report, memory.first_difference(|_| 4), None, "a page of the parent's");

    memory.protect(byte(range.0)..byte(range.1), Permissions::Read)?;
    let child = Process::fork_into(test.share, || {
        memory.write(byte(range.0), 1);
        2
    })?;
    claim_end(
        test.report,
        &child,
        expected,
        format_args!("the child that writes to what its parent has made read-only"),
    );
    memory.protect(byte(range.0)..byte(range.1), Permissions::ReadWrite)
}

pub(crate) fn remap(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        let memory = memory()?;
        let gate = Gate::new()?;
        let child = Process::fork_into(test.share, || {
            gate.pass();
            if memory.first_difference(mark).is_some() {
                return 1;
            }
            let fresh = unmap(&memory, range)
                && memory.remap(byte(range.0)..byte(range.1)).is_ok()
                && (range.0..range.1).all(|page| memory.read(byte(page)) == 0);
            (range.0..range.1).for_each(|page| memory.write(byte(page), 0xcc));
            i32::from(!fresh || !marks_outside(&memory, range)) * 2
        })?;
        claim_eq!(test.report, unmap(&memory, range), true, "the parent's unmap");
        claim_eq!(test.report, memory.remap(byte(range.0)..byte(range.1)), Ok(()), "the parent's new memory");
        let zero = (range.0..range.1).all(|page| memory.read(byte(page)) == 0);
        claim_eq!(test.report, zero, true, "the parent's new memory is zero");
        (range.0..range.1).for_each(|page| memory.write(byte(page), 0xaa));
        gate.open();
        claim_success(test.report, &child, format_args!("the child of a parent that maps anew"));
        let kept = (range.0..range.1).all(|page| memory.read(byte(page)) == 0xaa) && marks_outside(&memory, range);
        claim_eq!(test.report, kept, true, "the parent's pages after the child's new memory");
    }
    Ok(())
}

/// Regions that begin or end exactly where a table does, and one page before and after.
pub(crate) fn edges(test: Test<'_>) -> Result<(), Error> {
    let table = TABLE * PAGE_SIZE;
    for (start, bytes) in [
        (EDGE, table),
        (EDGE, table - PAGE_SIZE),
        (EDGE, table + PAGE_SIZE),
        (EDGE + PAGE_SIZE, table - PAGE_SIZE),
        (EDGE + table - PAGE_SIZE, 2 * PAGE_SIZE),
        // Across and up to a level-2 boundary.
        (EDGE, 2 * table),
        (EDGE + 2 * table - PAGE_SIZE, 2 * PAGE_SIZE),
        (EDGE + 2 * table, PAGE_SIZE),
        // Across a level-1 boundary, 512 GiB.
        ((1 << 39) - PAGE_SIZE, 2 * PAGE_SIZE),
        ((1 << 47) - table, table),
    ] {
        let memory = Region::at(start, bytes)?;
        memory.fill(mark);
        let last = memory.pages() - 1;
        let child = Process::fork_into(test.share, || {
            memory.write(byte(0), 1);
            memory.write(byte(last), 2);
            let expected = |page: usize| match page {
                _ if page == last => 2,
                0 => 1,
                _ => mark(page),
            };
            memory.first_difference(expected).map_or(0, |_| 1)
        })?;
        claim_success(test.report, &child, format_args!("the child with {bytes:#x} bytes at {start:#x}"));
        claim_eq!(test.report, memory.first_difference(mark), None, "a page of {bytes:#x} bytes at {start:#x}");
    }
    Ok(())
}

/// Three hundred mappings with holes between and permissions that alternate.
pub(crate) fn many(test: Test<'_>) -> Result<(), Error> {
    let mut mappings = Vec::new();
    for number in 0..300_usize {
        // Some share a level-3 table, some a level-2 table, some neither.
        let address = EDGE + number * 3 * PAGE_SIZE + (number % 10) * (64 << 20) + (number % 3) * (1 << 40);
        let mapping = Region::at(address, 2 * PAGE_SIZE)?;
        mapping.fill(|page| mark(number + page));
        if number.is_multiple_of(2) {
            mapping.protect(PAGE_SIZE..2 * PAGE_SIZE, Permissions::Read)?;
        }
        mappings.push(mapping);
    }
    let whole = |mappings: &[Region]| {
        let right =
            |(number, mapping): (usize, &Region)| mapping.first_difference(|page| mark(number + page)).is_none();
        mappings.iter().enumerate().all(right)
    };
    let child = Process::fork_into(test.share, || {
        let before = whole(&mappings);
        mappings.iter().for_each(|mapping| mapping.write(0, 0xcc));
        let after = mappings.iter().all(|mapping| mapping.read(0) == 0xcc);
        i32::from(!before || !after)
    })?;
    claim_success(test.report, &child, format_args!("the child with three hundred mappings"));
    claim_eq!(test.report, whole(&mappings), true, "the parent's mappings");
    Ok(())
}
