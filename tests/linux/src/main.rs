//! Takes `forkbench`'s figures on Linux, as its first process: `/init NAME`, alone in the initial RAM disk.
//!
//! Every figure is taken as forkbench takes it: the same counter, read around the same instructions, and each page
//! written since it was mapped. A row is `NAME,RELEASE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N`, after one
//! `span,NAME,RELEASE,BYTES,METRIC,COUNTS,BY` for each time that was taken, as forkbench's `--spans` has them. The last
//! line is [`LAST_LINE`]; a reader that does not find it has not got all figures.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod call;
mod console;
mod figures;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)]
mod proc;
#[allow(unsafe_code)]
mod sequences;
mod span;
#[allow(unsafe_code)]
mod start;

use core::fmt::Write;

use crate::call::Refused;
use crate::console::Console;
use crate::figures::Figures;

/// What is written when every figure has been.
const LAST_LINE: &str = "linux-bench: end";

const MEBIBYTE: usize = 1 << 20;
/// The largest size that is measured.
const MOST: usize = 2 << 30;

/// Takes all figures and powers off.
fn main(name: &str) -> ! {
    match measure_all(name) {
        Ok(()) => say(format_args!("{LAST_LINE}")),
        Err(refused) => say(format_args!("linux-bench: {refused}")),
    }
    call::power_off()
}

fn say(line: core::fmt::Arguments<'_>) {
    // Nothing can be reported where reports cannot be written.
    let _ = writeln!(Console, "{line}");
}

fn measure_all(name: &str) -> Result<(), Refused> {
    proc::mount()?;
    proc::run_alone()?;
    let release = proc::read_file(c"/proc/sys/kernel/osrelease")?;
    // The first time pays for what is made once.
    sequences::repetition(0, &mut Figures::default())?;
    let doubled = core::iter::successors(Some(MEBIBYTE), |bytes| (*bytes < MOST).then(|| bytes * 2));
    for bytes in core::iter::once(0).chain(doubled) {
        let mut figures = Figures::default();
        for _ in 0..figures::repetitions(bytes) {
            sequences::repetition(bytes, &mut figures)?;
        }
        // Writing takes as long as the serial line does: never while something is measured.
        let release = release.as_str().trim_end();
        for row in figures.rows() {
            for span in row.spans() {
                say(format_args!("span,{name},{release},{bytes},{},{},{}", row.metric(), span.counts, span.by));
            }
            say(format_args!("{name},{release},{bytes},{row}"));
        }
    }
    Ok(())
}
