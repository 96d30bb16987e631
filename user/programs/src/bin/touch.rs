//! Makes files that are not there: `touch NAME...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::for_each_name;
use graft_rt::Arguments;
use graft_rt::files::{FileError, Open};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    for_each_name(arguments, "touch", |files, name| files.open_file(name, Open::Append))
}
