//! The store: a hash table of byte strings in memory that is allocated once.
//!
//! ```text
//!              hash of the key
//!                    ▼
//!   index   │   │ 7 │ 3 │   │ 12 │   …      a slot's number plus one; 0 is empty; probed in turn
//!                    │
//!                    ▼
//!   slots   │ checksum │ lengths │ key │ value │ unused │      SLOT bytes each
//! ```
//!
//! A value is overwritten where it stands, so a store that is full goes on serving. Nothing is ever
//! removed: probing needs no tombstones.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of a slot: four in a page.
pub const SLOT: usize = 1024;
/// Bytes of a slot before the key: checksum, two lengths, padding.
const HEADER: usize = 16;
/// Most bytes of a key and its value together.
pub const RECORD_MAX: usize = SLOT - HEADER;

/// A store.
#[derive(Debug)]
pub struct Store {
    slots: Vec<u8>,
    index: Vec<u32>,
    used: usize,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The [`checksum`] of both, as it was stored with them.
    pub checksum: u64,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Every slot is in use, and the key is new.
    Full,
    /// Key and value are longer than a slot.
    TooLong,
    /// The slot with this number does not hold what was stored there.
    Damaged(usize),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full => f.write_str("the store is full"),
            StoreError::TooLong => write!(f, "key and value are longer than {RECORD_MAX} bytes"),
            StoreError::Damaged(slot) => write!(f, "the record in slot {slot} is damaged"),
        }
    }
}

impl core::error::Error for StoreError {}

/// A sum in which every byte counts: two records that differ in one word have different sums
/// (FNV-1a over words of 8 bytes, each step of which can be undone).
pub fn checksum(key: &[u8], value: &[u8]) -> u64 {
    [key, value].iter().fold(0xcbf2_9ce4_8422_2325, |sum, bytes| {
        let (words, rest) = bytes.as_chunks();
        let sum = words.iter().fold(sum, |sum, word| step(sum, u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length sets a short last word apart from one that ends in zeroes.
        step(step(sum, u64::from_le_bytes(last)), bytes.len() as u64)
    })
}

fn step(sum: u64, word: u64) -> u64 {
    let mixed = (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    mixed ^ mixed >> 32
}

impl Store {
    /// An empty store of this many slots. All of its memory is written once, so that no later
    /// request meets a page that is not there yet.
    pub fn new(slots: usize) -> Result<Store, TryReserveError> {
        Ok(Store { slots: zeroes(slots * SLOT)?, index: zeroes(Store::index_length(slots))?, used: 0 })
    }

    /// Bytes that a store of this many slots takes.
    pub fn bytes(slots: usize) -> usize {
        slots * SLOT + Store::index_length(slots) * size_of::<u32>()
    }

    /// Half of the entries stay empty, so that probing is short.
    fn index_length(slots: usize) -> usize {
        (2 * slots).next_power_of_two()
    }

    /// Copies the value of a key to the beginning of `reply` and returns its length.
    pub fn get(&self, key: &[u8], reply: &mut [u8; RECORD_MAX]) -> Result<Option<usize>, StoreError> {
        let Ok(slot) = self.find(key) else { return Ok(None) };
        let record = self.record(slot)?;
        let reply = &mut reply[..record.value.len()];
        reply.copy_from_slice(record.value);
        if checksum(record.key, reply) != record.checksum {
            return Err(StoreError::Damaged(slot));
        }
        Ok(Some(reply.len()))
    }

    /// Gives a key this value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.len() + value.len() > RECORD_MAX {
            return Err(StoreError::TooLong);
        }
        let slot = match self.find(key) {
            Ok(slot) => slot,
            Err(_) if self.used * SLOT == self.slots.len() => return Err(StoreError::Full),
            Err(position) => {
                self.used += 1;
                self.index[position] = self.used as u32;
                self.used - 1
            }
        };
        let bytes = &mut self.slots[slot * SLOT..][..SLOT];
        bytes[..8].copy_from_slice(&checksum(key, value).to_le_bytes());
        bytes[8..10].copy_from_slice(&(key.len() as u16).to_le_bytes());
        bytes[10..12].copy_from_slice(&(value.len() as u16).to_le_bytes());
        let (key_bytes, rest) = bytes[HEADER..].split_at_mut(key.len());
        key_bytes.copy_from_slice(key);
        rest[..value.len()].copy_from_slice(value);
        Ok(())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets every key.
    pub fn clear(&mut self) {
        self.index.fill(0);
        self.used = 0;
    }

    /// What the slots hold, in the order in which the keys came.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, StoreError>> {
        (0..self.used).map(|slot| self.record(slot))
    }

    /// The slot of this key, or the position in the index where it belongs.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let mask = self.index.len() - 1;
        let mut position = checksum(key, &[]) as usize & mask;
        // An index is never full: it has twice as many entries as there are slots.
        while let Some(slot) = (self.index[position] as usize).checked_sub(1) {
            if self.record(slot).is_ok_and(|record| record.key == key) {
                return Ok(slot);
            }
            position = (position + 1) & mask;
        }
        Err(position)
    }

    fn record(&self, slot: usize) -> Result<Record<'_>, StoreError> {
        let (header, bytes) = self.slots[slot * SLOT..][..SLOT].split_at(HEADER);
        let (checksum, lengths) = header.split_at(8);
        let length = |at: usize| usize::from(u16::from_le_bytes([lengths[at], lengths[at + 1]]));
        let checksum = u64::from_le_bytes(checksum.try_into().unwrap_or_default());
        match (bytes.get(..length(0)), bytes.get(length(0)..length(0) + length(2))) {
            (Some(key), Some(value)) => Ok(Record { key, value, checksum }),
            _ => Err(StoreError::Damaged(slot)),
        }
    }
}

pub(crate) fn zeroes<T: Clone + Default>(length: usize) -> Result<Vec<T>, TryReserveError> {
    let mut all = Vec::new();
    all.try_reserve_exact(length)?;
    all.resize(length, T::default());
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn get(store: &Store, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reply = [0; RECORD_MAX];
        Ok(store.get(key, &mut reply)?.map(|length| reply[..length].to_vec()))
    }

    #[test]
    fn a_store_answers_as_a_map_does() {
        let mut numbers = graft_rt::test::Numbers::new(1);
        let (mut store, mut map) = (Store::new(64).unwrap(), HashMap::new());
        for _ in 0..10_000 {
            let key = numbers.below(64).to_string().into_bytes();
            if numbers.below(2) == 0 {
                let value = vec![numbers.next() as u8; numbers.below(RECORD_MAX - key.len() + 1)];
                store.set(&key, &value).unwrap();
                map.insert(key, value);
            } else {
                assert_eq!(get(&store, &key).unwrap().as_ref(), map.get(&key));
            }
        }
        assert_eq!(store.len(), map.len());
        for record in store.records().map(Result::unwrap) {
            assert_eq!(record.value, map[record.key]);
        }
    }

    #[test]
    fn a_full_store_refuses_new_keys_and_goes_on_serving_old_ones() {
        let mut store = Store::new(2).unwrap();
        store.set(b"a", b"1").unwrap();
        store.set(b"b", b"2").unwrap();
        assert_eq!(store.set(b"c", b"3"), Err(StoreError::Full));
        store.set(b"a", b"4").unwrap();
        assert_eq!(get(&store, b"a"), Ok(Some(b"4".to_vec())));
        assert_eq!(get(&store, b"c"), Ok(None));
        store.clear();
        assert!(store.is_empty() && get(&store, b"a") == Ok(None));
    }

    #[test]
    fn what_is_longer_than_a_slot_is_refused() {
        let mut store = Store::new(1).unwrap();
        assert_eq!(store.set(b"key", &[0; RECORD_MAX - 2]), Err(StoreError::TooLong));
        assert_eq!(store.set(b"key", &[0; RECORD_MAX - 3]), Ok(()));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut store = Store::new(1).unwrap();
        store.set(b"key", b"some value").unwrap();
        for byte in (0..12).chain(HEADER..HEADER + 13) {
            store.slots[byte] ^= 0x10;
            // A changed key is another key.
            assert_ne!(get(&store, b"key"), Ok(Some(b"some value".to_vec())), "byte {byte}");
            store.slots[byte] ^= 0x10;
        }
        assert_eq!(get(&store, b"key"), Ok(Some(b"some value".to_vec())));
    }

    #[test]
    fn sums_tell_where_key_and_value_end() {
        assert_ne!(checksum(b"ab", b"c"), checksum(b"a", b"bc"));
        assert_ne!(checksum(b"a", b""), checksum(b"a\0", b""));
        assert_ne!(checksum(b"", b"12345678"), checksum(b"", b"12345679"));
    }
}
