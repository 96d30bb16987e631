//! Accounting: sizes, flushes and obstacles to sharing after less ordinary sequences.

use graft_paging::{
    AArch64, Access, Action, AddressSpace, Error, Fault, Inherit, Permissions, Reach, Reservation, Share, Usage,
    VirtRange,
};

use crate::memory::{GIB, Host, MEMORY, MIB, Notes, PAGE, Told, at, range, space, write};

cases! {
    fn what_is_not_permitted_is_denied_touched_or_not<F>() {
        use Permissions::{None, Read, ReadExecute, ReadWrite};
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        for (number, permissions) in (0..).zip([None, Read, ReadWrite, ReadExecute]) {
            space.reserve(&tlb, range(number * PAGE, PAGE), Reservation { permissions, ..MEMORY }).unwrap();
            let accesses = [Access::Read, Access::Write, Access::Execute];
            let allowed = match permissions {
                None => [false; 3],
                Read => [true, false, false],
                ReadWrite => [true, true, false],
                ReadExecute => [true, false, true],
            };
            // Twice: the first access that is allowed changes a reservation into a page.
            for (access, allowed) in accesses.into_iter().zip(allowed).chain(accesses.into_iter().zip(allowed)) {
                let resolved = space.resolve(&tlb, at(number * PAGE), access).map(|_| ());
                assert_eq!(resolved, if allowed { Ok(()) } else { Err(Fault::Denied(permissions)) }, "{access:?}");
            }
        }
        assert_eq!(space.resolve(&tlb, at(4 * PAGE), Access::Read), Err(Fault::Unmapped));
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    fn a_page_of_zeroes_counts_as_reserved_until_it_is_written<F>() {
        for share in [Share::Pages, Share::Level3, Share::Level2, Share::Level1] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &[(GIB, 4 * PAGE)]);
            parent.resolve(&tlb, at(GIB + PAGE), Access::Read).unwrap();
            assert_eq!(parent.usage(), Usage { pages: 1, reserved: 3, tables: 4 });
            let mut child = parent.fork(&tlb, share).unwrap();
            for (space, pages) in [(&mut child, [1, 2]), (&mut parent, [1, 3])] {
                for (page, resident) in pages.into_iter().zip(2..) {
                    assert_eq!(write(space, GIB + page * PAGE).action, Action::DemandZero);
                    assert_eq!(space.usage(), Usage { pages: resident, reserved: 4 - resident, tables: 4 }, "{share:?}");
                }
            }
            child.destroy(&tlb);
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    /// A table is removed and then a page: one invalidation, the stronger of the two.
    fn one_invalidation_serves_tables_and_pages<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = space::<F>(&host, &[(GIB, 2 * MIB), (GIB + 2 * MIB, 2 * MIB)]);
        space.unmap(&tlb, range(GIB, 2 * MIB + PAGE)).unwrap();
        assert_eq!(tlb.take(), [Told::Invalidated(range(GIB, 2 * MIB + PAGE), Reach::Tables)]);
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// Below a mark that has been flushed no TLB can hold a writable entry, even for pages that are writable
    /// themselves.
    fn a_deeper_fork_after_a_shallow_one_flushes_nothing<F>() {
        let pairs =
            [(Share::Level3, Share::Pages), (Share::Level1, Share::Level2), (Share::Level1, Share::Pages)];
        for (first, second) in pairs {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &[(GIB, PAGE), (512 * GIB, PAGE)]);
            let one = parent.fork(&tlb, first).unwrap();
            assert_eq!(tlb.take(), [Told::Invalidated(VirtRange::ALL, Reach::Tables)]);
            let two = parent.fork(&tlb, second).unwrap();
            assert_eq!(tlb.take(), [], "{first:?}, then {second:?}");
            [one, two, parent].into_iter().for_each(|space| space.destroy(&tlb));
            assert_eq!(host.in_use(), 0);
        }
    }

    /// A space is dropped instead of destroyed: everything is flushed, and nothing leaks; a relative keeps what it
    /// shares.
    fn a_space_that_is_dropped_is_destroyed<F>() {
        for guaranteed in [false, true] {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = space::<F>(&host, &[(GIB, 2 * PAGE), (GIB + 2 * MIB, PAGE)]);
            let child = match guaranteed {
                true => parent.fork_guaranteed(&tlb, Share::Level3),
                false => parent.fork(&tlb, Share::Level3),
            };
            assert_eq!(host.forgotten(), 0);
            drop(child);
            assert_eq!((host.forgotten(), host.committed()), (1, 0));
            assert_eq!(write(&mut parent, GIB).action, Action::Reuse);
            drop(parent.snapshot(&tlb, Share::Level1));
            assert_eq!(host.forgotten(), 2);
            parent.destroy(&tlb);
            assert_eq!((host.forgotten(), host.in_use(), host.committed()), (2, 0, 0));
        }
    }

    /// Pages of one space, mapped in another, stay one and the same.
    fn pages_of_another_space_are_mapped_shared<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut object = space::<F>(&host, &[(0, PAGE), (PAGE, PAGE)]);
        // Read and never written: the space has no page of its own there yet.
        object.reserve(&tlb, range(2 * PAGE, PAGE), MEMORY).unwrap();
        object.resolve(&tlb, at(2 * PAGE), Access::Read).unwrap();
        let mut user = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        let before = host.in_use();
        let refused = user.map_pages_of(&tlb, range(GIB, 3 * PAGE), Permissions::ReadWrite, &object, at(0));
        assert_eq!((refused, host.in_use()), (Err(Error::NotMapped(at(2 * PAGE))), before));
        user.map_pages_of(&tlb, range(GIB, 2 * PAGE), Permissions::ReadWrite, &object, at(0)).unwrap();
        assert_eq!(user.usage().pages, 2);
        for page in [0, PAGE] {
            let frame = object.translate(at(page)).unwrap().page.frame;
            assert_eq!(write(&mut user, GIB + page).frame, frame);
        }
        // One space ends first, and the frames stay for the other.
        object.destroy(&tlb);
        assert_eq!(host.in_use(), 4 + 2);
        user.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// There are frames enough, but no more tables: a page is given out, and an operation that needs a table is refused
    /// and changes nothing.
    fn a_bound_on_tables_is_want_of_memory<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut parent = space::<F>(&host, &[(GIB, 2 * MIB)]);
        let child = parent.fork(&tlb, Share::Level3).unwrap();
        // The parent's four tables, and three of the child's.
        for tables in 7..=7 + 3 {
            host.limit_tables(tables);
            let before = (host.in_use(), parent.usage(), parent.translate(at(GIB)));
            let split = parent.resolve(&tlb, at(GIB), Access::Write);
            let path = parent.reserve(&tlb, range(512 * GIB, PAGE), MEMORY);
            let fork = parent.fork(&tlb, Share::Level2).map(|child| child.destroy(&tlb));
            match tables - 7 {
                0 => {
                    assert_eq!(split, Err(Fault::OutOfMemory));
                    assert_eq!((path, fork), (Err(Error::OutOfMemory), Err(Error::OutOfMemory)));
                    assert_eq!(before, (host.in_use(), parent.usage(), parent.translate(at(GIB))));
                }
                1 => {
                    assert_eq!(split.map(|split| split.table_splits), Ok(1));
                    assert_eq!((path, fork), (Err(Error::OutOfMemory), Err(Error::OutOfMemory)));
                    // A page whose tables exist needs none.
                    assert_eq!(write(&mut parent, GIB + PAGE).action, Action::DemandZero);
                }
                2 => assert_eq!((path, fork), (Err(Error::OutOfMemory), Err(Error::OutOfMemory))),
                _ => assert_eq!((path, fork), (Err(Error::OutOfMemory), Ok(()))),
            }
        }
        child.destroy(&tlb);
        parent.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// Memory that was only read has no content to give up: no descriptor changes, and nothing is invalidated.
    fn discarding_what_was_only_read_changes_nothing<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = space::<F>(&host, &[(GIB, 4 * PAGE)]);
        space.resolve(&tlb, at(GIB + PAGE), Access::Read).unwrap();
        tlb.take();
        space.discard(&tlb, range(GIB + PAGE, 3 * PAGE)).unwrap();
        assert_eq!(tlb.take(), [Told::Published]);
        assert!(space.translate(at(GIB + PAGE)).is_some());
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// A reservation of a whole table that is not inherited, taken apart page by page.
    fn a_table_of_obstacles_is_shared_when_all_are_gone<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut parent = AddressSpace::<F, Host>::new(host.clone()).unwrap();
        parent.reserve(&tlb, range(GIB, 2 * MIB), Reservation { inherit: Inherit::No, ..MEMORY }).unwrap();
        write(&mut parent, GIB + PAGE);
        parent.unmap(&tlb, range(GIB, PAGE)).unwrap();
        parent.reserve(&tlb, range(GIB, PAGE), MEMORY).unwrap();
        parent.unmap(&tlb, range(GIB + PAGE, 2 * MIB - 2 * PAGE)).unwrap();
        for copied in [4, 1] {
            let before = host.in_use();
            let child = parent.fork(&tlb, Share::Level1).unwrap();
            assert_eq!((host.in_use() - before, child.usage().reserved), (copied, 1));
            child.destroy(&tlb);
            parent.unmap(&tlb, range(GIB + 2 * MIB - PAGE, PAGE)).unwrap();
        }
        parent.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    /// Tables move as they are, untouched memory stays a descriptor, and a hole costs nothing.
    fn relocating_moves_tables_and_not_pages<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let mut space = space::<F>(&host, &[(GIB, 2 * MIB), (GIB + 64 * MIB, PAGE)]);
        space.reserve(&tlb, range(GIB + 4 * MIB, 2 * MIB), MEMORY).unwrap();
        let (frame, before) = (space.translate(at(GIB)).unwrap().page.frame, (host.in_use(), space.usage()));
        space.relocate(&tlb, range(GIB, 6 * MIB), range(GIB + 128 * MIB, 6 * MIB)).unwrap();
        assert_eq!((host.in_use(), space.usage()), before);
        assert_eq!(space.translate(at(GIB)), None);
        assert_eq!(space.translate(at(GIB + 128 * MIB)).unwrap().page.frame, frame);
        for (offset, mapped) in [(PAGE, true), (2 * MIB, false), (4 * MIB, true), (6 * MIB, false)] {
            let found = space.resolve(&tlb, at(GIB + 128 * MIB + offset), Access::Read);
            assert_eq!(found.is_ok(), mapped, "{offset:#x}");
        }
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }
}

#[test]
#[should_panic(expected = "in the same memory")]
fn a_snapshot_of_another_memory_is_no_way_back() {
    let [mut here, mut there] = [(); 2].map(|()| space::<AArch64>(&Host::new(64), &[(GIB, PAGE)]));
    let mut snapshot = there.snapshot(&Notes::default(), Share::Level3).unwrap();
    let _ = here.restore(&Notes::default(), &mut snapshot);
}

#[test]
#[should_panic(expected = "in its own memory only")]
fn pages_of_another_memory_are_not_mapped() {
    let [mut here, there] = [(); 2].map(|()| space::<AArch64>(&Host::new(64), &[(GIB, PAGE)]));
    let _ = here.map_pages_of(&Notes::default(), range(0, PAGE), Permissions::Read, &there, at(GIB));
}
