//! Looking at a tree: in the order of addresses, resumable, down to a level of choice.

use std::ops::ControlFlow;

use graft_paging::{AArch64, AddressSpace, Entry, Format, Level, Place, Search, Share, Visit, X86_64};

use crate::memory::{GIB, Host, MEMORY, MIB, Notes, PAGE, at, range, space};

fn level(number: u8) -> Level {
    Level::new(number).unwrap()
}

fn tour<F: Format>(space: &AddressSpace<F, Host>, from: Place, end: u64, deepest: Level) -> Vec<Visit<F>> {
    let mut seen = Vec::new();
    let _: ControlFlow<()> = space.visit(from, end, deepest, |visit| {
        seen.push(visit);
        ControlFlow::Continue(())
    });
    seen
}

fn places<F: Format>(visits: &[Visit<F>]) -> Vec<(u64, usize)> {
    visits.iter().map(|visit| (visit.address.get(), visit.level.number())).collect()
}

fn case<F: Format>() {
    let (host, tlb) = (Host::new(64), Notes::default());
    let mut parent = space::<F>(&host, &[(0, 2 * PAGE), (2 * MIB, PAGE), (512 * GIB, PAGE)]);
    parent.reserve(&tlb, range(GIB, GIB), MEMORY).unwrap();
    let all = tour(&parent, Place::START, 1 << 48, Level::LAST);
    let top = 512 * GIB;
    let expected = [
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (PAGE, 3),
        (2 * MIB, 2),
        (2 * MIB, 3),
        (GIB, 1),
        (top, 0),
        (top, 1),
        (top, 2),
        (top, 3),
    ];
    assert_eq!(places(&all), expected);

    // What is said of each: the counts of what hangs below, and who refers to it.
    assert_eq!((all[0].tables_below, all[0].pages_below), (3, 2));
    assert_eq!((all[2].tables_below, all[2].pages_below), (0, 1));
    assert!(all.iter().all(|visit| visit.references == u32::from(!matches!(visit.entry, Entry::Reserved(_)))));
    assert!(all.iter().all(|visit| visit.writable_now != matches!(visit.entry, Entry::Reserved(_))));
    assert_eq!(all[0].table, parent.root());
    assert!(all.iter().all(|visit| visit.descriptor.entry(visit.level) == visit.entry));

    // From anywhere on, and no further than asked.
    for (skipped, &(address, number)) in expected.iter().enumerate() {
        let rest = tour(&parent, Place { address, level: level(number as u8) }, 1 << 48, Level::LAST);
        assert_eq!(places(&rest), expected[skipped..]);
    }
    assert_eq!(
        places(&tour(&parent, Place { address: PAGE + 1, level: Level::ROOT }, 1 << 48, Level::LAST)),
        expected[5..]
    );
    assert_eq!(places(&tour(&parent, Place::START, PAGE, Level::LAST)), expected[..4]);
    assert_eq!(places(&tour(&parent, Place::START, PAGE + 1, Level::LAST)), expected[..5]);
    assert_eq!(places(&tour(&parent, Place::START, 1 << 48, Level::ROOT)), [(0, 0), (top, 0)]);
    assert_eq!(
        places(&tour(&parent, Place { address: 0, level: level(1) }, 1 << 48, level(1))),
        [(0, 1), (GIB, 1), (top, 0), (top, 1)]
    );
    let stopped = parent.visit(Place::START, 1 << 48, Level::LAST, |visit| {
        if visit.level == Level::LAST { ControlFlow::Break(visit.address) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped, ControlFlow::Break(at(0)));

    // Where sharing starts nothing below is writable, whatever it says itself.
    let child = parent.fork(&tlb, Share::Level2).unwrap();
    for visit in tour(&child, Place::START, 1 << 48, Level::LAST) {
        assert_eq!(visit.writable_now, visit.level == Level::ROOT, "{visit:x?}");
        let shared = matches!(visit.entry, Entry::Table(_)) && visit.level == level(1);
        assert_eq!(visit.references, if shared { 2 } else { u32::from(!matches!(visit.entry, Entry::Reserved(_))) });
    }
    child.destroy(&tlb);
    parent.destroy(&tlb);
    assert_eq!(host.in_use(), 0);
}

#[test]
fn a_tour_shows_every_descriptor_in_order() {
    case::<AArch64>();
    case::<X86_64>();
}

#[test]
fn a_gap_is_found_beside_and_between() {
    let (host, tlb) = (Host::new(64), Notes::default());
    let mut space = AddressSpace::<AArch64, Host>::new(host.clone()).unwrap();
    let gap = |space: &AddressSpace<AArch64, Host>, from: u64, bytes: u64| {
        space.find_gap(at(from), bytes).map(|address| address.get())
    };
    assert_eq!(gap(&space, 0, 1 << 48), Some(0));
    assert_eq!(gap(&space, PAGE, (1 << 48) - PAGE), Some(PAGE));
    assert_eq!(gap(&space, PAGE, 1 << 48), None);
    space.reserve(&tlb, range((1 << 48) - PAGE, PAGE), MEMORY).unwrap();
    assert_eq!(gap(&space, 0, (1 << 48) - PAGE), Some(0));
    assert_eq!(gap(&space, 0, 1 << 48), None);
    assert_eq!(gap(&space, (1 << 48) - PAGE, PAGE), None);
    // A level-2 table without an empty entry, and a hole below one of them.
    space.reserve(&tlb, range(4 * GIB, GIB), MEMORY).unwrap();
    space.unmap(&tlb, range(4 * GIB + 6 * PAGE, PAGE)).unwrap();
    assert_eq!(gap(&space, 4 * GIB, PAGE), Some(4 * GIB + 6 * PAGE));
    assert_eq!(gap(&space, 4 * GIB, 2 * PAGE), Some(5 * GIB));
    space.reserve(&tlb, range(GIB, PAGE), MEMORY).unwrap();
    assert_eq!(gap(&space, GIB - PAGE, PAGE), Some(GIB - PAGE));
    assert_eq!(gap(&space, GIB - PAGE, 2 * PAGE), Some(GIB + PAGE));
    space.destroy(&tlb);
}

/// Two pages in each of so many level-3 tables, as far from each other as they can be.
fn sparse(host: &Host, tables: u64) -> AddressSpace<AArch64, Host> {
    let (tlb, mut space) = (Notes::default(), AddressSpace::new(host.clone()).unwrap());
    for table in 0..tables {
        for offset in [0, 2 * MIB - PAGE] {
            space.reserve(&tlb, range(GIB + 2 * MIB * table + offset, PAGE), MEMORY).unwrap();
        }
    }
    space
}

#[test]
fn a_search_for_a_gap_in_pieces_finds_the_one_that_a_search_at_once_finds() {
    let (host, tlb) = (Host::new(64), Notes::default());
    let space = sparse(&host, 20);
    for (bytes, pieces) in [(PAGE, 1), (511 * PAGE, 10), (GIB, 10)] {
        let (mut from, mut searches) = (at(GIB), 1);
        let found = loop {
            match space.search_gap(from, bytes, 1_000) {
                Search::Later(next) => {
                    assert!(next > from, "a piece makes progress");
                    (from, searches) = (next, searches + 1);
                }
                Search::Found(start) => break Some(start),
                Search::Nowhere => break None,
            }
        };
        assert_eq!(found, space.find_gap(at(GIB), bytes));
        assert!(searches >= pieces, "{searches} pieces for {bytes} bytes");
    }
    assert_eq!(space.search_gap(at(GIB), 1 << 48, u32::MAX), Search::Nowhere);
    space.destroy(&tlb);
}

#[test]
fn a_tour_looks_at_no_more_descriptors_than_it_may_and_goes_on_from_there() {
    let (host, tlb) = (Host::new(64), Notes::default());
    let space = sparse(&host, 20);
    let (mut from, mut seen, mut parts) = (Place::START, Vec::new(), 1);
    while let ControlFlow::Break(next) = space.visit_some(from, 1 << 48, Level::LAST, 600, |visit| {
        seen.push(visit);
        ControlFlow::Continue(())
    }) {
        assert!(next > from, "a part makes progress");
        (from, parts) = (next, parts + 1);
    }
    assert_eq!(seen, tour(&space, Place::START, 1 << 48, Level::LAST));
    assert!(parts > 17, "{parts} parts");
    assert!(space.sizes(Place::START, usize::MAX).next.is_some(), "sizes are added up in parts, too");
    space.destroy(&tlb);
}
