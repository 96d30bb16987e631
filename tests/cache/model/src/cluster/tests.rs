//! What a cluster misses, access by access.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Tables of three levels (39 bits) at 0x10000: pages 0 to 3 of the lower half lead to 0x80000 and on, and the
/// block behind them to 0x200000.
struct Tables {
    descriptors: BTreeMap<u64, u64>,
    read: RefCell<Vec<u64>>,
}

const REGIME: Regime = Regime { lower: 0x10000, upper: 0, control: 25 };

impl Tables {
    fn new() -> Tables {
        let pages = (0..4).map(|page| (0x12000 + 8 * page, (0x80000 + 0x1000 * page) | (1 << 11) | 3));
        let upper = [(0x10000, 0x11003), (0x11000, 0x12003), (0x11008, 0x20_0000 | (1 << 11) | 1)];
        Tables { descriptors: pages.chain(upper).collect(), read: RefCell::default() }
    }
}

impl Memory for Tables {
    fn descriptor(&self, address: u64) -> u64 {
        self.read.borrow_mut().push(address);
        self.descriptors.get(&address).copied().unwrap_or(0)
    }
}

fn load(cluster: &mut Cluster, tables: &Tables, address: u64) {
    let physical = if address < 0x20_0000 { 0x80000 + address } else { address };
    cluster.access(0, Access::Load, address, physical, &REGIME, tables);
}

#[test]
fn a_line_is_missed_once_and_hit_after() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    for address in [0, 8, 63, 64, 0] {
        load(&mut cluster, &tables, address);
    }
    let Counts { l1d, l2d, tlb, l2w, .. } = cluster.counts();
    // Three tables were read, a line of each.
    assert_eq!((l1d, l2d, tlb, l2w), (2, 2, 1, 3));
    assert_eq!(cluster.unwalked(), 0);
    cluster.empty();
    load(&mut cluster, &tables, 0);
    assert_eq!(cluster.counts(), Counts { l1d: 1, l2d: 1, tlb: 1, l2w: 3, ..Counts::default() });
}

#[test]
fn what_two_ways_cannot_hold_comes_from_l2_again() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    // Lines of one set of L1D lie 16 KiB apart; all are in the block of 2 MiB.
    for _ in 0..2 {
        (0..3).for_each(|way| load(&mut cluster, &tables, 0x20_0000 + way * 0x4000));
    }
    let Counts { l1d, l2d, tlb, .. } = cluster.counts();
    assert_eq!((l1d, l2d, tlb), (6, 3, 1));
}

#[test]
fn a_line_that_leaves_l2_leaves_the_data_caches() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    let mut lines = |addresses: &[u64]| {
        let before = cluster.counts();
        addresses.iter().for_each(|address| load(&mut cluster, &tables, *address));
        let counts = cluster.counts() - before;
        (counts.l1d, counts.l2d)
    };
    // Lines of one set of L2 lie 64 KiB apart and share a set of L1D. The first stays in L1D, as it is used again
    // and again, but in L2 sixteen others are newer.
    let mut addresses = vec![0x20_0000];
    for way in 1..=16 {
        addresses.extend([0x20_0000 + way * 0x1_0000, 0x20_0000]);
    }
    assert_eq!(lines(&addresses), (18, 18), "the first one was missed again when it had left L2");
}

#[test]
fn walks_begin_at_the_lowest_table_that_is_known() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    load(&mut cluster, &tables, 0);
    load(&mut cluster, &tables, 0x1000);
    assert_eq!(tables.read.take(), [0x10000, 0x11000, 0x12000, 0x12008]);
    load(&mut cluster, &tables, 0x20_0000);
    assert_eq!(tables.read.take(), [0x11008]);
    assert_eq!(cluster.counts().tlb, 3);
}

#[test]
fn fetches_lose_a_translation_that_made_room_for_one_of_data() {
    // Pages of one set of the TLB lie 1 MiB apart. The first is that of the instructions.
    let mut tables = Tables::new();
    let places: Vec<u64> = (0..5).map(|way| way << 20).collect();
    for place in &places {
        tables.descriptors.insert(0x11000 + 8 * (place >> 21), 0x12003 + 0x1000 * (place >> 21));
        let descriptor = 0x12000 + 0x1000 * (place >> 21) + 8 * (place >> 12 & 511);
        tables.descriptors.insert(descriptor, (0x80000 + place) | (1 << 11) | 3);
    }
    let mut cluster = Cluster::new(1);
    let fetch = |cluster: &mut Cluster| {
        let before = cluster.counts().tlb;
        cluster.fetch(0, 0, 0x80000, &REGIME, &tables);
        cluster.counts().tlb - before
    };
    assert_eq!((fetch(&mut cluster), fetch(&mut cluster)), (1, 0));
    for place in &places[1..] {
        cluster.access(0, Access::Load, *place, 0x80000 + place, &REGIME, &tables);
    }
    assert_eq!((fetch(&mut cluster), cluster.unwalked()), (1, 0));
}

#[test]
fn an_invalidation_of_the_last_level_leaves_the_tables_known() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    let mut again = |last_level| {
        load(&mut cluster, &tables, 0);
        tables.read.take();
        cluster.invalidate(None, Scope::Address { address: 0, asid: Some(0), last_level });
        load(&mut cluster, &tables, 0);
        tables.read.take()
    };
    assert_eq!(again(true), [0x12000]);
    assert_eq!(again(false), [0x10000, 0x11000, 0x12000]);
}

#[test]
fn a_store_takes_the_line_from_other_cores() {
    let (mut cluster, tables) = (Cluster::new(2), Tables::new());
    let mut access = |core, kind| {
        let before = cluster.counts();
        cluster.access(core, kind, 0, 0x80000, &REGIME, &tables);
        (cluster.counts() - before).l1d
    };
    let sequence = [(0, Access::Load), (1, Access::Load), (0, Access::Load), (1, Access::Store), (0, Access::Load)];
    assert_eq!(sequence.map(|(core, kind)| access(core, kind)), [1, 1, 0, 0, 1]);
}

#[test]
fn a_zeroed_line_is_made_in_the_cache_and_no_miss() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    let mut zero = |address| cluster.access(0, Access::Zero, address, 0x80000 + address, &REGIME, &tables);
    [0, 64, 0].into_iter().for_each(&mut zero);
    load(&mut cluster, &tables, 64);
    let Counts { l1d, l2d, zeroed, .. } = cluster.counts();
    assert_eq!((l1d, l2d, zeroed), (0, 0, 2));
}

#[test]
fn fetches_fill_the_instruction_cache_alone() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    (0..2).for_each(|_| cluster.fetch(0, 0, 0x80000, &REGIME, &tables));
    load(&mut cluster, &tables, 0);
    let Counts { l1i, l2i, l1d, l2d, tlb, .. } = cluster.counts();
    assert_eq!((l1i, l2i, l1d, l2d, tlb), (1, 1, 1, 0, 1));
    cluster.empty_instruction_caches(Some(0));
    cluster.fetch(0, 0, 0x80000, &REGIME, &tables);
    assert_eq!((cluster.counts().l1i, cluster.counts().l2i), (2, 1));
}

#[test]
fn an_access_that_the_tables_do_not_explain_is_told() {
    let (mut cluster, tables) = (Cluster::new(1), Tables::new());
    cluster.access(0, Access::Load, 0x9000, 0x1000, &REGIME, &tables);
    assert_eq!(cluster.unwalked(), 1, "no descriptor");
    cluster.access(0, Access::Load, 0x1000, 0x99000, &REGIME, &tables);
    assert_eq!(cluster.unwalked(), 2, "another frame");
}
