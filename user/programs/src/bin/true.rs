//! Does nothing, successfully.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

graft_rt::program!(main);

fn main(_arguments: graft_rt::Arguments) -> i32 {
    0
}
