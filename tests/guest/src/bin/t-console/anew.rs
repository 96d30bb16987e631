//! The server is killed, and another one goes on in its place.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::console::protocol::Operation;
use graft_rt::console::{self, INTERRUPT, Mode, SUSPEND, Size};
use graft_rt::notification::Notification;
use graft_rt::process::{duplicate, sleep, yield_now};
use graft_rt::test::{Numbers, Report, claim_success, wait_until};
use graft_rt::{Error, Process, Rights, claim, claim_eq};

use crate::{Desk, MANY, ask, open, open_told, program, read, set_foreground, soon, write};

/// How often the server is killed.
const KILLS: usize = 100;

/// Kills the server at random moments until a program has ended.
fn kill_until_ended(desk: &Desk, numbers: &mut Numbers, program: &Process) -> Result<usize, Error> {
    let mut kills = 0;
    while program.info()?.state != 2 {
        desk.start_anew()?;
        kills += 1;
        // Mostly it comes to serve; now and then it is killed in its first steps.
        if numbers.below(4) != 0 {
            write(&desk.root, b"")?;
            (0..numbers.below(30)).for_each(|_| yield_now());
        } else {
            sleep(Duration::from_micros(numbers.below(2000) as u64));
        }
    }
    Ok(kills)
}

/// A line of a dialogue: each has its number.
fn line_of(number: usize) -> String {
    format!("{number:05} grüße {}\n", "x".repeat(number * 7 % 60))
}

/// The server is killed at any moment: what is typed and written is neither lost nor doubled.
pub(crate) fn killed(report: &Report, desk: &Desk) -> Result<(), Error> {
    const LINES: usize = 200;
    let mut numbers = Numbers::new(13);
    let mut kills = 0;
    let mut rounds = 0;
    while kills < KILLS {
        rounds += 1;
        // Several that write, each the same lines in its order.
        let writers: Vec<Process> = [b'a', b'b']
            .into_iter()
            .map(|mark| {
                program(&desk.root, move || {
                    (0..LINES)
                        .try_for_each(|line| console::write_all(format!("{}{line:04}\n", mark as char).as_bytes()))?;
                    Ok(true)
                })
            })
            .collect::<Result<_, _>>()?;
        for writer in &writers {
            kills += kill_until_ended(desk, &mut numbers, writer)?;
            claim_success(report, writer, format_args!("round {rounds}: a program that writes"));
        }
        let shown = String::from_utf8(desk.shown()).unwrap_or_default();
        for mark in ["a", "b"] {
            let lines: Vec<&str> = shown.split_terminator("\r\n").filter(|line| line.starts_with(mark)).collect();
            let expected: Vec<String> = (0..LINES).map(|line| format!("{mark}{line:04}")).collect();
            claim!(report, lines == expected, "round {rounds}: {} lines of {mark} are out", lines.len());
        }
        claim_eq!(report, shown.len(), 2 * LINES * 7, "round {rounds}: bytes that are out");
    }
    // One that reads lines, and each as it was typed.
    kills = 0;
    let lines = 300;
    let reader = program(&desk.root, move || {
        let mut buffer = [0; 100];
        for number in 0..lines {
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') {
                let room = 1 + number % 30;
                let count = console::read(Mode::Lines, &mut buffer[..room])?;
                line.extend_from_slice(&buffer[..count]);
            }
            if line != line_of(number).as_bytes() {
                console::write_all(&line)?;
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    for number in 0..lines {
        // Corrected while it is typed.
        let line = line_of(number).replace("grüße", "grül\x7fße").replace('\n', "\r");
        let (first, second) = line.as_bytes().split_at(numbers.below(line.len()));
        desk.types(first);
        if numbers.below(2) == 0 {
            desk.start_anew()?;
            kills += 1;
        }
        desk.types(second);
        if number % 10 == 9 {
            // No more than the server keeps.
            let lines = || desk.terminal.shown.lock().iter().filter(|&&byte| byte == b'\n').count();
            claim!(report, wait_until(|| lines() > number), "{} of {number} lines have been read", lines());
        }
    }
    kills += kill_until_ended(desk, &mut numbers, &reader)?;
    claim_success(report, &reader, format_args!("a program that reads"));
    claim!(report, kills >= KILLS, "killed {kills} times while lines are typed");
    let expected: String =
        (0..lines).map(|number| line_of(number).replace("grüße", "grül\x08 \x08ße").replace('\n', "\r\n")).collect();
    claim!(report, desk.comes_to_show(expected.as_bytes()), "what was typed is shown once");
    report.done(format_args!("a server that is killed at any moment loses and doubles nothing"));
    Ok(())
}

/// What a server has known, the next one knows.
pub(crate) fn anew(report: &Report, desk: &Desk) -> Result<(), Error> {
    // More than is kept, with no program that reads.
    for _ in 0..10 {
        desk.types(&[b'x'; 3000]);
        desk.start_anew()?;
    }
    desk.types(b"\x03");
    let told = Notification::new()?;
    let (number, job) = open_told(&desk.root, duplicate(told.handle(), Rights::ALL)?)?;
    set_foreground(&desk.root, number)?;
    let mut signs = 0;
    for round in 0..KILLS {
        let sign = if round % 2 == 0 { (INTERRUPT, b"\x03") } else { (SUSPEND, b"\x1a") };
        desk.types(b"half a li");
        if round % 3 == 0 {
            desk.start_anew()?;
        }
        desk.types(sign.1);
        desk.start_anew()?;
        signs += usize::from(told.wait_until(soon()) == Ok(sign.0));
        // Once more at most, if the server was killed between the word and the note of it: by the time of an answer.
        write(&desk.root, b"")?;
        let _ = told.take();
    }
    claim_eq!(report, signs, KILLS, "control-C and control-Z, told to the job's shell");
    desk.shown();
    // Who reads, how, and what is half typed.
    for round in 0..20 {
        let reader = program(&job, || {
            let mut buffer = [0; 40];
            let count = console::read(Mode::Lines, &mut buffer)?;
            Ok(buffer[..count] == *b"for the job\n")
        })?;
        let other = program(&desk.root, || Ok(console::read(Mode::Raw, &mut [0; 9])? == 3))?;
        let wait = |one: &Process| wait_until(|| one.info().is_ok_and(|info| info.state == 1));
        claim!(report, wait(&reader) && wait(&other), "round {round}: they wait");
        desk.types(b"for thf");
        desk.start_anew()?;
        desk.types(b"\x7fe j");
        desk.start_anew()?;
        desk.types(b"ob\r");
        claim_success(report, &reader, format_args!("round {round}: the job reads, and corrects its line"));
        set_foreground(&desk.root, 0)?;
        desk.start_anew()?;
        desk.types(b"abc");
        claim_success(report, &other, format_args!("round {round}: the shell reads"));
        set_foreground(&desk.root, number)?;
    }
    let expected = b"for thf\x08 \x08e job\r\n".repeat(20);
    claim!(report, desk.comes_to_show(&expected), "what was typed is shown once");
    // The size that the terminal has said, or has not.
    let size =
        || ask(&desk.root, [Operation::Size as u64, 0, 0, 0], &[], &mut []).map(|[columns, rows, ..]| [columns, rows]);
    let default = Ok([Size::DEFAULT.columns.into(), Size::DEFAULT.rows.into()]);
    desk.start_anew()?;
    claim_eq!(report, size(), default, "a terminal that does not answer");
    desk.shown();
    desk.start_anew()?;
    claim_eq!(report, (size(), desk.shown().len()), (default, 0), "which is not asked again");
    // Sessions that are over are, and make room.
    ask(&desk.root, [Operation::Close as u64, number, 0, 0], &[], &mut [])?;
    desk.start_anew()?;
    claim_eq!(report, read(&job, Mode::Lines, 1).err(), Some(Error::NotAllowed), "a session that is over");
    let mut opened = 0;
    for _ in 0..2 * MANY {
        opened += usize::from(open(&desk.root).is_ok());
        desk.start_anew()?;
    }
    claim_eq!(report, opened, 2 * MANY, "sessions whose connections are closed");
    report.done(format_args!("another server knows what the one before has known"));
    Ok(())
}
