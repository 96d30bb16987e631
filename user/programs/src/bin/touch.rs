//! Makes files that are not there: `touch NAME...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::files::{FileError, Files, Open};
use graft_rt::{Arguments, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    if arguments.get(1).is_none() {
        eprintln!("usage: touch NAME...");
        return Ok(2);
    }
    let files = Files::open()?;
    let mut status = 0;
    for name in arguments.skip(1) {
        if let Err(error) = files.open_file(name, Open::Append) {
            eprintln!("touch: {name}: {error}");
            status = 1;
        }
    }
    Ok(status)
}
