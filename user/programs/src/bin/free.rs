//! Shows how the machine's memory is used: `free`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::abi::PAGE_SIZE;
use graft_rt::size::Size;
use graft_rt::{Arguments, Error, println, process, system};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<(), Error> {
    let (mut private_pages, mut private_tables) = (0, 0);
    for process in system::processes() {
        // It may have gone since it was listed. Its root is its own.
        if let Ok(sizes) = process::memory_sizes(process?.handle()) {
            private_pages += sizes.private_pages;
            private_tables += sizes.private_tables + 1;
        }
    }
    let info = system::info()?;
    let named = info.free_frames + info.page_frames + info.table_frames + info.object_frames;
    println!("{:34} {:>10} {:>11}", "", "frames", "size");
    for (what, frames) in [
        ("total", info.total_frames),
        ("free", info.free_frames),
        ("  promised to guaranteed forks", info.committed_frames),
        ("pages of programs", info.page_frames),
        ("  shared, or kept by an object", info.page_frames.saturating_sub(private_pages)),
        ("translation tables", info.table_frames),
        ("  shared, or kept by an object", info.table_frames.saturating_sub(private_tables)),
        ("kernel objects", info.object_frames),
        ("kept back for what is in no job", info.total_frames.saturating_sub(named)),
    ] {
        println!("{what:34} {frames:>10} {:>11}", Size(frames * PAGE_SIZE as u64));
    }
    Ok(())
}
