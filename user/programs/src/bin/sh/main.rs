//! The shell: `sh` reads lines from the console, `sh -c LINE` runs one.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod foreground;
mod interactive;
mod run;

use alloc::vec::Vec;

use graft_rt::archive::FileError;
use graft_rt::{Arguments, eprintln};

graft_rt::program!(main);

/// The status of a shell for a line with a syntax error, or for unknown arguments.
const USAGE: i32 = 2;

fn main(arguments: Arguments) -> Result<i32, FileError> {
    let words: Vec<&str> = arguments.skip(1).collect();
    let mut shell = run::Shell::new()?;
    match words[..] {
        [] => Ok(interactive::session(&mut shell)),
        ["-c", line] => {
            shell.run(line, &[]);
            Ok(shell.status)
        }
        _ => {
            eprintln!("usage: sh [-c LINE]");
            Ok(USAGE)
        }
    }
}
