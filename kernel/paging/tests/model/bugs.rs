//! One test for each bug that other kernels shipped with this design or a similar one, by name.
//!
//! Each runs in both formats, at every depth of sharing where depth matters, and ends with an audit of every count and
//! with no frame left.

use std::rc::Rc;

use graft_paging::{AArch64, Access, Action, Fault, Foreign, Inherit, Permissions, Promise, Share, VirtRange, X86_64};

use crate::history::{GIB, KIB, MIB, Operation, run, universe};
use crate::mmu::Architecture;
use crate::world::World;
use crate::world::pieces::Piecewise;

pub const DEPTHS: [Share; 4] = [Share::Pages, Share::Level3, Share::Level2, Share::Level1];
pub const PAGE: u64 = 4 * KIB;
/// Where the tests map their memory: 4 MiB, two level-3 tables.
pub const HERE: u64 = GIB;
pub const SIZE: u64 = 4 * MIB;

pub struct Case<A: Architecture>(pub Rc<World<A>>);

impl<A: Architecture + 'static> Case<A> {
    /// Process 0 with [`SIZE`] bytes at [`HERE`], the first pages of both tables written.
    pub fn new() -> Self {
        Self::on(400, universe())
    }

    /// The same on a machine of so many frames, whose cores walk only these addresses.
    pub fn on(frames: usize, addresses: Vec<u64>) -> Self {
        let world = World::new(frames, addresses);
        world.create(0).unwrap();
        let case = Case(world);
        case.0.reserve(0, range(HERE, SIZE), Permissions::ReadWrite, Inherit::Yes).unwrap();
        for page in [0, PAGE, 2 * MIB, 2 * MIB + PAGE] {
            case.write(0, HERE + page);
        }
        case
    }

    /// As [`new`](Self::new), with the process forked into slot 1.
    fn forked(share: Share) -> Self {
        let case = Self::new();
        case.0.fork(0, 1, share).unwrap();
        case
    }

    pub fn write(&self, slot: usize, address: u64) {
        self.0.access(slot % 4, slot, address, Access::Write, 0x1000 + address + slot as u64).unwrap();
    }

    fn read(&self, slot: usize, address: u64) {
        self.0.access(slot % 4, slot, address, Access::Read, 0).unwrap();
    }

    /// Every process reads everything it has, on every core, and every count is right.
    fn check(&self) {
        self.read_everything(0..4);
        self.0.audit().unwrap();
    }

    /// Every process reads everything it has, on these cores.
    pub fn read_everything(&self, cores: std::ops::Range<usize>) {
        for slot in 0..crate::world::SPACES {
            for &address in &self.0.machine.universe.clone() {
                for core in cores.clone() {
                    self.0.access(core, slot, address, Access::Read, 0).unwrap();
                }
            }
        }
    }

    fn finish(self) {
        self.check();
        self.end();
    }

    /// Every process ends, and no frame leaks.
    pub fn end(self) {
        for slot in 0..crate::world::SPACES {
            self.0.exit(slot).unwrap();
        }
        self.0.close();
        self.0.machine.verdict().unwrap();
        assert_eq!(self.0.machine.frames_in_use(), 0, "frames leaked");
    }
}

pub fn range(start: u64, bytes: u64) -> VirtRange {
    VirtRange::new(start, bytes).unwrap()
}

/// A test of both formats.
macro_rules! cases {
    ($($(#[$doc:meta])* fn $name:ident<$format:ident>() $body:block)*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            fn case<$format: Architecture + 'static>() $body
            case::<AArch64>();
            case::<X86_64>();
        }
    )* };
}

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
            assert!(answers.iter().all(|answer| answer.is_some_and(|(_, rights)| rights.write)), "{share:?}: {answers:x?}");
            case.finish();
        }
    }

    fn unmap_inside_a_shared_table_leaves_the_others_pages<A>() {
        for share in DEPTHS {
            for (unmapping, bytes) in [(0, PAGE), (1, PAGE), (0, 2 * MIB), (1, 2 * MIB + PAGE), (1, SIZE)] {
                let case = Case::<A>::forked(share);
                case.0.unmap(unmapping, range(HERE, bytes)).unwrap();
                case.check();
                case.write(1 - unmapping, HERE);
                case.finish();
            }
        }
    }

    fn protect_inside_a_shared_table_then_write<A>() {
        for share in DEPTHS {
            for slot in [0, 1] {
                let case = Case::<A>::forked(share);
                case.0.protect(slot, range(HERE, 2 * PAGE), Permissions::Read).unwrap();
                case.write(1 - slot, HERE);
                case.0.access(2, slot, HERE, Access::Write, 5).unwrap();
                case.0.protect(slot, range(HERE, 2 * PAGE), Permissions::ReadWrite).unwrap();
                case.write(slot, HERE);
                case.write(slot, HERE + PAGE);
                case.finish();
            }
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

    fn discard_inside_a_shared_table_leaves_the_others_pages<A>() {
        for share in DEPTHS {
            for slot in [0, 1] {
                let case = Case::<A>::forked(share);
                case.0.discard(slot, range(HERE, 2 * MIB + PAGE)).unwrap();
                case.check();
                case.write(slot, HERE);
                case.write(1 - slot, HERE + PAGE);
                case.finish();
            }
        }
    }

    /// Whole tables move without a visit below them; relatives that share them keep them where they are.
    fn move_inside_a_shared_tree<A>() {
        for share in DEPTHS {
            for to in [0, HERE + 4 * MIB, HERE + 8 * MIB + PAGE, 512 * GIB] {
                let case = Case::<A>::forked(share);
                let resident = case.0.usage(1).resident;
                case.0.relocate(1, range(HERE, SIZE), range(to, SIZE)).unwrap();
                assert_eq!(case.0.usage(1).resident, resident);
                case.check();
                case.0.access(1, 1, to + PAGE, Access::Write, 9).unwrap();
                case.write(0, HERE);
                case.0.exit(0).unwrap();
                case.0.access(1, 1, to, Access::Write, 10).unwrap();
                case.finish();
            }
        }
    }

    fn an_aligned_move_allocates_no_level_3_table<A>() {
        let case = Case::<A>::new();
        let before = (case.0.usage(0).tables, case.0.machine.allocations.get());
        case.0.relocate(0, range(HERE, SIZE), range(HERE + 8 * MIB, SIZE)).unwrap();
        assert_eq!((case.0.usage(0).tables, case.0.machine.allocations.get()), before);
        assert_eq!(case.0.fault(0, HERE + 8 * MIB, Access::Write), Ok((Action::Reuse, 0)));
        case.finish();
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

    /// A range that ends exactly on a 2 MiB boundary: another kernel walked one entry too far.
    fn regions_that_end_on_a_table_boundary<A>() {
        for share in DEPTHS {
            let world = World::<A>::new(400, universe());
            world.create(0).unwrap();
            let case = Case(world);
            case.0.reserve(0, range(HERE, 2 * MIB), Permissions::ReadWrite, Inherit::Yes).unwrap();
            case.write(0, HERE + 2 * MIB - PAGE);
            case.0.fork(0, 1, share).unwrap();
            case.write(1, HERE + 2 * MIB - PAGE);
            assert_eq!(case.0.fault(1, HERE + 2 * MIB, Access::Write), Err(Fault::Unmapped));
            case.0.unmap(1, range(HERE, 2 * MIB)).unwrap();
            assert_eq!(case.0.usage(1).tables, 1);
            case.finish();
        }
    }

    /// 1 TiB is a few descriptors, and touching one page of it costs the tables of its path.
    fn a_reserved_terabyte_is_two_descriptors<A>() {
        let world = World::<A>::new(400, universe());
        world.create(0).unwrap();
        let case = Case(world);
        case.0.reserve(0, range(0, 1024 * GIB), Permissions::ReadWrite, Inherit::Yes).unwrap();
        assert_eq!(case.0.usage(0).tables, 1);
        case.write(0, HERE);
        assert_eq!((case.0.usage(0).tables, case.0.usage(0).resident), (4, 1));
        case.0.fork(0, 1, Share::Level1).unwrap();
        case.0.unmap(0, range(0, 1024 * GIB)).unwrap();
        assert_eq!(case.0.usage(0), graft_paging::Usage { resident: 0, reserved: 0, tables: 1 });
        case.finish();
    }
}

/// Compared with the simplest possible search, on spaces with holes of many sizes.
#[test]
fn the_gap_found_is_the_lowest() {
    use graft_paging::VirtAddr;
    let world = World::<AArch64>::new(400, universe());
    world.create(0).unwrap();
    let case = Case(world);
    let mut taken = Vec::new();
    for (start, bytes) in [(HERE, 2 * MIB), (HERE + 2 * MIB + PAGE, PAGE), (2 * GIB, GIB), (HERE - 3 * PAGE, PAGE)] {
        case.0.reserve(0, range(start, bytes), Permissions::ReadWrite, Inherit::Yes).unwrap();
        taken.push((start, start + bytes));
    }
    // A full level-3 table, present rather than reserved as a whole.
    (0..512).for_each(|page| case.0.kernel_access(0, HERE + page * PAGE, Access::Write, 2).unwrap());
    for from in [0, HERE - 4 * PAGE, HERE, HERE + PAGE, HERE + 2 * MIB, 2 * GIB, 3 * GIB] {
        for bytes in [PAGE, 2 * PAGE, 3 * PAGE, MIB, GIB, 512 * GIB] {
            let free = |gap: u64| taken.iter().all(|&(start, end)| gap + bytes <= start || gap >= end);
            let expected = std::iter::once(from)
                .chain(taken.iter().map(|&(_, end)| end))
                .filter(|&gap| gap >= from && free(gap))
                .min();
            let process = case.0.process(0).unwrap();
            let found = process.with(|space| space.find_gap(VirtAddr::new(from).unwrap(), bytes));
            assert_eq!(found.map(VirtAddr::get), expected, "from {from:#x}, {bytes:#x} bytes");
        }
    }
    let process = case.0.process(0).unwrap();
    assert_eq!(process.with(|space| space.find_gap(VirtAddr::new(HERE).unwrap(), 1 << 48)), None);
    case.finish();
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
fn a_move_to_the_place_just_behind_makes_no_table_for_what_is_empty() {
    use crate::history::{Operation, run};
    run::<graft_paging::AArch64>(&[
        (Operation::Create(2), 0),
        (Operation::ForkGuaranteed(2, 1, Share::Level3), 0),
        (Operation::Reserve(1, 0, 4096, Permissions::ReadWrite, Inherit::Yes), 0),
        (Operation::Relocate(1, 4096, 549755817984, 549755813888), 0),
    ])
    .unwrap();
}

#[test]
fn a_guaranteed_fork_that_is_given_up_leaves_nothing_promised_when_its_parent_ends_first() {
    use crate::history::{Operation, run};
    run::<graft_paging::AArch64>(&[
        (Operation::Create(0), 0),
        (Operation::FailAfter(1), 0),
        (Operation::Create(2), 0),
        (Operation::ForkGuaranteed(2, 4, Share::Level3), 0),
        (Operation::Reserve(2, 1075843072, 549755813888, Permissions::ReadWrite, Inherit::Yes), 0),
        (Operation::ForkInPieces(2, 4, Share::Level3, graft_paging::Promise::Guaranteed, 1), 20498267443340),
    ])
    .unwrap();
}
