//! The commit charge: exact numbers, refusals in advance, and copies that find memory down to the last frame.

use std::sync::atomic::AtomicU32;

use graft_paging::{
    AArch64, AddressSpace, Error, Fault, Format, Frame, Inherit, Kind, Memory, OutOfMemory, Permissions, Purpose,
    Reservation, Share, TableCounts,
};

use crate::memory::{GIB, Host, MEMORY, MIB, MapAnything, Notes, PAGE, at, range, space, write};

/// Two level-3 tables side by side, two pages written in each: 4 pages and 5 tables with the root.
const RANGES: [(u64, u64); 2] = [(GIB, 2 * PAGE), (GIB + 2 * MIB, 2 * PAGE)];
/// Depths, and how many tables a fork copies at once.
const DEPTHS: [(Share, u64); 4] = [(Share::Pages, 5), (Share::Level3, 3), (Share::Level2, 2), (Share::Level1, 1)];

fn parent<F: Format>(host: &Host) -> AddressSpace<F, Host> {
    let mut space = space::<F>(host, &RANGES);
    for (start, _) in RANGES {
        write(&mut space, start + PAGE);
    }
    space
}

/// Makes every page of a space its own.
fn write_all<F: Format>(space: &mut AddressSpace<F, Host>) {
    for (start, _) in RANGES {
        write(space, start);
        write(space, start + PAGE);
    }
}

cases! {
    /// The charge is all that is shared, once for each sharer beyond the first.
    fn the_charge_is_what_it_takes_to_share_nothing<F>() {
        for (share, copied) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = parent::<F>(&host);
            let mut child = parent.fork_guaranteed(&tlb, share).unwrap();
            let shared = 4 + 5 - copied;
            assert_eq!(host.committed() as u64, shared, "{share:?}");
            // Further forks of parent and child are under the guarantee, with or without asking for it.
            let mut grandchild = child.fork(&tlb, share).unwrap();
            let sibling = parent.fork_guaranteed(&tlb, share).unwrap();
            assert_eq!(host.committed() as u64, 3 * shared, "{share:?}");
            let before = host.in_use();
            write_all(&mut child);
            assert_eq!(host.in_use() - before, shared as usize);
            assert_eq!(host.committed() as u64, 2 * shared);
            sibling.destroy(&tlb);
            assert_eq!(host.committed() as u64, shared);
            grandchild.unmap(&tlb, range(GIB, 2 * MIB)).unwrap();
            assert!((host.committed() as u64) < shared);
            parent.destroy(&tlb);
            assert_eq!(host.committed(), 0, "{share:?}");
            child.destroy(&tlb);
            grandchild.destroy(&tlb);
            assert_eq!((host.in_use(), host.committed()), (0, 0));
        }
    }

    /// No frame is left for anything else, and every relative still gets a copy of everything.
    fn every_copy_finds_memory_when_none_is_left<F>() {
        for (share, copied) in DEPTHS {
            let shared = 4 + 5 - copied;
            let frames = 4 + 5 + copied + shared;
            let (host, tlb) = (Host::new(frames as usize), Notes::default());
            let mut parent = parent::<F>(&host);
            let mut child = parent.fork_guaranteed(&tlb, share).unwrap();
            assert_eq!(host.allocate(Purpose::Page), None);
            assert_eq!(AddressSpace::<F, Host>::new(host.clone()).err(), Some(OutOfMemory));
            write_all(&mut parent);
            write_all(&mut child);
            assert_eq!((host.in_use(), host.committed()), (frames as usize, 0), "{share:?}");
            child.destroy(&tlb);
            parent.destroy(&tlb);
            assert_eq!((host.in_use(), host.committed()), (0, 0));
        }
    }

    /// Another core holds a committed frame while it copies: that is not reported as a shortage of memory, and a moment
    /// later the operation succeeds.
    fn a_paid_fork_waits_for_frames_and_does_not_want_memory<F>() {
        for (share, _) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = parent::<F>(&host);
            let child = parent.fork_guaranteed(&tlb, share).unwrap();
            let mut snapshot = parent.snapshot(&tlb, share).unwrap();
            let before = (host.in_use(), host.committed(), parent.usage());
            let held = 40;
            host.uncommit(held);
            assert_eq!(parent.fork(&tlb, share).err(), Some(Error::Contended), "{share:?}");
            assert_eq!(parent.fork_guaranteed(&tlb, share).err(), Some(Error::Contended));
            assert_eq!(parent.snapshot(&tlb, share).err(), Some(Error::Contended));
            assert_eq!(snapshot.fork().err(), Some(Error::Contended));
            host.commit(held).unwrap();
            assert_eq!((host.in_use(), host.committed(), parent.usage()), before);
            let sibling = parent.fork(&tlb, share).unwrap();
            [child, sibling, parent].into_iter().for_each(|space| space.destroy(&tlb));
            snapshot.destroy();
            assert_eq!((host.in_use(), host.committed()), (0, 0));
        }
    }

    /// With one frame less than the guarantee needs, the fork is refused, and nothing has changed.
    fn what_cannot_be_kept_is_not_promised<F>() {
        for (share, copied) in DEPTHS {
            let enough = 4 + 5 + copied + (4 + 5 - copied);
            for missing in 1..=enough - 9 {
                let (host, tlb) = (Host::new((enough - missing) as usize), Notes::default());
                let mut parent = parent::<F>(&host);
                assert_eq!(parent.fork_guaranteed(&tlb, share).err(), Some(Error::OutOfMemory), "{share:?}");
                assert_eq!((host.in_use(), host.committed()), (9, 0));
                // It is under no guarantee, so it may still fork without one; after that it can have none.
                if let Ok(child) = parent.fork(&tlb, share) {
                    assert_eq!(parent.fork_guaranteed(&tlb, share).err(), Some(Error::Unguaranteed));
                    child.destroy(&tlb);
                    assert_eq!(parent.fork_guaranteed(&tlb, share).err(), Some(Error::Unguaranteed));
                }
                parent.destroy(&tlb);
                assert_eq!((host.in_use(), host.committed()), (0, 0));
            }
        }
    }

    /// Memory that a child does not get, or has in common with the parent, is neither copied nor committed for.
    fn memory_that_no_write_copies_costs_no_charge<F>() {
        for (share, _) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = AddressSpace::<F, Host>::new(host.clone()).unwrap();
            let frames = [(); 2].map(|()| host.allocate(Purpose::Page).unwrap());
            let (both, frame) = (range(0, 2 * PAGE), |page| frames[page as usize]);
            parent.map_own_pages(&tlb, both, Permissions::ReadWrite, Kind::Shared, frame).unwrap();
            parent.reserve(&tlb, range(GIB, PAGE), Reservation { inherit: Inherit::No, ..MEMORY }).unwrap();
            write(&mut parent, GIB);
            parent.reserve(&tlb, range(2 * GIB, PAGE), MEMORY).unwrap();
            let child = parent.fork_guaranteed(&tlb, share).unwrap();
            // The table and the one above it, for the memory that was reserved.
            let tables = [0, 1, 2, 2][DEPTHS.iter().position(|(other, _)| *other == share).unwrap()];
            assert_eq!(host.committed(), tables, "{share:?}");
            child.destroy(&tlb);
            parent.destroy(&tlb);
            assert_eq!((host.in_use(), host.committed()), (2, 0));
        }
    }

    fn memory_of_others_is_not_covered<F>() {
        let (host, tlb) = (Host::new(64), Notes::default());
        let frame = host.allocate(Purpose::Page).unwrap();
        for kind in [Kind::Private, Kind::NoInherit] {
            // A space under a guarantee may not map such memory; a space that has mapped it cannot get a guarantee.
            let mut parent = parent::<F>(&host);
            let child = parent.fork_guaranteed(&tlb, Share::Level3).unwrap();
            let refused = parent.map_own_pages(&tlb, range(0, PAGE), Permissions::ReadWrite, kind, |_| frame);
            assert_eq!(refused, Err(Error::Unguaranteed));
            child.destroy(&tlb);
            parent.destroy(&tlb);
            let mut other = AddressSpace::<F, Host>::new(host.clone()).unwrap();
            other.map_own_pages(&tlb, range(0, PAGE), Permissions::ReadWrite, kind, |_| frame).unwrap();
            assert_eq!(other.fork_guaranteed(&tlb, Share::Level3).err(), Some(Error::Unguaranteed));
            other.destroy(&tlb);
        }
        // The refused mapping has changed nothing.
        let mut parent = parent::<F>(&host);
        let refused = parent.map_own_pages(&tlb, range(GIB, PAGE), Permissions::ReadWrite, Kind::Private, |_| frame);
        assert!(matches!(refused, Err(Error::Occupied(_))));
        parent.fork_guaranteed(&tlb, Share::Level3).unwrap().destroy(&tlb);
        parent.destroy(&tlb);
        assert_eq!((host.in_use(), host.committed()), (1, 0));
    }

    /// Fresh memory is no consequence of the fork.
    fn a_first_touch_is_not_covered<F>() {
        let (host, tlb) = (Host::new(9 + 3 + 6), Notes::default());
        let mut parent = parent::<F>(&host);
        parent.reserve(&tlb, range(GIB + 2 * PAGE, PAGE), MEMORY).unwrap();
        let mut child = parent.fork_guaranteed(&tlb, Share::Level3).unwrap();
        let (used, committed) = (host.in_use(), host.committed());
        let touch =
            |space: &mut AddressSpace<F, Host>| space.resolve(&tlb, at(GIB + 2 * PAGE), graft_paging::Access::Write);
        assert_eq!(touch(&mut child), Err(Fault::OutOfMemory));
        assert_eq!((host.in_use(), host.committed()), (used, committed));
        // After a read the page of zeroes is there, and a write to it is a first touch as well.
        child.resolve(&tlb, at(GIB + 2 * PAGE), graft_paging::Access::Read).unwrap();
        assert_eq!(touch(&mut child), Err(Fault::OutOfMemory));
        assert_eq!((host.in_use(), host.committed()), (used, committed));
        write_all(&mut child);
        child.destroy(&tlb);
        parent.destroy(&tlb);
        assert_eq!((host.in_use(), host.committed()), (0, 0));
    }

    /// Where both ends of a move lie below one shared table, that is split once.
    fn a_move_within_a_shared_table_needs_what_is_paid_for<F>() {
        for (share, _) in DEPTHS {
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = parent::<F>(&host);
            let child = parent.fork_guaranteed(&tlb, share).unwrap();
            parent.relocate(&tlb, range(GIB, PAGE), range(GIB + 8 * PAGE, PAGE)).unwrap();
            parent.relocate(&tlb, range(GIB + PAGE, PAGE), range(GIB + 4 * MIB, PAGE)).unwrap();
            child.destroy(&tlb);
            assert_eq!(host.committed(), 0, "{share:?}");
            parent.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    /// A snapshot is under the guarantee as a child is; a restore commits again for what it shares again.
    fn a_restore_pays_for_what_it_shares_again<F>() {
        for (share, copied) in DEPTHS {
            let shared = (4 + 5 - copied) as isize;
            let (host, tlb) = (Host::new(64), Notes::default());
            let mut parent = parent::<F>(&host);
            let child = parent.fork_guaranteed(&tlb, share).unwrap();
            child.destroy(&tlb);
            let mut snapshot = parent.snapshot(&tlb, share).unwrap();
            assert_eq!(host.committed(), shared);
            for _ in 0..3 {
                write_all(&mut parent);
                assert_eq!(host.committed(), 0, "{share:?}");
                parent.restore(&tlb, &mut snapshot).unwrap();
                assert_eq!(host.committed(), shared, "{share:?}");
            }
            write_all(&mut parent);
            // No frame is left to commit: the restore is refused, and the space goes on as it was.
            let all: Vec<Frame> = std::iter::from_fn(|| host.allocate(Purpose::Page)).collect();
            assert_eq!(parent.restore(&tlb, &mut snapshot), Err(Error::OutOfMemory));
            assert_eq!(host.committed(), 0);
            all.into_iter().for_each(|frame| host.give_back(frame));
            let other = snapshot.fork().unwrap();
            assert_eq!(host.committed(), shared);
            other.destroy(&tlb);
            parent.destroy(&tlb);
            snapshot.destroy();
            assert_eq!((host.in_use(), host.committed()), (0, 0));
        }
    }
}

/// A memory that does not offer commitments.
#[derive(Clone)]
struct Plain(Host);

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: the other's promise.
unsafe impl Memory for Plain {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        self.0.allocate(purpose)
    }

    forward_memory!(0);
}

#[test]
fn a_memory_without_commitments_promises_nothing() {
    let (host, tlb) = (Host::new(64), Notes::default());
    let plain = Plain(host.clone());
    let mut space = AddressSpace::<AArch64, Plain>::new(plain.clone()).unwrap();
    space.reserve(&tlb, range(GIB, PAGE), MEMORY).unwrap();
    assert_eq!(space.fork_guaranteed(&tlb, Share::Level3).err(), Some(Error::OutOfMemory));
    space.fork(&tlb, Share::Level3).unwrap().destroy(&tlb);
    let mut snapshot = space.snapshot(&tlb, Share::Level3).unwrap();
    space.resolve(&tlb, at(GIB), graft_paging::Access::Write).unwrap();
    assert_eq!(space.restore(&tlb, &mut snapshot), Ok(()));
    snapshot.destroy();
    space.destroy(&tlb);
    assert_eq!(plain.commit(1), Err(OutOfMemory));
    assert_eq!(plain.allocate_committed(Purpose::Page), None);
    let frame = plain.allocate(Purpose::Page).unwrap();
    #[expect(unsafe_code, reason = "what a test has allocated it may free")]
    // SAFETY: allocated above, mapped nowhere.
    unsafe {
        plain.free_committed(frame, Purpose::Page);
    }
    plain.uncommit(1);
    assert_eq!((host.in_use(), host.committed()), (0, 0));
}
