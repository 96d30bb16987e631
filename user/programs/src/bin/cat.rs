//! Prints text files of the archive, one after the other: `cat NAME...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::archive::{Archive, FileError};
use graft_rt::{Arguments, console, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    if arguments.get(1).is_none() {
        eprintln!("usage: cat NAME...");
        return Ok(2);
    }
    let archive = Archive::open()?;
    let mut status = 0;
    for name in arguments.skip(1) {
        match archive.file(name) {
            Ok(data) if data.contains(&0) => {
                eprintln!("cat: {name}: {} bytes that are not text", data.len());
                status = 1;
            }
            Ok(data) => console::write_all(data)?,
            Err(error) => {
                eprintln!("cat: {name}: {error}");
                status = 1;
            }
        }
    }
    Ok(status)
}
