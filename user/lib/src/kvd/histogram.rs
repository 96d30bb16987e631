//! A histogram of latencies: every value is counted, to within one part in 128, without an allocation.
//!
//! Buckets are linear between two powers of two and twice as wide from each power to the next, as in
//! Gil Tene's HdrHistogram.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::kvd::store::zeroes;

/// Binary logarithm of the buckets between two powers of two.
const PRECISION: u32 = 7;
const BUCKETS: usize = ((u64::BITS - PRECISION + 1) as usize) << PRECISION;

/// How often each value came.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    most: u64,
}

impl Histogram {
    /// An empty histogram, whose memory is all there.
    pub fn new() -> Result<Histogram, TryReserveError> {
        Ok(Histogram { counts: zeroes(BUCKETS)?, count: 0, most: 0 })
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.most = self.most.max(value);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exactly. 0 without any.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// A value that `per_mille` in a thousand do not exceed: the largest of its bucket.
    pub fn per_mille(&self, per_mille: u64) -> u64 {
        let wanted = (self.count * per_mille).div_ceil(1000);
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= wanted.max(1) {
                return largest(bucket).min(self.most);
            }
        }
        0
    }
}

/// The bucket of a value. The first two powers' worth of buckets hold one value each.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - 1 - PRECISION).saturating_sub(value.leading_zeros());
    ((shift as usize) << PRECISION) + (value >> shift) as usize
}

/// The largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    let shift = (bucket >> PRECISION).saturating_sub(1);
    let first = (bucket - (shift << PRECISION)) as u64;
    (first << shift) | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps_and_are_narrow() {
        let mut value = 0;
        for number in 0..BUCKETS {
            assert_eq!(bucket(value), number);
            assert_eq!(bucket(largest(number)), number);
            assert!(largest(number) - value <= value >> PRECISION);
            value = largest(number).wrapping_add(1);
        }
        // The last bucket ends with the last value.
        assert_eq!(value, 0);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::new().unwrap();
        assert_eq!((histogram.per_mille(500), histogram.most()), (0, 0));
        let mut numbers = graft_rt::test::Numbers::new(1);
        let mut values: Vec<_> = (0..10_001).map(|_| numbers.next() >> (20 + numbers.below(40))).collect();
        for value in &values {
            histogram.record(*value);
        }
        values.sort_unstable();
        for per_mille in [1, 500, 900, 990, 999, 1000] {
            let exact = values[(values.len() * per_mille).div_ceil(1000) - 1];
            let told = histogram.per_mille(per_mille as u64);
            assert!(told >= exact && told - exact <= exact / 64, "{per_mille}: {told} for {exact}");
        }
        assert_eq!(histogram.per_mille(1000), *values.last().unwrap());
        assert_eq!(histogram.count(), 10_001);
    }
}
