//! Tests discarding, moving, sharing and keeping memory from children, at every depth of sharing: `t-memory [copy|l3|l2|l1]`.

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

use graft_rt::abi::{EntryKind, EntryRecord, PAGE_SIZE};
use graft_rt::archive::{Archive, FileError};
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, Error, Region, Share, eprintln};

graft_rt::program!(main);

/// What a part of the test gets.
#[derive(Clone, Copy)]
struct Test<'a> {
    report: &'a Report,
    share: Share,
}

type Part = (&'static str, fn(Test<'_>) -> Result<(), Error>);

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
    let chosen = match arguments.get(1) {
        None => None,
        Some(HEIR) => return Ok(family::heir(arguments.get(2).unwrap_or_default())),
        Some(name) => match Share::from_name(name) {
            Some(share) => Some(share),
            None => {
                eprintln!("usage: t-memory [copy|l3|l2|l1]");
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
    let archive = Archive::open()?;
    let image = archive.file(arguments.get(0).unwrap_or("t-memory"))?;
    let frames = FreeFrames::now();
    family::handed_over(&report, image)?;
    frames.claim_same(&report, format_args!("objects handed to spawned programs"));
    report.done(format_args!("a spawned program shares an object that it was handed, as far as the handle goes"));
    Ok(report.finish())
}

/// Where memory begins that is to span tables: one table below a level-2 boundary, and below another level-0 descriptor than what the
/// kernel places, so that level-1 tables are shared whatever is mapped there.
const EDGE: usize = (1 << 40) + (2 << 30) - (2 << 20);
/// The number of pages that one level-3 table maps.
const TABLE: usize = 512;

/// Memory over three level-3 tables and two level-2 tables, a mark in every page.
fn memory() -> Result<Region, Error> {
    let region = Region::at(EDGE, 5 << 20)?;
    region.fill(mark);
    Ok(region)
}

/// What a page holds in the beginning.
fn mark(page: usize) -> u8 {
    (page * 29 + 3) as u8
}

/// The first byte of a page.
const fn byte(page: usize) -> usize {
    page * PAGE_SIZE
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
