//! Tests what fork promises, at every depth of sharing: `t-fork [copy|l3|l2|l1]`.
//!
//! Each part is a bug that this kind of fork has had somewhere.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod family;
mod ranges;
mod reads;
#[allow(unsafe_code)]
mod stores;
mod writes;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, Error, Region, Share, eprintln};

graft_rt::program!(main);

/// Where memory begins that is to span tables: 4 MiB below a level-2 boundary.
const EDGE: usize = (0x2 << 32) - (4 << 20);

/// What a part of the test gets.
#[derive(Clone, Copy)]
struct Test<'a> {
    report: &'a Report,
    share: Share,
}

type Part = (&'static str, fn(Test<'_>) -> Result<(), Error>);

const PARTS: [Part; 19] = [
    ("parent and child write without seeing each other's writes", writes::isolated),
    ("the last owner writes on, and nobody who reads is left", writes::last_owner),
    ("the parent writes between ten forks, each child sees its own moment", writes::moments),
    ("the parent splits, the child ends untouched, the memory is used again", writes::reused),
    ("writes by both to one page, in both orders", writes::same_page),
    ("a read after fork takes no fault and zeroes nothing", reads::no_fault),
    ("untouched memory is zero on both sides and stays apart", reads::untouched),
    ("fork of a fork, the middle one ends first", family::middle_ends_first),
    ("a chain of forks, each with its own write", family::chain),
    ("a second fork while the first child lives", family::second),
    ("twelve children alive at once", family::twelve),
    ("a child ends while another one splits", family::exit_against_split),
    ("the child unmaps, the parent keeps its pages", ranges::child_unmaps),
    ("the parent unmaps, the child keeps its pages", ranges::parent_unmaps),
    ("permissions change on one side only, down and up again", ranges::protect),
    ("new memory in a shared table is new on one side only", ranges::remap),
    ("memory ends on the edges of tables", ranges::edges),
    ("more mappings than any buffer holds", ranges::many),
    ("a system call stores its result into shared memory", stores::results),
];

fn main(arguments: Arguments) -> Result<i32, Error> {
    let chosen = match arguments.get(1) {
        None => None,
        Some(name) => match Share::from_name(name) {
            Some(share) => Some(share),
            None => {
                eprintln!("usage: t-fork [copy|l3|l2|l1]");
                return Ok(2);
            }
        },
    };
    let report = Report::new();
    for share in Share::ALL.into_iter().filter(|share| chosen.is_none_or(|chosen| chosen == *share)) {
        let test = Test { report: &report, share };
        for (what, part) in PARTS {
            let frames = FreeFrames::now();
            part(test)?;
            frames.claim_same(&report, format_args!("--share {}: {what}", share.name()));
            report.done(format_args!("--share {}: {what}", share.name()));
        }
    }
    Ok(report.finish())
}

/// Memory over several level-3 tables and two level-2 tables, a mark in every page.
fn memory() -> Result<Region, Error> {
    let region = Region::at(EDGE, 9 << 20)?;
    region.fill(mark);
    Ok(region)
}

/// What a page holds in the beginning.
fn mark(page: usize) -> u8 {
    (page * 31 + 7) as u8
}

/// The first byte of a page.
const fn byte(page: usize) -> usize {
    page * PAGE_SIZE
}

/// The number of pages that one level-3 table maps.
const TABLE: usize = 512;
