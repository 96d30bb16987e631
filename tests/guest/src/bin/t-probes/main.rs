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

use graft_rt::test::depths::{self, Part};
use graft_rt::test::{Report, touch_stack_and_heap};
use graft_rt::{Arguments, Error};

graft_rt::program!(main);

const PARTS: [Part; 10] = [
    ("one side shrinks a mapping page by page and grows it again", ranges::shrinks),
    ("what was read-only at the fork becomes writable on one side only", ranges::read_only_at_fork),
    ("descriptors of every kind keep their bits through permissions, fork and split", bits::pages),
    ("reservations keep theirs", bits::reservations),
    ("thousands of mappings, each with its own permissions", crowds::thousands),
    ("many that are preempted at any moment see their own memory only", crowds::preempted),
    ("a process that is killed, whatever it is doing, is gone and nothing else", crowds::killed),
    ("a process that ends itself, or is ended by its child", crowds::self_inflicted),
    ("no page of any process is writable and executable", text::nowhere),
    ("text that becomes writable stops being text, and on one side only", text::exclusive),
];

fn main(arguments: Arguments) -> Result<i32, Error> {
    touch_stack_and_heap();
    depths::run(&Report::new(), arguments, &PARTS)
}
