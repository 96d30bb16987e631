//! Tests discarding, moving, sharing and keeping memory from children, at every depth of sharing:
//! `t-memory [copy|l3|l2|l1]`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod discard;
mod family;
mod mixed;
mod moves;
mod reserved;
mod rights;

use core::ops::Range;

use graft_rt::abi::{EntryKind, EntryRecord};
use graft_rt::archive::{Archive, FileError};
use graft_rt::test::depths::{self, Part};
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, Region};

graft_rt::program!(main);

const PARTS: [Part; 15] = [
    ("discarded memory reads as zero, and its frames come back", discard::alone),
    ("one side discards, the other keeps its pages", discard::both_sides),
    ("only private memory is discarded, and all of it or none", discard::refused),
    ("memory moves with what it holds", moves::alone),
    ("one side moves memory, the other keeps it where it was", moves::both_sides),
    ("everything moves as what it is: holes, permissions, kinds", moves::carried),
    ("a move that is refused changes nothing", moves::refused),
    ("parent, child and grandchild share an object", family::generations),
    ("an object outlives its handles or its mappings, and goes with the last", family::lifetime),
    ("a child without the handle has the mapping, one without the mapping the handle", family::apart),
    ("a handle maps what its rights say, and a mapping gains nothing", rights::restricted),
    ("a child does not get what it is not to inherit", reserved::not_inherited),
    ("memory that is not inherited is private memory otherwise", reserved::kept),
    ("a tebibyte costs the path to what is touched", reserved::tebibyte),
    ("all kinds in one table: each keeps its promise, the neighbours stay shared", mixed::side_by_side),
];

/// The first argument of a copy that is started to be handed an object.
const HEIR: &str = "--heir";

fn main(arguments: Arguments) -> Result<i32, FileError> {
    if arguments.get(1) == Some(HEIR) {
        return Ok(family::heir(arguments.get(2).unwrap_or_default()));
    }
    let report = Report::new();
    let archive = Archive::open()?;
    let image = archive.file(arguments.get(0).unwrap_or_default())?;
    let frames = FreeFrames::now();
    family::handed_over(&report, image)?;
    frames.claim_same(&report, format_args!("objects handed to spawned programs"));
    report.done(format_args!("a spawned program shares an object that it was handed, as far as the handle goes"));
    drop(archive);
    Ok(depths::run(&report, arguments, &PARTS)?)
}

/// The addresses of a region.
const fn place(region: &Region) -> Range<usize> {
    region.address()..region.address() + region.bytes()
}

/// The most references to anything on the way to an address, tables only.
fn references(records: &[EntryRecord], address: usize) -> u32 {
    let leads_there = |record: &&EntryRecord| {
        let span = 1 << (39 - 9 * u32::from(record.level));
        record.kind == EntryKind::Table as u8 && (record.address..record.address + span).contains(&(address as u64))
    };
    records.iter().filter(leads_there).map(|record| record.references).max().unwrap_or(0)
}
