//! Prints lines in the order of their bytes: `sort [NAME]...`; without a name, those of its input.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use graft_programs::{ToolError, about};
use graft_rt::files::Files;
use graft_rt::{Arguments, stream};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let mut data = Vec::new();
    if arguments.get(1).is_none() {
        data = stream::read_all()?;
    } else {
        let files = Files::open()?;
        for name in arguments.skip(1) {
            data.extend(about(name, files.read_all(name))?);
            if data.last().is_some_and(|&last| last != b'\n') {
                data.push(b'\n');
            }
        }
    }
    let mut lines: Vec<&[u8]> = data.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    for line in lines {
        stream::write_all(line)?;
        if !line.ends_with(b"\n") {
            stream::write_all(b"\n")?;
        }
    }
    Ok(0)
}
