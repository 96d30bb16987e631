//! Tests what broke other kernels that share translation tables, at every depth of sharing: `t-probes [copy|l3|l2|l1]`.
//!
//! | what went wrong elsewhere | where it is tested |
//! |---|---|
//! | fork of a fork, the middle one ends first | `t-fork`, family.rs |
//! | a child unmaps inside a shared table | `t-fork`, ranges.rs |
//! | a child discards inside a shared table | `t-memory`, discard.rs |
//! | a child shrinks a mapping inside a shared table | here, ranges.rs |
//! | read-only memory made writable, then written, in child and parent | here, ranges.rs; the way there and back: `t-fork`, ranges.rs |
//! | a system call stores its result into a shared page | `t-fork`, stores.rs |
//! | the parent breaks a level-2 table, the child ends untouched, the memory is used again | `t-fork`, writes.rs |
//! | a second fork while the first child lives; two, twelve children | `t-fork`, family.rs |
//! | the parent writes before each of ten live forks | `t-fork`, writes.rs |
//! | 1,500 times fork, write, exit lose no frame | `t-leak` |
//! | a read after fork faults or zero-fills | `t-fork`, reads.rs |
//! | a permission change loses software's bits | here, bits.rs |
//! | more mappings than any buffer | here, crowds.rs |
//! | an interrupt between the switch of the root and that of the current thread | here, crowds.rs |
//! | a killed process takes its stack from under itself | here, crowds.rs |
//! | text is writable, or writable memory executable | here, text.rs; stores into text: `t-hostile` |
//! | a part of the machine's memory is not used | the host's `all of the memory is used`; to the last frame: `t-oom` |

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod bits;
mod crowds;
mod ranges;
#[allow(unsafe_code)]
mod text;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap};
use graft_rt::{Arguments, Error, Region, Share, eprintln};

graft_rt::program!(main);

/// What a part of the test gets.
#[derive(Clone, Copy)]
struct Test<'a> {
    report: &'a Report,
    share: Share,
}

type Part = (&'static str, fn(Test<'_>) -> Result<(), Error>);

const PARTS: [Part; 10] = [
    ("one side shrinks a mapping page by page and grows it again", ranges::shrinks),
    ("what was read-only at the fork becomes writable on one side only", ranges::read_only_at_fork),
    ("descriptors of every kind keep their bits through permissions, fork and split", bits::pages),
    ("reservations keep theirs", bits::reservations),
    ("thousands of mappings, each with its own permissions", crowds::thousands),
    ("many that are preempted at any moment see their own memory only", crowds::preempted),
    ("whoever is killed, whatever it is doing, is gone and nothing else", crowds::killed),
    ("a process that ends itself, or is ended by its child", crowds::self_inflicted),
    ("no page of any process is writable and executable", text::nowhere),
    ("text that becomes writable stops being text, and on one side only", text::exclusive),
];

fn main(arguments: Arguments) -> Result<i32, Error> {
    let chosen = match arguments.get(1) {
        None => None,
        Some(name) => match Share::from_name(name) {
            Some(share) => Some(share),
            None => {
                eprintln!("usage: t-probes [copy|l3|l2|l1]");
                return Ok(2);
            }
        },
    };
    let report = Report::new();
    touch_stack_and_heap();
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
    (page * 23 + 11) as u8
}

/// The first byte of a page.
const fn byte(page: usize) -> usize {
    page * PAGE_SIZE
}
