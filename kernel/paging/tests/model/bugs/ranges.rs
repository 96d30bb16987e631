//! Operations on a range that cuts what is shared.

use super::{Case, DEPTHS, HERE, PAGE, SIZE, range};
use crate::history::{GIB, MIB, Operation, run, universe};
use crate::world::World;

use graft_paging::{AArch64, Access, Action, Fault, Inherit, Permissions, Share, VirtAddr};

cases! {
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
                let resident = case.0.usage(1).pages;
                case.0.relocate(1, range(HERE, SIZE), range(to, SIZE)).unwrap();
                assert_eq!(case.0.usage(1).pages, resident);
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
        assert_eq!((case.0.usage(0).tables, case.0.usage(0).pages), (4, 1));
        case.0.fork(0, 1, Share::Level1).unwrap();
        case.0.unmap(0, range(0, 1024 * GIB)).unwrap();
        assert_eq!(case.0.usage(0), graft_paging::Usage { pages: 0, reserved: 0, tables: 1 });
        case.finish();
    }
}

/// Compared with the simplest possible search, on spaces with holes of many sizes.
#[test]
fn the_gap_found_is_the_lowest() {
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

#[test]
fn a_move_to_the_place_just_behind_makes_no_table_for_what_is_empty() {
    run::<AArch64>(&[
        (Operation::Create(2), 0),
        (Operation::ForkGuaranteed(2, 1, Share::Level3), 0),
        (Operation::Reserve(1, 0, 4096, Permissions::ReadWrite, Inherit::Yes), 0),
        (Operation::Relocate(1, 4096, 549755817984, 549755813888), 0),
    ])
    .unwrap();
}
