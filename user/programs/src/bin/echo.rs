//! Prints its arguments, separated by spaces: `echo [-n] [TEXT]...`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use graft_rt::{Arguments, print};

graft_rt::program!(main);

fn main(arguments: Arguments) {
    let mut words: Vec<&str> = arguments.skip(1).collect();
    let end = if words.first() == Some(&"-n") {
        words.remove(0);
        ""
    } else {
        "\n"
    };
    print!("{}{end}", words.join(" "));
}
