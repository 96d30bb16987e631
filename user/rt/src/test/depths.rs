//! Tests that are repeated at every depth of sharing, and memory for them that spans tables.

use graft_abi::{Error, PAGE_SIZE, Share};

use super::{FreeFrames, Report};
use crate::memory::Region;
use crate::start::Arguments;

/// What a part of such a test gets.
#[derive(Clone, Copy, Debug)]
pub struct Test<'a> {
    /// Where its claims go.
    pub report: &'a Report,
    /// How much its forks share.
    pub share: Share,
}

/// A part: what it claims, and the claims.
pub type Part = (&'static str, fn(Test<'_>) -> Result<(), Error>);

/// Runs every part at the depth that the first argument names, or at each depth if there is no argument. Each part must
/// leave as many frames free as it found. Returns the program's exit code.
pub fn run(report: &Report, arguments: Arguments, parts: &[Part]) -> Result<i32, Error> {
    let chosen = match arguments.get(1) {
        None => None,
        Some(name) => match Share::from_name(name) {
            Some(share) => Some(share),
            None => {
                crate::eprintln!("usage: {} [copy|l3|l2|l1]", arguments.get(0).unwrap_or_default());
                return Ok(2);
            }
        },
    };
    for share in Share::ALL.into_iter().filter(|share| chosen.is_none_or(|chosen| chosen == *share)) {
        for (what, part) in parts {
            let frames = FreeFrames::now();
            part(Test { report, share })?;
            frames.claim_same(report, format_args!("--share {}: {what}", share.name()));
            report.done(format_args!("--share {}: {what}", share.name()));
        }
    }
    Ok(report.finish())
}

/// Where memory begins that is to span tables: one table below a level-2 boundary, and under another level-0 descriptor
/// than the mappings that the kernel places, so that level-1 tables are shared, whatever those mappings are.
pub const EDGE: usize = (1 << 40) + (2 << 30) - (2 << 20);

/// The number of pages that one level-3 table maps.
pub const TABLE: usize = 512;

/// The first byte of a page.
pub const fn byte(page: usize) -> usize {
    page * PAGE_SIZE
}

/// What a page of [`memory`] holds in the beginning.
pub const fn mark(page: usize) -> u8 {
    (page * 29 + 3) as u8
}

/// Memory over three level-3 tables and two level-2 tables, from [`EDGE`] on, a mark in every page.
pub fn memory() -> Result<Region, Error> {
    let region = Region::at(EDGE, 5 << 20)?;
    region.fill(mark);
    Ok(region)
}
