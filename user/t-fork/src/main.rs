//! x
#![no_std]
#![no_main]
graft_rt::program!(main);
fn main(_: graft_rt::Arguments) {}
