//! Lists the processes with their time and their memory: `ps`.
//!
//! PRI is the highest priority of its threads, a caller's included for which one works. CPU TIME is in seconds, or in
//! minutes and hours; FOR CALLERS is the part of it that the process has worked for processes that have called it.
//! RESIDENT counts shared pages as if they were the process's alone; PRIVATE counts only pages and tables that no other
//! process reaches; PROPORT'L is the process's part of all that it reaches: over all processes, it adds up to what is
//! in use.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_lib::usage;
use graft_programs::sample;
use graft_rt::{Arguments, Error, eprintln, println};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, Error> {
    if arguments.get(1).is_some() {
        eprintln!("usage: ps");
        return Ok(2);
    }
    for line in usage::list(&sample()?) {
        println!("{line}");
    }
    Ok(0)
}
