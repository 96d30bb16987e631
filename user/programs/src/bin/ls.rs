//! Lists the files of the archive: `ls [NAME]...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use graft_rt::archive::{Archive, FileError};
use graft_rt::size::Size;
use graft_rt::{Arguments, eprintln, println};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    let archive = Archive::open()?;
    let mut files: Vec<_> = archive.files().collect();
    let wanted: Vec<&str> = arguments.skip(1).collect();
    let mut status = 0;
    for name in &wanted {
        if !files.iter().any(|file| file.name == *name) {
            eprintln!("ls: {name}: {}", FileError::NoSuchFile);
            status = 1;
        }
    }
    files.retain(|file| wanted.is_empty() || wanted.contains(&file.name.as_str()));
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let width = files.iter().map(|file| file.name.len()).max().unwrap_or(0);
    for file in files {
        let kind = if file.is_program() { "program" } else { "text" };
        println!("{:width$}  {:>10}  {kind}", file.name, Size(file.data.len() as u64));
    }
    Ok(status)
}
