//! Parts of mappings that end or change inside tables that are shared.

use graft_rt::tables::mapped;
use graft_rt::test::depths::{EDGE, TABLE, Test, byte, mark, memory};
use graft_rt::test::{Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Permissions, Process, Region, claim, claim_eq};

/// Where a mapping of 1,280 pages ends after each step: within a table, on its edge, in the one before, ...
const ENDS: [usize; 8] = [1279, 1276, 2 * TABLE + 1, 2 * TABLE, 2 * TABLE - 1, TABLE, TABLE - 1, 1];

/// Shrinks the region to its first page, then grows it again. Whether it held what it should all the time.
fn shrink_and_grow(memory: &Region) -> bool {
    let pages = memory.pages();
    let mut end = pages;
    for next in ENDS {
        // SAFETY: the kernel chooses addresses far below; what is unmapped is mapped again before the region ends.
        #[allow(unsafe_code)]
        let unmapped = unsafe { memory.unmap(byte(next)..byte(end)) };
        let left = mapped(EDGE..EDGE + memory.bytes()).map(Iterator::count);
        let whole = (0..next).all(|page| memory.read(byte(page)) == mark(page));
        if unmapped.is_err() || left != Ok(next) || !whole {
            return false;
        }
        end = next;
    }
    for &next in ENDS.iter().rev().skip(1).chain(&[pages]) {
        let grown = memory.remap(byte(end)..byte(next)).is_ok();
        let zero = (end..next).all(|page| memory.read(byte(page)) == 0);
        (end..next).for_each(|page| memory.write(byte(page), 0x91));
        if !grown || !zero {
            return false;
        }
        end = next;
    }
    memory.first_difference(|page| if page == 0 { mark(0) } else { 0x91 }).is_none()
}

pub(crate) fn shrinks(test: Test<'_>) -> Result<(), Error> {
    for child_acts in [true, false] {
        let memory = memory()?;
        let steps = Steps::new()?;
        let child = Process::fork_into(test.share, || {
            if child_acts {
                return i32::from(!shrink_and_grow(&memory));
            }
            i32::from(!steps.wait(1) || memory.first_difference(mark).is_some())
        })?;
        if !child_acts {
            claim!(test.report, shrink_and_grow(&memory), "the parent shrinks and grows");
            steps.reach(1);
        }
        claim_success(test.report, &child, format_args!("the child (it shrinks: {child_acts})"));
        if child_acts {
            claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
            memory.fill(|_| 0x92);
            claim_eq!(test.report, memory.first_difference(|_| 0x92), None, "a page that the parent has written");
        }
    }
    Ok(())
}

/// Pages that are read-only when the tables come to be shared.
const RANGES: [(usize, usize); 3] = [(5, 9), (TABLE - 3, TABLE + 3), (TABLE, 2 * TABLE)];

pub(crate) fn read_only_at_fork(test: Test<'_>) -> Result<(), Error> {
    for range in RANGES {
        for child_acts in [true, false] {
            let memory = memory()?;
            let bytes = byte(range.0)..byte(range.1);
            memory.protect(bytes.clone(), Permissions::Read)?;
            let steps = Steps::new()?;
            let write = |value: u8| {
                let up = memory.protect(bytes.clone(), Permissions::ReadWrite);
                (range.0..range.1).for_each(|page| memory.write(byte(page), value));
                up.is_ok() && holds(&memory, range, value)
            };
            let keeps = || {
                let read_only = mapped(EDGE + bytes.start..EDGE + bytes.end)
                    .is_ok_and(|mut all| all.all(|record| record.permissions == Permissions::Read as u8));
                read_only && memory.first_difference(mark).is_none()
            };
            let child = Process::fork_into(test.share, || {
                if child_acts {
                    return i32::from(!write(0xa1));
                }
                // Then the other side does the same, and neither sees it.
                i32::from(!(steps.wait(1) && keeps() && write(0xa2)))
            })?;
            if !child_acts {
                claim!(test.report, write(0xa3), "the parent makes {range:?} writable and writes");
                steps.reach(1);
            }
            claim_success(test.report, &child, format_args!("the child (it is first: {child_acts}) with {range:?}"));
            if child_acts {
                claim!(test.report, keeps(), "the parent's pages stay as they were and read-only, {range:?}");
                let other = Process::fork_into(test.share, || {
                    memory.write(byte(range.0), 1);
                    0
                })?;
                let expected = ExitStatus::Faulted(FaultKind::WriteDenied);
                claim_end(
                    test.report,
                    &other,
                    expected,
                    format_args!("a child that writes to what is still read-only"),
                );
                claim!(test.report, write(0xa4), "the parent makes {range:?} writable later");
            } else {
                claim!(test.report, holds(&memory, range, 0xa3), "the parent's pages after the child's writes");
            }
        }
    }
    Ok(())
}

/// Whether the pages of a range hold a value and all others their marks.
fn holds(memory: &Region, (from, to): (usize, usize), value: u8) -> bool {
    memory.first_difference(|page| if (from..to).contains(&page) { value } else { mark(page) }).is_none()
}
