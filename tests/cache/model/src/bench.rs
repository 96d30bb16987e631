//! Measured stretches: clusters side by side, one that nothing empties and one for each stretch that begins empty.
//!
//! A program that measures reads the counter before and after what it measures. Every reading is a mark. Which two of
//! them belong together only the program knows, so there is a [`Span`] for every two that do not lie too far apart:
//!
//! ```text
//!   marks        a───────b─────────────c
//!   warm      ───────────────────────────────▶  never emptied: a span is a difference of its counts
//!   cold          └──────┴─────────────┴─────▶  emptied at a:  a to b, a to c
//!                        └─────────────┴─────▶  emptied at b:  b to c
//! ```

use crate::cluster::{Access, Cluster};
use crate::counts::Counts;
use crate::tlb::Scope;
use crate::walk::{Memory, Regime};
use std::collections::{BTreeMap, BTreeSet};

/// Readings that a measured stretch spans at most, its first one not counted.
const SPANNED: usize = 4;
/// Instructions that programs execute within a measured stretch at most: a stretch is a few calls or faults, and what
/// is executed in programs between them is little. After more, the program does something else.
const AT_EL0: u64 = 20_000;
/// Bits of an address within a page.
const PAGE_SHIFT: u32 = 12;

/// What was missed between two marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The counter at its start.
    pub begin: u64,
    /// The counter at its end.
    pub end: u64,
    /// With caches and TLBs emptied at the start.
    pub cold: Counts,
    /// With caches and TLBs as they were.
    pub warm: Counts,
    /// Which instructions missed what, cold; nothing unless that was asked for.
    pub missed: Vec<Missed>,
}

/// What the loads and stores of one instruction missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Its address.
    pub instruction: u64,
    /// Lines missed in L1D.
    pub l1d: u64,
    /// Of these, lines that came from memory.
    pub l2d: u64,
    /// Pages of 4 KiB in which the lines are.
    pub pages: u64,
}

/// Whether it is noted which instructions miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Counts alone.
    Counts,
    /// Instructions, too.
    Instructions,
}

/// Clusters that see the same accesses.
#[derive(Debug)]
pub struct Bench {
    warm: Cluster,
    /// The oldest mark first.
    cold: Vec<Begun>,
    /// Clusters that no mark needs any more.
    spare: Vec<Cluster>,
    regimes: Vec<Regime>,
    unwalked: u64,
    detail: Detail,
}

#[derive(Debug)]
struct Begun {
    counter: u64,
    cluster: Cluster,
    warm: Counts,
    at_el0: u64,
    missed: BTreeMap<u64, Lines>,
}

/// What one instruction missed, with the pages.
#[derive(Debug, Default)]
struct Lines {
    l1d: u64,
    l2d: u64,
    pages: BTreeSet<u64>,
}

impl Bench {
    /// A machine of so many cores.
    pub fn new(cores: usize, detail: Detail) -> Bench {
        Bench {
            warm: Cluster::new(cores),
            cold: Vec::new(),
            spare: (0..SPANNED).map(|_| Cluster::new(cores)).collect(),
            regimes: vec![Regime::default(); cores],
            unwalked: 0,
            detail,
        }
    }

    /// The counter was read: ends a span at each mark that is not too long ago, and begins one.
    pub fn mark(&mut self, counter: u64) -> Vec<Span> {
        let now = self.warm.counts();
        let spans = self.cold.iter().map(|begun| Span {
            begin: begun.counter,
            end: counter,
            cold: begun.cluster.counts(),
            warm: now - begun.warm,
            missed: begun.missed.iter().map(|(instruction, lines)| lines.of(*instruction)).collect(),
        });
        let spans = spans.collect();
        if self.cold.len() == SPANNED {
            self.retire(0);
        }
        let mut cluster = self.spare.pop().expect("there are as many clusters as marks are kept");
        cluster.empty();
        self.cold.push(Begun { counter, cluster, warm: now, at_el0: 0, missed: BTreeMap::new() });
        spans
    }

    fn retire(&mut self, number: usize) {
        let begun = self.cold.remove(number);
        self.unwalked += begun.cluster.unwalked();
        self.spare.push(begun.cluster);
    }

    fn each(&mut self, mut act: impl FnMut(&mut Cluster, &[Regime])) {
        act(&mut self.warm, &self.regimes);
        self.cold.iter_mut().for_each(|begun| act(&mut begun.cluster, &self.regimes));
    }

    /// A program, and not the kernel, executes so many instructions.
    #[inline]
    pub fn at_el0(&mut self, instructions: u64) {
        self.cold.iter_mut().for_each(|begun| begun.at_el0 += instructions);
        while self.cold.first().is_some_and(|oldest| oldest.at_el0 > AT_EL0) {
            self.retire(0);
        }
    }

    /// A core fetches instructions of one line.
    #[inline]
    pub fn fetch(&mut self, core: usize, address: u64, physical: u64, memory: &impl Memory) {
        self.each(|cluster, regimes| cluster.fetch(core, address, physical, &regimes[core], memory));
    }

    /// The instruction at an address loads from or stores to one line.
    #[inline]
    pub fn access(
        &mut self,
        core: usize,
        instruction: u64,
        access: Access,
        address: u64,
        physical: u64,
        memory: &impl Memory,
    ) {
        let regime = &self.regimes[core];
        self.warm.access(core, access, address, physical, regime, memory);
        for begun in &mut self.cold {
            let before = begun.cluster.counts();
            begun.cluster.access(core, access, address, physical, regime, memory);
            let Counts { l1d, l2d, .. } = begun.cluster.counts();
            if self.detail == Detail::Instructions && l1d > before.l1d {
                let lines = begun.missed.entry(instruction).or_default();
                lines.l1d += 1;
                lines.l2d += l2d - before.l2d;
                lines.pages.insert(physical >> PAGE_SHIFT);
            }
        }
    }

    /// Instruction caches lose everything: those of all cores, or one core's.
    pub fn empty_instruction_caches(&mut self, core: Option<usize>) {
        self.each(|cluster, _| cluster.empty_instruction_caches(core));
    }

    /// TLBs lose translations: those of all cores, or one core's.
    pub fn invalidate(&mut self, core: Option<usize>, scope: Scope) {
        self.each(|cluster, _| cluster.invalidate(core, scope));
    }

    /// The registers of one core that say how addresses are translated.
    pub fn regime(&self, core: usize) -> Regime {
        self.regimes[core]
    }

    /// Sets the registers of one core that say how addresses are translated.
    pub fn set_regime(&mut self, core: usize, regime: Regime) {
        self.regimes[core] = regime;
        self.each(|cluster, _| cluster.switch(core));
    }

    /// As [`Cluster::unwalked`], of all clusters.
    pub fn unwalked(&self) -> u64 {
        self.unwalked + self.warm.unwalked() + self.cold.iter().map(|begun| begun.cluster.unwalked()).sum::<u64>()
    }
}

impl Lines {
    fn of(&self, instruction: u64) -> Missed {
        Missed { instruction, l1d: self.l1d, l2d: self.l2d, pages: self.pages.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTRUCTION: u64 = 0x400;

    /// Maps nothing: what is counted here are lines.
    struct NoTables;

    impl Memory for NoTables {
        fn descriptor(&self, _: u64) -> u64 {
            0
        }
    }

    fn load(bench: &mut Bench, line: u64) {
        bench.access(0, INSTRUCTION, Access::Load, line << 6, line << 6, &NoTables);
    }

    fn l1d(span: &Span) -> (u64, u64, u64, u64) {
        (span.begin, span.end, span.cold.l1d, span.warm.l1d)
    }

    #[test]
    fn a_span_begins_with_empty_caches_and_beside_it_as_they_were() {
        let mut bench = Bench::new(1, Detail::Counts);
        [1, 2].into_iter().for_each(|line| load(&mut bench, line));
        assert_eq!(bench.mark(100), []);
        [1, 2, 3, 1].into_iter().for_each(|line| load(&mut bench, line));
        let spans = bench.mark(200);
        assert_eq!(spans.iter().map(l1d).collect::<Vec<_>>(), [(100, 200, 3, 1)]);
        load(&mut bench, 3);
        let spans = bench.mark(300);
        assert_eq!(spans.iter().map(l1d).collect::<Vec<_>>(), [(100, 300, 3, 1), (200, 300, 1, 0)]);
    }

    #[test]
    fn caches_that_an_older_mark_has_used_are_emptied_for_a_newer_one() {
        let mut bench = Bench::new(1, Detail::Counts);
        for counter in 1..=2 * SPANNED as u64 {
            bench.mark(counter);
            load(&mut bench, counter);
        }
        let newest = bench.mark(100).pop().map(|span| span.cold.l1d);
        assert_eq!(newest, Some(1), "one load since the newest mark");
    }

    #[test]
    fn an_instruction_is_told_with_what_it_missed_and_in_how_many_pages() {
        let mut bench = Bench::new(1, Detail::Instructions);
        load(&mut bench, 1);
        bench.mark(100);
        [1, 2, 2, 64].into_iter().for_each(|line| load(&mut bench, line));
        bench.access(0, INSTRUCTION + 4, Access::Store, 1 << 6, 1 << 6, &NoTables);
        let missed = bench.mark(200).remove(0).missed;
        assert_eq!(missed, [Missed { instruction: INSTRUCTION, l1d: 3, l2d: 3, pages: 2 }]);
    }

    #[test]
    fn old_marks_are_forgotten() {
        let mut bench = Bench::new(1, Detail::Counts);
        let begins = |spans: Vec<Span>| spans.iter().map(|span| span.begin).collect::<Vec<_>>();
        let last: Vec<_> = (1..=6).map(|counter| begins(bench.mark(counter))).collect();
        assert_eq!(last[5], [2, 3, 4, 5]);
        bench.at_el0(AT_EL0 / 2);
        assert_eq!(begins(bench.mark(7)), [3, 4, 5, 6]);
        bench.at_el0(AT_EL0 / 2 + 1);
        assert_eq!(begins(bench.mark(8)), [7]);
    }
}
