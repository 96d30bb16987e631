//! Tests that 1,500 forks with writes lose no frame: `t-leak [FORKS]`, at every depth of sharing.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::abi::PAGE_SIZE;
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, Error, Process, Region, Share, claim_eq, process};

graft_rt::program!(main);

/// Enough for three level-3 tables, so that a write splits one and leaves others shared.
const MEMORY: usize = 5 << 20;

fn main(arguments: Arguments) -> Result<i32, Error> {
    let forks = arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(1500);
    let report = Report::new();
    let memory = Region::new(MEMORY)?;
    memory.fill(|page| page as u8);
    for share in Share::ALL {
        // By now everything that is made only once, such as tables of the program's own, has been made.
        round(&memory, share, 0)?;
        let frames = FreeFrames::now();
        for number in 1..=forks {
            round(&memory, share, number)?;
        }
        frames.claim_same(&report, format_args!("after {forks} forks with --share {}", share.name()));
        report.done(format_args!("{forks} forks with {} shared", share.name()));
    }
    let info = process::own_info();
    claim_eq!(&report, memory.first_difference(|page| page as u8), None, "pages changed by children");
    report.done(format_args!("{} tables were split and {} pages copied", info.table_splits, info.page_copies));
    Ok(report.finish())
}

/// A child writes, the parent writes while it lives or after, the child ends.
fn round(memory: &Region, share: Share, number: usize) -> Result<(), Error> {
    let page = |step: usize| (number * 7 + step * 311) % memory.pages();
    let write = |page: usize, value: usize| memory.write(page * PAGE_SIZE, value as u8);
    let child = Process::fork_into(share, || {
        for step in 0..number % 5 {
            write(page(step), number);
        }
        0
    })?;
    // The parent writes what is there already: the content stays, the tables do not know.
    let own = page(number % 9);
    if number.is_multiple_of(2) {
        write(own, own);
    }
    match number % 10 {
        9 => _ = child.kill(1),
        _ => _ = child.wait()?,
    }
    child.wait()?;
    write(own, own);
    Ok(())
}
