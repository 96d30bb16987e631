//! Takes names of files and of empty directories away: `rm NAME...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::for_each_name;
use graft_rt::Arguments;
use graft_rt::files::FileError;

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, FileError> {
    for_each_name(arguments, "rm", |files, name| files.unlink(name))
}
