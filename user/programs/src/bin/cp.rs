//! Copies a file, maybe into a directory: `cp FROM TO`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::{ToolError, about, destination};
use graft_rt::files::{Files, Open, WINDOW};
use graft_rt::{Arguments, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let (Some(from), Some(to), None) = (arguments.get(1), arguments.get(2), arguments.get(3)) else {
        eprintln!("usage: cp FROM TO");
        return Ok(2);
    };
    let files = Files::open()?;
    let source = about(from, files.open_file(from, Open::Read))?.number;
    let to = &destination(&files, from, to)?;
    let copy = about(to, files.open_file(to, Open::Replace))?.number;
    let mut place = 0;
    let mut buffer = [0; WINDOW];
    loop {
        let count = about(from, files.read(source, place, &mut buffer))?;
        if count == 0 {
            return Ok(0);
        }
        about(to, files.write(copy, place, &buffer[..count]))?;
        place += count as u64;
    }
}
