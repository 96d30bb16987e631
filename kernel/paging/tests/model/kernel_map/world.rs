//! A kernel's map beside the list of what was mapped.

use graft_paging::{Format, KernelMap, KernelMapError, Level, Mapping};

use super::PAGE;
use super::machine::{Machine, mapping, number, walk};
use crate::mmu::{Architecture, KernelLeaf, KernelStep};

/// One mapped range of the oracle's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) address: u64,
    pub(super) physical: u64,
    pub(super) bytes: u64,
    pub(super) mapping: Mapping,
}

impl Range {
    /// The end of the address space's last range does not fit in 64 bits.
    pub(super) fn last(&self) -> u64 {
        self.address + (self.bytes - 1)
    }

    pub(super) fn continues(&self, other: &Range) -> bool {
        other.last().checked_add(1) == Some(self.address)
            && other.physical + other.bytes == self.physical
            && self.mapping == other.mapping
    }
}

/// Merges adjacent ranges that continue each other.
pub(super) fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|range| range.address);
    let mut all: Vec<Range> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if range.continues(last) => last.bytes += range.bytes,
            _ => all.push(range),
        }
    }
    all
}

/// A map, and the list of what should be in it.
pub(super) struct World<F: Format> {
    pub(super) map: KernelMap<F, Machine>,
    pub(super) oracle: Vec<Range>,
}

impl<F: Architecture> World<F> {
    pub(super) fn new(root: Level, most: usize) -> World<F> {
        World { map: KernelMap::new(Machine::new(root, most)), oracle: Vec::new() }
    }

    pub(super) fn tables(&mut self) -> Vec<[u64; 512]> {
        self.map.memory_mut().tables.clone()
    }

    /// Maps a range that must be accepted.
    pub(super) fn map(&mut self, address: u64, physical: u64, bytes: u64, mapping: Mapping) {
        self.map.map(address, physical, bytes, mapping).unwrap();
        self.oracle.push(Range { address, physical, bytes, mapping });
    }

    /// Asks for a range that must be refused, and checks that nothing has changed.
    pub(super) fn refused(&mut self, address: u64, physical: u64, bytes: u64) -> KernelMapError {
        let before = self.tables();
        let error = self.map.map(address, physical, bytes, Mapping::ReadWrite).unwrap_err();
        assert!(self.tables() == before, "{error} has changed tables");
        error
    }

    pub(super) fn unmap(&mut self, address: u64, bytes: u64) -> Result<(), KernelMapError> {
        let before = self.tables();
        #[expect(unsafe_code, reason = "no pointer leads there")]
        // SAFETY: no memory is behind these addresses, only numbers.
        let result = unsafe { self.map.unmap(address, bytes) };
        if result.is_err() {
            assert!(self.tables() == before, "a refusal has changed tables");
            return result;
        }
        let last = address + (bytes - 1);
        let parts = std::mem::take(&mut self.oracle).into_iter().flat_map(|range| {
            let below = address.saturating_sub(range.address).min(range.bytes);
            let above = range.last().saturating_sub(last).min(range.bytes);
            let rest = range.bytes - above;
            [
                Range { bytes: below, ..range },
                Range { address: range.address + rest, physical: range.physical + rest, bytes: above, ..range },
            ]
        });
        self.oracle = parts.filter(|range| range.bytes > 0).collect();
        result
    }

    /// Whether the oracle has nothing in a range.
    pub(super) fn is_free(&self, address: u64, bytes: u64) -> bool {
        self.oracle.iter().all(|range| range.last() < address || address + (bytes - 1) < range.address)
    }

    pub(super) fn expected(&self, address: u64) -> Option<(u64, Mapping)> {
        let range = self.oracle.iter().find(|range| (range.address..=range.last()).contains(&address))?;
        Some((range.physical + (address - range.address), range.mapping))
    }

    /// Every leaf that a walk can find, with the number of its level.
    pub(super) fn leaves(&mut self) -> Vec<(usize, Range)> {
        let level = self.map.memory_mut().root.number();
        let base = (512 * (PAGE << (9 * (3 - level)))).wrapping_neg();
        let mut all = Vec::new();
        collect::<F>(&self.map.memory_mut().tables, 0, level, base, &mut all);
        all
    }

    /// What the processor finds at an address, with what it has kept.
    pub(super) fn access(&mut self, address: u64) -> Option<KernelLeaf> {
        let machine = self.map.memory_mut();
        let page = address / PAGE * PAGE;
        let kept = machine.tlb.borrow().get(&page).copied();
        let found = kept.or_else(|| walk::<F>(machine, page))?;
        machine.tlb.borrow_mut().insert(page, found);
        Some(KernelLeaf { output: found.output + address % PAGE, ..found })
    }

    /// Checks that everything mapped is in the oracle and the other way round; and that at these addresses the
    /// processor, the crate's own walk and the oracle agree.
    pub(super) fn check(&mut self, addresses: impl IntoIterator<Item = u64>) {
        assert!(!self.map.memory_mut().is_unseen.get(), "a store that walkers may not have seen");
        let leaves = self.leaves().into_iter().map(|(_, range)| range).collect();
        assert_eq!(merged(leaves), merged(self.oracle.clone()));
        for address in addresses {
            let expected = self.expected(address);
            let seen = self.access(address).map(|leaf| (leaf.output, mapping(leaf)));
            assert_eq!(seen, expected, "{address:#x}");
            let found = self.map.translate(address).map(|found| (found.physical, found.mapping));
            assert_eq!(found, expected, "{address:#x}");
        }
    }

    /// The borders of every range, from either side, and its middle.
    pub(super) fn borders(&self) -> Vec<u64> {
        let first = self.map.first_address();
        let near = |range: &Range| {
            let middle = range.address + range.bytes / 2 / PAGE * PAGE + 8;
            [range.address.wrapping_sub(1), range.address, middle, range.last(), range.last().wrapping_add(1)]
        };
        self.oracle.iter().flat_map(near).filter(|&address| address >= first).collect()
    }
}

pub(super) fn collect<F: Architecture>(
    tables: &[[u64; 512]],
    table: usize,
    level: usize,
    base: u64,
    all: &mut Vec<(usize, Range)>,
) {
    let span = PAGE << (9 * (3 - level));
    for (index, &raw) in tables[table].iter().enumerate() {
        let address = base + index as u64 * span;
        match F::kernel_step(raw, level) {
            KernelStep::Invalid => assert_eq!(raw, 0, "something that is never followed"),
            KernelStep::Table(frame) => collect::<F>(tables, number(frame), level + 1, address, all),
            KernelStep::Leaf(leaf) => {
                all.push((level, Range { address, physical: leaf.output, bytes: span, mapping: mapping(leaf) }));
            }
        }
    }
}
