//! Which instructions end the use of a range of addresses in every TLB (Arm ARM, "TLB maintenance instructions").
//!
//! A few pages go one by one; more by range, where the processor has `FEAT_TLBIRANGE`; otherwise the whole space goes.

use core::ops::Range;
use graft_paging::{PAGE_BITS, Reach, VirtRange};

/// An instruction that is broadcast to the inner-shareable domain, with what its register must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `TLBI VALE1IS`: the last-level entry of one page. Walk caches keep what led to it.
    Leaf(u64),
    /// `TLBI VAE1IS`: entries of every level for one page.
    Page(u64),
    /// `TLBI RVAE1IS`: entries of every level for the pages of a range.
    Pages(u64),
    /// `TLBI ASIDE1IS`: everything about one address space.
    Space(u64),
}

/// Most pages that go one by one.
const FEW: u64 = 8;
/// Each scale of a range counts units of 2^5 times the one before.
const UNIT_BITS: u32 = 5;
/// More pages than that, no range instruction covers.
const LARGEST: u64 = 1 << (UNIT_BITS * 4);

/// Hands over the instructions for a changed range of one space, in any order between the barriers.
///
/// `has_ranges`: whether there is `FEAT_TLBIRANGE`; asked only where it matters.
pub fn invalidate(
    asid: u16,
    range: VirtRange,
    reach: Reach,
    has_ranges: impl FnOnce() -> bool,
    mut execute: impl FnMut(Instruction),
) {
    let pages = range.pages();
    if pages <= FEW {
        page_numbers(range).for_each(|page| execute(of_page(asid, page, reach)));
    } else if pages <= LARGEST && has_ranges() {
        by_range(asid, page_numbers(range), execute);
    } else {
        execute(of_space(asid));
    }
}

/// The instruction for one page, by its number.
#[inline(always)]
pub fn of_page(asid: u16, page: u64, reach: Reach) -> Instruction {
    let argument = tagged(asid, page);
    match reach {
        Reach::Pages => Instruction::Leaf(argument),
        Reach::Tables => Instruction::Page(argument),
    }
}

/// The instruction for everything.
#[inline(always)]
pub fn of_space(asid: u16) -> Instruction {
    Instruction::Space(tagged(asid, 0))
}

/// Takes a range apart from its small end: an odd page on its own, and then at each scale as many units as make the
/// rest a multiple of the next scale's. At scale `s`, (NUM + 1) · 2^(5·s + 1) pages from BaseADDR.
fn by_range(asid: u16, pages: Range<u64>, mut execute: impl FnMut(Instruction)) {
    const GRANULE_4K: u64 = 1 << 46;
    let (mut page, mut left) = (pages.start, pages.end - pages.start);
    if left & 1 == 1 {
        execute(Instruction::Page(tagged(asid, page)));
        page += 1;
        left -= 1;
    }
    for scale in 0..4 {
        let unit_bits = UNIT_BITS * scale + 1;
        let units = left >> unit_bits & 0x1F;
        if units > 0 {
            execute(Instruction::Pages(tagged(asid, page) | GRANULE_4K | u64::from(scale) << 44 | (units - 1) << 39));
            page += units << unit_bits;
            left -= units << unit_bits;
        }
    }
}

fn page_numbers(range: VirtRange) -> Range<u64> {
    range.start() >> PAGE_BITS..range.end() >> PAGE_BITS
}

/// ASID in bits 63–48, page number from bit 0 on.
const fn tagged(asid: u16, page: u64) -> u64 {
    (asid as u64) << 48 | page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const ASID: u16 = 0xA5C3;

    /// Bits `high` to `low`.
    fn field(register: u64, high: u32, low: u32) -> u64 {
        register >> low & (u64::MAX >> (63 - high + low))
    }

    /// The page numbers that an instruction is about, read from its register as the Arm ARM lays it out under the
    /// instruction's name.
    fn reached(instruction: Instruction) -> Range<u64> {
        let (Instruction::Leaf(register)
        | Instruction::Page(register)
        | Instruction::Pages(register)
        | Instruction::Space(register)) = instruction;
        assert_eq!(field(register, 63, 48), u64::from(ASID));
        match instruction {
            Instruction::Leaf(_) | Instruction::Page(_) => {
                assert_eq!(field(register, 47, 44), 0, "TTL: no hint about the level");
                let page = field(register, 43, 0);
                page..page + 1
            }
            Instruction::Pages(_) => {
                assert_eq!(field(register, 47, 46), 0b01, "TG: 4 KiB");
                assert_eq!(field(register, 38, 37), 0, "TTL: no hint about the level");
                let (scale, number) = (field(register, 45, 44), field(register, 43, 39));
                let base = field(register, 36, 0);
                base..base + ((number + 1) << (5 * scale + 1))
            }
            Instruction::Space(_) => {
                assert_eq!(field(register, 47, 0), 0, "RES0");
                0..1 << 36
            }
        }
    }

    fn instructions(range: VirtRange, reach: Reach, has_ranges: bool) -> Vec<Instruction> {
        let mut all = Vec::new();
        invalidate(ASID, range, reach, || has_ranges, |instruction| all.push(instruction));
        all
    }

    /// Ranges of every size up to a few tables, of sizes around each power of two, and the largest, at odd and even
    /// places.
    fn ranges() -> impl Iterator<Item = VirtRange> {
        let powers =
            (1..36).flat_map(|bits: u32| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1, 0x5_5555 << bits >> 16]);
        (1..2000).chain(powers).chain([1 << 36]).flat_map(|pages| {
            [0, 1, 511, 0x12_3456_7000, (1_u64 << 36).saturating_sub(pages)]
                .into_iter()
                .filter_map(move |first: u64| VirtRange::new(first.checked_mul(4096)?, pages.checked_mul(4096)?))
        })
    }

    #[test]
    fn exactly_the_range_goes_or_the_whole_space() {
        for range in ranges() {
            for (reach, has_ranges) in
                [(Reach::Pages, false), (Reach::Tables, false), (Reach::Pages, true), (Reach::Tables, true)]
            {
                let all = instructions(range, reach, has_ranges);
                if let [Instruction::Space(_)] = all[..] {
                    assert_eq!(reached(all[0]), 0..1 << 36);
                    assert!(range.pages() > 8 && (!has_ranges || range.pages() > 1 << 20), "{range:?}: too much goes");
                    continue;
                }
                let mut next = range.start() >> 12;
                for &instruction in &all {
                    let reached = reached(instruction);
                    assert_eq!(reached.start, next, "{range:?}: a hole, or twice the same");
                    next = reached.end;
                }
                assert_eq!(next, range.end() >> 12, "{range:?}");
                assert!(all.len() <= 8, "{range:?}: {} instructions", all.len());
            }
        }
    }

    #[test]
    fn changed_tables_take_walk_caches_with_them() {
        for range in ranges() {
            for has_ranges in [false, true] {
                let leaves = |reach| {
                    let all = instructions(range, reach, has_ranges);
                    all.iter().filter(|instruction| matches!(instruction, Instruction::Leaf(_))).count()
                };
                assert_eq!(leaves(Reach::Tables), 0, "{range:?}: the last-level forms leave walk caches alone");
                assert!(
                    range.pages() > 8 || leaves(Reach::Pages) == range.pages() as usize,
                    "{range:?}: walk caches go for nothing"
                );
            }
        }
    }

    #[test]
    fn range_instructions_are_used_where_there_are_any() {
        for range in ranges() {
            let by_range = |instruction: &Instruction| matches!(instruction, Instruction::Pages(_));
            assert!(
                !instructions(range, Reach::Tables, false).iter().any(by_range),
                "{range:?}: undefined without the feature"
            );
            let expected = (9..=1 << 20).contains(&range.pages());
            assert_eq!(instructions(range, Reach::Tables, true).iter().any(by_range), expected, "{range:?}");
        }
    }
}
