//! Shows what the cores do: `trace [--json NAME] [SECONDS [LINE]]`, `trace on`, `trace off`.
//!
//! With SECONDS it records for that long, or for as long as the shell line LINE takes if that is less. Without, it shows
//! what the cores remember since `trace on`. The picture has a line for each core: a letter for the process that ran,
//! and below it what happened; `--json` writes all events to a file in the trace event format, which viewers of
//! timelines read.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use graft_lib::timeline::json;
use graft_lib::timeline::{Trace, Track};
use graft_rt::abi::{ProcessState, TraceEvent};
use graft_rt::files::{Files, Open};
use graft_rt::thread::Cores;
use graft_rt::{Arguments, Error, Process, eprintln, println, process, system, thread, time};

graft_rt::program!(main);

/// Characters of a picture.
const WIDTH: usize = 88;
/// How often the cores are asked while events are recorded.
const INTERVAL: Duration = Duration::from_millis(2);
/// Events of one core that are kept: the last ones.
const KEPT: usize = 50_000;
/// Bytes that are put together before they are written.
const PIECE: usize = 16 << 10;
const LONGEST: Duration = Duration::from_secs(600);

/// What the command line asks for.
enum Request {
    Switch(bool),
    Show { json: Option<String>, record: Option<(Duration, Option<String>)> },
}

fn main(arguments: Arguments) -> Result<i32, String> {
    let refused = |error: Error| error.to_string();
    match request(arguments) {
        None => {
            eprintln!("usage: trace [--json NAME] [SECONDS [LINE]] | trace on | trace off");
            Ok(2)
        }
        Some(Request::Switch(on)) => {
            system::switch_trace(on).map_err(refused)?;
            Ok(0)
        }
        Some(Request::Show { json, record }) => {
            // Before anything is recorded: a name that cannot be written is said at once.
            let file = json.map(|name| open(&name)).transpose()?;
            let mut recorder = Recorder::new().map_err(refused)?;
            if let Some((duration, line)) = record {
                recorder.record(duration, line.as_deref())?;
            }
            recorder.collect().map_err(refused)?;
            let trace = recorder.finish();
            trace.draw(WIDTH).iter().for_each(|line| println!("{line}"));
            file.map_or(Ok(()), |file| file.write(&trace))?;
            Ok(0)
        }
    }
}

fn request(arguments: Arguments) -> Option<Request> {
    let (mut json, mut record) = (None, None);
    let mut arguments = arguments.skip(1).peekable();
    if let Some(&word @ ("on" | "off")) = arguments.peek() {
        arguments.next();
        return arguments.next().is_none().then_some(Request::Switch(word == "on"));
    }
    while let Some(argument) = arguments.next() {
        if argument == "--json" && json.is_none() {
            json = Some(arguments.next()?.to_string());
        } else if record.is_none() {
            let seconds = Duration::try_from_secs_f64(argument.parse().ok()?).ok()?;
            record = Some((Some(seconds).filter(|seconds| !seconds.is_zero() && *seconds <= LONGEST)?, None));
        } else if let Some((_, line @ None)) = &mut record {
            *line = Some(argument.to_string());
        } else {
            return None;
        }
    }
    Some(Request::Show { json, record })
}

/// What has been read of each core so far.
struct Recorder {
    tracks: Vec<Track>,
    next: Vec<u64>,
    names: BTreeMap<u64, String>,
}

impl Recorder {
    fn new() -> Result<Recorder, Error> {
        let cores = system::info()?.cores as usize;
        let track = |core| Track { core, ..Track::default() };
        Ok(Recorder { tracks: (0..cores).map(track).collect(), next: alloc::vec![0; cores], names: BTreeMap::new() })
    }

    /// Records for so long, or until the line has been carried out, and nothing of what was before.
    fn record(&mut self, duration: Duration, line: Option<&str>) -> Result<(), String> {
        let refused = |error: Error| error.to_string();
        self.collect().map_err(refused)?;
        for track in &mut self.tracks {
            (track.events, track.lost) = (Vec::new(), 0);
        }
        let end = time::clock() + duration;
        let was_on = system::switch_trace(true).map_err(refused)?;
        let child = line.map(|line| Process::spawn(&["sh", "-c", line])).transpose();
        let mut recorded = child.as_ref().map(drop).map_err(|error| error.to_string());
        while recorded.is_ok() && time::clock() < end && !child.as_ref().is_ok_and(has_ended) {
            process::sleep(INTERVAL.min(end.saturating_sub(time::clock())));
            recorded = self.collect().map_err(refused);
        }
        system::switch_trace(was_on).map_err(refused)?;
        if let Ok(Some(child)) = child {
            // Its time is over.
            let _ = child.kill(1);
            let _ = child.wait();
        }
        recorded
    }

    /// Reads what is new. A core is read by a thread that runs there.
    fn collect(&mut self) -> Result<(), Error> {
        let priority = thread::own_info().own_priority as u8;
        let mut room = [TraceEvent::default(); 64];
        for (track, next) in self.tracks.iter_mut().zip(&mut self.next) {
            thread::schedule(priority, Cores::Some(1 << track.core))?;
            // No more than it remembers: while they are read, others come.
            for _ in 0..16 {
                let read = system::trace(track.core as u64, *next, &mut room)?;
                // What was lost before the first reading is not missed.
                if *next != 0 {
                    track.lost += read.lost;
                }
                *next = read.next;
                track.events.extend_from_slice(&room[..read.count]);
                if read.count < room.len() {
                    break;
                }
            }
            if track.events.len() > 2 * KEPT {
                let surplus = track.events.len() - KEPT;
                track.lost += surplus as u64;
                track.events.drain(..surplus);
            }
        }
        thread::schedule(priority, Cores::All)?;
        for process in system::processes() {
            let process = process?;
            if let Ok(info) = process.info() {
                self.names.insert(info.identifier, system::name(&info.name).to_string());
            }
        }
        Ok(())
    }

    fn finish(self) -> Trace {
        Trace { tracks: self.tracks, names: self.names }
    }
}

fn has_ended(child: &Option<Process>) -> bool {
    let ended = |child: &Process| child.info().is_ok_and(|info| info.state == ProcessState::Ended as u32);
    child.as_ref().is_some_and(ended)
}

/// The file that the trace is written to.
struct File {
    files: Files,
    number: u64,
    name: String,
}

fn open(name: &str) -> Result<File, String> {
    let refused = |error| format!("{name}: {error}");
    let files = Files::open().map_err(refused)?;
    let number = files.open_file(name, Open::Replace).map_err(refused)?.number;
    Ok(File { files, number, name: name.to_string() })
}

impl File {
    fn write(&self, trace: &Trace) -> Result<(), String> {
        let (mut place, mut buffer) = (0, String::new());
        let mut flush = |buffer: &mut String| -> Result<(), String> {
            for piece in buffer.as_bytes().chunks(graft_rt::files::WINDOW) {
                self.files.write(self.number, place, piece).map_err(|error| format!("{}: {error}", self.name))?;
                place += piece.len() as u64;
            }
            buffer.clear();
            Ok(())
        };
        json::write(trace, |text| {
            buffer.push_str(text);
            if buffer.len() < PIECE { Ok(()) } else { flush(&mut buffer) }
        })?;
        flush(&mut buffer)?;
        println!("{place} bytes in {}", self.name);
        Ok(())
    }
}
