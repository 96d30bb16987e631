//! `make bench`: what fork and everything around it cost, as a table, as CSV and as charts.
//!
//! ```text
//!   forkbench in QEMU, one boot a size and depth ──▶ Figure ─┬▶ table     on the terminal
//!   other systems: others.csv, bench-linux.csv ────▶ Figure ─┤▶ bench.csv (ours alone)
//!                                                            └▶ charts    bench-*.svg
//!   instructions.csv ◀── guard: has anything grown? ◀── the same boots, a few of them
//!   lines: what the plugin in tests/cache has counted beside them ──▶ Figure
//! ```
//!
//! Times are counted in instructions and in cache lines, both the same in every run.

mod boots;
pub mod bounds;
mod charts;
pub mod compare;
pub mod figures;
pub mod guard;
pub mod lines;
pub mod linux;
mod messages;
pub mod missed;
pub mod plan;
pub mod profile;
mod programs;
mod systems;
mod table;

use crate::builder::folder::Build;
use guard::Accepted;
use plan::{Point, boot, machine, measure, plan, sizes};
use std::fs;

/// Size of the operations whose bounds are shown, in MiB.
const MEBIBYTES_BOUNDED: u64 = 1024;

/// Measures everything, shows it and writes `bench.csv` and the charts; returns what to tell the user.
pub fn run(build: &Build, jobs: usize) -> Result<String, String> {
    let plugin = lines::plugin(build, &machine(build).emulator);
    let counter = plugin.as_deref().ok();
    let mut boots: Vec<_> = plan(sizes()).into_iter().map(|point| boot(build, counter, point)).collect();
    boots.push(boot(build, counter, Point::Messages));
    boots.extend(programs::boots(build));
    let figures = boots::all(&boots, jobs)?;
    build.write("bench.csv", figures::file(&figures))?;

    let (ours, programs): (Vec<_>, Vec<_>) = figures.into_iter().partition(|figure| figure.program == "forkbench");
    let (messages, programs): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|figure| figure.share == figures::MESSAGES);
    let (others, remark) = systems::others(&build.path("bench-linux.csv"))?;
    let (other_messages, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|figure| figure.program == messages::OTHER);
    let figures = [ours, others].concat();
    let mut report = table::show(&figures, &systems::compared(&figures));
    report += &format!("\n{}", messages::show(&[messages, other_messages].concat())?);
    report += &format!("\n{}", programs::show(&programs));
    report += &format!("\n{}: every figure\n", build.path("bench.csv").display());
    let latency = programs::chart(&programs).map_err(|error| error.to_string())?;
    for (name, chart) in charts::all(&figures)?.into_iter().chain([("bench-latency.svg", latency)]) {
        build.write(name, &chart)?;
        report += &format!("{}\n", build.path(name).display());
    }
    report += &remark;
    match &plugin {
        Err(why) => report += &format!("cache lines, and how long others wait: left out; {why}\n"),
        Ok(_) => {
            let log = build.logs().join("bench-bounds.log");
            let bounds = bounds::measure(build, machine(build), MEBIBYTES_BOUNDED, &log)
                .map_err(|error| format!("{error}; see {}", log.display()))?;
            report += &format!("\n{}", bounds::show(&bounds, MEBIBYTES_BOUNDED));
        }
    }
    Ok(report)
}

/// Measures what the accepted counts are about and accepts it; returns what has changed.
pub fn accept(build: &Build) -> Result<String, String> {
    let accepted = Accepted::read()?;
    let log = build.logs().join("bench-accept.log");
    let machine = machine(build);
    let plugin = lines::plugin(build, &machine.emulator)?;
    let figures = measure(&machine, Some(&plugin), &accepted.points(), &log)
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
