//! What programs know without a system, hence tested on the host.
//!
//! ```text
//!   calendar     date                     seconds as dates
//!   console      console                  lines as they are typed, and what the terminal answers
//!   device_tree  drivers, clock           what the device tree says about a device
//!   files        files                    names, directories and contents in memory
//!   names        names                    who may ask for which name, and what it gets
//!   plan         init                     what is started, with which handles, and what follows its death
//!   shell        sh                       editing a line, reading a script, what its words become
//!   kvd          kvd                      its store, its client, the snapshot's image, latencies
//!   forkserver   forkserver               a target with a planted bug, and a fuzzer that finds it
//!   table_view   vmmap, forkdemo, tests   translation tables as trees, pictures, listings; checks
//!   timeline     trace                    what the cores have done: a picture in characters, JSON for a viewer
//!   usage        ps, top                  who uses the machine's time and memory
//! ```
//!
//! No module imports another, and none does input or output.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod calendar;
pub mod console;
pub mod device_tree;
pub mod files;
pub mod forkserver;
pub mod kvd;
pub mod names;
pub mod plan;
pub mod shell;
pub mod table_view;
pub mod timeline;
pub mod usage;
