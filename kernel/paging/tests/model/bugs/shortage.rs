//! Operations that find no memory half way: they have changed nothing.

use super::{Case, DEPTHS, HERE, PAGE, SIZE, range};
use crate::history::{GIB, KIB, MIB, Operation, run, universe};
use crate::mmu::Architecture;
use crate::world::pieces::Piecewise;

use graft_paging::{AArch64, Access, Fault, Foreign, Inherit, Permissions, Promise, Share, X86_64};

cases! {
    /// A fork that fails after it has taken permissions away must still flush: the next fork trusts the marks.
    fn a_failed_fork_flushes_what_it_marked<A>() {
        for share in DEPTHS {
            for allocations in 1..9 {
                let case = Case::<A>::new();
                // Two tables of every level: the fork marks the first one's entry before it fails for the second.
                for page in [0, GIB] {
                    case.0.reserve(0, range(page, PAGE), Permissions::ReadWrite, Inherit::Yes).unwrap();
                    case.write(0, page);
                }
                (0..4).for_each(|core| case.0.access(core, 0, 0, Access::Write, 1).unwrap());
                case.0.machine.fail_after.set(Some(allocations));
                case.0.fork(0, 1, share).unwrap();
                case.0.machine.fail_after.set(None);
                // Before another fork flushes what the first one has left.
                (0..4).for_each(|core| case.0.access(core, 0, 0, Access::Write, 5).unwrap());
                case.0.fork(0, 2, share).unwrap();
                (0..4).for_each(|core| case.0.access(core, 0, 0, Access::Write, 7).unwrap());
                case.finish();
            }
        }
    }

    fn a_table_split_out_of_memory_changes_nothing<A>() {
        for share in DEPTHS {
            for allocations in 0..5 {
                let case = Case::<A>::forked(share);
                let before = case.0.fingerprint(1, &universe());
                case.0.machine.fail_after.set(Some(allocations));
                let result = case.0.fault(1, HERE, Access::Write);
                case.0.machine.fail_after.set(None);
                if result == Err(Fault::OutOfMemory) {
                    assert_eq!(before, case.0.fingerprint(1, &universe()));
                } else {
                    result.unwrap();
                }
                case.write(1, HERE);
                case.finish();
            }
        }
    }
}

#[test]
fn every_allocation_fails_in_turn() {
    fn case<A: Architecture + 'static>() {
        let (rw, yes) = (Permissions::ReadWrite, Inherit::Yes);
        let last = [
            Operation::Create(2),
            Operation::Fork(1, 2, Share::Pages),
            Operation::Fork(1, 2, Share::Level3),
            Operation::Fork(1, 2, Share::Level1),
            Operation::Snapshot(1, 0, Share::Level3),
            Operation::Reserve(1, 512 * GIB, 513 * GIB + PAGE, rw, yes),
            Operation::Reserve(1, 0, PAGE, rw, yes),
            Operation::MapForeign(1, 0, 8 * KIB, Permissions::Read, Foreign::Normal),
            Operation::Unmap(1, HERE + PAGE, 2 * MIB),
            Operation::Unmap(1, HERE, PAGE),
            Operation::Protect(1, HERE, SIZE, Permissions::Read),
            Operation::MapShared(1, 0, 8 * KIB, rw),
            Operation::Discard(1, HERE, SIZE),
            Operation::Discard(1, HERE + PAGE, PAGE),
            Operation::Relocate(1, HERE, 0, SIZE),
            Operation::Relocate(1, HERE, 8 * MIB + PAGE, SIZE),
            Operation::Relocate(1, HERE + PAGE, 512 * GIB - 2 * MIB, 2 * MIB),
            Operation::Protect(1, HERE + PAGE, 2 * MIB, Permissions::Read),
            Operation::Access(1, 1, HERE, Access::Write, 1),
            Operation::Access(1, 1, HERE + 2 * MIB - PAGE, Access::Write, 1),
            Operation::Access(1, 1, 3 * GIB, Access::Write, 1),
            Operation::Access(1, 1, 3 * GIB, Access::Read, 1),
            Operation::KernelAccess(1, HERE, Access::Write, 1),
            Operation::InPieces(1, HERE + PAGE, 2 * MIB, Piecewise::Unmapping, rw, 1),
            Operation::InPieces(1, HERE, SIZE, Piecewise::Protecting, Permissions::Read, 1),
            Operation::InPieces(1, HERE, SIZE, Piecewise::Discarding, rw, 1),
            Operation::InPieces(1, 512 * GIB + PAGE, 513 * GIB, Piecewise::Reserving, rw, 1),
            Operation::InPieces(1, 0, 8 * KIB, Piecewise::Mapping, rw, 1),
            Operation::ExitInPieces(1, 1),
            Operation::RelocateInPieces(1, HERE, 8 * MIB + PAGE, SIZE, 60_000),
            Operation::RelocateInPieces(1, HERE, 8 * GIB, SIZE, 1),
            Operation::ForkInPieces(1, 2, Share::Pages, Promise::BestEffort, 1),
            Operation::ForkInPieces(1, 2, Share::Level3, Promise::BestEffort, 1),
        ];
        for share in DEPTHS {
            for operation in last {
                for allocations in 0..12 {
                    let history = [
                        Operation::Create(0),
                        Operation::Reserve(0, HERE, SIZE, rw, yes),
                        Operation::Reserve(0, 3 * GIB, GIB, rw, yes),
                        Operation::Access(0, 0, HERE, Access::Write, 1),
                        Operation::Access(0, 0, HERE + 2 * MIB, Access::Write, 2),
                        Operation::Fork(0, 1, share),
                        Operation::FailAfter(allocations),
                        operation,
                        operation,
                        Operation::Access(0, 0, HERE, Access::Write, 3),
                    ];
                    run::<A>(&history.map(|operation| (operation, 0)))
                        .unwrap_or_else(|what| panic!("{share:?}, {operation:?}, {allocations}: {what}"));
                }
            }
        }
    }
    case::<AArch64>();
    case::<X86_64>();
}

#[test]
fn a_guaranteed_fork_that_is_given_up_leaves_nothing_promised_when_its_parent_ends_first() {
    run::<AArch64>(&[
        (Operation::Create(0), 0),
        (Operation::FailAfter(1), 0),
        (Operation::Create(2), 0),
        (Operation::ForkGuaranteed(2, 4, Share::Level3), 0),
        (Operation::Reserve(2, 1075843072, 549755813888, Permissions::ReadWrite, Inherit::Yes), 0),
        (Operation::ForkInPieces(2, 4, Share::Level3, Promise::Guaranteed, 1), 20498267443340),
    ])
    .unwrap();
}
