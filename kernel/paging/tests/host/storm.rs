//! Threads that run all operations concurrently, each in a space of its own, over tables and snapshots that they share.
//!
//! [`threads`](crate::threads) has the ordinary operations of a process; here are the others, with a guarantee or
//! without, with memory that stays shared, and with snapshots that all threads take from one shelf. `GRAFT_STORMS` says
//! how many of each kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use graft_paging::{
    AArch64, Access, AddressSpace, Error, Fault, Frame, Inherit, Kind, Permissions, Reservation, Share, Snapshot,
};

use crate::memory::{GIB, Host, MEMORY, MIB, MapAnything, Notes, PAGE, at, range};

type Space = AddressSpace<AArch64, Host>;

const DEPTHS: [Share; 4] = [Share::Pages, Share::Level3, Share::Level2, Share::Level1];
/// Pages that are written: neighbours, both ends of a table, another table, another gigabyte.
const PAGES: [u64; 8] = [0, PAGE, 2 * PAGE, 511 * PAGE, 2 * MIB, 2 * MIB + PAGE, GIB, GIB + PAGE];
/// Where pages of other kinds come and go, two at a time, beside the private ones and in a table of their own.
const MIXED: [u64; 4] = [16 * PAGE, 2 * MIB + 16 * PAGE, GIB + 16 * PAGE, 3 * GIB];
/// Where memory moves to and later back from.
const AWAY: u64 = 1 << 40;
/// The word of a page that is written.
const WORD: usize = 3;
/// Snapshots on the shelf.
const SHELF: usize = 3;

/// The parameters of a storm.
#[derive(Clone, Copy)]
struct Weather {
    guaranteed: bool,
    moving: bool,
    mixed: bool,
}

/// What a process should find: the word of each page, and whether it may be written.
#[derive(Clone, Default)]
struct Expected(BTreeMap<u64, (u64, bool)>);

struct Process {
    space: Space,
    expected: Expected,
}

/// A snapshot beside what it must bring back.
type Kept = (Snapshot<AArch64, Host>, Expected);

/// What all threads have in common.
#[derive(Clone)]
struct Common {
    host: Host,
    shelf: Arc<Mutex<Vec<Kept>>>,
    /// Pages to map shared; no thread reads their content.
    frames: Arc<[Frame]>,
    weather: Weather,
}

/// Tries again while another thread holds the committed frame.
fn change<R>(mut operation: impl FnMut() -> Result<R, Error>) -> Result<R, Error> {
    loop {
        match operation() {
            Err(Error::Contended) => thread::yield_now(),
            result => return result,
        }
    }
}

/// As [`change`], for faults.
fn resolve(space: &mut Space, address: u64, access: Access) -> Frame {
    loop {
        match space.resolve(&Notes::default(), at(address), access) {
            Err(Fault::Contended) => thread::yield_now(),
            result => return result.unwrap().frame,
        }
    }
}

/// Numbers that look random and are the same for the same seed (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

impl Process {
    fn write(&mut self, host: &Host, address: u64, value: u64) {
        let expected = self.expected.0.entry(address).or_insert((0, true));
        if expected.1 {
            expected.0 = value;
            host.write(resolve(&mut self.space, address, Access::Write), WORD, value);
        }
    }

    fn check(&mut self, host: &Host) {
        for (&address, &(value, _)) in &self.expected.0 {
            let frame = resolve(&mut self.space, address, Access::Read);
            assert_eq!(host.read(frame, WORD), value, "at {address:#x}");
        }
    }

    /// Goes on as the child, and ends the parent.
    fn become_child(&mut self, space: Space, expected: Expected) {
        std::mem::replace(self, Process { space, expected }).space.destroy(&Notes::default());
    }

    /// Runs one operation of all that a process has.
    fn act(&mut self, common: &Common, random: &mut Random, value: u64) {
        let (tlb, host, space) = (Notes::default(), &common.host, &mut self.space);
        let address = random.pick(&PAGES);
        let share = random.pick(&DEPTHS);
        let page = range(address, PAGE);
        match random.below(17) {
            0..=4 => self.write(host, address, value),
            5 | 6 => {
                // There may be no memory for it just now.
                let Ok(child) = change(|| space.fork(&tlb, share)) else { return };
                if random.below(2) == 0 { child.destroy(&tlb) } else { self.become_child(child, self.expected.clone()) }
            }
            7 => {
                change(|| space.unmap(&tlb, page)).unwrap();
                change(|| space.reserve(&tlb, page, MEMORY)).unwrap();
                self.expected.0.insert(address, (0, true));
            }
            8 => {
                change(|| space.discard(&tlb, page)).unwrap();
                self.expected.0.entry(address).or_insert((0, true)).0 = 0;
            }
            9 => {
                let (permissions, writable) =
                    random.pick(&[(Permissions::Read, false), (Permissions::ReadWrite, true)]);
                change(|| space.protect(&tlb, page, permissions)).unwrap();
                self.expected.0.entry(address).or_insert((0, true)).1 = writable;
            }
            10 if common.weather.moving => {
                let (from, bytes) = random.pick(&[
                    (0, 2 * MIB),
                    (0, PAGE),
                    (PAGE, 2 * MIB),
                    (2 * MIB, 2 * MIB),
                    (0, 4 * MIB),
                    (0, GIB),
                    (511 * PAGE, 2 * PAGE),
                ]);
                let to = AWAY + random.pick(&[0, PAGE, 2 * MIB, GIB]);
                change(|| space.relocate(&tlb, range(from, bytes), range(to, bytes))).unwrap();
                change(|| space.relocate(&tlb, range(to, bytes), range(from, bytes))).unwrap();
            }
            11 => {
                let Ok(snapshot) = change(|| space.snapshot(&tlb, share)) else { return };
                let mut shelf = common.shelf.lock().unwrap();
                shelf.push((snapshot, self.expected.clone()));
                let surplus = (shelf.len() > SHELF).then(|| shelf.swap_remove(random.below(SHELF)));
                drop(shelf);
                surplus.into_iter().for_each(|(snapshot, _)| snapshot.destroy());
            }
            12..=14 => {
                let mut shelf = common.shelf.lock().unwrap();
                if shelf.is_empty() {
                    return;
                }
                let number = random.below(shelf.len());
                let (snapshot, expected) = &mut shelf[number];
                let expected = expected.clone();
                if random.below(3) == 0 {
                    let child = change(|| snapshot.fork());
                    drop(shelf);
                    child.into_iter().for_each(|child| self.become_child(child, expected.clone()));
                } else if change(|| space.restore(&tlb, snapshot)).is_ok() {
                    self.expected = expected;
                }
            }
            15 if common.weather.mixed => self.mix(common, random),
            _ => self.check(host),
        }
    }

    /// Maps shared memory, or memory that children do not get, or unmaps it again.
    fn mix(&mut self, common: &Common, random: &mut Random) {
        let (tlb, space) = (Notes::default(), &mut self.space);
        let start = random.pick(&MIXED);
        let place = range(start, 2 * PAGE);
        if space.find_gap(at(start), 2 * PAGE) != Some(at(start)) {
            change(|| space.unmap(&tlb, place)).unwrap();
        } else if random.below(3) > 0 {
            let first = random.below(common.frames.len() - 1);
            let frame = |page| common.frames[first + page as usize];
            change(|| space.map_own_pages(&tlb, place, Permissions::ReadWrite, Kind::Shared, frame)).unwrap();
        } else {
            change(|| space.reserve(&tlb, place, Reservation { inherit: Inherit::No, ..MEMORY })).unwrap();
            resolve(space, start, Access::Write);
        }
    }
}

fn live(common: &Common, mut process: Process, seed: u64, rounds: u64) {
    let mut random = Random(seed);
    (0..rounds).for_each(|round| process.act(common, &mut random, seed << 32 | round));
    process.check(&common.host);
    process.space.destroy(&Notes::default());
}

fn storm(weather: Weather, seed: u64, rounds: u64) {
    let (host, tlb) = (Host::new(6000), Notes::default());
    let mut object = Space::new(host.clone()).unwrap();
    object.reserve(&tlb, range(0, 8 * PAGE), MEMORY).unwrap();
    let frames = (0..8).map(|page| resolve(&mut object, page * PAGE, Access::Write)).collect();
    let common = Common { host: host.clone(), shelf: Arc::default(), frames, weather };

    let mut first = Process { space: Space::new(host.clone()).unwrap(), expected: Expected::default() };
    for (start, bytes) in [(0, 4 * MIB), (GIB, 2 * MIB)] {
        first.space.reserve(&tlb, range(start, bytes), MEMORY).unwrap();
    }
    if weather.mixed {
        MIXED.iter().for_each(|&place| first.space.unmap(&tlb, range(place, 2 * PAGE)).unwrap());
    }
    PAGES.iter().for_each(|&page| first.write(&host, page, page + 1));
    let children = [Share::Level3, Share::Level1, Share::Level2].map(|share| {
        let child = match weather.guaranteed {
            true => first.space.fork_guaranteed(&tlb, share),
            false => first.space.fork(&tlb, share),
        };
        Process { space: child.unwrap(), expected: first.expected.clone() }
    });
    let threads: Vec<_> = children
        .into_iter()
        .zip(1..)
        .map(|(child, number)| {
            let common = common.clone();
            thread::spawn(move || live(&common, child, seed * 100 + number, rounds))
        })
        .collect();
    live(&common, first, seed * 100, rounds);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    common.shelf.lock().unwrap().drain(..).for_each(|(snapshot, _)| snapshot.destroy());
    object.destroy(&tlb);
    assert_eq!((host.in_use(), host.committed()), (0, 0), "frames leaked, or a charge is left");
}

fn storms(weather: Weather) {
    let number = std::env::var("GRAFT_STORMS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    // Miri is a thousand times slower than a processor.
    let (number, rounds) = if cfg!(miri) { (1, 30) } else { (number, 2000) };
    (1..=number).for_each(|seed| storm(weather, seed, rounds));
}

macro_rules! weathers {
    ($($name:ident: $guaranteed:literal, $moving:literal, $mixed:literal;)*) => { $(
        #[test]
        fn $name() {
            storms(Weather { guaranteed: $guaranteed, moving: $moving, mixed: $mixed });
        }
    )* };
}

weathers! {
    a_storm: false, false, false;
    a_storm_under_a_guarantee: true, false, false;
    a_storm_with_moves: false, true, false;
    a_storm_with_moves_under_a_guarantee: true, true, false;
    a_storm_over_mixed_memory: false, true, true;
    a_storm_over_mixed_memory_under_a_guarantee: true, true, true;
}
