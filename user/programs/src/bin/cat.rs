//! Prints files, one after the other: `cat [NAME]...`; without a name, its input. Text alone goes to the console.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_rt::archive::Archive;
use graft_rt::files::{FileError, Files};
use graft_rt::stream::{self, Target};
use graft_rt::{Arguments, Error, eprintln};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, Error> {
    if arguments.get(1).is_none() {
        let mut buffer = [0; 512];
        loop {
            match stream::read(&mut buffer)? {
                0 => return Ok(0),
                count => stream::write_all(&buffer[..count])?,
            }
        }
    }
    let mut status = 0;
    let files = Files::open();
    for name in arguments.skip(1) {
        match read(&files, name) {
            Ok(data) if data.contains(&0) && stream::target() == Target::Console => {
                eprintln!("cat: {name}: {} bytes that are not text", data.len());
                status = 1;
            }
            Ok(data) => stream::write_all(&data)?,
            Err(error) => {
                eprintln!("cat: {name}: {error}");
                status = 1;
            }
        }
    }
    Ok(status)
}

/// A file's content: by the file server, or, where there is none, out of the archive.
fn read(files: &Result<Files, FileError>, name: &str) -> Result<Vec<u8>, String> {
    match files {
        Ok(files) => files.read_all(name).map_err(|error| error.to_string()),
        Err(_) => {
            let archive = Archive::open().map_err(|error| error.to_string())?;
            archive.file(name).map(<[u8]>::to_vec).map_err(|error| error.to_string())
        }
    }
}
