//! How a boot that cannot work has to end, and bytes that make it so.

use crate::harness::runner::{Outcome, Report};
use crate::harness::session::Ended;
use crate::harness::verdict::{Expected, Status};

/// Most lines that the kernel may write when it cannot start: its name and version, and the reason.
const MOST_LINES: usize = 2;

/// Judges a boot that cannot work: status 1, few lines, and `word` in one of them.
pub(super) fn refused(ended: &Ended, word: &str) -> Outcome {
    Expected::status(Status::Is(1)).judge(ended)?;
    let is_guests = |line: &&str| !line.is_empty() && !line.contains(": warning: bcm2711 dtc: ");
    let lines: Vec<_> = ended.output.lines().map(str::trim).filter(is_guests).collect();
    if lines.len() > MOST_LINES {
        return Err(format!("{} lines of output, expected at most {MOST_LINES}", lines.len()).into());
    }
    match lines.iter().find(|line| line.to_lowercase().contains(word)) {
        Some(line) => Ok(Report::noted(*line)),
        None => Err(format!("no line about {word:?}").into()),
    }
}

/// Bytes without meaning, the same in every run.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
