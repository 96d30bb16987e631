//! The fuzzer: makes inputs from those that showed something new before.

use graft_rt::test::Numbers;

use crate::forkserver::coverage::{Coverage, EDGES};
use crate::forkserver::input::Input;

/// Most inputs that are kept.
const CORPUS_MAX: usize = 64;
/// Byte values at which programs often change their behaviour.
const INTERESTING: [u8; 10] = [0, 1, 2, 4, 16, 32, 64, 127, 128, 255];

/// The input to begin with: a picture of a line.
pub const FIRST: &[u8] = b"LINEP\x03\x80\x80\x80C\x03\x08\x08\x01G\x06L\x04\x01\x02\x03\x00";

/// A search. It has no pointers, so that it may stand in memory that processes share.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Fuzzer {
    numbers: Numbers,
    executions: u64,
    kept: usize,
    /// For each edge the classes of counts that were seen.
    seen: [u8; EDGES],
    input: Input,
    corpus: [Input; CORPUS_MAX],
}

impl Fuzzer {
    /// A search that has not begun. The seed determines all of it.
    pub const fn new(seed: u64) -> Fuzzer {
        Fuzzer {
            numbers: Numbers::new(seed),
            executions: 0,
            kept: 0,
            seen: [0; EDGES],
            input: Input::EMPTY,
            corpus: [Input::EMPTY; CORPUS_MAX],
        }
    }

    /// Makes the next input: first the one to begin with, then changes of what is kept.
    pub fn advance(&mut self) -> &Input {
        self.input = if self.kept == 0 { Input::new(FIRST) } else { self.changed() };
        self.executions += 1;
        &self.input
    }

    /// Notes what the input has led to, and keeps it if that is new.
    pub fn learn(&mut self, coverage: &Coverage) {
        let mut new = false;
        for (seen, class) in self.seen.iter_mut().zip(coverage.classes()) {
            new |= class & !*seen != 0;
            *seen |= class;
        }
        if new && let Some(place) = self.corpus.get_mut(self.kept) {
            *place = self.input;
            self.kept += 1;
        }
    }

    /// The input that was made last.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// How many inputs were made.
    pub fn executions(&self) -> u64 {
        self.executions
    }

    /// How many of them are kept.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// How many edges were seen.
    pub fn edges(&self) -> usize {
        self.seen.iter().filter(|classes| **classes != 0).count()
    }

    fn any_kept(&mut self) -> Input {
        self.corpus[self.numbers.below(self.kept)]
    }

    fn changed(&mut self) -> Input {
        let mut input = self.any_kept();
        loop {
            self.change(&mut input);
            if self.numbers.below(2) == 0 {
                return input;
            }
        }
    }

    fn change(&mut self, input: &mut Input) {
        let length = input.bytes().len();
        if length == 0 {
            *input = self.any_kept();
            return;
        }
        let at = self.numbers.below(length);
        let byte = &mut input.bytes_mut()[at];
        match self.numbers.below(8) {
            0 => *byte ^= 1 << self.numbers.below(8),
            1 => *byte = self.numbers.next() as u8,
            2..=4 => *byte = self.numbers.choose(&INTERESTING),
            5 => *byte = byte.wrapping_add(self.numbers.choose(&[1, 2, 5, 0xff, 0xfe])),
            6 => input.remove(at..(at + 1 + self.numbers.below(8)).min(length)),
            // A part of an input, put in once more.
            _ => {
                let from = self.any_kept();
                let bytes = from.bytes();
                let start = self.numbers.below(bytes.len());
                let end = (start + 1 + self.numbers.below(8)).min(bytes.len());
                input.insert(at, &bytes[start..end]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forkserver::table::Table;
    use crate::forkserver::target::run;
    use crate::forkserver::target::tests::Watched;

    /// Runs until the bug shows. Returns the number of executions, and the search.
    fn search(seed: u64, limit: u64) -> (Option<u64>, Fuzzer) {
        let table = Table::new(4).unwrap();
        let mut fuzzer = Fuzzer::new(seed);
        while fuzzer.executions() < limit {
            let (mut canvas, mut coverage) = (Watched::new(), Coverage::default());
            let _ = run(fuzzer.advance().bytes(), &table, &mut canvas, &mut coverage);
            if canvas.outside.is_some() {
                return (Some(fuzzer.executions()), fuzzer);
            }
            fuzzer.learn(&coverage);
        }
        (None, fuzzer)
    }

    #[test]
    fn the_bug_is_found_from_any_seed_but_not_by_luck() {
        for seed in 0..40 {
            let found = search(seed, 100_000).0;
            assert!(found.is_some_and(|executions| executions > 1000), "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn a_search_repeats_itself() {
        let (found, fuzzer) = search(1, 100_000);
        let (again, other) = search(1, 100_000);
        assert_eq!(found, again);
        assert_eq!(fuzzer.input(), other.input());
        assert_ne!(search(2, 100_000).0, found);
    }

    #[test]
    fn an_input_is_kept_if_it_shows_something_new() {
        let mut fuzzer = Fuzzer::new(1);
        let mut coverage = Coverage::default();
        fuzzer.advance();
        coverage.hit(crate::forkserver::coverage::Edge::Magic);
        fuzzer.learn(&coverage);
        fuzzer.learn(&coverage);
        assert_eq!((fuzzer.kept(), fuzzer.edges()), (1, 1));
        coverage.hit(crate::forkserver::coverage::Edge::Magic);
        fuzzer.learn(&coverage);
        assert_eq!((fuzzer.kept(), fuzzer.edges()), (2, 1));
    }
}
