//! Takes names of files and of empty directories away: `rm NAME...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::files::{FileError, Files};
use graft_rt::{Arguments, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    if arguments.get(1).is_none() {
        eprintln!("usage: rm NAME...");
        return Ok(2);
    }
    let files = Files::open()?;
    let mut status = 0;
    for name in arguments.skip(1) {
        if let Err(error) = files.unlink(name) {
            eprintln!("rm: {name}: {error}");
            status = 1;
        }
    }
    Ok(status)
}
