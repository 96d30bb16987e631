//! `make bench`: what fork and everything around it cost, as a table, as CSV and as charts.
//!
//! ```text
//!   forkbench in QEMU, one boot a size and depth ──▶ Figure ─┬▶ table     on the terminal
//!   other systems: others.csv, bench-linux.csv ────▶ Figure ─┤▶ bench.csv (ours alone)
//!                                                            └▶ charts    bench-*.svg
//!   instructions.csv ◀── guard: has anything grown? ◀── the same boots, a few of them
//! ```
//!
//! Times are counted in instructions, which are the same in every run.

mod boots;
mod charts;
pub mod compare;
pub mod figures;
pub mod guard;
pub mod linux;
pub mod profile;
mod programs;
mod systems;
mod table;

use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::Outcome;
use crate::harness::session;
use crate::harness::verdict::Expected;
use boots::Boot;
use figures::Figure;
use graft_abi::Share;
use guard::Accepted;
use indicatif::ProgressBar;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const MEBIBYTE: u64 = 1 << 20;
/// The largest size that is measured.
const MOST: u64 = 2 << 30;
/// The size whose figures are shown one by one.
const SHOWN: u64 = 1 << 30;

/// What one run of `forkbench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The depth of sharing.
    pub share: Share,
    /// Bytes of touched memory.
    pub bytes: u64,
}

/// The shell's line that measures it.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forkbench --mem {} --share {} --csv", self.bytes, self.share.name())
    }
}

/// The machine that counts, with our kernel.
pub fn machine(build: &Build) -> Machine {
    counting(Machine::new(&build.kernel_image()).with_archive(&build.archive()))
}

/// The same machine as one Cortex-A72 whose instructions take a nanosecond of its time each.
fn counting(machine: Machine) -> Machine {
    Machine { cores: 1, memory: "3G".into(), icount: true, ..machine }
}

/// Boots once and measures all of this, in this order.
pub fn measure(machine: &Machine, points: &[Point], log: &Path) -> Outcome<Vec<Figure>> {
    let lines: Vec<_> = points.iter().map(Point::to_string).collect();
    let machine = machine.clone().with_line(&lines.join(" && "));
    let ended = session::run(machine.command(Console::Pipe), log, LIMIT)?;
    Expected::success().judge(&ended)?;
    let mut figures = figures::parse(&ended.output);
    figures::count_nanoseconds(&mut figures);
    Ok(figures)
}

/// Every size.
fn sizes() -> impl Iterator<Item = u64> {
    let doubled = std::iter::successors(Some(MEBIBYTE), |bytes| (*bytes < MOST).then(|| bytes * 2));
    std::iter::once(0).chain(doubled)
}

/// These sizes at every depth.
fn plan(sizes: impl Iterator<Item = u64>) -> Vec<Point> {
    sizes.flat_map(|bytes| Share::ALL.map(|share| Point { share, bytes })).collect()
}

/// Measures everything, shows it and writes `bench.csv` and the charts; returns what to tell the user.
pub fn run(build: &Build, jobs: usize) -> Result<String, String> {
    let mut boots: Vec<_> = plan(sizes()).into_iter().map(|point| boot(build, point)).collect();
    boots.extend(programs::boots(build));
    let figures = boots::all(&boots, jobs)?;
    build.write("bench.csv", figures::file(&figures))?;

    let (ours, programs): (Vec<_>, Vec<_>) = figures.into_iter().partition(|figure| figure.program == "forkbench");
    let (others, remark) = systems::others(&build.path("bench-linux.csv"))?;
    let figures = [ours, others].concat();
    let mut report = table::show(&figures, &systems::compared(&figures));
    report += &format!("\n{}", programs::show(&programs));
    report += &format!("\n{}: every figure\n", build.path("bench.csv").display());
    let latency = programs::chart(&programs).map_err(|error| error.to_string())?;
    for (name, chart) in charts::all(&figures)?.into_iter().chain([("bench-latency.svg", latency)]) {
        build.write(name, &chart)?;
        report += &format!("{}\n", build.path(name).display());
    }
    report += &remark;
    Ok(report)
}

/// Measures what the accepted counts are about and accepts it; returns what has changed.
pub fn accept(build: &Build) -> Result<String, String> {
    let accepted = Accepted::read()?;
    let log = build.logs().join("bench-accept.log");
    let figures = measure(&machine(build), &accepted.points(), &log)
        .map_err(|error| format!("{error}; see {}", log.display()))?;
    let changes = accepted.changes(&figures)?;
    let renewed = accepted.renewed(&changes).to_string();
    fs::write(guard::FILE, renewed).map_err(|error| format!("cannot write {}: {error}", guard::FILE))?;
    Ok(match changes.len() {
        0 => format!("{}: nothing has changed\n", guard::FILE),
        count => {
            let list: String = changes.iter().map(|change| format!("  {change}\n")).collect();
            format!("{}: {count} changed; say why in the commit\n{list}", guard::FILE)
        }
    })
}

/// The boot that measures a point by itself, so that it finds nothing that another has left behind.
fn boot(build: &Build, point: Point) -> Boot<'static> {
    let machine = machine(build);
    let name = format!("bench-{}-{}.log", point.share.name(), point.bytes);
    let log = build.logs().join(&name);
    // The copying ones take several times as long.
    let weight = 4 + point.bytes / (16 * MEBIBYTE) * if point.share == Share::Copy { 5 } else { 1 };
    let measure = move |bar: &ProgressBar| {
        let measured = measure(&machine, &[point], &log).map_err(|error| format!("{point}: {error}; see {name}"));
        bar.inc(weight);
        measured
    };
    Boot { name: point.to_string(), weight, measure: Box::new(measure) }
}

/// A size as people write it, without a unit where there is nothing.
fn size(bytes: u64) -> String {
    if bytes == 0 { "0".into() } else { graft_rt::size::Size(bytes).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_measured_at_every_depth() {
        let plan = plan(sizes());
        assert_eq!(plan.len(), 13 * 4);
        assert_eq!(plan[0], Point { share: Share::Copy, bytes: 0 });
        assert_eq!(plan[51], Point { share: Share::L1, bytes: 2 << 30 });
        assert_eq!(plan[51].to_string(), "forkbench --mem 2147483648 --share l1 --csv");
        assert_eq!([0, MEBIBYTE, 2 << 30].map(size), ["0", "1 MiB", "2 GiB"]);
    }
}
