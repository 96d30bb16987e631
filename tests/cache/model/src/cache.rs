//! A set-associative cache of lines by their physical address, in which the least recently used line makes room.

/// How a cache is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Number of sets, a power of two.
    pub sets: usize,
    /// Lines in each set.
    pub ways: usize,
}

impl Geometry {
    /// L1 data cache of a Cortex-A72: 32 KiB (TRM 6.1).
    pub const L1D: Geometry = Geometry { sets: 256, ways: 2 };
    /// L1 instruction cache of a Cortex-A72: 48 KiB (TRM 6.1).
    pub const L1I: Geometry = Geometry { sets: 256, ways: 3 };
    /// L2 cache of the BCM2711: 1 MiB (TRM 7.1 for the ways).
    pub const L2: Geometry = Geometry { sets: 1024, ways: 16 };
}

/// What a cache did with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// The line was there.
    Hit,
    /// The line was not there, and is now.
    Miss {
        /// The line that made room.
        evicted: Option<u64>,
    },
}

/// The lines that a cache holds, without their content. A line is a physical address shifted by [`crate::LINE_SHIFT`].
#[derive(Clone, Debug)]
pub struct Cache {
    geometry: Geometry,
    /// Set by set, in each the most recently used first.
    lines: Vec<u64>,
}

/// Stands for no line: no physical address is as long.
const NONE: u64 = u64::MAX;

impl Cache {
    /// An empty cache.
    ///
    /// # Panics
    /// If the number of sets is not a power of two, or there are no ways.
    pub fn new(geometry: Geometry) -> Cache {
        assert!(geometry.sets.is_power_of_two() && geometry.ways > 0, "{geometry:?} is no cache");
        Cache { geometry, lines: vec![NONE; geometry.sets * geometry.ways] }
    }

    fn set(&mut self, line: u64) -> &mut [u64] {
        let Geometry { sets, ways } = self.geometry;
        let first = (line as usize & (sets - 1)) * ways;
        &mut self.lines[first..first + ways]
    }

    /// Makes a line the most recently used one of its set.
    #[inline]
    pub fn touch(&mut self, line: u64) -> Touched {
        let set = self.set(line);
        if set[0] == line {
            return Touched::Hit;
        }
        let found = set.iter().position(|held| *held == line);
        let last = found.unwrap_or(set.len() - 1);
        let evicted = set[last];
        set.copy_within(..last, 1);
        set[0] = line;
        match found {
            Some(_) => Touched::Hit,
            None => Touched::Miss { evicted: (evicted != NONE).then_some(evicted) },
        }
    }

    /// Whether a line is there; changes nothing.
    pub fn holds(&mut self, line: u64) -> bool {
        self.set(line).contains(&line)
    }

    /// Removes a line, if it is there.
    pub fn remove(&mut self, line: u64) {
        let set = self.set(line);
        if let Some(place) = set.iter().position(|held| *held == line) {
            set.copy_within(place + 1.., place);
            *set.last_mut().expect("a set has ways") = NONE;
        }
    }

    /// Removes every line.
    pub fn empty(&mut self) {
        self.lines.fill(NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLD: Touched = Touched::Miss { evicted: None };

    fn evicting(line: u64) -> Touched {
        Touched::Miss { evicted: Some(line) }
    }

    #[test]
    fn the_least_recently_used_line_of_a_set_makes_room() {
        // Lines 0, 4, 8 and 12 share set 0 of four.
        let mut cache = Cache::new(Geometry { sets: 4, ways: 2 });
        let sequence = [0, 4, 0, 8, 4, 0, 12];
        let expected = [COLD, COLD, Touched::Hit, evicting(4), evicting(0), evicting(8), evicting(4)];
        assert_eq!(sequence.map(|line| cache.touch(line)), expected);
        assert!(cache.holds(0) && cache.holds(12) && !cache.holds(4));
    }

    #[test]
    fn sets_do_not_disturb_each_other() {
        let mut cache = Cache::new(Geometry { sets: 4, ways: 1 });
        assert_eq!([0, 1, 2, 3, 0, 1, 2, 3].map(|line| cache.touch(line) == Touched::Hit)[4..], [true; 4]);
        assert_eq!(cache.touch(5), evicting(1));
    }

    #[test]
    fn three_ways_are_a_rotation() {
        let mut cache = Cache::new(Geometry { sets: 1, ways: 3 });
        let rounds: Vec<_> = [1, 2, 3, 4, 1, 2, 3, 4].into_iter().map(|line| cache.touch(line)).collect();
        assert_eq!(rounds[..3], [COLD; 3]);
        assert_eq!(rounds[3..], [1, 2, 3, 4, 1].map(evicting), "four lines in turn never hit three ways");
    }

    #[test]
    fn a_removed_line_leaves_room_that_nothing_has_to_make() {
        let mut cache = Cache::new(Geometry { sets: 1, ways: 2 });
        cache.touch(1);
        cache.touch(2);
        cache.remove(1);
        cache.remove(7);
        assert_eq!((cache.touch(3), cache.touch(2)), (COLD, Touched::Hit));
        cache.empty();
        assert_eq!(cache.touch(2), COLD);
    }

    #[test]
    fn the_processors_caches_hold_as_many_bytes_as_their_manual_says() {
        let bytes = |Geometry { sets, ways }| (sets * ways) << crate::LINE_SHIFT;
        assert_eq!([Geometry::L1D, Geometry::L1I, Geometry::L2].map(bytes), [32 << 10, 48 << 10, 1 << 20]);
    }
}
