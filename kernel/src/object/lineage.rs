//! Which jobs a process is in, and which its children are born into: what its record holds of jobs.

use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::JOB_LEVELS;

const NUMBER_BITS: usize = 32;
const WORDS: usize = JOB_LEVELS * NUMBER_BITS / 64;

/// The numbers of the jobs that a process is in, the outermost first; 0 behind the last. Two to a word, the outer one
/// low: every fork copies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage([u64; WORDS]);

impl Lineage {
    /// Of no job.
    pub const NONE: Lineage = Lineage([0; WORDS]);

    fn numbers(self) -> [u32; JOB_LEVELS] {
        core::array::from_fn(|level| (self.0[level / 2] >> (level % 2 * NUMBER_BITS)) as u32)
    }

    /// How many jobs.
    pub fn depth(self) -> usize {
        self.numbers().iter().take_while(|&&number| number != 0).count()
    }

    /// Whether what has this lineage is of a job.
    pub fn is_in(self, job: Lineage) -> bool {
        let depth = job.depth();
        self.numbers()[..depth] == job.numbers()[..depth]
    }

    /// With one more job in it, if there may be one.
    pub fn with(mut self, number: u32) -> Option<Lineage> {
        let depth = self.depth();
        *self.0.get_mut(depth / 2)? |= u64::from(number) << (depth % 2 * NUMBER_BITS);
        Some(self)
    }
}

/// The lineage of the children that a process makes: its own, or that of a job one level below.
///
/// So no more than one number of it ever changes, which lies in one word: a birth may read it meanwhile.
pub struct Births([AtomicU64; WORDS]);

impl Births {
    /// Into the jobs that the process itself is in.
    #[inline(always)]
    pub const fn into_own(own: Lineage) -> Births {
        let Lineage([outer, inner]) = own;
        Births([AtomicU64::new(outer), AtomicU64::new(inner)])
    }

    /// Into these from now on.
    pub fn set(&self, lineage: Lineage) {
        self.0.iter().zip(lineage.0).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
    }

    /// The lineage of a child that is born now.
    #[inline(always)]
    pub fn lineage(&self) -> Lineage {
        let [outer, inner] = &self.0;
        Lineage([outer.load(Ordering::Relaxed), inner.load(Ordering::Relaxed)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_is_of_the_jobs_that_it_begins_with() {
        let outer = Lineage::NONE.with(7).unwrap();
        let inner = outer.with(12).unwrap();
        assert!(inner.is_in(inner) && inner.is_in(outer) && outer.is_in(outer) && inner.is_in(Lineage::NONE));
        assert!(!outer.is_in(inner) && !Lineage::NONE.is_in(outer));
        assert!(!outer.with(13).unwrap().is_in(inner) && !Lineage::NONE.with(12).unwrap().is_in(outer));
        assert_eq!((outer.depth(), inner.depth(), Lineage::NONE.depth()), (1, 2, 0));
    }

    #[test]
    fn jobs_are_in_each_other_no_deeper_than_there_are_levels() {
        let deepest = (1..=JOB_LEVELS as u32).fold(Lineage::NONE, |lineage, number| lineage.with(number).unwrap());
        assert_eq!((deepest.depth(), deepest.with(9)), (JOB_LEVELS, None));
    }

    #[test]
    fn children_are_born_where_their_maker_says() {
        let own = Lineage::NONE.with(7).unwrap();
        let births = Births::into_own(own);
        assert_eq!(births.lineage(), own);
        births.set(own.with(9).unwrap());
        assert_eq!(births.lineage().numbers(), [7, 9, 0, 0]);
        births.set(own);
        assert_eq!(births.lineage(), own);
    }
}
