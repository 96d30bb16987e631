//! Tables and pages that several processes have: who sees which store, and who is the last owner.

use super::{Case, DEPTHS, HERE, PAGE, SIZE, range};
use crate::history::MIB;

use graft_paging::{Access, Action, Fault, Foreign, Inherit, Permissions, Share};

cases! {
    /// The write of a process whose TLB was warm before the fork must not reach the child's page.
    fn write_through_a_stale_entry_after_fork<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            (0..4).for_each(|core| case.0.access(core, 0, HERE, Access::Write, 1).unwrap());
            case.0.fork(0, 1, share).unwrap();
            (0..4).for_each(|core| case.0.access(core, 0, HERE, Access::Write, 2 + core as u64).unwrap());
            case.finish();
        }
    }

    fn write_through_a_stale_entry_after_split<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            case.read(1, HERE + PAGE);
            case.write(1, HERE);
            case.write(1, HERE + PAGE);
            case.write(0, HERE + PAGE);
            case.finish();
        }
    }

    /// The original's last owner must not re-open pages that the copy still reads.
    fn last_owner_reopens_a_page_that_is_still_shared<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            case.write(1, HERE);
            case.write(0, HERE + PAGE);
            case.check();
            case.write(1, HERE + 2 * MIB);
            case.0.exit(0).unwrap();
            case.write(1, HERE + PAGE);
            case.finish();
        }
    }

    fn last_owner_takes_over_without_copying<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            case.0.exit(1).unwrap();
            let before = case.0.machine.allocations.get();
            assert_eq!(case.0.fault(0, HERE, Access::Write), Ok((Action::Reuse, 0)), "{share:?}");
            assert_eq!(case.0.machine.allocations.get(), before);
            case.write(0, HERE);
            case.finish();
        }
    }

    /// The TLBs hear of an upgrade at once: the retry must not fault a second time. Where a fault itself discards the
    /// stale entry, the access may succeed only after the second fault.
    fn one_fault_is_enough_for_the_last_owner<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            case.read(0, HERE);
            case.0.exit(1).unwrap();
            case.0.fault(0, HERE, Access::Write).unwrap();
            case.0.machine.faulted(0, HERE);
            let answers = case.0.machine.answers(0, HERE);
            let writable = answers.iter().all(|answer| answer.is_some_and(|(_, rights)| rights.write));
            assert!(writable, "{share:?}: {answers:x?}");
            case.finish();
        }
    }

    /// A system call's result buffer in a page shared by fork.
    fn a_kernel_store_splits_like_any_other<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            case.0.kernel_access(1, HERE, Access::Write, 77).unwrap();
            case.0.kernel_access(0, HERE + PAGE, Access::Write, 78).unwrap();
            case.finish();
        }
    }

    fn fork_of_fork_then_the_middle_one_exits<A>() {
        for first in DEPTHS {
            for second in DEPTHS {
                let case = Case::<A>::forked(first);
                case.0.fork(1, 2, second).unwrap();
                case.write(1, HERE);
                case.0.exit(1).unwrap();
                case.check();
                case.write(0, HERE);
                case.write(2, HERE + PAGE);
                case.finish();
            }
        }
    }

    /// A split deep in a tree that was shared at level 1 and whose middle owner has exited.
    fn split_below_level_1_after_the_middle_owner_exits<A>() {
        let case = Case::<A>::forked(Share::Level1);
        case.0.fork(1, 2, Share::Level1).unwrap();
        case.0.fork(2, 3, Share::Level3).unwrap();
        case.0.exit(2).unwrap();
        case.write(3, HERE + 2 * MIB);
        case.write(1, HERE);
        case.write(0, HERE);
        case.finish();
    }

    /// The parent breaks an upper table, the child exits untouched, the memory is used again.
    fn last_owner_of_an_upper_table_looks_at_its_childrens_counts<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            case.write(0, HERE);
            case.0.exit(1).unwrap();
            case.0.create(2).unwrap();
            case.0.reserve(2, range(HERE, SIZE), Permissions::ReadWrite, Inherit::Yes).unwrap();
            (0..4).for_each(|page| case.write(2, HERE + page % 2 * PAGE + page / 2 * 2 * MIB));
            case.finish();
        }
    }

    fn ten_thousand_forks_leave_every_count_as_it_was<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            for _ in 0..2_500 {
                case.0.fork(0, 1, share).unwrap();
                case.0.exit(1).unwrap();
            }
            case.write(0, HERE);
            case.finish();
        }
    }

    fn children_of_a_dirty_parent_see_their_own_time<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            for round in 0..3 {
                for child in 1..6 {
                    case.write(0, HERE + (round + child as u64) % 2 * PAGE);
                    case.0.fork(0, child, share).unwrap();
                    case.write(0, HERE);
                }
                case.check();
                for child in [3, 1, 5, 2, 4] {
                    case.write(child, HERE + PAGE);
                    case.0.exit(child).unwrap();
                }
            }
            case.finish();
        }
    }

    /// A second fork without a write in between finds everything read-only: there is nothing to invalidate.
    fn a_fork_that_changes_nothing_flushes_nothing<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            let before = case.0.machine.invalidations.get();
            case.0.fork(0, 2, share).unwrap();
            assert_eq!(case.0.machine.invalidations.get(), before, "{share:?}");
            case.finish();
        }
    }

    fn reading_after_fork_neither_faults_nor_splits<A>() {
        for share in DEPTHS {
            let case = Case::<A>::forked(share);
            let (allocations, tables) = (case.0.machine.allocations.get(), case.0.usage(1).tables);
            case.0.switch(1, 1).unwrap();
            for page in [0, PAGE, 2 * MIB] {
                let answers = case.0.machine.answers(1, HERE + page);
                assert!(answers.iter().all(|answer| answer.is_some_and(|(_, rights)| rights.read)), "{answers:x?}");
                case.read(1, HERE + page);
            }
            // Untouched memory in a shared table, too: a read shows the page of zeroes there without a split.
            assert_eq!(case.0.fault(1, HERE + 2 * MIB - PAGE, Access::Read), Ok((Action::ZeroPage, 0)));
            assert_eq!((case.0.machine.allocations.get(), case.0.usage(1).tables), (allocations, tables));
            case.finish();
        }
    }

    fn device_and_no_inherit_pages_never_reach_a_child<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            case.0.unmap(0, range(HERE + PAGE, PAGE)).unwrap();
            case.0.map_foreign(0, range(HERE + PAGE, PAGE), Permissions::ReadWrite, Foreign::Device).unwrap();
            case.0.unmap(0, range(HERE + 2 * MIB - PAGE, PAGE)).unwrap();
            case.0.reserve(0, range(HERE + 2 * MIB - PAGE, PAGE), Permissions::ReadWrite, Inherit::No).unwrap();
            case.write(0, HERE + 2 * MIB - PAGE);
            case.0.fork(0, 1, share).unwrap();
            for address in [HERE + PAGE, HERE + 2 * MIB - PAGE] {
                assert_eq!(case.0.fault(1, address, Access::Read), Err(Fault::Unmapped), "{share:?}");
            }
            // The neighbouring table has no such entry and is still shared.
            let copied = case.0.usage(1).tables;
            assert_eq!(copied, 5, "{share:?}");
            case.write(1, HERE);
            case.finish();
        }
    }

    /// One table with private, shared, device and not inherited pages side by side.
    fn a_table_with_everything_side_by_side<A>() {
        for share in DEPTHS {
            let case = Case::<A>::new();
            case.0.unmap(0, range(HERE + PAGE, 5 * PAGE)).unwrap();
            case.0.map_shared(0, range(HERE + PAGE, 2 * PAGE), Permissions::ReadWrite).unwrap();
            case.0.map_foreign(0, range(HERE + 3 * PAGE, PAGE), Permissions::ReadWrite, Foreign::Device).unwrap();
            case.0.reserve(0, range(HERE + 4 * PAGE, PAGE), Permissions::ReadWrite, Inherit::No).unwrap();
            case.0.access(0, 0, HERE + 4 * PAGE, Access::Write, 3).unwrap();
            case.0.fork(0, 1, share).unwrap();
            // Shared memory is written on both sides without a fault, and both see it.
            for (slot, value) in [(0, 5), (1, 7)] {
                case.0.switch(slot, slot).unwrap();
                let answers = case.0.machine.answers(slot, HERE + PAGE);
                assert!(answers.iter().all(|answer| answer.is_some_and(|(_, rights)| rights.write)), "{share:?}");
                case.0.access(slot, slot, HERE + PAGE, Access::Write, value).unwrap();
                case.0.access(1 - slot, 1 - slot, HERE + PAGE, Access::Read, 0).unwrap();
            }
            case.write(1, HERE);
            case.write(0, HERE);
            case.finish();
        }
    }
}
