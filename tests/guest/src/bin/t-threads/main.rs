//! Tests threads: `t-threads [PART]`, where PART is a word of what is tested.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod crowd;
mod ends;
mod faults;
mod floating_point;
mod forks;
mod life;
#[allow(unsafe_code)]
mod ranges;
#[allow(unsafe_code)]
mod raw;

use core::sync::atomic::{AtomicUsize, Ordering};

use graft_rt::test::{FreeFrames, Report};
use graft_rt::thread::yield_now;
use graft_rt::{Arguments, Error, eprintln};

graft_rt::program!(main);

type Part = (&'static str, fn(&Report) -> Result<(), Error>);

const PARTS: [Part; 25] = [
    ("closures run and their results arrive", life::results),
    ("a thread begins with what it was given and zeroes", life::registers),
    ("hundreds in waves, and no frame is lost", life::waves),
    ("one end heard twice, by several, and by another process", life::joins),
    ("a join meets the end at any moment", life::joins_at_the_door),
    ("a handle that was given up lets its thread go on", life::detached),
    ("who cannot be joined", life::refusals),
    ("the last thread takes the process along", ends::last),
    ("exit ends those that run elsewhere", ends::exits),
    ("kill ends all threads, whatever they do", ends::kills),
    ("kill at any moment of threads that come and go", ends::kills_at_the_door),
    ("kill of a thread that joins one that goes on", ends::joiners),
    ("a fault of one ends all", ends::faults),
    ("exec and restore with other threads are refused", ends::replacements),
    ("fork while others write: one thread, one moment", forks::moments),
    ("fork while others use the heap", forks::heap),
    ("a forked child does not join its parent's threads", forks::strangers),
    ("two touch one fresh page at once", faults::fresh),
    ("two write to one shared page at once", faults::shared_page),
    ("two write below one shared table at once", faults::shared_table),
    ("ranges change beside memory in use", ranges::neighbours),
    ("floating point of many threads and processes", floating_point::many),
    ("floating point of a few threads that move between processors", floating_point::few),
    ("floating point across fork, and in a fresh thread", floating_point::begins),
    ("more address spaces than identifiers, threads in each", crowd::identifiers),
];

fn main(arguments: Arguments) -> Result<i32, Error> {
    let word = arguments.get(1).unwrap_or_default();
    let report = Report::new();
    for (what, part) in PARTS.into_iter().filter(|(what, _)| what.contains(word)) {
        let frames = FreeFrames::now();
        part(&report)?;
        frames.claim_same(&report, format_args!("{what}"));
        report.done(format_args!("{what}"));
    }
    if report.is_empty() {
        eprintln!("t-threads: {word}: no part of the test is about that");
    }
    Ok(report.finish())
}

/// Where a number of threads meet, as often as they like.
struct Meeting {
    threads: usize,
    arrivals: AtomicUsize,
}

impl Meeting {
    const fn of(threads: usize) -> Meeting {
        Meeting { threads, arrivals: AtomicUsize::new(0) }
    }

    /// Waits until all have come, and goes on at the same moment as those on other cores.
    fn attend(&self) {
        let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst);
        let complete = (arrival / self.threads + 1) * self.threads;
        for looks in 0_u32.. {
            if self.arrivals.load(Ordering::SeqCst) >= complete {
                break;
            }
            // With a core for each, yielding would only make them late.
            if looks % 200 == 199 {
                yield_now();
            }
            core::hint::spin_loop();
        }
    }
}
