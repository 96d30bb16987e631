//! What the store must hold: for each key, how often it was set. Everything else follows from that.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use graft_rt::test::Numbers;

use crate::kvd::client::{Client, Operation};
use crate::kvd::store::{RECORD_MAX, zeroes};

/// Bytes of a key: `user:` and a number.
pub const KEY: usize = 16;
/// Most bytes of a value.
pub const VALUE_MAX: usize = RECORD_MAX - KEY;
/// Fewest bytes of a value.
pub const VALUE_MIN: usize = VALUE_MAX / 2;

const PREFIX: &[u8] = b"user:";

/// The key with this number.
pub fn key(number: usize) -> [u8; KEY] {
    let mut key = [b'0'; KEY];
    key[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut rest = number;
    for digit in key[PREFIX.len()..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// The number of a key that [`key`] made.
pub fn number(key: &[u8]) -> Option<usize> {
    let digits = key.strip_prefix(PREFIX).filter(|_| key.len() == KEY)?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// Writes the value that a key has in this version to the beginning of `buffer`, and returns it.
pub fn value(number: usize, version: u32, buffer: &mut [u8; RECORD_MAX]) -> &[u8] {
    let mut numbers = Numbers::new((number as u64) << 32 | u64::from(version));
    let value = &mut buffer[..VALUE_MIN + numbers.below(VALUE_MAX - VALUE_MIN + 1)];
    let (words, rest) = value.as_chunks_mut();
    for word in words {
        *word = numbers.next().to_le_bytes();
    }
    rest.copy_from_slice(&numbers.next().to_le_bytes()[..rest.len()]);
    value
}

/// The version of every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    versions: Vec<u32>,
}

impl Model {
    /// Every key in version 0.
    pub fn new(keys: usize) -> Result<Model, TryReserveError> {
        Ok(Model { versions: zeroes(keys)? })
    }

    /// Goes back to version 0.
    pub fn reset(&mut self) {
        self.versions.fill(0);
    }

    /// The versions after this many requests of a fresh client.
    pub fn replay(mut client: Client, requests: u64) -> Result<Model, TryReserveError> {
        let mut model = Model::new(client.keys())?;
        for _ in 0..requests {
            model.note(client.next());
        }
        Ok(model)
    }

    /// Notes an operation. Returns the version that its key has afterwards.
    pub fn note(&mut self, operation: Operation) -> u32 {
        let (number, step) = match operation {
            Operation::Get(number) => (number, 0),
            Operation::Set(number) => (number, 1),
        };
        self.versions[number] += step;
        self.versions[number]
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.versions.len()
    }

    /// The version of a key, if there is such a key.
    pub fn version(&self, number: usize) -> Option<u32> {
        self.versions.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_numbers_belong_together() {
        assert_eq!(&key(1234), b"user:00000001234");
        for one in [0, 9, 10, 4_294_967_295] {
            assert_eq!(number(&key(one)), Some(one));
        }
        for wrong in [&b"user:0000000123"[..], b"user:000000012345", b"uses:00000001234", b"user:0000000123x", b""] {
            assert_eq!(number(wrong), None);
        }
    }

    #[test]
    fn versions_and_keys_have_values_of_their_own() {
        let bytes = |number, version| value(number, version, &mut [0; RECORD_MAX]).to_vec();
        assert_eq!(bytes(5, 3), bytes(5, 3));
        assert_ne!(bytes(5, 3), bytes(5, 4));
        assert_ne!(bytes(5, 3), bytes(6, 3));
        let lengths: Vec<_> = (0..100).map(|version| bytes(1, version).len()).collect();
        assert!(lengths.iter().all(|length| (VALUE_MIN..=VALUE_MAX).contains(length)));
        assert!(lengths.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_replay_comes_to_what_was_noted() {
        let mut client = Client::new(7, 50, 30);
        let mut model = Model::new(50).unwrap();
        for _ in 0..1000 {
            model.note(client.next());
        }
        assert_eq!(Model::replay(Client::new(7, 50, 30), 1000).unwrap(), model);
        assert_ne!(Model::replay(Client::new(7, 50, 30), 900).unwrap(), model);
    }
}
