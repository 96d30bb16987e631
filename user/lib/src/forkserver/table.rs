//! What makes the target expensive to start: a table with an entry for every colour.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Fewest and most bits of a channel.
pub const BITS: core::ops::RangeInclusive<u32> = 4..=8;

/// What every colour becomes on a screen of 16 bits.
#[derive(Clone, Debug)]
pub struct Table {
    bits: u32,
    entries: Vec<u16>,
}

impl Table {
    /// Computes the table for colours with this many [`BITS`] in each channel.
    pub fn new(bits: u32) -> Result<Table, TryReserveError> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(Table::bytes(bits) / size_of::<u16>())?;
        let mask = (1 << bits) - 1;
        entries.extend((0..1u32 << (3 * bits)).map(|index| {
            // A screen shows half the value as less than half the light: a gamma of 2.
            let light = |shift: u32| ((index >> shift & mask) << (8 - bits)).pow(2);
            let [red, green, blue] = [2 * bits, bits, 0].map(light);
            (red >> 11 << 11 | green >> 10 << 5 | blue >> 11) as u16
        }));
        Ok(Table { bits, entries })
    }

    /// Bytes of the table for this many bits.
    pub const fn bytes(bits: u32) -> usize {
        size_of::<u16>() << (3 * bits)
    }

    /// What a colour becomes.
    pub fn lookup(&self, colour: [u8; 3]) -> u16 {
        let index =
            colour.iter().fold(0, |index, channel| index << self.bits | usize::from(*channel >> (8 - self.bits)));
        self.entries[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_size_and_keeps_the_order_of_light() {
        for bits in BITS {
            let table = Table::new(bits).unwrap();
            assert_eq!(table.entries.len() * 2, Table::bytes(bits));
            assert_eq!(table.lookup([0, 0, 0]), 0);
            for channel in 0..3 {
                let shade =
                    |value| table.lookup(core::array::from_fn(|index| if index == channel { value } else { 0 }));
                let shades: Vec<_> = (0..=255).map(shade).collect();
                assert!(shades.is_sorted() && shades[255] > 0, "{bits} bits, channel {channel}");
            }
        }
        assert_eq!(Table::bytes(8), 32 << 20);
        assert_eq!(Table::new(8).unwrap().lookup([255, 255, 255]), 0b1111_1111_1111_1111);
    }
}
