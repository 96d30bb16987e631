//! Gives a file or a directory another name, or moves it into a directory: `mv FROM TO`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::{ToolError, about, destination};
use graft_rt::files::Files;
use graft_rt::{Arguments, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let (Some(from), Some(to), None) = (arguments.get(1), arguments.get(2), arguments.get(3)) else {
        eprintln!("usage: mv FROM TO");
        return Ok(2);
    };
    let files = Files::open()?;
    about(from, files.rename(from, &destination(&files, from, to)?)).map(|()| 0)
}
