//! The published litmus tests of Arm's relaxed virtual memory, run on the model's MMU: does it allow what the
//! architecture allows, and nothing that the architecture forbids?
//!
//! The TLBs are the model's ([`Machine`](crate::machine::Machine)), which keep everything they ever saw until an
//! invalidation that reaches it. The cores around them are as weak as the tests need:
//!
//! - a store waits in a buffer, which stores to different places leave in any order unless a barrier lies between them;
//!   an invalidation waits there, too, and only `dsb` waits for its end;
//! - a load may be satisfied at any moment since the last barrier before it;
//! - a walk may also read stores that wait in its own core's buffer;
//! - an address may have been translated, or found untranslatable, at any moment since the last context synchronisation
//!   (`isb`, exception, `eret`) that the architecture orders it after. What such a walk found stays valid for that
//!   access even if another core's invalidation ends meanwhile, but then the access itself came before the
//!   invalidation.
//!
//! Time counts the events that other cores can see: a store that leaves a buffer, an invalidation. Every order of them
//! is tried.

mod access;
mod explore;
mod program;
mod state;

use std::collections::BTreeMap;

use graft_paging::{Frame, Memory};

use program::Test;

const PUBLISHED: &str = include_str!("published.txt");

/// Stores a descriptor into a table that only this test has.
#[expect(unsafe_code, reason = "frames of the model")]
fn put(memory: &impl Memory, table: Frame, index: usize, raw: u64) {
    // SAFETY: no tree has these tables, and nothing is counted in them.
    unsafe { memory.store(table, index, raw) };
}

/// The value that a fault leaves in a register.
const FAULT: u64 = u64::MAX;
/// An invalid descriptor that is not 0.
const OTHER_INVALID: u64 = 2;
/// The address space identifier that all threads run under.
const ASID: u16 = 1;

type Time = usize;
/// A place in memory, by its number in [`Test::places`].
type Place = usize;

/// A machine that is wrong in one way: the tests must fail on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    /// The TLBs keep nothing.
    Forgetful,
    /// The TLBs do not hear of invalidations.
    Deaf,
    /// A context synchronisation orders nothing.
    Unsynchronised,
    /// A `dsb` does not wait.
    Hasty,
    /// Walks happen in program order.
    Prompt,
}

fn published() -> Vec<Test> {
    let mut texts: Vec<String> = Vec::new();
    for line in PUBLISHED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(' ') {
            let last = texts.last_mut().expect("a test begins with its name");
            last.push('\n');
            last.push_str(line);
        } else {
            texts.push(line.into());
        }
    }
    texts.iter().map(|text| Test::parse(text)).collect()
}

/// Whether the verdict of a test on the machine, possibly a wrong one, agrees with the published one.
fn agrees(mut test: Test, planted: Option<Planted>) -> Result<(), String> {
    test.planted = planted;
    let verdict = if test.is_possible() { "allowed" } else { "forbidden" };
    if verdict == test.verdict { Ok(()) } else { Err(format!("{}: {}, here {verdict}", test.name, test.verdict)) }
}

#[test]
fn the_published_litmus_tests_have_their_verdicts() {
    let (judged, others): (Vec<Test>, Vec<Test>) = published().into_iter().partition(|test| test.remark.is_none());
    let total = judged.len();
    let wrong: Vec<String> = judged.into_iter().filter_map(|test| agrees(test, None).err()).collect();
    println!("litmus: agreement {} of {total}", total - wrong.len());
    for kind in ["disputed", "none"] {
        let remarks = others.iter().filter_map(|test| test.remark.as_ref()).filter(|(of, _)| of == kind);
        let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
        remarks.for_each(|(_, reason)| *reasons.entry(reason).or_default() += 1);
        for (reason, number) in reasons {
            println!("litmus: {number} {}: {reason}", if kind == "none" { "not expressed" } else { kind });
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_published_litmus_tests_notice_a_wrong_mmu() {
    use Planted::{Deaf, Forgetful, Hasty, Prompt, Unsynchronised};
    for planted in [Forgetful, Deaf, Unsynchronised, Hasty, Prompt] {
        let judged = published().into_iter().filter(|test| test.remark.is_none());
        let wrong = judged.filter_map(|test| agrees(test, Some(planted)).err()).count();
        println!("litmus: {planted:?}: {wrong} verdicts change");
        assert!(wrong > 0, "{planted:?}");
    }
}
