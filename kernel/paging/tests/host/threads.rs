//! Threads that fork, write, unmap and exit at once, each in its own space, over tables they share; only the counts
//! synchronise them.

use std::collections::BTreeMap;
use std::thread;

use graft_paging::{AArch64, Access, AddressSpace, Format, Share, X86_64};

use crate::memory::{Host, MEMORY, MIB, Notes, PAGE, at, range, space};

const THREADS: u64 = 4;
/// Pages that the threads use: some neighbours, and some in another table.
const PAGES: [u64; 5] = [0, PAGE, 2 * PAGE, 2 * MIB, 2 * MIB + PAGE];

/// Fewer rounds under Miri, which is a thousand times slower than a processor.
fn rounds() -> u64 {
    if cfg!(miri) { 50 } else { 400 }
}

/// A space, and what its pages must hold.
struct Process<F: Format> {
    space: AddressSpace<F, Host>,
    expected: BTreeMap<u64, u64>,
}

impl<F: Format> Process<F> {
    fn write(&mut self, host: &Host, address: u64, value: u64) {
        let resolved = self.space.resolve(&Notes::default(), at(address), Access::Write).unwrap();
        host.write(resolved.frame, 3, value);
        self.expected.insert(address, value);
    }

    fn check(&mut self, host: &Host) {
        for (&address, &value) in &self.expected {
            let resolved = self.space.resolve(&Notes::default(), at(address), Access::Read).unwrap();
            assert_eq!(host.read(resolved.frame, 3), value, "at {address:#x}");
        }
    }

    fn fork(&mut self, share: Share) -> Self {
        let space = self.space.fork(&Notes::default(), share).unwrap();
        Process { space, expected: self.expected.clone() }
    }

    fn exit(self) {
        self.space.destroy(&Notes::default());
    }
}

/// All that one thread does; different seeds give different orders.
fn live<F: Format>(host: &Host, mut process: Process<F>, seed: u64) {
    let mut random = seed;
    let mut next = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound
    };
    for round in 0..rounds() {
        let address = PAGES[next(PAGES.len())];
        match next(8) {
            0..=3 => process.write(host, address, seed << 32 | round),
            4 => {
                let share = [Share::Pages, Share::Level3, Share::Level2, Share::Level1][next(4)];
                let child = process.fork(share);
                if next(2) == 0 { child.exit() } else { std::mem::replace(&mut process, child).exit() }
            }
            5 => {
                process.space.unmap(&Notes::default(), range(address, PAGE)).unwrap();
                process.space.reserve(&Notes::default(), range(address, PAGE), MEMORY).unwrap();
                process.expected.insert(address, 0);
            }
            _ => process.check(host),
        }
    }
    process.check(host);
    process.exit();
}

fn case<F: Format>() {
    let host = Host::new(256);
    let space = space::<F>(&host, &[(0, 3 * PAGE), (2 * MIB, 2 * PAGE)]);
    let mut first = Process { space, expected: BTreeMap::new() };
    PAGES.iter().for_each(|&page| first.write(&host, page, page + 1));
    let children: Vec<_> =
        (0..THREADS).map(|number| first.fork([Share::Level3, Share::Level1][number as usize % 2])).collect();
    let threads: Vec<_> = children
        .into_iter()
        .zip(1..)
        .map(|(child, seed)| {
            thread::spawn({
                let host = host.clone();
                move || live(&host, child, seed)
            })
        })
        .collect();
    live(&host, first, 99);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(host.in_use(), 0, "frames leaked");
}

#[test]
fn threads_over_shared_tables_on_aarch64_descriptors() {
    case::<AArch64>();
}

#[test]
fn threads_over_shared_tables_on_x86_64_descriptors() {
    case::<X86_64>();
}
