//! A ring of bytes in a memory object: one process puts bytes in, another takes them out, and neither makes a call.
//!
//! ```text
//!   first page   | put: counts bytes put in | ... | taken: counts bytes taken out |
//!   second page  | bytes, the n-th at n modulo the size of a page                 |
//! ```
//!
//! Each side writes its own count alone, and neither believes the other's: a count that cannot be is taken for the
//! nearest that can, so that a peer which writes nonsense gets nonsense, and no more.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use graft_abi::{Error, PAGE_SIZE, Permissions};

use crate::memory::{Region, Shared};

/// Bytes that are kept.
pub const CAPACITY: usize = PAGE_SIZE;
/// Where the counts are, each in a cache line of its own.
const PUT: usize = 0;
const TAKEN: usize = 128;

/// A memory object for a ring, all zeroes: an empty one.
///
/// # Errors
/// As [`Shared::new`].
pub fn memory() -> Result<Shared, Error> {
    Shared::new(2 * PAGE_SIZE)
}

/// One side's view.
#[derive(Debug)]
struct Ring {
    memory: Region,
    /// The own count.
    own: u32,
}

impl Ring {
    fn new(memory: &Shared, own: usize) -> Result<Ring, Error> {
        let memory = memory.map(Permissions::ReadWrite)?;
        if memory.bytes() < 2 * PAGE_SIZE {
            return Err(Error::BadLength);
        }
        let mut ring = Ring { memory, own: 0 };
        // Where the one before has stopped.
        ring.own = ring.count(own).load(Ordering::Relaxed);
        Ok(ring)
    }

    fn count(&self, at: usize) -> &AtomicU32 {
        // SAFETY: in the first page of the region, aligned, and accessed by atomics on both sides.
        unsafe { AtomicU32::from_ptr((self.memory.address() + at) as *mut u32) }
    }

    fn byte(&self, number: u32) -> &AtomicU8 {
        // SAFETY: in the second page of the region, and accessed by atomics on both sides.
        unsafe { AtomicU8::from_ptr((self.memory.address() + PAGE_SIZE + number as usize % CAPACITY) as *mut u8) }
    }
}

/// The side that puts bytes in.
#[derive(Debug)]
pub struct Producer(Ring);

/// The side that takes them out.
#[derive(Debug)]
pub struct Consumer(Ring);

impl Producer {
    /// This side of the ring in a memory object.
    ///
    /// # Errors
    /// As [`Shared::map`]; [`Error::BadLength`] if the object is not of [`memory`].
    pub fn new(memory: &Shared) -> Result<Producer, Error> {
        Ring::new(memory, PUT).map(Producer)
    }

    /// Bytes that there is room for.
    pub fn room(&self) -> usize {
        let taken = self.0.count(TAKEN).load(Ordering::Acquire);
        CAPACITY.saturating_sub(self.0.own.wrapping_sub(taken) as usize)
    }

    /// Puts in as many of the bytes as there is room for, and returns how many.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        for &byte in &bytes[..count] {
            self.0.byte(self.0.own).store(byte, Ordering::Relaxed);
            self.0.own = self.0.own.wrapping_add(1);
        }
        // The bytes are there before they are counted.
        self.0.count(PUT).store(self.0.own, Ordering::Release);
        count
    }

    /// How many bytes have been put in by all that have had this side, modulo 2³².
    pub fn put_in(&self) -> u32 {
        self.0.own
    }
}

impl Consumer {
    /// This side of the ring in a memory object.
    ///
    /// # Errors
    /// As [`Producer::new`].
    pub fn new(memory: &Shared) -> Result<Consumer, Error> {
        Ring::new(memory, TAKEN).map(Consumer)
    }

    /// Bytes that can be taken out.
    pub fn len(&self) -> usize {
        let put = self.0.count(PUT).load(Ordering::Acquire);
        (put.wrapping_sub(self.0.own) as usize).min(CAPACITY)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out as many bytes as there are and fit, and returns how many.
    pub fn take(&mut self, bytes: &mut [u8]) -> usize {
        let count = self.read(bytes);
        self.free();
        count
    }

    /// Reads as [`take`](Self::take) does, and leaves the places taken until they are [freed](Self::free): whoever has
    /// this side next finds the bytes there.
    pub fn read(&mut self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.len());
        for byte in &mut bytes[..count] {
            *byte = self.0.byte(self.0.own).load(Ordering::Relaxed);
            self.0.own = self.0.own.wrapping_add(1);
        }
        count
    }

    /// Frees the places of all that has been read.
    pub fn free(&self) {
        // They have been read before their places are free.
        self.0.count(TAKEN).store(self.0.own, Ordering::Release);
    }

    /// How many bytes have been read by all that have had this side, modulo 2³².
    pub fn read_out(&self) -> u32 {
        self.0.own
    }

    /// Goes on behind the first so many bytes, which the one before has [read](Self::read), though it may not have freed
    /// their places. A count that cannot be changes nothing.
    pub fn go_on_behind(&mut self, count: u32) {
        if count.wrapping_sub(self.0.own) as usize <= self.len() {
            self.0.own = count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Both sides of a ring on the host's memory, whose regions are never unmapped.
    fn ring() -> (core::mem::ManuallyDrop<Producer>, core::mem::ManuallyDrop<Consumer>) {
        let words: &'static mut [u64] = Vec::leak(std::vec![0_u64; 3 * PAGE_SIZE / 8]);
        let address = (words.as_mut_ptr() as usize).next_multiple_of(PAGE_SIZE);
        // SAFETY: the memory is leaked, and nothing else uses it.
        let side = || Ring { memory: unsafe { Region::from_raw(address, 2 * PAGE_SIZE) }, own: 0 };
        (core::mem::ManuallyDrop::new(Producer(side())), core::mem::ManuallyDrop::new(Consumer(side())))
    }

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let (mut producer, mut consumer) = ring();
        let (mut put, mut taken) = (0_u32, 0_u32);
        // Until the counts have come around in the ring many times.
        for round in 0..200_usize {
            let bytes: Vec<u8> = (0..round * 37 % 900).map(|n| (put.wrapping_add(n as u32) % 251) as u8).collect();
            put += producer.put(&bytes) as u32;
            assert_eq!(consumer.len(), (put - taken) as usize);
            let mut out = [0; 700];
            let count = consumer.take(&mut out[..round * 53 % 700]);
            for (n, &byte) in out[..count].iter().enumerate() {
                assert_eq!(byte, ((taken + n as u32) % 251) as u8);
            }
            taken += count as u32;
        }
        assert!(put > 10 * CAPACITY as u32);
    }

    #[test]
    fn a_full_ring_takes_nothing_and_an_empty_one_gives_nothing() {
        let (mut producer, mut consumer) = ring();
        assert_eq!(producer.put(&[7; CAPACITY + 1]), CAPACITY);
        assert_eq!((producer.room(), producer.put(&[1])), (0, 0));
        let mut out = [0; CAPACITY + 1];
        assert_eq!(consumer.take(&mut out), CAPACITY);
        assert!(consumer.is_empty() && consumer.take(&mut out) == 0);
        assert_eq!(producer.room(), CAPACITY);
    }

    #[test]
    fn what_was_read_and_not_freed_is_there_for_the_next_one() {
        let (mut producer, mut consumer) = ring();
        producer.put(b"abcdef");
        consumer.take(&mut [0; 2]);
        consumer.read(&mut [0; 3]);
        assert_eq!((producer.room(), consumer.read_out()), (CAPACITY - 4, 5));
        // The next one begins where places are free, or behind what it knows to have been read.
        consumer.0.own = consumer.0.count(TAKEN).load(Ordering::Relaxed);
        for (count, rest) in [(1, 4), (7, 4), (5, 1), (2, 1)] {
            consumer.go_on_behind(count);
            assert_eq!(consumer.len(), rest, "behind {count}");
        }
        consumer.free();
        assert_eq!(producer.room(), CAPACITY - 1);
    }

    #[test]
    fn the_counts_may_pass_the_end_of_their_numbers() {
        let (mut producer, mut consumer) = ring();
        let late = u32::MAX - 5;
        producer.0.count(PUT).store(late, Ordering::Relaxed);
        producer.0.count(TAKEN).store(late, Ordering::Relaxed);
        (producer.0.own, consumer.0.own) = (late, late);
        assert_eq!(producer.put(b"across the end"), 14);
        let mut out = [0; 14];
        assert_eq!((consumer.take(&mut out), &out), (14, b"across the end"));
    }

    #[test]
    fn a_peer_that_writes_nonsense_gets_no_further_than_the_ring() {
        let (mut producer, mut consumer) = ring();
        for nonsense in [1, CAPACITY as u32 + 1, 1 << 31, u32::MAX] {
            producer.0.count(TAKEN).store(nonsense, Ordering::Relaxed);
            assert!(producer.room() <= CAPACITY && producer.put(&[1; 10]) <= 10);
            consumer.0.count(PUT).store(nonsense, Ordering::Relaxed);
            assert!(consumer.len() <= CAPACITY && consumer.take(&mut [0; 10]) <= 10);
        }
    }
}
