//! What a child gets, and that a table which could not be shared can be shared again later.

use graft_paging::{
    AddressSpace, Error, Foreign, Frame, Inherit, Kind, Memory, Permissions, Purpose, Reach, Reservation, Share, Usage,
};

use crate::memory::{GIB, Host, MEMORY, MIB, MapAnything, Notes, PAGE, Told, at, range, space, write};

const OURS: Reservation = Reservation { permissions: Permissions::ReadWrite, inherit: Inherit::No };

cases! {
    /// The memory is neither reserved nor mapped in the child, and a table that would be empty is not made.
    fn memory_that_is_not_inherited_leaves_no_trace_in_a_child<F>() {
        for touched in [false, true] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &[(GIB, PAGE)]);
            parent.reserve(&tlb, range(GIB + 2 * MIB, 2 * PAGE), OURS).unwrap();
            parent.reserve(&tlb, range(512 * GIB, PAGE), OURS).unwrap();
            if touched {
                write(&mut parent, GIB + 2 * MIB);
                assert_eq!(parent.translate(at(GIB + 2 * MIB)).unwrap().page.kind, Kind::NoInherit);
            }
            assert_eq!(parent.usage().tables, 8);
            for share in [Share::Pages, Share::Level3, Share::Level2, Share::Level1] {
                let child = parent.fork(&tlb, share).unwrap();
                assert_eq!(child.usage(), Usage { pages: 1, reserved: 0, tables: 4 }, "{share:?}");
                assert_eq!(child.translate(at(GIB + 2 * MIB)), None);
                child.destroy(&tlb);
            }
            // The page never lost its write permission: no other space has it.
            assert!(!touched || parent.translate(at(GIB + 2 * MIB)).unwrap().writable_now);
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    /// Its content is gone, its owner is not.
    fn memory_that_is_not_inherited_stays_so_when_it_is_discarded<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut parent = space::<F>(&host, &[(GIB, PAGE)]);
        parent.reserve(&tlb, range(GIB + 2 * MIB, PAGE), OURS).unwrap();
        write(&mut parent, GIB + 2 * MIB);
        parent.discard(&tlb, range(GIB + 2 * MIB, PAGE)).unwrap();
        let child = parent.fork(&tlb, Share::Level1).unwrap();
        assert_eq!(child.usage(), Usage { pages: 1, reserved: 0, tables: 4 });
        child.destroy(&tlb);
        parent.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// Shared memory moves without losing its write permission, with any alignment of the two places.
    fn shared_memory_moves_as_writable_as_it_was<F>() {
        for (from, to) in [(GIB, 4 * GIB), (GIB, 4 * GIB + PAGE), (GIB, GIB + 8 * PAGE)] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut space = space::<F>(&host, &[(from + PAGE, PAGE)]);
            let frame = host.allocate(Purpose::Page).unwrap();
            space.map_own_pages(&tlb, range(from, PAGE), Permissions::ReadWrite, Kind::Shared, |_| frame).unwrap();
            let bytes = if to.is_multiple_of(2 * MIB) { 2 * MIB } else { 2 * PAGE };
            space.relocate(&tlb, range(from, bytes), range(to, bytes)).unwrap();
            let moved = space.translate(at(to)).unwrap();
            assert!(moved.writable_now && moved.page.frame == frame, "{to:#x}");
            assert_eq!(space.translate(at(from)), None);
            // Its private neighbour becomes writable with the next write, like any last owner's page.
            assert!(!space.translate(at(to + PAGE)).unwrap().writable_now);
            space.destroy(&tlb);
            assert_eq!(host.in_use(), 1);
        }
    }

    /// Beside a mapping that stays shared, a restore costs what has diverged: no table is made anew.
    fn a_restore_beside_shared_memory_allocates_nothing<F>() {
        for share in [Share::Pages, Share::Level3, Share::Level2, Share::Level1] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut space = space::<F>(&host, &[(GIB, PAGE), (GIB + 2 * PAGE, PAGE), (2 * GIB, PAGE)]);
            let frame = host.allocate(Purpose::Page).unwrap();
            let common = range(GIB + PAGE, PAGE);
            space.map_own_pages(&tlb, common, Permissions::ReadWrite, Kind::Shared, |_| frame).unwrap();
            let mut snapshot = space.snapshot(&tlb, share).unwrap();
            let before = host.in_use();
            let pages = |space: &AddressSpace<F, Host>| {
                [0, 2, 1].map(|page| space.translate(at(GIB + page * PAGE)).unwrap().page.frame)
            };
            let found = pages(&space);
            for _ in 0..3 {
                write(&mut space, GIB);
                write(&mut space, 2 * GIB);
                assert_ne!(pages(&space), found);
                let all: Vec<Frame> = std::iter::from_fn(|| host.allocate(Purpose::Page)).collect();
                space.restore(&tlb, &mut snapshot).unwrap();
                assert_eq!(pages(&space), found, "{share:?}");
                all.into_iter().for_each(|frame| host.give_back(frame));
                assert_eq!(host.in_use(), before, "{share:?}");
                assert!(space.translate(at(GIB + PAGE)).unwrap().writable_now);
            }
            // Without a table for it, one has to be made.
            space.unmap(&tlb, range(GIB, 2 * MIB)).unwrap();
            space.restore(&tlb, &mut snapshot).unwrap();
            assert_eq!((pages(&space), host.in_use()), (found, before));
            snapshot.destroy();
            space.destroy(&tlb);
            assert_eq!(host.in_use(), 1);
        }
    }

    /// An entry that keeps its table from being shared does not make a second fork invalidate anything.
    fn a_fork_around_an_obstacle_flushes_once<F>() {
        for share in [Share::Pages, Share::Level3, Share::Level2, Share::Level1] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &[(GIB, PAGE), (2 * GIB, PAGE)]);
            parent.reserve(&tlb, range(GIB + PAGE, PAGE), OURS).unwrap();
            write(&mut parent, GIB + PAGE);
            tlb.take();
            let first = parent.fork(&tlb, share).unwrap();
            assert_eq!(tlb.take(), [Told::Invalidated(graft_paging::VirtRange::ALL, Reach::Tables)], "{share:?}");
            let second = parent.fork(&tlb, share).unwrap();
            assert_eq!(tlb.take(), [], "{share:?}");
            // A child that forks without having written finds every mark in place above.
            let mut first = first;
            let third = first.fork(&tlb, Share::Pages).unwrap();
            assert_eq!(tlb.take(), [], "{share:?}");
            [first, second, third, parent].into_iter().for_each(|space| space.destroy(&tlb));
            assert_eq!(host.in_use(), 0);
        }
    }

    /// Pages are removed one by one: only the removal of the last makes the tables above shareable again.
    fn tables_are_shared_again_when_the_last_obstacle_goes<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut parent = space::<F>(&host, &[(GIB, PAGE)]);
        parent.reserve(&tlb, range(GIB + PAGE, 2 * PAGE), OURS).unwrap();
        write(&mut parent, GIB + PAGE);
        let registers = range(GIB + 4 * PAGE, PAGE);
        parent.map_no_frames(&tlb, registers, Frame(7), Permissions::ReadWrite, Foreign::Device).unwrap();
        for (page, copied) in [(1, 4), (2, 4), (4, 4), (5, 1)] {
            let before = host.in_use();
            let child = parent.fork(&tlb, Share::Level1).unwrap();
            assert_eq!(host.in_use() - before, copied, "before page {page} goes");
            child.destroy(&tlb);
            parent.unmap(&tlb, range(GIB + page * PAGE, PAGE)).unwrap();
        }
        parent.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// Memory that a child does not get is never made executable, reserved at any level or backed.
    fn memory_that_is_not_inherited_cannot_be_made_executable<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        space.reserve(&tlb, range(GIB, 4 * MIB), OURS).unwrap();
        write(&mut space, GIB + 2 * MIB);
        for (start, bytes, at_fault) in
            [(0, 4 * MIB, 0), (MIB, PAGE, 0), (2 * MIB, PAGE, 2 * MIB), (3 * MIB, PAGE, 3 * MIB)]
        {
            let refused = Error::Unsuitable(at(GIB + at_fault), Permissions::ReadExecute);
            let protected = space.protect(&tlb, range(GIB + start, bytes), Permissions::ReadExecute);
            assert_eq!(protected, Err(refused));
        }
        space.protect(&tlb, range(GIB, 4 * MIB), Permissions::Read).unwrap();
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    fn foreign_memory_cannot_be_made_writable<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        for (start, foreign) in [(0, Foreign::Normal), (MIB, Foreign::Device)] {
            space.map_no_frames(&tlb, range(start, PAGE), Frame(7), Permissions::ReadWrite, foreign).unwrap();
            let page = range(start, PAGE);
            space.protect(&tlb, page, Permissions::ReadWrite).unwrap();
            space.protect(&tlb, page, Permissions::Read).unwrap();
            space.protect(&tlb, page, Permissions::Read).unwrap();
            let refused = Error::Unsuitable(at(start), Permissions::ReadWrite);
            assert_eq!(space.protect(&tlb, page, Permissions::ReadWrite), Err(refused));
            assert_eq!(space.translate(at(start)).unwrap().page.permissions, Permissions::Read);
        }
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// A process with a read-only mapping cannot give itself more permissions, and no process executes memory that
    /// others can write.
    fn shared_memory_gains_no_permission<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut owner = space::<F>(&host, &[(GIB, PAGE)]);
        write(&mut owner, GIB);
        let frame = owner.translate(at(GIB)).unwrap().page.frame;
        let mut space = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        let page = range(0, PAGE);
        let refused = |permissions| Err(Error::Unsuitable(at(0), permissions));
        for mapped in [Permissions::Read, Permissions::ReadWrite] {
            space.map_own_pages(&tlb, page, mapped, Kind::Shared, |_| frame).unwrap();
            space.protect(&tlb, page, mapped).unwrap();
            assert_eq!(space.protect(&tlb, page, Permissions::ReadExecute), refused(Permissions::ReadExecute));
            assert_eq!(space.translate(at(0)).unwrap().page.permissions, mapped);
            space.protect(&tlb, page, Permissions::None).unwrap();
            space.protect(&tlb, page, Permissions::Read).unwrap();
            assert_eq!(space.protect(&tlb, page, Permissions::ReadWrite), refused(Permissions::ReadWrite));
            assert_eq!(space.translate(at(0)).unwrap().page.permissions, Permissions::Read);
            space.unmap(&tlb, page).unwrap();
        }
        space.destroy(&tlb);
        owner.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// The last owner of a table that still shares its pages: the mark comes off a table descriptor on the way.
    fn a_copy_below_a_mark_that_comes_off_reaches_the_walk_caches<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut parent = space::<F>(&host, &[(GIB, 2 * PAGE)]);
        write(&mut parent, GIB + PAGE);
        let mut child = parent.fork(&tlb, Share::Level3).unwrap();
        write(&mut parent, GIB);
        tlb.take();
        let resolved = child.resolve(&tlb, at(GIB + PAGE), graft_paging::Access::Write).unwrap();
        assert_eq!(resolved.table_splits, 0);
        assert!(tlb.take().contains(&Told::Invalidated(range(GIB + PAGE, PAGE), Reach::Tables)));
        child.destroy(&tlb);
        parent.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    fn what_is_mapped_already_is_not_mapped_again<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = space::<F>(&host, &[(GIB, PAGE)]);
        space.reserve(&tlb, range(GIB + 2 * MIB, 2 * MIB), MEMORY).unwrap();
        let before = (host.in_use(), space.usage());
        for (start, bytes, occupied) in [
            (GIB, PAGE, GIB),
            (0, 2 * GIB, GIB),
            (GIB + PAGE, 4 * MIB, GIB + 2 * MIB),
            (GIB + 3 * MIB, PAGE, GIB + 2 * MIB),
        ] {
            let error = space.reserve(&tlb, range(start, bytes), MEMORY);
            assert_eq!(error, Err(Error::Occupied(at(occupied))));
            let error = space.map_no_frames(&tlb, range(start, PAGE), Frame(7), Permissions::Read, Foreign::Normal);
            assert_eq!(error.is_err(), start != 0 && start != GIB + PAGE);
            let _ = space.unmap(&tlb, range(GIB + PAGE, PAGE));
            let _ = space.unmap(&tlb, range(0, PAGE));
            assert_eq!((host.in_use(), space.usage()), before);
        }
        assert_eq!(space.protect(&tlb, range(0, PAGE), Permissions::Read), Err(Error::NotMapped(at(0))));
        let hole = Err(Error::NotMapped(at(GIB + PAGE)));
        assert_eq!(space.protect(&tlb, range(GIB, 2 * PAGE), Permissions::Read), hole);
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }
}
