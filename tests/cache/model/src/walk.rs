//! A walk of AArch64 translation tables with 4 KiB granule (Arm ARM, D8.2 and D8.3).

use crate::tlb::{Asid, Page};

/// Physical memory, as far as a walker reads it.
pub trait Memory {
    /// The descriptor at a physical address; 0, an invalid one, where there is no memory.
    fn descriptor(&self, address: u64) -> u64;
}

/// The registers of one core that say how addresses are translated at EL1 and EL0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regime {
    /// `TTBR0_EL1`: the tables of the lower half.
    pub lower: u64,
    /// `TTBR1_EL1`: the tables of the upper half.
    pub upper: u64,
    /// `TCR_EL1`.
    pub control: u64,
}

/// `TCR_EL1.A1`: which of the two roots carries the address-space identifier.
const A1: u64 = 1 << 22;
/// `TCR_EL1.AS`: identifiers have 16 bits.
const AS: u64 = 1 << 36;
/// Where the next table, or memory, is: bits 47 to 12 of a descriptor and of a root.
const ADDRESS: u64 = 0xffff_ffff_f000;
/// `nG` of a last descriptor: the entry belongs to one address space.
const NOT_GLOBAL: u64 = 1 << 11;
/// Bits of an address that the granule leaves alone, and that each level translates.
const GRANULE: u32 = 12;
const LEVEL: u32 = 9;

impl Regime {
    /// The identifier of the address space that runs.
    pub fn asid(&self) -> u16 {
        let root = if self.control & A1 == 0 { self.lower } else { self.upper };
        let asid = (root >> 48) as u16;
        if self.control & AS == 0 { asid & 0xff } else { asid }
    }

    /// Where translation of an address begins: the root table, and the shift of the bits that it translates.
    pub fn start(&self, address: u64) -> (u64, u32) {
        let (root, size) = match address >> 55 & 1 {
            0 => (self.lower, self.control & 0x3f),
            _ => (self.upper, self.control >> 16 & 0x3f),
        };
        let bits = 64 - size as u32;
        let levels = bits.saturating_sub(GRANULE).div_ceil(LEVEL).clamp(1, 4);
        (root & ADDRESS, GRANULE + LEVEL * (levels - 1))
    }

    /// The physical address that an address leads to, if it leads anywhere; counts nothing.
    pub fn translate(&self, address: u64, memory: &impl Memory) -> Option<u64> {
        let (mut table, mut shift) = self.start(address);
        loop {
            match Walk::step(memory, table, shift, address, self.asid()).1 {
                Walk::Table(next) => (table, shift) = (next, shift - LEVEL),
                Walk::Page(page) => return Some(page.frame << page.shift | address & ((1 << page.shift) - 1)),
                Walk::Invalid => return None,
            }
        }
    }
}

/// One step of a walk after another: where the descriptor is, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// A table, with its physical address.
    Table(u64),
    /// The end.
    Page(Page),
    /// Nothing: an access there would have faulted.
    Invalid,
}

impl Walk {
    /// Reads one descriptor of the table at `table`, which translates the bits from `shift` on.
    pub fn step(memory: &impl Memory, table: u64, shift: u32, address: u64, asid: u16) -> (u64, Walk) {
        let index = address >> shift & ((1 << LEVEL) - 1);
        let place = table + 8 * index;
        let descriptor = memory.descriptor(place);
        let step = match (descriptor & 0b11, shift) {
            (0b11, GRANULE) | (0b01, 21 | 30) => Walk::Page(Page {
                number: address >> shift,
                shift,
                frame: (descriptor & ADDRESS) >> shift,
                asid: if descriptor & NOT_GLOBAL == 0 { Asid::Global } else { Asid::Of(asid) },
            }),
            (0b11, _) => Walk::Table(descriptor & ADDRESS),
            _ => Walk::Invalid,
        };
        (place, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_levels_follows_from_the_bits_of_the_address() {
        let at = |size: u64| Regime { lower: 0x1234_5000, upper: 0, control: size };
        // 48 bits: four levels; 39: three; 36: three, with a short root; 30: two.
        assert_eq!([16, 25, 28, 34].map(|size| at(size).start(0x1000).1), [39, 30, 30, 21]);
        assert_eq!(at(16).start(0x1000).0, 0x1234_5000);
    }

    #[test]
    fn the_upper_half_has_a_root_and_a_size_of_its_own() {
        let regime = Regime { lower: 0x1000, upper: 0x2000, control: 16 | 25 << 16 };
        assert_eq!(regime.start(0xffff_ff80_0000_0000), (0x2000, 30));
        assert_eq!(regime.start(0x7f_0000_0000), (0x1000, 39));
    }

    #[test]
    fn the_identifier_is_in_the_root_that_the_control_register_names() {
        let mut regime = Regime { lower: 0x1107 << 48, upper: 0x2209 << 48, control: 0 };
        assert_eq!(regime.asid(), 0x07);
        regime.control = AS;
        assert_eq!(regime.asid(), 0x1107);
        regime.control = AS | A1;
        assert_eq!(regime.asid(), 0x2209);
    }
}
