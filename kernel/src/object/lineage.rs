//! Which jobs a process is in, and which its children are born into: what its record holds of jobs.

use core::sync::atomic::{AtomicU64, Ordering};
use graft_abi::JOB_LEVELS;

/// The numbers of the jobs that a process is in, the outermost first; 0 behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage([u64; JOB_LEVELS]);

impl Lineage {
    /// Of no job.
    pub const NONE: Lineage = Lineage([0; JOB_LEVELS]);

    /// How many jobs.
    pub fn depth(self) -> usize {
        self.0.iter().take_while(|&&number| number != 0).count()
    }

    /// Whether what has this lineage is of a job.
    pub fn is_in(self, job: Lineage) -> bool {
        self.0[..job.depth()] == job.0[..job.depth()]
    }

    /// The number of the job that is in all the others; 0 of none.
    pub fn innermost(self) -> u64 {
        self.depth().checked_sub(1).map_or(0, |last| self.0[last])
    }

    /// With one more job in it, if there may be one.
    pub fn with(mut self, number: u64) -> Option<Lineage> {
        let depth = self.depth();
        *self.0.get_mut(depth)? = number;
        Some(self)
    }
}

/// A number with this mark is of a job that the process is not in itself. No job's number is so high.
const BIRTHS: u64 = 1 << 63;

/// The jobs that a process is in, and below them perhaps one more that its children are born into.
///
/// Of the words only that one changes, so a birth may read them meanwhile. A fork copies them.
pub struct Jobs([AtomicU64; JOB_LEVELS]);

impl Jobs {
    /// Those of a process whose children are born into its own.
    #[inline(always)]
    pub const fn new(Lineage([a, b, c, d]): Lineage) -> Jobs {
        Jobs([AtomicU64::new(a), AtomicU64::new(b), AtomicU64::new(c), AtomicU64::new(d)])
    }

    /// The process's own.
    pub fn own(&self) -> Lineage {
        let number = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Lineage(self.0.each_ref().map(|word| if number(word) & BIRTHS == 0 { number(word) } else { 0 }))
    }

    /// Those of a child that is born now.
    #[inline(always)]
    pub fn of_births(&self) -> Lineage {
        let [a, b, c, d] = self.0.each_ref().map(|word| word.load(Ordering::Relaxed) & !BIRTHS);
        Lineage([a, b, c, d])
    }

    /// Has children be born into the job with this number below the process's own from now on; 0: into its own.
    ///
    /// Where the process is in as many as can be in each other, there is no other than 0.
    pub fn set_births(&self, number: u64) {
        if let Some(word) = self.0.get(self.own().depth()) {
            word.store(if number == 0 { 0 } else { number | BIRTHS }, Ordering::Relaxed);
        }
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
        let deepest = (1..=JOB_LEVELS as u64).fold(Lineage::NONE, |lineage, number| lineage.with(number).unwrap());
        assert_eq!((deepest.depth(), deepest.with(9)), (JOB_LEVELS, None));
        let jobs = Jobs::new(deepest);
        jobs.set_births(9);
        assert_eq!((jobs.own(), jobs.of_births()), (deepest, deepest));
    }

    #[test]
    fn children_are_born_where_their_maker_says() {
        let own = Lineage::NONE.with(7).unwrap();
        let jobs = Jobs::new(own);
        assert_eq!((jobs.own(), jobs.of_births()), (own, own));
        jobs.set_births(9);
        assert_eq!((jobs.own(), jobs.of_births()), (own, own.with(9).unwrap()));
        jobs.set_births(10);
        assert_eq!((jobs.own(), jobs.of_births()), (own, own.with(10).unwrap()));
        jobs.set_births(0);
        assert_eq!((jobs.own(), jobs.of_births()), (own, own));
    }
}
