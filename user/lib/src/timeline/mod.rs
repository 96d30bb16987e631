//! What the cores have done, one after the other: what `trace` draws and writes.
//!
//! ```text
//!   events of each core ──▶ who ran from when to when, and what happened ──▶ a picture in characters, a table
//!                                                                       └──▶ JSON for a viewer
//! ```

pub mod json;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_abi::{TraceEvent, TraceKind};
use graft_rt::columns::{Align, Columns};

/// Events of one core, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// The core's number.
    pub core: usize,
    /// What has happened there.
    pub events: Vec<TraceEvent>,
    /// Events that were overwritten before they were read.
    pub lost: u64,
}

/// What all cores have done, and the names of the processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One for each core.
    pub tracks: Vec<Track>,
    /// By identifier.
    pub names: BTreeMap<u64, String>,
}

/// That a core has run a process, or nothing (0), for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Nanoseconds.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// Its identifier.
    pub process: u64,
}

/// How many letters stand for processes; the others share a sign.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const OTHER: char = '#';
const IDLE: char = '·';
const UNKNOWN: char = ' ';

/// What a kind of event is called, and the sign of it below the picture; of several, the first of this list is shown.
const KINDS: [(TraceKind, &str, char); 13] = [
    (TraceKind::Fault, "fault", '!'),
    (TraceKind::End, "end", 'E'),
    (TraceKind::Fork, "fork", 'F'),
    (TraceKind::Spawn, "spawn", 'S'),
    (TraceKind::Split, "split", '%'),
    (TraceKind::Copy, "copy", '+'),
    (TraceKind::Reuse, "reuse", '='),
    (TraceKind::DemandZero, "zero", 'z'),
    (TraceKind::Interrupt, "interrupt", '^'),
    (TraceKind::Call, "call", '>'),
    (TraceKind::Answer, "answer", '<'),
    (TraceKind::Switch, "switch", ','),
    (TraceKind::Idle, "idle", UNKNOWN),
];

/// The name of an event's kind.
pub fn kind_name(kind: u64) -> &'static str {
    KINDS.iter().find(|(known, ..)| *known as u64 == kind).map_or("unknown", |(_, name, _)| name)
}

impl Track {
    /// Who ran from when to when. Each event says which process runs then; the last one's lasts until `end`.
    pub fn spans(&self, end: u64) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for event in &self.events {
            match spans.last_mut() {
                Some(last) if last.process == event.process => {}
                Some(last) => {
                    last.end = event.time;
                    spans.push(Span { start: event.time, end, process: event.process });
                }
                None => spans.push(Span { start: event.time, end, process: event.process }),
            }
        }
        spans
    }
}

impl Trace {
    /// The times of the first and of the last event; [`None`] if there is none.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        let times = || self.tracks.iter().flat_map(|track| &track.events).map(|event| event.time);
        Some((times().min()?, times().max()?))
    }

    /// The name of a process.
    pub fn name(&self, process: u64) -> String {
        match (process, self.names.get(&process)) {
            (0, _) => "idle".into(),
            (_, Some(name)) => name.clone(),
            // It has gone.
            (_, None) => format!("process {process}"),
        }
    }

    /// How long each process has run, the longest first; 0 is nothing.
    fn times(&self, end: u64) -> Vec<(u64, u64)> {
        let mut times = BTreeMap::<u64, u64>::new();
        for Span { start, end, process } in self.tracks.iter().flat_map(|track| track.spans(end)) {
            let time = times.entry(process).or_default();
            *time = time.saturating_add(end.saturating_sub(start));
        }
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_by_key(|&(process, time)| (core::cmp::Reverse(time), process));
        times
    }

    /// The picture, with `width` characters for the time between the first and the last event, and what its signs mean.
    pub fn draw(&self, width: usize) -> Vec<String> {
        let Some((start, end)) = self.bounds() else { return alloc::vec!["no events".into()] };
        let width = width.max(1);
        let column = ((end - start) / width as u64).max(1);
        let times = self.times(end);
        let busy: Vec<u64> = times.iter().map(|&(process, _)| process).filter(|&process| process != 0).collect();
        let letter = |process: u64| match busy.iter().position(|&other| other == process) {
            _ if process == 0 => IDLE,
            Some(place) => LETTERS.get(place).map_or(OTHER, |&letter| letter.into()),
            None => UNKNOWN,
        };
        let count: usize = self.tracks.iter().map(|track| track.events.len()).sum();
        let lost: u64 = self.tracks.iter().map(|track| track.lost).sum();
        let mut lines = alloc::vec![format!(
            "{count} events in {}, {lost} lost; a column is {}",
            duration(end - start),
            duration(column)
        )];
        for track in &self.tracks {
            let spans = track.spans(end);
            let runs = (0..width).map(|place| {
                let from = start.saturating_add(place as u64 * column);
                longest(&spans, from, from.saturating_add(column)).map_or(UNKNOWN, letter)
            });
            lines.push(trimmed(format!("core {} │", track.core), runs));
            let mut marks = alloc::vec![KINDS.len(); width];
            for event in &track.events {
                // What is rounded off stands in the last column.
                let place = usize::try_from(event.time.saturating_sub(start) / column).unwrap_or(width).min(width - 1);
                let kind = KINDS.iter().position(|(kind, ..)| *kind as u64 == event.kind).unwrap_or(KINDS.len());
                marks[place] = marks[place].min(kind);
            }
            let marks = marks.into_iter().map(|kind| KINDS.get(kind).map_or(UNKNOWN, |&(.., sign)| sign));
            lines.push(trimmed("       │".into(), marks));
        }
        lines.push(String::new());
        lines.extend(self.legend(&times, letter));
        let signs: Vec<_> = KINDS
            .iter()
            .filter(|(.., sign)| *sign != UNKNOWN)
            .map(|(_, name, sign)| format!("{sign} {name}"))
            .collect();
        lines.push(String::new());
        lines.push(signs.join("  "));
        lines
    }

    /// A line for each process: its sign, how long it ran, and its events.
    fn legend(&self, times: &[(u64, u64)], letter: impl Fn(u64) -> char) -> Vec<String> {
        let kinds = [
            TraceKind::Switch,
            TraceKind::Call,
            TraceKind::Interrupt,
            TraceKind::Fork,
            TraceKind::Split,
            TraceKind::Copy,
            TraceKind::Reuse,
            TraceKind::DemandZero,
        ];
        let mut columns = Columns::new(&[
            ("", Align::Left),
            ("PID", Align::Right),
            ("RAN", Align::Right),
            ("SWITCH", Align::Right),
            ("CALL", Align::Right),
            ("INTERRUPT", Align::Right),
            ("FORK", Align::Right),
            ("SPLIT", Align::Right),
            ("COPY", Align::Right),
            ("REUSE", Align::Right),
            ("ZERO", Align::Right),
            ("NAME", Align::Left),
        ]);
        let mut counts = BTreeMap::<(u64, u64), u64>::new();
        for event in self.tracks.iter().flat_map(|track| &track.events) {
            *counts.entry((event.process, event.kind)).or_default() += 1;
        }
        for &(process, time) in times {
            let count = |kind: TraceKind| counts.get(&(process, kind as u64)).copied().unwrap_or(0).to_string();
            let [switch, call, interrupt, fork, split, copy, reuse, zero] = kinds.map(count);
            columns.push([
                letter(process).to_string(),
                if process == 0 { "-".into() } else { process.to_string() },
                duration(time),
                switch,
                call,
                interrupt,
                fork,
                split,
                copy,
                reuse,
                zero,
                self.name(process),
            ]);
        }
        columns.lines()
    }
}

/// A line without spaces at its end.
fn trimmed(mut line: String, rest: impl Iterator<Item = char>) -> String {
    line.extend(rest);
    line.truncate(line.trim_end().len());
    line
}

/// Which process has run for longest between two moments; [`None`] if that is not known.
fn longest(spans: &[Span], from: u64, to: u64) -> Option<u64> {
    // Spans follow one another: the first that matters is found by halving.
    let first = spans.partition_point(|span| span.end <= from);
    let mut times = BTreeMap::<u64, u64>::new();
    for span in spans[first..].iter().take_while(|span| span.start < to) {
        let time = times.entry(span.process).or_default();
        *time = span.end.min(to).saturating_sub(span.start.max(from)).saturating_add(*time);
    }
    times.into_iter().max_by_key(|&(process, time)| (time, process)).map(|(process, _)| process)
}

/// A duration with three digits or more, in the unit that fits.
pub fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{}.{} µs", nanoseconds / 1_000, nanoseconds % 1_000 / 100),
        _ => format!("{}.{} ms", nanoseconds / 1_000_000, nanoseconds % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn event(time: u64, kind: TraceKind, process: u64, what: u64) -> TraceEvent {
        TraceEvent { time, kind: kind as u64, process, what }
    }

    pub(crate) fn sample() -> Trace {
        let first = alloc::vec![
            event(1_000, TraceKind::Switch, 3, 0),
            event(2_000, TraceKind::Call, 5, 3),
            event(2_500, TraceKind::DemandZero, 5, 0x4000_0000),
            event(3_000, TraceKind::Answer, 3, 5),
            event(4_000, TraceKind::Idle, 0, 0),
            event(10_000, TraceKind::Interrupt, 0, 0),
        ];
        let second = alloc::vec![event(5_000, TraceKind::Switch, 9, 0), event(6_000, TraceKind::Fork, 9, 10)];
        let names = [(3, "sh"), (5, "files")].map(|(process, name)| (process, name.to_string()));
        Trace {
            tracks: alloc::vec![Track { core: 0, events: first, lost: 0 }, Track { core: 1, events: second, lost: 7 },],
            names: names.into_iter().collect(),
        }
    }

    #[test]
    fn a_process_runs_until_an_event_says_that_another_one_does() {
        let trace = sample();
        let spans: Vec<_> = trace.tracks[0].spans(11_000).iter().map(|s| (s.start, s.end, s.process)).collect();
        assert_eq!(spans, [(1_000, 2_000, 3), (2_000, 3_000, 5), (3_000, 4_000, 3), (4_000, 11_000, 0)]);
        assert!(Track::default().spans(5).is_empty());
    }

    #[test]
    fn the_picture_shows_who_ran_for_longest_and_what_happened_in_each_column() {
        let lines = sample().draw(9);
        assert_eq!(
            lines,
            [
                "8 events in 9000 ns, 7 lost; a column is 1000 ns",
                "core 0 │bcb······",
                "       │,z<     ^",
                "core 1 │    aaaaa",
                "       │    ,F",
                "",
                "   PID      RAN  SWITCH  CALL  INTERRUPT  FORK  SPLIT  COPY  REUSE  ZERO  NAME",
                "·    -  6000 ns       0     0          1     0      0     0      0     0  idle",
                "a    9  5000 ns       1     0          0     1      0     0      0     0  process 9",
                "b    3  2000 ns       1     0          0     0      0     0      0     0  sh",
                "c    5  1000 ns       0     1          0     0      0     0      0     1  files",
                "",
                "! fault  E end  F fork  S spawn  % split  + copy  = reuse  z zero  ^ interrupt  > call  < answer  , switch",
            ]
        );
    }

    #[test]
    fn any_events_can_be_drawn_in_any_width() {
        assert_eq!(Trace::default().draw(80), ["no events"]);
        let mut wild = sample();
        let kind = |kind, time| TraceEvent { kind, time, ..TraceEvent::default() };
        wild.tracks[1].events = alloc::vec![kind(u64::MAX, 0), kind(0, u64::MAX), kind(99, 5)];
        for width in [0, 1, 2, 1_000] {
            assert!(wild.draw(width).len() > 5, "{width}");
            assert!(sample().draw(width)[1].chars().count() <= 8 + width.max(1), "{width}");
        }
        let many = (1..200).map(|process| event(process * 10, TraceKind::Switch, process, 0)).collect();
        let many = Trace { tracks: alloc::vec![Track { core: 0, events: many, lost: 0 }], ..Trace::default() };
        assert!(many.draw(198)[1].contains(OTHER));
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        for (time, text) in [
            (0, "0 ns"),
            (9_999, "9999 ns"),
            (12_345, "12.3 µs"),
            (12_345_678, "12.3 ms"),
            (u64::MAX, "18446744073709.5 ms"),
        ] {
            assert_eq!(duration(time), text);
        }
    }

    #[test]
    fn every_kind_has_a_name() {
        for kind in TraceKind::ALL {
            assert_ne!(kind_name(*kind as u64), "unknown");
        }
        assert_eq!(kind_name(99), "unknown");
    }
}
