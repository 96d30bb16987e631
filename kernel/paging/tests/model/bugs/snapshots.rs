//! The way back to a snapshot.

use super::{Case, DEPTHS, HERE, PAGE, SIZE, range};
use crate::history::{GIB, MIB, Operation, run};
use crate::mmu::Architecture;

use graft_paging::{AArch64, Access, Inherit, Permissions, X86_64};

cases! {
    /// A process is restored again and again: each time it has the snapshot's content, and nothing is allocated for it.
    fn restore_brings_back_the_snapshot<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            case.0.snapshot(0, 0, share).unwrap();
            for round in 0..3 {
                case.write(0, HERE + round * PAGE);
                case.0.unmap(0, range(HERE + 2 * MIB, 2 * MIB)).unwrap();
                case.0.reserve(0, range(8 * GIB, GIB), Permissions::ReadWrite, Inherit::Yes).unwrap();
                case.0.protect(0, range(HERE, PAGE), Permissions::Read).unwrap();
                (0..4).for_each(|core| case.0.access(core, 0, HERE + PAGE, Access::Write, round).unwrap());
                let allocations = case.0.machine.allocations.get();
                case.0.restore(0, 0).unwrap();
                assert_eq!(case.0.machine.allocations.get(), allocations, "{share:?}");
                case.check();
                case.write(0, HERE + 2 * MIB);
            }
            case.0.fork(0, 1, share).unwrap();
            case.0.restore(1, 0).unwrap();
            case.finish();
        }
    }

    /// Tables with shared mappings are the snapshot's own; the tables beside them are still shared, and counted once
    /// for each reference.
    fn restore_of_a_snapshot_with_shared_mappings<A>() {
        for share in DEPTHS {
            for guaranteed in [false, true] {
                let case = Case::<A>::new();
                case.0.map_shared(0, range(512 * GIB, 2 * PAGE), Permissions::ReadWrite).unwrap();
                match guaranteed {
                    true => case.0.fork_guaranteed(0, 1, share).unwrap(),
                    false => case.0.fork(0, 1, share).unwrap(),
                }
                case.0.snapshot(0, 0, share).unwrap();
                for dirty in [false, true, true] {
                    if dirty {
                        case.write(0, HERE);
                        case.write(0, 512 * GIB);
                        case.0.unmap(0, range(512 * GIB + PAGE, PAGE)).unwrap();
                    }
                    case.0.restore(0, 0).unwrap();
                    case.check();
                    case.write(1, 512 * GIB);
                    case.read(0, 512 * GIB);
                }
                case.0.revive(0, 2).unwrap();
                case.write(2, HERE + PAGE);
                case.finish();
            }
        }
    }

    /// If nothing has diverged, nothing is invalidated either.
    fn restore_of_an_untouched_space_does_nothing<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            case.0.snapshot(0, 0, share).unwrap();
            let before = case.0.machine.invalidations.get();
            case.0.restore(0, 0).unwrap();
            assert_eq!(case.0.machine.invalidations.get(), before, "{share:?}");
            case.finish();
        }
    }
}

/// Every allocation of every kind of operation fails in turn; the runner checks that nothing changed. A space that has
/// lost tables with shared mappings needs new ones for a restore; a space that still has such a table restores it in
/// place.
#[test]
fn every_allocation_of_a_restore_fails_in_turn() {
    fn case<A: Architecture + 'static>() {
        let (rw, yes) = (Permissions::ReadWrite, Inherit::Yes);
        let (lost, kept) = (512 * GIB, 3 * GIB);
        for share in DEPTHS {
            for allocations in 0..16 {
                let history = [
                    Operation::Create(0),
                    Operation::Reserve(0, HERE, SIZE, rw, yes),
                    Operation::MapShared(0, lost, PAGE, rw),
                    Operation::MapShared(0, kept, PAGE, rw),
                    Operation::Reserve(0, kept + PAGE, PAGE, rw, yes),
                    Operation::Access(0, 0, HERE, Access::Write, 1),
                    Operation::Access(0, 0, kept + PAGE, Access::Write, 2),
                    Operation::Snapshot(0, 0, share),
                    Operation::Access(0, 0, HERE, Access::Write, 3),
                    Operation::Access(0, 0, kept + PAGE, Access::Write, 4),
                    Operation::Unmap(0, lost, PAGE),
                    Operation::FailAfter(allocations),
                    Operation::Restore(0, 0),
                    Operation::Access(1, 0, kept + PAGE, Access::Read, 0),
                    Operation::Restore(0, 0),
                    Operation::Access(0, 0, lost, Access::Write, 5),
                ];
                run::<A>(&history.map(|operation| (operation, 0)))
                    .unwrap_or_else(|what| panic!("{share:?}, {allocations}: {what}"));
            }
        }
    }
    case::<AArch64>();
    case::<X86_64>();
}
