//! Prints the last lines: `tail [-n LINES] [NAME]`; without a name, of its input.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::{ToolError, about};
use graft_rt::files::Files;
use graft_rt::{Arguments, eprintln, stream};

graft_rt::program!(main);

/// Lines that are printed unless another number is given.
const LINES: usize = 10;

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let (lines, name, more) = match arguments.get(1) {
        Some("-n") => (arguments.get(2).and_then(|text| text.parse().ok()), arguments.get(3), arguments.get(4)),
        name => (Some(LINES), name, arguments.get(2)),
    };
    let (Some(lines), None) = (lines, more) else {
        eprintln!("usage: tail [-n LINES] [NAME]");
        return Ok(2);
    };
    let data = match name {
        Some(name) => about(name, Files::open()?.read_all(name))?,
        None => stream::read_all()?,
    };
    let count = data.split_inclusive(|&byte| byte == b'\n').count();
    for line in data.split_inclusive(|&byte| byte == b'\n').skip(count.saturating_sub(lines)) {
        stream::write_all(line)?;
    }
    Ok(0)
}
