//! The client: a stream of requests that a seed determines.
//!
//! Keys are chosen as in Gray et al., "Quickly Generating Billion-Record Synthetic Databases"
//! (SIGMOD 1994), the self-similar distribution: 80 % of the requests go to 20 % of the keys, of
//! these again 80 % to 20 %, and so on. Popular keys do not lie side by side.

use graft_rt::test::Numbers;

/// A request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads the key with this number.
    Get(usize),
    /// Gives the key with this number its next value.
    Set(usize),
}

/// A prime larger than any number of keys: multiplying by it moves every key to another place.
const SCATTER: u64 = 4_294_967_311;
/// Percent of the requests that go to the hot part of the keys, which is one in so many.
const HOT_PERCENT: usize = 80;
const HOT_PART: usize = 5;

/// Where requests come from.
#[derive(Clone, Debug)]
pub struct Client {
    numbers: Numbers,
    keys: usize,
    set_percent: usize,
}

impl Client {
    /// A client that has sent nothing yet. There must be keys, at most 2^32.
    pub const fn new(seed: u64, keys: usize, set_percent: usize) -> Client {
        Client { numbers: Numbers::new(seed), keys, set_percent }
    }

    /// How many keys it asks for.
    pub const fn keys(&self) -> usize {
        self.keys
    }

    /// The next request.
    #[expect(clippy::should_implement_trait, reason = "a stream without an end is no iterator")]
    pub fn next(&mut self) -> Operation {
        let number = (self.rank() as u64 * SCATTER % self.keys as u64) as usize;
        if self.numbers.below(100) < self.set_percent { Operation::Set(number) } else { Operation::Get(number) }
    }

    /// How many keys are more popular than the chosen one.
    fn rank(&mut self) -> usize {
        let mut keys = self.keys;
        loop {
            let hot = keys / HOT_PART;
            if self.numbers.below(100) >= HOT_PERCENT || hot == 0 {
                return hot + self.numbers.below(keys - hot);
            }
            keys = hot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_keys_gets_four_fifths_of_the_requests() {
        const KEYS: usize = 1000;
        let mut client = Client::new(1, KEYS, 0);
        let mut counts = [0; KEYS];
        for _ in 0..100_000 {
            let Operation::Get(number) = client.next() else { panic!("a SET without any SETs") };
            counts[number] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "a key is never asked for");
        let neighbours = counts.windows(2).filter(|pair| pair[0] > 1000 && pair[1] > 1000).count();
        assert!(neighbours < 3, "popular keys lie side by side");
        counts.sort_unstable();
        let hot: u32 = counts[KEYS - KEYS / 5..].iter().sum();
        assert!((78_000..82_000).contains(&hot), "{hot}");
    }

    #[test]
    fn the_mix_is_as_asked_and_a_seed_determines_all() {
        for percent in [0, 20, 100] {
            let mut client = Client::new(2, 1, percent);
            let sets = (0..10_000).filter(|_| client.next() == Operation::Set(0)).count();
            assert!(sets.abs_diff(percent * 100) < 200, "{sets} of 10000 for {percent} %");
        }
        let stream = |seed| {
            let mut client = Client::new(seed, 100, 50);
            (0..100).map(move |_| client.next()).collect::<Vec<_>>()
        };
        assert_eq!(stream(3), stream(3));
        assert_ne!(stream(3), stream(4));
    }
}
