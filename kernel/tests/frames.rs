//! The allocator of frames, asked directly: every frame is given out once, every count is exact, and what is committed
//! stays there for those who have committed it.

use graft_kernel::arch::memory::direct;
use graft_kernel::arch::{self, PhysRange};
use graft_kernel::memory::frames::{self, Use, blocks};
use graft_kernel::object::memory::MemoryObject;
use graft_paging::{Frame, PAGE_SIZE};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Frames of two ranges that neither begin nor end with a page. Frame 0 is never given out.
const RANGES: [PhysRange; 3] = [
    PhysRange { start: 0, end: 1_000 * PAGE_SIZE + 7 },
    PhysRange { start: 1_200 * PAGE_SIZE + 8, end: 1_300 * PAGE_SIZE - 8 },
    PhysRange { start: 1_400 * PAGE_SIZE + 8, end: 1_401 * PAGE_SIZE + 8 },
];
const TOTAL: u64 = 999 + 98;
/// A block that was asked for as the first thing.
static BLOCK: AtomicU64 = AtomicU64::new(0);
/// Blocks for devices, likewise, by the logarithm of their sizes; the first frame of each.
static DEVICE_BLOCKS: [(u32, AtomicU64); 3] = [(3, AtomicU64::new(0)), (7, AtomicU64::new(0)), (2, AtomicU64::new(0))];

/// The machine's memory, and the test's thread as its first core.
fn take() -> MutexGuard<'static, ()> {
    static START: Once = Once::new();
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    arch::adopt(0);
    START.call_once(|| {
        // Memory is not zero when it is found.
        for range in RANGES {
            // SAFETY: memory of the host's arena that nothing uses yet.
            unsafe { direct(range.start).write_bytes(0xA5, range.size() as usize) };
        }
        frames::initialise(&RANGES).expect("there is memory");
        let (free, objects) = (frames::figures().free, frames::figures().objects);
        settle();
        BLOCK.store(frames::allocate_block(PAGE_SIZE + 1).expect("there is room"), Ordering::Relaxed);
        assert_eq!((frames::figures().free, frames::figures().objects), (free - 2, objects + 2));
        for (order, first) in &DEVICE_BLOCKS {
            first.store(blocks::allocate(*order).expect("there is room").0, Ordering::Relaxed);
        }
        settle();
        thread::spawn(other_core);
        while OTHER.load(Ordering::Acquire) != KEEPS {
            thread::yield_now();
        }
    });
    guard
}

/// Gives everything back to the depot, and claims that exactly what is free can be committed.
fn settle() {
    frames::gather();
    let free = frames::figures().free - frames::committed();
    assert_eq!(frames::obtainable(), free);
    let committed = frames::committed();
    assert!(frames::commit(free), "{free} are free");
    assert!(!frames::commit(1), "and no more");
    assert_eq!(frames::committed(), committed + free);
    assert_eq!(frames::obtainable(), 0);
    frames::uncommit(free);
    assert_eq!(frames::committed(), committed);
}

fn all(used_for: Use) -> Vec<Frame> {
    std::iter::from_fn(|| frames::allocate(used_for)).collect()
}

fn give_back(held: Vec<Frame>, used_for: Use) {
    // SAFETY: nothing uses them.
    held.into_iter().for_each(|frame| unsafe { frames::free(frame, used_for) });
}

fn figures() -> (u64, u64, u64) {
    let figures = frames::figures();
    assert_eq!(figures.total, TOTAL);
    assert_eq!(figures.free + figures.tables + figures.pages + figures.objects, TOTAL);
    (figures.tables, figures.pages, figures.objects)
}

#[test]
fn every_frame_is_given_out_once_for_every_use() {
    let _machine = take();
    settle();
    let before = figures();
    let free = frames::figures().free;
    for used_for in [Use::Page, Use::Table, Use::Object, Use::Table, Use::Page] {
        let held = all(used_for);
        let numbers: BTreeSet<_> = held.iter().map(|frame| frame.0).collect();
        assert_eq!((numbers.len() as u64, held.len() as u64), (free, free));
        assert!(!numbers.contains(&0));
        assert!(numbers.iter().all(|number| (1..1_000).contains(number) || (1_201..1_299).contains(number)));
        let (tables, pages, objects) = before;
        assert_eq!(
            figures(),
            match used_for {
                Use::Table => (tables + free, pages, objects),
                Use::Page => (tables, pages + free, objects),
                Use::Object => (tables, pages, objects + free),
            }
        );
        assert_eq!(frames::obtainable(), 0);
        give_back(held, used_for);
        assert_eq!(figures(), before);
        settle();
    }
}

#[test]
fn the_page_of_zeroes_is_one() {
    let _machine = take();
    let page = frames::zero_page();
    assert!(page.is_multiple_of(PAGE_SIZE) && page > 0);
    // SAFETY: a page that nothing ever writes to.
    let bytes = unsafe { std::slice::from_raw_parts(direct(page), PAGE_SIZE as usize) };
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert!(all(Use::Page).into_iter().all(|frame| {
        // SAFETY: nothing uses it.
        unsafe { frames::free(frame, Use::Page) };
        frame.address() != page
    }));
}

#[test]
fn frames_for_one_use_go_over_to_another() {
    let _machine = take();
    settle();
    let free = frames::figures().free;
    let tables = all(Use::Table);
    assert!(frames::allocate(Use::Page).is_none() && frames::allocate_object().is_none());
    // A full magazine and a few more frames of the other pool: the depot gives both.
    give_back(tables, Use::Table);
    frames::gather();
    let pages = all(Use::Page);
    assert_eq!(pages.len() as u64, free);
    give_back(pages, Use::Page);
    frames::gather();
    // Half each, in turns.
    let halves: Vec<_> = (0..free).map(|turn| frames::allocate([Use::Table, Use::Page][turn as usize % 2])).collect();
    let got = halves.iter().flatten().count() as u64;
    // What a core keeps for the other use, two magazines, it does not mix.
    assert!(got >= free - 128, "{got} of {free}");
    for (turn, frame) in halves.into_iter().enumerate() {
        if let Some(frame) = frame {
            // SAFETY: nothing uses it.
            unsafe { frames::free(frame, [Use::Table, Use::Page][turn % 2]) };
        }
    }
    settle();
}

#[test]
fn what_is_committed_is_there_for_those_who_have_committed_it() {
    let _machine = take();
    settle();
    let before = figures();
    let free = frames::figures().free;
    assert!(!frames::commit(free + 1));
    assert!(frames::allocate_committed(Use::Page).is_none(), "nothing is committed");
    assert!(frames::commit(100));
    assert_eq!((frames::committed(), frames::obtainable()), (100, free - 100));
    let pages = all(Use::Page);
    assert_eq!(pages.len() as u64, free - 100);
    assert!(frames::allocate(Use::Table).is_none() && !frames::commit(1));
    let committed: Vec<_> =
        (0..101).map_while(|turn| frames::allocate_committed([Use::Table, Use::Page][turn % 2])).collect();
    assert_eq!((committed.len(), frames::committed()), (100, 0));
    assert_eq!(figures(), (before.0 + 50, before.1 + free - 50, before.2));
    let numbers: BTreeSet<_> = committed.iter().chain(&pages).map(|frame| frame.0).collect();
    assert_eq!(numbers.len() as u64, free);
    for (turn, frame) in committed.into_iter().enumerate() {
        // SAFETY: nothing uses it.
        unsafe { frames::free_committed(frame, [Use::Table, Use::Page][turn % 2]) };
        assert_eq!(frames::committed(), turn as u64 + 1);
    }
    assert!(frames::allocate(Use::Page).is_none(), "they are committed again");
    assert_eq!(figures(), (before.0, before.1 + free - 100, before.2));
    frames::uncommit(40);
    assert_eq!(frames::committed(), 60);
    assert_eq!(all(Use::Page).into_iter().map(|frame| give_back(vec![frame], Use::Page)).count(), 40);
    frames::uncommit(60);
    give_back(pages, Use::Page);
    assert_eq!(figures(), before);
    settle();
}

/// A relative may drop a shared frame before the core that copied it puts one back.
#[test]
fn for_a_moment_less_than_nothing_is_committed() {
    let _machine = take();
    settle();
    let free = frames::figures().free;
    frames::uncommit(3);
    assert_eq!((frames::committed(), frames::obtainable()), (0, free));
    assert!(frames::allocate_committed(Use::Page).is_none());
    assert!(frames::commit(3));
    assert_eq!(frames::committed(), 0);
    settle();
}

/// Blocks are there at the start: the heap gets nothing back.
#[test]
fn a_block_is_rounded_up_and_its_own() {
    let _machine = take();
    let block = BLOCK.load(Ordering::Relaxed);
    assert!(block.is_multiple_of(PAGE_SIZE) && block > 0);
    let held = all(Use::Page);
    assert!(held.iter().all(|frame| !(block..block + 2 * PAGE_SIZE).contains(&frame.address())));
    assert!(frames::allocate_block(1).is_none());
    give_back(held, Use::Page);
}

#[test]
fn a_block_for_a_device_stays_whole_until_no_other_frame_is_left() {
    let _machine = take();
    settle();
    for (order, first) in &DEVICE_BLOCKS[..2] {
        let (first, order) = (Frame(first.load(Ordering::Relaxed)), *order);
        let (before, free) = (figures(), frames::figures().free);
        // SAFETY: nothing uses it.
        unsafe { blocks::free(first, order) };
        assert_eq!(figures(), (before.0, before.1 - (1 << order), before.2));
        assert_eq!(blocks::allocate(order), Some(first), "it is there again");
        // SAFETY: as above.
        unsafe { blocks::free(first, order) };
        settle();
        // Frames of the block are the last to be given out.
        let held: Vec<_> = (0..free).map(|_| frames::allocate(Use::Page).expect("they are free")).collect();
        let is_inside = |frame: &Frame| (first.0..first.0 + (1 << order)).contains(&frame.0);
        assert!(!held.iter().any(is_inside), "before all others");
        let rest = all(Use::Page);
        assert_eq!(rest.iter().filter(|frame| is_inside(frame)).count(), 1 << order);
        assert_eq!(rest.len(), 1 << order);
        assert_eq!(blocks::allocate(order), None, "it has been broken up");
        give_back(held, Use::Page);
        give_back(rest, Use::Page);
        settle();
    }
}

#[test]
fn a_block_of_which_a_page_is_mapped_is_given_back_frame_by_frame() {
    let _machine = take();
    settle();
    let (order, first) = &DEVICE_BLOCKS[2];
    let (first, before) = (Frame(first.load(Ordering::Relaxed)), figures());
    let mapped = Frame(first.0 + 2);
    frames::references(mapped).fetch_add(1, Ordering::Relaxed);
    // SAFETY: nothing uses it but the mapping that the test stands for.
    unsafe { blocks::free(first, *order) };
    assert_eq!(figures(), (before.0, before.1 - 3, before.2), "the mapping keeps one");
    assert_eq!(frames::references(mapped).load(Ordering::Relaxed), 1);
    assert_eq!(blocks::allocate(*order), None, "it is not whole any more");
    give_back(vec![mapped], Use::Page);
    assert_eq!(figures(), (before.0, before.1 - 4, before.2));
    settle();
}

/// Another core keeps what it has freed, and brings it back when it is asked.
#[test]
fn the_last_frames_of_the_machine_can_be_had_by_any_core() {
    let _machine = take();
    settle();
    let free = frames::figures().free;
    OTHER.store(KEEP, Ordering::Release);
    while OTHER.load(Ordering::Acquire) != KEEPS {
        thread::yield_now();
    }
    let mut held = all(Use::Page);
    let kept = free - held.len() as u64;
    assert!((64..=128).contains(&kept), "{kept} frames are kept");
    OTHER.store(ANSWER, Ordering::Release);
    assert!(frames::gather(), "it brings them");
    held.extend(all(Use::Page));
    assert_eq!(held.len() as u64, free);
    assert!(!frames::gather(), "there are no more");
    let last = held.pop().into_iter().collect();
    give_back(last, Use::Page);
    // The core's own magazine counts: for a table it is of no use before.
    assert!(frames::allocate(Use::Table).is_none());
    assert!(frames::gather());
    let table: Vec<_> = frames::allocate(Use::Table).into_iter().collect();
    assert_eq!((table.len(), held.len() as u64), (1, free - 1));
    give_back(table, Use::Table);
    give_back(held, Use::Page);
    settle();
}

/// What the other core does: answers when it is asked, and on demand takes frames first and gives them back.
static OTHER: AtomicU32 = AtomicU32::new(ANSWER);
const ANSWER: u32 = 0;
const KEEP: u32 = 1;
const KEEPS: u32 = 2;

fn other_core() {
    arch::adopt(2);
    frames::answer_from_here();
    OTHER.store(KEEPS, Ordering::Release);
    loop {
        if OTHER.load(Ordering::Acquire) == KEEP {
            let held: Vec<_> = (0..150).map(|_| frames::allocate(Use::Page).expect("there is memory")).collect();
            give_back(held, Use::Page);
            // Nothing has been asked: this core keeps what it has.
            frames::bring_if_asked();
            OTHER.store(KEEPS, Ordering::Release);
        }
        frames::bring_if_asked();
        thread::yield_now();
    }
}

/// A thousand steps of every kind, against a list of what is held.
#[test]
fn a_mixture_of_everything_keeps_every_count() {
    let _machine = take();
    settle();
    let before = figures();
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut held: Vec<(Frame, Use)> = Vec::new();
    let mut committed = 0;
    for round in 0..40 {
        for _ in 0..100 {
            let used_for = [Use::Table, Use::Page, Use::Object][random(3) as usize];
            match random(6) {
                0 | 1 => held.extend(frames::allocate(used_for).map(|frame| (frame, used_for))),
                2 if !held.is_empty() => {
                    let (frame, used_for) = held.swap_remove(random(held.len() as u64) as usize);
                    // SAFETY: nothing uses it.
                    unsafe { frames::free(frame, used_for) };
                }
                3 if frames::commit(2) => committed += 2,
                4 if committed > 0 => {
                    committed -= 1;
                    held.extend(frames::allocate_committed(used_for).map(|frame| (frame, used_for)));
                }
                5 if !held.is_empty() && random(2) == 0 => {
                    let (frame, used_for) = held.swap_remove(random(held.len() as u64) as usize);
                    committed += 1;
                    // SAFETY: nothing uses it.
                    unsafe { frames::free_committed(frame, used_for) };
                }
                _ => {}
            }
            assert_eq!(frames::committed(), committed);
        }
        let count = |which| held.iter().filter(|(_, used_for)| *used_for == which).count() as u64;
        assert_eq!(
            figures(),
            (before.0 + count(Use::Table), before.1 + count(Use::Page), before.2 + count(Use::Object)),
            "round {round}"
        );
        let numbers: BTreeSet<_> = held.iter().map(|(frame, _)| frame.0).collect();
        assert_eq!(numbers.len(), held.len());
        settle();
    }
    frames::uncommit(committed);
    for (frame, used_for) in held {
        // SAFETY: nothing uses it.
        unsafe { frames::free(frame, used_for) };
    }
    assert_eq!(figures(), before);
    settle();
}

/// It needs its pages, the tables that lead to them, a root and its own record; it is refused before it takes one
/// frame.
#[test]
fn an_object_that_leaves_no_frame_for_its_tables_is_impossible() {
    let _guard = take();
    let free = frames::obtainable();
    let needs = |pages: u64| pages + pages.div_ceil(512) + 4;
    let most = (1..free).take_while(|&pages| needs(pages) <= free).last().expect("there is memory");
    assert!(most > 512, "more than one table");
    assert!(MemoryObject::is_possible(most * PAGE_SIZE));
    assert!(!MemoryObject::is_possible((most + 1) * PAGE_SIZE), "{} of {free} frames", needs(most + 1));
    assert!(!MemoryObject::is_possible(free * PAGE_SIZE));
}
