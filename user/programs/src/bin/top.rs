//! Shows which processes use the machine, again and again: `top [-n TIMES] [SECONDS]`.
//!
//! The processor time is what has been used since the time before, SECONDS ago (1 unless told otherwise), in per cent
//! of one core. On the console, the table stays in its place until `q` or Ctrl-C is typed. With `-n`, or where the
//! output goes elsewhere, tables come one below the other.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use graft_lib::usage::{self, Room, Sample};
use graft_programs::sample;
use graft_rt::stream::{self, Target};
use graft_rt::{Arguments, Error, console, eprintln, print, println, process, sync, thread, time};

graft_rt::program!(main);

/// Lines of a terminal whose size is not known.
const LINES: usize = 24;
/// Shorter intervals would be spent on looking.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const CTRL_C: u8 = 3;

/// What the command line asks for.
struct Request {
    interval: Duration,
    times: Option<u64>,
}

/// Whether a key has been typed that ends the program.
static ENDS: AtomicU32 = AtomicU32::new(0);

fn main(arguments: Arguments) -> Result<i32, Error> {
    let Some(Request { interval, times }) = request(arguments) else {
        eprintln!("usage: top [-n TIMES] [SECONDS]");
        return Ok(2);
    };
    if times.is_none() && stream::target() == Target::Console { show(interval) } else { print_tables(interval, times) }
}

fn request(arguments: Arguments) -> Option<Request> {
    let (mut interval, mut times) = (None, None);
    let mut arguments = arguments.skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "-n" && times.is_none() {
            times = Some(arguments.next()?.parse().ok().filter(|&times| times > 0)?);
        } else if interval.is_none() {
            let seconds = Duration::try_from_secs_f64(argument.parse().ok()?).ok()?;
            interval = Some(seconds).filter(|seconds| (SHORTEST..=LONGEST).contains(seconds));
            interval?;
        } else {
            return None;
        }
    }
    Some(Request { interval: interval.unwrap_or(Duration::from_secs(1)), times })
}

/// One table below the other, for ever if no number is given.
fn print_tables(interval: Duration, times: Option<u64>) -> Result<i32, Error> {
    let mut before = sample()?;
    let mut shown = 0;
    while times.is_none_or(|times| shown < times) {
        process::sleep(interval);
        let after = sample()?;
        if shown != 0 {
            println!();
        }
        for line in usage::compare(&before, &after, Room::Any) {
            println!("{line}");
        }
        before = after;
        shown += 1;
    }
    Ok(0)
}

/// In one place, until a key ends it.
fn show(interval: Duration) -> Result<i32, Error> {
    thread::spawn(read_keys).map(core::mem::forget)?;
    // A screen of its own, without a cursor.
    print!("\x1b[?1049h\x1b[?25l");
    let ended = refresh(interval);
    print!("\x1b[?25h\x1b[?1049l");
    ended.map(|()| 0)
}

fn refresh(interval: Duration) -> Result<(), Error> {
    let mut before = Sample { system: Default::default(), processes: Vec::new() };
    loop {
        let after = sample()?;
        draw(&usage::compare(&before, &after, Room::Lines(LINES - 1)));
        before = after;
        let next = time::clock() + interval;
        while ENDS.load(Ordering::SeqCst) == 0 {
            if sync::wait_on(&ENDS, 0, Some(next)).is_err() {
                break;
            }
        }
        if ENDS.load(Ordering::SeqCst) != 0 {
            return Ok(());
        }
    }
}

/// Over what stands there: without a moment in which the screen is empty.
fn draw(lines: &[String]) {
    let mut screen = String::from("\x1b[H");
    for line in lines {
        screen.push_str(line);
        screen.push_str("\x1b[K\r\n");
    }
    screen.push_str("\x1b[J");
    print!("{screen}");
}

fn read_keys() {
    let mut typed = [0; 16];
    while let Ok(count @ 1..) = console::read(console::Mode::Raw, &mut typed) {
        if typed[..count].iter().any(|key| matches!(key, b'q' | b'Q' | &CTRL_C)) {
            break;
        }
    }
    ENDS.store(1, Ordering::SeqCst);
    sync::wake(&ENDS);
}
