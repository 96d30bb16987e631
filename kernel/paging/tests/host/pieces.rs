//! What goes in pieces: how much a step does, and what a refusal and a step that is the last one leave behind.

use std::cell::Cell;

use graft_paging::{
    AddressSpace, Budget, Change, Error, Format, Frame, Inherit, Operation, Permissions, Progress, Promise,
    Reservation, Share,
};

use crate::memory::{GIB, Host, MEMORY, MIB, Notes, PAGE, at, range, space, write};

/// A step of a kernel's: less than the smallest piece of freeing there is.
const STEP: Budget = Budget(12_000);
/// A range that no kernel could walk page by page. Miri, which is a thousand times slower, gets a smaller one.
const VAST: u64 = if cfg!(miri) { 4 * GIB } else { 600 * GIB };
/// Pages of a process that is forked: they lie in two tables of level 3, under Miri in one.
const WRITTEN: u64 = if cfg!(miri) { 40 } else { 600 };
/// Most frames that such a step may free: a full table's pages, and four tables.
const FREED: usize = 516;

fn no_frame(_: u64) -> Frame {
    unreachable!("no pages are mapped")
}

fn step<F: Format>(
    space: &mut AddressSpace<F, Host>,
    tlb: &Notes,
    operation: &mut Operation<Host>,
) -> Result<Progress, Error> {
    #[expect(unsafe_code, reason = "no existing frames are mapped")]
    // SAFETY: nothing is mapped by the changes here.
    unsafe {
        space.step(tlb, operation, STEP, no_frame, |_, _| {})
    }
}

cases! {
    fn freeing_in_pieces_frees_a_table_at_a_time_and_everything_in_the_end<F>() {
        let (host, tlb) = (Host::new(6_000), Notes::default());
        let mut owner = space::<F>(&host, &[(GIB, 16 * MIB)]);
        for page in 0..16 * MIB / PAGE {
            write(&mut owner, GIB + page * PAGE);
        }
        let mut left = host.in_use();
        let mut debris = owner.dismantle(&tlb);
        assert_eq!(host.in_use(), left, "dismantling frees nothing");
        let mut steps = 0;
        loop {
            let progress = debris.clear(STEP);
            let freed = left - host.in_use();
            // The first goes down to the first table of pages.
            assert!((freed > 0 || steps == 0) && freed <= FREED, "a step frees {freed} frames");
            (left, steps) = (host.in_use(), steps + 1);
            if progress == Progress::Done {
                break;
            }
        }
        assert!(steps >= 8 && debris.is_empty());
        assert_eq!(host.in_use(), 0);
    }

    fn a_change_in_pieces_that_is_refused_at_its_end_has_changed_nothing<F>() {
        let (host, tlb) = (Host::new(2_000), Notes::default());
        // A page is missing before the last one.
        let mut owner = space::<F>(&host, &[(GIB, 4 * MIB - 2 * PAGE), (GIB + 4 * MIB - PAGE, PAGE)]);
        for page in 0..1_000 {
            write(&mut owner, GIB + page * PAGE);
        }
        let mut operation = Operation::new(host.clone(), range(GIB, 4 * MIB), Change::Protect(Permissions::Read));
        let mut steps = 1;
        let refusal = loop {
            match step(&mut owner, &tlb, &mut operation) {
                Ok(Progress::More) => steps += 1,
                Ok(Progress::Done) => panic!("a hole was protected"),
                Err(error) => break error,
            }
        };
        assert_eq!(refusal, Error::NotMapped(at(GIB + 4 * MIB - 2 * PAGE)));
        assert!(steps > 3, "{steps} steps");
        drop(operation);
        let first = owner.translate(at(GIB)).unwrap();
        assert!(first.page.permissions == Permissions::ReadWrite && first.writable_now);
        assert_eq!(host.committed(), 0);
        owner.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    fn a_change_in_pieces_reaches_all_and_leaves_nothing_committed<F>() {
        let (host, tlb) = (Host::new(4_000), Notes::default());
        let mut parent = space::<F>(&host, &[(GIB, 4 * MIB)]);
        for page in 0..1_024 {
            write(&mut parent, GIB + page * PAGE);
        }
        let child = parent.fork(&tlb, Share::Level1).unwrap();
        let mut operation = Operation::new(host.clone(), range(GIB, 4 * MIB), Change::Protect(Permissions::Read));
        let mut applied = GIB;
        while step(&mut parent, &tlb, &mut operation).unwrap() == Progress::More {
            assert!(operation.applied_to() >= applied);
            applied = operation.applied_to();
            let permissions = |address| parent.translate(at(address)).map(|found| found.page.permissions);
            if applied > GIB {
                assert_eq!(permissions(applied - PAGE), Some(Permissions::Read));
                assert_eq!(permissions(applied), Some(Permissions::ReadWrite));
            }
        }
        drop(operation);
        assert_eq!(child.translate(at(GIB)).unwrap().page.permissions, Permissions::ReadWrite);
        assert_eq!(parent.translate(at(GIB + 4 * MIB - PAGE)).unwrap().page.permissions, Permissions::Read);
        assert_eq!(host.committed(), 0);
        [parent, child].into_iter().for_each(|space| space.destroy(&tlb));
        assert_eq!(host.in_use(), 0);
    }

    fn the_cost_of_a_fork_includes_every_entry_that_is_copied<F>() {
        const LIMIT: u64 = 14_000;
        let (host, tlb) = (Host::new(4_000), Notes::default());
        let mut space = space::<F>(&host, &[]);
        let cost = |space: &AddressSpace<F, Host>| {
            [Share::Level3, Share::Level2, Share::Level1].map(|share| space.fork_cost(share, LIMIT))
        };
        let long = |costs: [u64; 3]| costs.map(|cost| cost >= LIMIT);
        // However large, a reservation is one entry.
        space.reserve(&tlb, range(64 * 512 * GIB, 64 * 512 * GIB), MEMORY).unwrap();
        assert_eq!(long(cost(&space)), [false; 3]);
        // One table of level 2, and its entries.
        space.reserve(&tlb, range(GIB, GIB - 2 * MIB), MEMORY).unwrap();
        assert_eq!(long(cost(&space)), [false; 3]);
        for gibibyte in 2..5 {
            space.reserve(&tlb, range(gibibyte * GIB, GIB - 2 * MIB), MEMORY).unwrap();
        }
        assert_eq!(long(cost(&space)), [true, false, false]);
        for terabyte in 1..5 {
            space.reserve(&tlb, range(terabyte * 512 * GIB, 511 * GIB), MEMORY).unwrap();
        }
        assert_eq!(long(cost(&space)), [true, true, false]);
        // Every table on the way to what a child does not get is copied.
        let reservation = Reservation { inherit: Inherit::No, ..MEMORY };
        for terabyte in 1..5 {
            space.reserve(&tlb, range(terabyte * 512 * GIB + 511 * GIB, PAGE), reservation).unwrap();
        }
        assert_eq!(long(cost(&space)), [true, true, true]);
        space.destroy(&tlb);
        assert_eq!(host.in_use(), 0);
    }

    fn a_change_is_made_at_once_if_it_is_little_and_otherwise_not_begun<F>() {
        let changes = [
            Change::Unmap,
            Change::Discard,
            Change::Protect(Permissions::Read),
            Change::Move(range(3 * GIB, 4 * MIB)),
        ];
        for change in changes {
            let (host, tlb) = (Host::new(4_000), Notes::default());
            let mut owner = space::<F>(&host, &[(GIB, 4 * MIB)]);
            for page in 0..1_024 {
                write(&mut owner, GIB + page * PAGE);
            }
            let (in_use, usage) = (host.in_use(), owner.usage());
            tlb.take();
            let told = Cell::new(false);
            let attempt = |owner: &mut AddressSpace<F, Host>, budget| {
                #[expect(unsafe_code, reason = "no existing frames are mapped")]
                // SAFETY: nothing is mapped by the changes here.
                unsafe {
                    owner.change_at_once(&tlb, range(GIB, 4 * MIB), change, budget, no_frame, |_, _| told.set(true))
                }
            };
            assert_eq!(attempt(&mut owner, Budget(1_000)), Ok(Progress::More), "{change:?}");
            assert_eq!((host.in_use(), host.committed(), owner.usage()), (in_use, 0, usage));
            assert!(tlb.take().is_empty() && !told.get(), "nothing has changed");
            assert_eq!(owner.translate(at(GIB)).unwrap().page.permissions, Permissions::ReadWrite);
            assert!(owner.translate(at(3 * GIB)).is_none());
            assert_eq!(attempt(&mut owner, Budget::UNLIMITED), Ok(Progress::Done), "{change:?}");
            assert!(told.get() || matches!(change, Change::Move(_)), "{change:?} has been announced");
            let now = owner.translate(at(GIB)).map(|found| found.page.permissions);
            assert_ne!(now, Some(Permissions::ReadWrite), "{change:?}");
            owner.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    fn a_move_of_a_vast_and_nearly_empty_range_in_pieces_comes_to_an_end<F>() {
        // The new place lies at other offsets in its tables than the old one, and the pages at the ends of what is
        // moved.
        let (bytes, places) = (VAST, [GIB + 6 * PAGE, 2_000 * GIB + 3 * MIB]);
        for edge in [0, 700 * MIB] {
            let (host, tlb) = (Host::new(2_000), Notes::default());
            let pages = [edge, bytes / 2, bytes - PAGE - edge];
            let mut owner = space::<F>(&host, &pages.map(|page| (places[0] + page, PAGE)));
            pages.iter().for_each(|page| {
                write(&mut owner, places[0] + page);
            });
            let usage = owner.usage();
            let change = Change::Move(range(places[1], bytes));
            let mut operation = Operation::new(host.clone(), range(places[0], bytes), change);
            let mut goes_on = |_: &u32| step(&mut owner, &tlb, &mut operation) == Ok(Progress::More);
            let steps = (0..100_000).take_while(|round| goes_on(round)).count();
            assert!(steps < 100_000, "it goes on for ever");
            drop(operation);
            assert!(pages.iter().all(|page| owner.translate(at(places[1] + page)).is_some()));
            assert_eq!((owner.usage().pages, owner.usage().reserved), (usage.pages, usage.reserved));
            assert_eq!(host.committed(), 0);
            owner.destroy(&tlb);
            assert_eq!(host.in_use(), 0);
        }
    }

    fn a_fork_in_pieces_is_what_a_fork_is_at_every_depth<F>() {
        for share in [Share::Pages, Share::Level3, Share::Level2, Share::Level1] {
            for promise in [Promise::BestEffort, Promise::Guaranteed] {
                let (host, tlb) = (Host::new(4_000), Notes::default());
                let mut parent = space::<F>(&host, &[(GIB, 4 * MIB), (700 * GIB, GIB)]);
                for page in 0..WRITTEN {
                    write(&mut parent, GIB + page * PAGE);
                }
                let mut forking = parent.begin_fork(share, promise).unwrap();
                while parent.fork_step(&tlb, &mut forking, Budget(1)).unwrap() == Progress::More {}
                let child = forking.finish();
                let usage = child.usage();
                assert_eq!(usage, parent.usage());
                let all = host_owed(&host, usage.pages + usage.tables, &parent.usage());
                let owed = if promise == Promise::Guaranteed { all } else { 0 };
                assert_eq!(host.committed() as u64, owed, "{share:?}, {promise:?}");
                child.destroy(&tlb);
                assert_eq!(host.committed(), 0);
                parent.destroy(&tlb);
                assert_eq!(host.in_use(), 0);
            }
        }
    }
}

/// The charge: frames of both spaces, each counted as if it shared nothing, less the frames in use.
fn host_owed(host: &Host, child: u64, parent: &graft_paging::Usage) -> u64 {
    child + parent.pages + parent.tables - host.in_use() as u64
}
