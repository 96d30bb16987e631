use super::*;

const ROOT: u64 = 0x10_0000;
const CHILD: [u64; 3] = [0x10_1000, 0x10_2000, 0x10_3000];
const OTHER: u64 = 0x10_4000;
const PAGE: u64 = 0x20_0000;
const NEXT_PAGE: u64 = 0x20_1000;
const TABLE: u64 = 0b11;
const MAP: u64 = 0b11 | 1 << 10 | 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const ASID: u16 = 7;

/// A tree of four tables and a page at address 0, in which a thread runs, after these events of threads 0 and 1.
fn after(events: &[(Thread, Event)]) -> Result<(), Violation> {
    let mut checker = Checker::default();
    let begin = [
        Event::Init(ROOT),
        Event::Init(CHILD[0]),
        Event::Init(CHILD[1]),
        Event::Init(CHILD[2]),
        Event::Init(OTHER),
        write(CHILD[2], PAGE | MAP),
        write(CHILD[1], CHILD[2] | TABLE),
        write(CHILD[0], CHILD[1] | TABLE),
        write(ROOT, CHILD[0] | TABLE),
        Event::Run { root: ROOT, asid: ASID },
    ];
    begin.into_iter().try_for_each(|event| checker.step(0, event)).expect("a sound beginning");
    events.iter().try_for_each(|(thread, event)| checker.step(*thread, *event))
}

fn alone(events: &[Event]) -> Result<(), Violation> {
    after(&events.iter().map(|event| (0, *event)).collect::<Vec<_>>())
}

fn write(address: u64, value: u64) -> Event {
    Event::Write { address, value }
}

const LEAF: Event = Event::Invalidate(Invalidation::Leaf(ASID, 0));
const WHOLE_PAGE: Event = Event::Invalidate(Invalidation::Page(ASID, 0));
const SPACE: Event = Event::Invalidate(Invalidation::Space(ASID));
use Event::{Free, Release, WaitForAll, WaitForStores};

#[test]
fn break_before_make_is_in_order() {
    for waiting in [WaitForStores, WaitForAll] {
        for told in [LEAF, WHOLE_PAGE, SPACE, Event::Invalidate(Invalidation::All)] {
            let events = [write(CHILD[2], 0), waiting, told, WaitForAll, Free(PAGE), write(CHILD[2], NEXT_PAGE | MAP)];
            assert_eq!(alone(&events), Ok(()));
        }
    }
}

#[test]
fn a_step_that_is_left_out_is_found() {
    let make = write(CHILD[2], NEXT_PAGE | MAP);
    let all = [write(CHILD[2], 0), WaitForStores, LEAF, WaitForAll];
    assert_eq!(alone(&[make]), Err(Violation::NoBreak { address: CHILD[2], old: PAGE | MAP, new: NEXT_PAGE | MAP }));
    for left_out in 1..all.len() {
        let mut events: Vec<Event> = all.to_vec();
        events.remove(left_out);
        events.push(make);
        assert_eq!(alone(&events), Err(Violation::MakeBeforeClean(CHILD[2])), "without {:?}", all[left_out]);
        *events.last_mut().unwrap() = Free(PAGE);
        assert_eq!(alone(&events), Err(Violation::FreedInUse { frame: PAGE, descriptor: CHILD[2] }));
    }
}

#[test]
fn a_wait_for_stores_does_not_complete_an_invalidation() {
    let events = [write(CHILD[2], 0), WaitForStores, LEAF, WaitForStores, write(CHILD[2], NEXT_PAGE | MAP)];
    assert_eq!(alone(&events), Err(Violation::MakeBeforeClean(CHILD[2])));
}

#[test]
fn another_address_or_space_or_thread_does_not_help() {
    let make = (0, write(CHILD[2], NEXT_PAGE | MAP));
    for told in [Invalidation::Leaf(ASID, 1), Invalidation::Page(ASID + 1, 0), Invalidation::Space(ASID + 1)] {
        let events = [(0, write(CHILD[2], 0)), (0, WaitForStores), (0, Event::Invalidate(told)), (0, WaitForAll), make];
        assert_eq!(after(&events), Err(Violation::MakeBeforeClean(CHILD[2])), "{told:?}");
    }
    let events = [(0, write(CHILD[2], 0)), (1, WaitForStores), (1, LEAF), (1, WaitForAll), make];
    assert_eq!(after(&events), Err(Violation::MakeBeforeClean(CHILD[2])));
}

/// Walk caches may hold a table for each of its pages.
#[test]
fn a_table_needs_more_than_an_invalidation_of_the_last_level_or_of_one_page() {
    let ways = [
        (Invalidation::Leaf(ASID, 0), false),
        (Invalidation::Page(ASID, 0), false),
        (Invalidation::Pages(ASID, 0, 511), false),
        (Invalidation::Pages(ASID, 0, 512), true),
        (Invalidation::Space(ASID), true),
    ];
    for (told, suffices) in ways {
        let events = [
            write(CHILD[1], 0),
            WaitForStores,
            Event::Invalidate(told),
            WaitForAll,
            write(CHILD[1], OTHER | TABLE),
            Free(CHILD[2]),
        ];
        let expected = if suffices { Ok(()) } else { Err(Violation::MakeBeforeClean(CHILD[1])) };
        assert_eq!(alone(&events), expected, "{told:?}");
    }
}

#[test]
fn permissions_change_without_a_break() {
    assert_eq!(alone(&[write(CHILD[2], PAGE | MAP | READ_ONLY), write(CHILD[2], PAGE | MAP)]), Ok(()));
    assert_eq!(alone(&[write(ROOT, CHILD[0] | TABLE | 1 << 62), write(ROOT, CHILD[0] | TABLE)]), Ok(()));
    // Another memory type is no permission.
    let device = PAGE | MAP | 1 << 2;
    assert!(matches!(alone(&[write(CHILD[2], device)]), Err(Violation::NoBreak { .. })));
}

#[test]
fn tables_and_pages_are_not_freed_while_something_leads_to_them() {
    assert_eq!(alone(&[Free(PAGE)]), Err(Violation::FreedInUse { frame: PAGE, descriptor: CHILD[2] }));
    assert_eq!(alone(&[Free(CHILD[1])]), Err(Violation::FreedInUse { frame: CHILD[1], descriptor: CHILD[0] }));
    assert_eq!(alone(&[Free(ROOT)]), Err(Violation::FreedRoot(ROOT)));
    assert_eq!(alone(&[Free(OTHER)]), Ok(()));
}

#[test]
fn no_table_is_a_page() {
    assert_eq!(alone(&[write(CHILD[2] + 8, CHILD[1] | MAP)]), Err(Violation::TwoUses(CHILD[1])));
    let tables = [Event::Init(PAGE), write(CHILD[1] + 8, PAGE | TABLE)];
    assert_eq!(alone(&tables), Err(Violation::TwoUses(PAGE)));
    assert_eq!(alone(&[Event::Init(PAGE), Event::Run { root: PAGE, asid: 9 }]), Err(Violation::TwoUses(PAGE)));
}

#[test]
fn a_table_below_an_unclean_descriptor_stays_as_it_is() {
    let events = [write(CHILD[1], 0), write(CHILD[2], 0)];
    assert_eq!(alone(&events), Err(Violation::ChangedWhileUnclean(CHILD[2])));
}

#[test]
fn a_space_ends_with_everything_of_it() {
    let end = [Release(ROOT), WaitForStores, SPACE, WaitForAll, Free(CHILD[2]), Free(PAGE), Free(ROOT)];
    assert_eq!(alone(&end), Ok(()));
    for left_out in 1..4 {
        let mut events = end.to_vec();
        events.remove(left_out);
        assert!(alone(&events).is_err(), "without {:?}", end[left_out]);
    }
}

#[test]
fn an_asid_has_one_root_until_everything_of_it_has_gone() {
    let run = |asid| Event::Run { root: OTHER, asid };
    assert_eq!(alone(&[run(ASID)]), Err(Violation::AsidReused(ASID)));
    assert_eq!(alone(&[run(ASID + 1)]), Ok(()));
    assert_eq!(alone(&[Release(ROOT), run(ASID)]), Err(Violation::AsidReused(ASID)));
    assert_eq!(alone(&[Release(ROOT), WaitForStores, SPACE, WaitForAll, run(ASID)]), Ok(()));
    assert_eq!(alone(&[Event::Run { root: ROOT, asid: ASID + 1 }]), Err(Violation::TwoAsids(ROOT)));
}

/// Both spaces may have cached what a shared table holds.
#[test]
fn a_shared_table_is_clean_when_it_is_for_every_space() {
    let share = [write(OTHER, CHILD[0] | TABLE), Event::Run { root: OTHER, asid: ASID + 1 }, write(CHILD[2], 0)];
    let own = [WaitForStores, LEAF, WaitForAll];
    let both = [WaitForStores, LEAF, Event::Invalidate(Invalidation::Leaf(ASID + 1, 0)), WaitForAll];
    let make = [write(CHILD[2], NEXT_PAGE | MAP)];
    assert_eq!(alone(&[&share[..], &own, &make].concat()), Err(Violation::MakeBeforeClean(CHILD[2])));
    assert_eq!(alone(&[&share[..], &both, &make].concat()), Ok(()));
}

#[test]
fn a_table_of_one_space_changes_under_its_lock() {
    let change = write(CHILD[2] + 8, NEXT_PAGE | MAP);
    assert_eq!(alone(&[Event::Lock(ROOT), change, Event::Unlock(ROOT)]), Ok(()));
    assert_eq!(alone(&[Event::Lock(ROOT), Event::Unlock(ROOT), change]), Err(Violation::NotLocked(CHILD[2] + 8)));
    assert_eq!(after(&[(1, Event::Lock(ROOT)), (0, change)]), Err(Violation::NotLocked(CHILD[2] + 8)));
}

/// A space that no thread runs in may still be in TLBs: it may come back, and its ASID waits.
#[test]
fn a_space_comes_back_and_another_thread_may_end_it() {
    let back = [Release(ROOT), Event::Run { root: ROOT, asid: ASID }];
    assert_eq!(
        alone(&[&back[..], &[WaitForStores, SPACE, WaitForAll, Free(ROOT)]].concat()),
        Err(Violation::FreedRoot(ROOT))
    );
    let end = |told| [(0, Release(ROOT)), (1, WaitForStores), (1, SPACE), (told, WaitForAll), (1, Free(ROOT))];
    assert_eq!(after(&end(1)), Ok(()));
    assert_eq!(after(&end(0)), Err(Violation::FreedRoot(ROOT)));
}

/// The kernel's half is everyone's: an invalidation of one space does not reach it.
#[test]
fn the_kernels_own_tables_are_watched() {
    const KERNEL: u64 = 0x9_0000;
    let leaf = KERNEL + 8;
    let block = 0x4000_0000 | MAP & !2;
    let begin = [Event::Init(KERNEL), write(leaf, block), Event::Kernel(KERNEL)];
    let page = (0x00ff_ff80_0000_0000 + (1 << 30)) / FRAME;
    let with = |events: &[Event]| alone(&[&begin[..], events].concat());
    assert_eq!(with(&[Event::Kernel(KERNEL), write(leaf + 8, block), Free(0x4000_0000)]), Ok(()));
    assert_eq!(with(&[Event::Kernel(ROOT)]), Err(Violation::OtherKernel(ROOT)));
    assert!(matches!(with(&[write(leaf, block + (1 << 30))]), Err(Violation::NoBreak { .. })));
    for (told, suffices) in [
        (SPACE, false),
        (Event::Invalidate(Invalidation::Page(ASID, page)), false),
        (Event::Invalidate(Invalidation::Pages(7, page, 1 << 18)), true),
        (Event::Invalidate(Invalidation::All), true),
    ] {
        let events = [write(leaf, 0), WaitForStores, told, WaitForAll, write(leaf, block + (1 << 30))];
        assert_eq!(with(&events).is_ok(), suffices, "{told:?}");
    }
}

#[test]
fn how_addresses_are_translated_stays_as_it_is() {
    let set = |register, value| Event::Set { register, value };
    use Register::{System, Translation};
    assert_eq!(alone(&[set(Translation, 5), set(System, 1), set(Translation, 5), set(System, 3)]), Ok(()));
    let other = [set(Translation, 5), set(Translation, 5 | 1 << 41)];
    assert_eq!(alone(&other), Err(Violation::Reconfigured(Translation)));
    assert_eq!(alone(&[set(System, 0)]), Err(Violation::Reconfigured(System)));
}

#[test]
fn a_trace_is_read_as_it_was_written() {
    let events = [
        Event::Init(ROOT),
        Event::Zero(ROOT),
        write(ROOT + 8, CHILD[0] | TABLE | 1 << 62),
        Free(ROOT),
        WaitForStores,
        WaitForAll,
        Event::Synchronise,
        Event::Invalidate(Invalidation::Leaf(ASID, 5)),
        Event::Invalidate(Invalidation::Page(0xa5c3, 0xfff_ffff_ffff)),
        Event::Invalidate(Invalidation::Pages(ASID, 5, 7)),
        SPACE,
        Event::Invalidate(Invalidation::All),
        Event::Run { root: ROOT, asid: ASID },
        Event::Kernel(OTHER),
        Event::Set { register: Register::Translation, value: 5 },
        Event::Set { register: Register::System, value: 1 },
        Release(ROOT),
        Event::Lock(ROOT),
        Event::Unlock(ROOT),
    ];
    for (number, event) in events.into_iter().enumerate() {
        let line = Vocabulary::El1.line(number, 3, event, "place").unwrap();
        assert_eq!(parse(&line), Ok((3, event, &*format!("place:{number}"))), "{line}");
    }
    for line in ["", "(barrier (id 1) (tid 0) dsb (kind nsh) (src \"a:1\"))", "(mem-free (id 1) (tid 0) (address 0x1)"]
    {
        assert_eq!(parse(line), Err(BadLine(line.into())));
    }
}
