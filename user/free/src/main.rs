//! Shows how the machine's memory is used: `free`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::abi::PAGE_SIZE;
use graft_rt::size::Size;
use graft_rt::{Arguments, Error, println, system};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<(), Error> {
    let info = system::info()?;
    let named = info.free_frames + info.page_frames + info.table_frames + info.object_frames;
    println!("{:20} {:>10} {:>11}", "", "frames", "size");
    for (what, frames) in [
        ("total", info.total_frames),
        ("free", info.free_frames),
        ("pages of programs", info.page_frames),
        ("translation tables", info.table_frames),
        ("kernel objects", info.object_frames),
        ("other", info.total_frames.saturating_sub(named)),
    ] {
        println!("{what:20} {frames:>10} {:>11}", Size(frames * PAGE_SIZE as u64));
    }
    Ok(())
}
