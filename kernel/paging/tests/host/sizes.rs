//! Sizes that only a walk finds, compared with numbers worked out by hand.

use graft_paging::{AArch64, AddressSpace, Format, Place, Share, Sizes, X86_64};

use crate::memory::{GIB, Host, MEMORY, MIB, Notes, PAGE, range, space, write};

const WHOLE: u64 = 1 << Sizes::PART_BITS;

fn sizes<F: Format>(space: &AddressSpace<F, Host>) -> Sizes {
    let all = space.sizes(Place::START, usize::MAX);
    assert_eq!(all.next, None);
    all.sizes
}

fn case<F: Format>() {
    let (host, tlb) = (Host::new(64), Notes::default());
    // One page in each of two level-3 tables: two upper tables, two of level 3.
    let mut parent = space::<F>(&host, &[(GIB, PAGE), (GIB + 2 * MIB, PAGE)]);
    let alone = Sizes { private_pages: 2, private_tables: 4, parts: 6 * WHOLE, ..Sizes::default() };
    assert_eq!(sizes(&parent), alone);
    assert_eq!(alone.proportional_bytes(), 6 * PAGE);

    // Level-3 tables shared by two: half of each, and half of the pages behind them. The upper tables are their own.
    let mut child = parent.fork(&tlb, Share::Level3).unwrap();
    let shared = Sizes { shared_pages: 2, private_tables: 2, shared_tables: 2, parts: 4 * WHOLE, ..Sizes::default() };
    assert_eq!((sizes(&parent), sizes(&child)), (shared, shared));
    assert_eq!(shared.proportional_bytes(), 4 * PAGE);

    // One of them split, its page copied: that is the child's own, and the parent's is its own again.
    write(&mut child, GIB);
    let apart = Sizes { private_pages: 1, shared_pages: 1, private_tables: 3, shared_tables: 1, parts: 5 * WHOLE };
    assert_eq!((sizes(&parent), sizes(&child)), (apart, apart));

    // Reserved memory and the page of zeroes belong to no space.
    parent.reserve(&tlb, range(GIB + 4 * MIB, 4 * MIB), MEMORY).unwrap();
    assert_eq!(sizes(&parent), apart);

    // Step by step, as many descriptors as wanted at a time: 2 upper ones, 2 of level 3, 2 pages, 2 reservations, 8 in
    // all.
    for most in 1..=9 {
        let (mut sum, mut steps, mut from) = (Sizes::default(), 0, Some(Place::START));
        while let Some(place) = from {
            let part = parent.sizes(place, most);
            sum += part.sizes;
            from = part.next;
            steps += 1;
        }
        assert_eq!((sum, steps), (apart, 8_usize.div_ceil(most)), "{most} at a time");
    }
    child.destroy(&tlb);
    assert_eq!(sizes(&parent), alone);
    parent.destroy(&tlb);
}

#[test]
fn sizes_are_parts_of_what_is_shared_on_aarch64() {
    case::<AArch64>();
}

#[test]
fn sizes_are_parts_of_what_is_shared_on_x86_64() {
    case::<X86_64>();
}
