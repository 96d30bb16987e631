//! Gives a file or a directory another name: `mv FROM TO`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::files::{FileError, Files};
use graft_rt::{Arguments, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    let (Some(from), Some(to), None) = (arguments.get(1), arguments.get(2), arguments.get(3)) else {
        eprintln!("usage: mv FROM TO");
        return Ok(2);
    };
    Files::open()?.rename(from, to).map(|()| 0)
}
