//! Copies its input to its output and into a file: `tee NAME`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::{ToolError, about};
use graft_rt::files::{Files, Open};
use graft_rt::{Arguments, eprintln, stream};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let (Some(name), None) = (arguments.get(1), arguments.get(2)) else {
        eprintln!("usage: tee NAME");
        return Ok(2);
    };
    let files = Files::open()?;
    let file = about(name, files.open_file(name, Open::Replace))?.number;
    let mut buffer = [0; 512];
    loop {
        match stream::read(&mut buffer)? {
            0 => return Ok(0),
            count => {
                about(name, files.append(file, &buffer[..count]))?;
                stream::write_all(&buffer[..count])?;
            }
        }
    }
}
