//! Which jobs a process is in, and which its children are born into: what its record holds of jobs.

use core::sync::atomic::{AtomicU32, Ordering};
use graft_abi::JOB_LEVELS;

/// The numbers of the jobs that a process is in, the outermost first; 0 behind the last.
///
/// Aligned to be copied in two words: every fork does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct Lineage([u32; JOB_LEVELS]);

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
    pub fn innermost(self) -> u32 {
        self.depth().checked_sub(1).map_or(0, |last| self.0[last])
    }

    /// With one more job in it, if there may be one.
    pub fn with(mut self, number: u32) -> Option<Lineage> {
        let depth = self.depth();
        *self.0.get_mut(depth)? = number;
        Some(self)
    }
}

/// The job, one level below a process's own, that its children are born into; 0: its own.
pub struct Births(AtomicU32);

impl Births {
    /// Into the process's own.
    pub const fn into_own() -> Births {
        Births(AtomicU32::new(0))
    }

    /// Into the job with this number from now on; 0 is the process's own.
    pub fn set(&self, number: u32) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The lineage of a child that is born now.
    #[inline(always)]
    pub fn lineage(&self, own: Lineage) -> Lineage {
        match self.0.load(Ordering::Relaxed) {
            0 => own,
            number => Births::within(own, number),
        }
    }

    #[cold]
    #[inline(never)]
    fn within(own: Lineage, number: u32) -> Lineage {
        own.with(number).unwrap_or(own)
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
        let births = Births(AtomicU32::new(9));
        assert_eq!(births.lineage(deepest), deepest);
        assert_eq!(births.lineage(Lineage::NONE), Lineage([9, 0, 0, 0]));
        assert_eq!(Births::into_own().lineage(deepest), deepest);
    }
}
