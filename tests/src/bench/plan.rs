//! What is measured, and on which machine.

use super::boots::Boot;
use super::figures::{self, Figure};
use super::lines;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, LineCounter, Machine};
use crate::harness::runner::Outcome;
use crate::harness::session;
use crate::harness::verdict::Expected;
use graft_abi::Share;
use indicatif::ProgressBar;
use std::fmt;
use std::path::Path;
use std::time::Duration;

pub(super) const LIMIT: Duration = Duration::from_secs(600);
pub(super) const MEBIBYTE: u64 = 1 << 20;
/// The largest size that is measured.
const MOST: u64 = 2 << 30;
/// The size whose figures are shown one by one.
pub(super) const SHOWN: u64 = 1 << 30;

/// What one run of a measuring program measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Fork, and all around it.
    Fork {
        /// The depth of sharing.
        share: Share,
        /// Bytes of touched memory.
        bytes: u64,
    },
    /// Messages between processes, and what servers need beside them.
    Messages,
}

impl Point {
    /// What its figures have as the depth of sharing and the memory.
    pub fn key(&self) -> (&'static str, u64) {
        match self {
            Point::Fork { share, bytes } => (share.name(), *bytes),
            Point::Messages => (figures::MESSAGES, 0),
        }
    }
}

/// The shell's line that measures it.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Fork { share, bytes } => {
                write!(f, "forkbench --mem {bytes} --share {} --csv --spans", share.name())
            }
            Point::Messages => f.write_str("ipcbench --csv --spans"),
        }
    }
}

/// The machine that counts, with our kernel.
pub fn machine(build: &Build) -> Machine {
    counting(Machine::new(&build.kernel_image()).with_archive(&build.archive()))
}

/// The same machine as one Cortex-A72 whose instructions take a nanosecond of its time each.
pub(super) fn counting(machine: Machine) -> Machine {
    Machine { cores: 1, memory: "3G".into(), icount: true, ..machine }
}

/// Boots once and measures all of this, in this order; cache lines, too, with the plugin that counts them.
pub fn measure(machine: &Machine, plugin: Option<&Path>, points: &[Point], log: &Path) -> Outcome<Vec<Figure>> {
    let commands: Vec<_> = points.iter().map(Point::to_string).collect();
    let mut machine = machine.clone().with_line(&commands.join(" && "));
    machine.lines = plugin.map(|plugin| LineCounter::beside(plugin, log));
    let ended = session::run(machine.command(Console::Pipe), log, LIMIT)?;
    Expected::success().judge(&ended)?;
    let mut figures = figures::parse(&ended.output);
    figures::count_nanoseconds(&mut figures);
    if let Some(LineCounter { out, .. }) = &machine.lines {
        figures.extend(lines::figures(&ended.output, out)?);
    }
    Ok(figures)
}

/// Every size.
pub(super) fn sizes() -> impl Iterator<Item = u64> {
    let doubled = std::iter::successors(Some(MEBIBYTE), |bytes| (*bytes < MOST).then(|| bytes * 2));
    std::iter::once(0).chain(doubled)
}

/// These sizes at every depth.
pub(super) fn plan(sizes: impl Iterator<Item = u64>) -> Vec<Point> {
    sizes.flat_map(|bytes| Share::ALL.map(|share| Point::Fork { share, bytes })).collect()
}

/// The boot that measures a point by itself, so that it finds nothing that another has left behind.
pub(super) fn boot<'a>(build: &Build, plugin: Option<&'a Path>, point: Point) -> Boot<'a> {
    let machine = machine(build);
    let (share, bytes) = point.key();
    let name = format!("bench-{share}-{bytes}.log");
    let log = build.logs().join(&name);
    // The copying ones take several times as long.
    let weight = 4 + bytes / (16 * MEBIBYTE) * if share == Share::Copy.name() { 5 } else { 1 };
    let measure = move |bar: &ProgressBar| {
        let measured =
            measure(&machine, plugin, &[point], &log).map_err(|error| format!("{point}: {error}; see {name}"));
        bar.inc(weight);
        measured
    };
    Boot { name: point.to_string(), weight, measure: Box::new(measure) }
}

/// A size as people write it, without a unit where there is nothing.
pub(super) fn size(bytes: u64) -> String {
    if bytes == 0 { "0".into() } else { graft_rt::size::Size(bytes).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_measured_at_every_depth() {
        let plan = plan(sizes());
        assert_eq!(plan.len(), 13 * 4);
        assert_eq!(plan[0], Point::Fork { share: Share::Copy, bytes: 0 });
        assert_eq!(plan[51], Point::Fork { share: Share::L1, bytes: 2 << 30 });
        assert_eq!(plan[51].to_string(), "forkbench --mem 2147483648 --share l1 --csv --spans");
        assert_eq!([0, MEBIBYTE, 2 << 30].map(size), ["0", "1 MiB", "2 GiB"]);
    }
}
