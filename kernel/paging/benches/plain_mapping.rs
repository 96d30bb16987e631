//! Plain mapping, without any sharing: this crate against `aarch64-paging`, which does nothing else.
//!
//! `cargo bench -p graft-paging`. Both map, write-protect and unmap the same 1 GiB, page by page, in turn, in one run.
//! The output is the time of each (the median of the rounds) and the ratio (the median of the ratios of the rounds,
//! which stays valid when the machine's speed drifts).

use std::hint::black_box;
use std::time::{Duration, Instant};

use aarch64_paging::descriptor::El1Attributes;
use aarch64_paging::linearmap::LinearMap;
use aarch64_paging::paging::{Constraints, El1And0, MemoryRegion, VaRange};
use graft_paging::{AArch64, AddressSpace, Foreign, Frame, Permissions, Reach, Tlb, VirtRange};

#[path = "../tests/host/memory.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod memory;

use memory::{GIB, Host};

const ROUNDS: usize = 15;
const START: u64 = GIB;
const STEPS: [&str; 3] = ["map", "write-protect", "unmap"];

fn main() {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((graft(), other()));
    }
    println!("1 GiB in pages of 4 KiB, a page   graft-paging   aarch64-paging   ratio");
    for (step, name) in STEPS.iter().enumerate() {
        let pages = (GIB / 4096) as f64;
        let nanoseconds = |time: Duration| time.as_secs_f64() * 1e9 / pages;
        let ours = median(rounds.iter().map(|(ours, _)| nanoseconds(ours[step])));
        let theirs = median(rounds.iter().map(|(_, theirs)| nanoseconds(theirs[step])));
        let ratio = median(rounds.iter().map(|(ours, theirs)| ours[step].as_secs_f64() / theirs[step].as_secs_f64()));
        println!("{name:<32} {ours:>10.2} ns {theirs:>13.2} ns {ratio:>7.2}");
    }
}

/// No processor walks these tables, with either crate.
struct NoTlb;

// SAFETY: no processor walks these tables, as said above.
unsafe impl Tlb for NoTlb {
    fn publish(&self) {}

    fn invalidate(&self, _range: VirtRange, _reach: Reach) {}
}

fn graft() -> [Duration; 3] {
    let host = Host::new(1024);
    let mut space = AddressSpace::<AArch64, Host>::new(host.clone()).expect("frames enough");
    let range = VirtRange::new(START, GIB).expect("a range of user addresses");
    let frame = Frame::containing(4 * GIB);
    let map = time(|| {
        // SAFETY: nothing reads or writes through these tables.
        let mapped = unsafe { space.map_frames(&NoTlb, range, frame, Permissions::ReadWrite, Foreign::Normal) };
        mapped.expect("the range is empty");
    });
    let protect = time(|| space.protect(&NoTlb, range, Permissions::Read).expect("all of it is mapped"));
    let unmap = time(|| space.unmap(&NoTlb, range).expect("nothing is shared"));
    space.destroy(&NoTlb);
    assert_eq!(host.in_use(), 0);
    [map, protect, unmap]
}

fn other() -> [Duration; 3] {
    let mut map = LinearMap::with_asid(1, 0, 0, El1And0, VaRange::Lower);
    let region = MemoryRegion::new(START as usize, (START + GIB) as usize);
    let attributes = El1Attributes::VALID
        | El1Attributes::ACCESSED
        | El1Attributes::NON_GLOBAL
        | El1Attributes::INNER_SHAREABLE
        | El1Attributes::USER
        | El1Attributes::UXN
        | El1Attributes::PXN;
    let pages = Constraints::NO_BLOCK_MAPPINGS;
    let mapped = time(|| map.map_range_with_constraints(&region, attributes, pages).expect("the range is empty"));
    let protect = time(|| {
        map.modify_range(&region, &|_, descriptor| {
            if !descriptor.is_table() {
                descriptor.modify_flags(El1Attributes::READ_ONLY, El1Attributes::empty())?;
            }
            Ok(())
        })
        .expect("all of it is mapped");
    });
    let unmap = time(|| {
        map.map_range_with_constraints(&region, El1Attributes::empty(), pages).expect("unmapping needs nothing");
    });
    black_box(&map);
    [mapped, protect, unmap]
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
