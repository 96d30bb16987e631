//! What operations cost in frames, and what they invalidate: no less than is needed, and no more.

use graft_paging::{
    Access, Action, AddressSpace, Foreign, Frame, Inherit, Kind, Permissions, Reach, Reservation, Share, Usage,
    VirtRange,
};

use crate::memory::{GIB, Host, MEMORY, MIB, MapAnything, Notes, PAGE, Told, at, range, space, write};

/// Two level-3 tables of one level-2 table, and one in another level-1 table.
const RANGES: [(u64, u64); 3] = [(GIB, 2 * PAGE), (GIB + 2 * MIB, 2 * PAGE), (512 * GIB, 2 * PAGE)];
/// Tables of a space with these: a root, two of level 1, two of level 2, three of level 3.
const TABLES: usize = 8;
const DEPTHS: [(Share, usize); 4] =
    [(Share::Pages, TABLES), (Share::Level3, 5), (Share::Level2, 3), (Share::Level1, 1)];

fn all_told(range: VirtRange) -> Vec<Told> {
    vec![Told::Invalidated(range, Reach::Tables)]
}

cases! {
    fn fork_copies_the_tables_above_the_first_shared_ones<F>() {
        for (share, copied) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &RANGES);
            assert_eq!((host.in_use(), parent.usage().tables as usize), (TABLES + 3, TABLES));
            let mut child = parent.fork(&tlb, share).unwrap();
            assert_eq!(host.in_use(), TABLES + 3 + copied, "{share:?}");
            assert_eq!(child.usage(), parent.usage());
            assert_eq!(child.usage(), Usage { pages: 3, reserved: 3, tables: TABLES as u64 });
            assert_eq!(tlb.take(), all_told(VirtRange::ALL));
            // One path is split by a write, and one page copied.
            let split = write(&mut child, GIB);
            let depth = [0, 1, 2, 3][DEPTHS.iter().position(|(other, _)| *other == share).unwrap()];
            assert_eq!((split.action, split.table_splits), (Action::Copy, depth));
            assert_eq!(host.in_use(), TABLES + 3 + copied + 1 + depth as usize);
            child.destroy(&tlb);
            assert_eq!((tlb.take(), host.in_use()), (all_told(VirtRange::ALL), TABLES + 3));
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    /// A page that a child must not get costs the tables of its path; its neighbours are still shared.
    fn what_cannot_be_shared_copies_its_path_alone<F>() {
        for (share, copied) in [(Share::Pages, TABLES), (Share::Level3, 6), (Share::Level2, 5), (Share::Level1, 4)] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &RANGES);
            let reservation = Reservation { inherit: Inherit::No, ..MEMORY };
            parent.reserve(&tlb, range(GIB + 2 * PAGE, PAGE), reservation).unwrap();
            let before = host.in_use();
            let child = parent.fork(&tlb, share).unwrap();
            assert_eq!(host.in_use() - before, copied, "{share:?}");
            assert_eq!(child.usage().reserved + 1, parent.usage().reserved);
            child.destroy(&tlb);
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    /// Read-only foreign memory is shared like any other; writable, it stays writable on both sides.
    fn foreign_memory_is_neither_counted_nor_copied<F>() {
        let copied = [(Permissions::Read, 3), (Permissions::ReadExecute, 3), (Permissions::ReadWrite, 4)];
        for (permissions, copied) in copied {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = AddressSpace::<F, Host>::new(host.clone()).unwrap();
            parent.map_no_frames(&tlb, range(GIB, 3 * PAGE), Frame(7), permissions, Foreign::Normal).unwrap();
            assert_eq!(tlb.take().last(), Some(&Told::Published));
            assert_eq!(parent.usage(), Usage { pages: 0, reserved: 0, tables: 4 });
            let child = parent.fork(&tlb, Share::Level3).unwrap();
            assert_eq!(host.in_use(), 4 + copied, "{permissions:?}");
            for (page, frame) in [(0, Frame(7)), (1, Frame(8)), (2, Frame(9))] {
                let found = child.translate(at(GIB + page * PAGE)).unwrap();
                assert_eq!((found.page.frame, found.page.permissions), (frame, permissions));
                assert_eq!(found.writable_now, permissions == Permissions::ReadWrite);
                assert_eq!(found.page.kind, Kind::Foreign);
            }
            child.destroy(&tlb);
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    fn a_fork_that_takes_nothing_away_flushes_nothing<F>() {
        for (share, _) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &RANGES);
            let first = parent.fork(&tlb, share).unwrap();
            tlb.take();
            let second = parent.fork(&tlb, share).unwrap();
            assert_eq!(tlb.take(), [], "{share:?}");
            first.destroy(&tlb);
            second.destroy(&tlb);
            parent.destroy(&tlb);
        }
    }

    fn the_last_owner_reopens_with_one_invalidation_of_its_page<F>() {
        for (share, _) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &RANGES);
            parent.fork(&tlb, share).unwrap().destroy(&tlb);
            tlb.take();
            let found = parent.translate(at(GIB)).unwrap();
            assert!(!found.writable_now, "{share:?}");
            let resolved = parent.resolve(&tlb, at(GIB + 5), Access::Write).unwrap();
            assert_eq!((resolved.action, resolved.table_splits, resolved.frame), (Action::Reuse, 0, found.page.frame));
            assert_eq!(tlb.take(), all_told(range(GIB, PAGE)));
            assert!(parent.translate(at(GIB)).unwrap().writable_now);
            // Now there is nothing to do, and only a stale entry can cause a fault.
            assert_eq!(parent.resolve(&tlb, at(GIB), Access::Write).unwrap().action, Action::Nothing);
            assert_eq!(tlb.take(), []);
            assert_eq!(parent.fault(&tlb, at(GIB), Access::Write).unwrap().action, Action::Nothing);
            assert_eq!(tlb.take(), all_told(range(GIB, PAGE)));
            parent.destroy(&tlb);
        }
    }

    /// A split replaces one table descriptor: it invalidates the descriptor's whole range, walk caches included. A page
    /// copied in the space's own table: it invalidates that page, in the last level alone.
    fn a_split_invalidates_what_its_descriptor_covers<F>() {
        for (share, bytes) in [(Share::Level3, 2 * MIB), (Share::Level2, GIB), (Share::Level1, 512 * GIB)] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &[(0, 2 * PAGE)]);
            write(&mut parent, PAGE);
            let mut child = parent.fork(&tlb, share).unwrap();
            tlb.take();
            child.resolve(&tlb, at(0), Access::Write).unwrap();
            let told: Vec<_> = tlb.take().into_iter().filter(|told| *told != Told::Published).collect();
            assert_eq!(told, all_told(range(0, bytes)), "{share:?}");
            child.resolve(&tlb, at(PAGE), Access::Write).unwrap();
            let told: Vec<_> = tlb.take().into_iter().filter(|told| *told != Told::Published).collect();
            assert_eq!(told, [Told::Invalidated(range(PAGE, PAGE), Reach::Pages)]);
            child.destroy(&tlb);
            parent.destroy(&tlb);
        }
    }

    fn memory_that_appears_is_published_and_nothing_invalidated<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        space.reserve(&tlb, range(GIB, 4 * MIB), MEMORY).unwrap();
        assert_eq!((tlb.take(), host.in_use()), (vec![Told::Published], 3));
        let read = space.resolve(&tlb, at(GIB + PAGE), Access::Read).unwrap();
        assert_eq!((read.action, host.in_use()), (Action::ZeroPage, 4));
        assert_eq!(tlb.take().last(), Some(&Told::Published));
        let again = space.resolve(&tlb, at(GIB + 2 * PAGE), Access::Read).unwrap();
        assert_eq!((again.action, again.frame, host.in_use()), (Action::ZeroPage, read.frame, 4));
        assert_eq!(tlb.take(), [Told::Published]);
        let first = space.resolve(&tlb, at(GIB), Access::Write).unwrap();
        assert_eq!((first.action, host.in_use()), (Action::DemandZero, 5));
        assert!(tlb.take().iter().all(|told| *told == Told::Published));
        assert_eq!(space.usage(), Usage { pages: 1, reserved: 1023, tables: 4 });
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    fn unmapping_invalidates_pages_or_tables_as_they_go<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = space::<F>(&host, &[(GIB, 2 * MIB), (GIB + 2 * MIB, 2 * MIB)]);
        // A page with neighbours that stay; memory never touched; a whole table; the last table beside it, and every
        // table above.
        space.unmap(&tlb, range(GIB, PAGE)).unwrap();
        assert_eq!(tlb.take(), [Told::Invalidated(range(GIB, PAGE), Reach::Pages)]);
        space.unmap(&tlb, range(GIB + PAGE, PAGE)).unwrap();
        assert_eq!(tlb.take(), [Told::Published]);
        space.unmap(&tlb, range(8 * GIB, PAGE)).unwrap();
        assert_eq!(tlb.take(), [Told::Published]);
        space.unmap(&tlb, range(GIB, 2 * MIB)).unwrap();
        assert_eq!(tlb.take(), all_told(range(GIB, 2 * MIB)));
        assert_eq!(space.usage(), Usage { pages: 1, reserved: 511, tables: 4 });
        space.unmap(&tlb, range(GIB + 2 * MIB, 2 * MIB)).unwrap();
        // Walks for other addresses than the range's used the tables above: everything that they covered is
        // invalidated.
        assert_eq!(tlb.take(), all_told(range(0, 512 * GIB)));
        assert_eq!((space.usage(), host.in_use()), (Usage { pages: 0, reserved: 0, tables: 1 }, 1));
        space.destroy(&tlb);
    }

    /// A shared subtree that goes as a whole is dropped: no table is needed for it.
    fn unmapping_a_shared_subtree_copies_nothing<F>() {
        for (share, _) in &DEPTHS[1..] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &RANGES);
            let mut child = parent.fork(&tlb, *share).unwrap();
            let before = host.in_use();
            child.unmap(&tlb, range(0, 512 * GIB)).unwrap();
            assert!(host.in_use() <= before, "{share:?}");
            assert_eq!(child.usage(), Usage { pages: 1, reserved: 1, tables: 4 });
            child.destroy(&tlb);
            assert_eq!(parent.usage(), Usage { pages: 3, reserved: 3, tables: TABLES as u64 });
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    fn protecting_flushes_what_changed_and_only_that<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = space::<F>(&host, &[(GIB, 4 * PAGE)]);
        space.protect(&tlb, range(GIB, 4 * PAGE), Permissions::ReadWrite).unwrap();
        assert_eq!(tlb.take(), [Told::Published]);
        space.protect(&tlb, range(GIB + PAGE, PAGE), Permissions::Read).unwrap();
        assert_eq!(tlb.take(), [Told::Published]);
        space.protect(&tlb, range(GIB, PAGE), Permissions::Read).unwrap();
        assert_eq!(tlb.take(), [Told::Invalidated(range(GIB, PAGE), Reach::Pages)]);
        assert!(!space.translate(at(GIB)).unwrap().writable_now);
        assert_eq!(space.translate(at(GIB + PAGE)), None);
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// A reservation of a level costs one descriptor; a part of it that changes costs the tables of its path.
    fn reservations_stand_at_every_level<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        space.reserve(&tlb, range(0, 1024 * GIB), MEMORY).unwrap();
        assert_eq!((space.usage().tables, space.usage().reserved), (1, 1 << 28));
        space.protect(&tlb, range(GIB, PAGE), Permissions::Read).unwrap();
        assert_eq!((space.usage().tables, space.usage().reserved), (4, 1 << 28));
        space.unmap(&tlb, range(GIB, GIB)).unwrap();
        assert_eq!((space.usage().tables, space.usage().reserved), (2, (1 << 28) - (1 << 18)));
        space.unmap(&tlb, range(0, 1024 * GIB)).unwrap();
        assert_eq!((space.usage().tables, space.usage().reserved), (1, 0));
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }
}
