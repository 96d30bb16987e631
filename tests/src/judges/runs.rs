//! Traces of what the kernel does to translation tables while it runs in QEMU, recorded by the plugin in
//! `tests/tables/plugin` and judged afterwards.

use crate::bench::lines;
use crate::binary::symbols;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine, TableRecorder};
use crate::harness::runner::Outcome;
use crate::harness::session;
use crate::harness::verdict::Expected;
use graft_rt::size::Grouped;
use graft_table_checker::{Checker, Event, Invalidation, Thread, parse};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The symbol of where the kernel counts references to frames.
const REFERENCES: &str = "frame_references";
const LIMIT: Duration = Duration::from_secs(600);

/// What is left out of a trace on purpose, to see that the checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Every invalidation.
    NoInvalidation,
    /// Every barrier that an invalidation would have to wait for.
    NoBarrierBefore,
    /// Every barrier that waits for an invalidation.
    NoBarrierAfter,
    /// Entries of the last level are all that is invalidated.
    LastLevel,
    /// Invalidations name another space.
    OtherAsid,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 5] = [
        Planted::NoInvalidation,
        Planted::NoBarrierBefore,
        Planted::NoBarrierAfter,
        Planted::LastLevel,
        Planted::OtherAsid,
    ];

    /// What is left of an event of a core whose last invalidation has not been waited for, or has.
    fn change(self, event: Event, is_waited_for: bool) -> Option<Event> {
        match (self, event) {
            (Planted::NoInvalidation, Event::Invalidate(_)) => None,
            (Planted::NoBarrierBefore, Event::WaitForStores) => None,
            (Planted::NoBarrierBefore, Event::WaitForAll) if is_waited_for => None,
            (Planted::NoBarrierAfter, Event::WaitForAll) if !is_waited_for => None,
            (
                Planted::LastLevel,
                Event::Invalidate(Invalidation::Page(asid, page) | Invalidation::Pages(asid, page, _)),
            ) => Some(Event::Invalidate(Invalidation::Leaf(asid, page))),
            (Planted::LastLevel, Event::Invalidate(Invalidation::Space(asid))) => {
                Some(Event::Invalidate(Invalidation::Leaf(asid, 0)))
            }
            (Planted::OtherAsid, Event::Invalidate(invalidation)) => Some(Event::Invalidate(match invalidation {
                Invalidation::Leaf(asid, page) => Invalidation::Leaf(asid ^ 0x4000, page),
                Invalidation::Page(asid, page) => Invalidation::Page(asid ^ 0x4000, page),
                Invalidation::Pages(asid, page, pages) => Invalidation::Pages(asid ^ 0x4000, page, pages),
                Invalidation::Space(asid) => Invalidation::Space(asid ^ 0x4000),
                Invalidation::All => Invalidation::All,
            })),
            _ => Some(event),
        }
    }
}

/// What a trace is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Events.
    pub events: u64,
    /// Cores that did something.
    pub cores: BTreeSet<Thread>,
    /// Frames that became tables.
    pub tables: u64,
    /// Times that a core took up a space.
    pub switches: u64,
    /// Invalidations.
    pub invalidations: u64,
    /// Tables and pages that were freed.
    pub freed: u64,
}

impl Content {
    fn count(&mut self, core: Thread, event: Event) {
        self.events += 1;
        self.cores.insert(core);
        let counter = match event {
            Event::Init(_) => &mut self.tables,
            Event::Run { .. } => &mut self.switches,
            Event::Invalidate(_) => &mut self.invalidations,
            Event::Free(_) => &mut self.freed,
            _ => return,
        };
        *counter += 1;
    }

    /// Whether there is something of each kind.
    pub fn is_whole(&self) -> bool {
        [self.tables, self.switches, self.invalidations, self.freed].iter().all(|count| *count != 0)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Content { events, tables, invalidations, freed, .. } = self;
        let [events, tables, invalidations, freed] =
            [events, tables, invalidations, freed].map(|count| Grouped(*count));
        write!(f, "{events} events, 0 violations: {tables} tables, {invalidations} invalidations, {freed} frames freed")
    }
}

/// Runs a machine that the plugin watches, and keeps the trace at `trace`.
///
/// # Errors
/// If the run fails.
pub fn record(build: &Build, machine: Machine, trace: &Path, log: &Path) -> Outcome<()> {
    lines::plugin(build, &machine.emulator)?;
    let kernel = fs::read(build.kernel_elf())?;
    let references = symbols::address(&kernel, REFERENCES).map_err(|error| format!("the kernel {error}"))?;
    let tables = TableRecorder { plugin: build.table_plugin(), out: trace.into(), references };
    let machine = Machine { tables: Some(tables), ..machine };
    Ok(Expected::success().judge(&session::run(machine.command(Console::Pipe), log, LIMIT)?)?)
}

/// Judges a trace.
///
/// # Errors
/// The first event that breaks a rule, with the address of the kernel's instruction; or what is wrong with the file.
pub fn judge(trace: &Path, planted: Option<Planted>) -> Result<Content, String> {
    let failed = |error| format!("cannot read {}: {error}", trace.display());
    let file = BufReader::new(File::open(trace).map_err(failed)?);
    let (mut checker, mut content) = (Checker::default(), Content::default());
    // Cores that have invalidated and not waited for it yet.
    let mut waiting = BTreeSet::new();
    for line in file.lines() {
        let line = line.map_err(failed)?;
        let (core, event, source) = parse(&line).map_err(|error| error.to_string())?;
        content.count(core, event);
        let changed = match planted {
            Some(planted) => planted.change(event, !waiting.contains(&core)),
            None => Some(event),
        };
        match event {
            Event::Invalidate(_) => _ = waiting.insert(core),
            Event::WaitForAll => _ = waiting.remove(&core),
            _ => {}
        }
        if let Some(event) = changed {
            checker.step(core, event).map_err(|violation| format!("core {core}, instruction {source}: {violation}"))?;
        }
    }
    if content.is_whole() { Ok(content) } else { Err(format!("the trace is not whole: {content:?}")) }
}

/// Runs whose traces `make trace-tables` keeps: shell lines, and what else the kernel is told.
const RUNS: [(&str, &str, &str); 8] = [
    ("forkdemo", "forkdemo", ""),
    ("fork-copy", "t-fork copy", ""),
    ("fork-l3", "t-fork l3", ""),
    ("fork-l2", "t-fork l2", ""),
    ("fork-l1", "t-fork l1", ""),
    ("identifiers", "t-fork l3", "graft.asid-bits=8"),
    ("threads", "t-threads", ""),
    ("pieces", "t-pieces", ""),
];

/// Records and judges these runs, with the traces in `folder`. A report, a line each.
///
/// # Errors
/// A run that fails, or a rule that it breaks.
pub fn run(build: &Build, folder: &Path) -> Result<String, String> {
    let machine = Machine::new(&build.kernel_image()).with_archive(&build.archive());
    if let Err(why) = lines::plugin(build, &machine.emulator) {
        return Ok(format!("runs: left out; {why}"));
    }
    let mut report = Vec::new();
    for (name, line, word) in RUNS {
        let trace: PathBuf = folder.join(format!("run-{name}.log"));
        let log = build.logs().join(format!("trace-{name}.log"));
        let mut machine = machine.clone().with_line(line);
        if !word.is_empty() {
            machine = machine.with_boot_word(word);
        }
        record(build, machine, &trace, &log).map_err(|error| format!("{line}: {error}; log: {}", log.display()))?;
        let content = judge(&trace, None).map_err(|problem| format!("{line}: {problem}; {}", trace.display()))?;
        report.push(format!("runs: {line} {word}: {content}"));
    }
    Ok(report.join("\n"))
}
