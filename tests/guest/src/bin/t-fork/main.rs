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

use graft_rt::test::Report;
use graft_rt::test::depths::{self, Part};
use graft_rt::{Arguments, Error, Region};

graft_rt::program!(main);

/// Where memory begins that is to span tables: 4 MiB below a level-2 boundary.
const EDGE: usize = (0x2 << 32) - (4 << 20);

const PARTS: [Part; 19] = [
    ("parent and child write without seeing each other's writes", writes::isolated),
    ("the last owner writes on after the readers have ended", writes::last_owner),
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
    depths::run(&Report::new(), arguments, &PARTS)
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
