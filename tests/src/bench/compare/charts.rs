//! The counts as charts, of the histories that the project records.

use super::count::Event;
use super::processor::Machine;
use super::rows::{CORES, Row, SHARES};
use crate::plots::chart::{Axis, BarChart, Bars, Colour, Line, LineChart, Look, Marker, PlotError, Scale, Stroke};

/// One thing that was counted, as a chart names it, and where its rows are. Histories of one's own are in the table and
/// in the CSV.
#[derive(Clone, Copy)]
struct Shown {
    name: &'static str,
    history: &'static str,
    size: u64,
    what: &'static str,
}

const FORK: Shown = shown("fork", "fork", 64 << 20, "fork");
const FIRST_WRITE: Shown = shown("first write", "first-write", 0, "parent's first write");
const SCATTERED: Shown = shown("scattered writes", "scattered-writes", 0, "256 writes of the parent");
const SEQUENTIAL: Shown = shown("writes in a row", "sequential-writes", 0, "2048 writes of the child");
const LAST_OWNER: Shown = shown("writes as last owner", "sequential-writes", 0, "the same 2048 writes of the parent");
const SNAPSHOTS: Shown = shown("three snapshots", "snapshot-server", 0, "three snapshots");
const UNMAP: Shown = shown("unmap inside a table", "unmap", 0, "parent, 64 KiB of a shared table");
const EXIT: Shown = shown("exit of a reader", "exit", 0, "exit of a child that has only read");
const FORK_OF_FORK: Shown = shown("fork by a child", "fork-of-fork", 0, "fork by a child that has written 64 pages");

const fn shown(name: &'static str, history: &'static str, size: u64, what: &'static str) -> Shown {
    Shown { name, history, size, what }
}

/// The charts with the names of their files, as SVG. A chart for which there are no rows is left out.
///
/// # Errors
/// If one cannot be drawn.
pub fn all(rows: &[Row]) -> Result<Vec<(&'static str, String)>, String> {
    let charts = [
        ("compare-stores.svg", by_depth(rows, &STORES, Event::Store, "Words of tables written", "stores").svg()),
        (
            "compare-atomics.svg",
            by_depth(rows, &ATOMICS, Event::Atomic, "Reference counts changed", "atomic operations").svg(),
        ),
        ("compare-processor.svg", by_machine(rows).svg()),
        ("compare-cores.svg", by_cores(rows).svg()),
    ];
    let drawn = charts.into_iter().filter_map(|(name, chart)| match chart {
        Ok(svg) => Some(Ok((name, svg))),
        Err(PlotError::Empty) => None,
        Err(error) => Some(Err(format!("{name}: {error}"))),
    });
    drawn.collect()
}

/// A count; `None` for zero, which has no logarithm.
fn count(rows: &[Row], shown: Shown, share: &str, machine: Machine, cores: usize, events: &[Event]) -> Option<f64> {
    let Shown { history, size, what, .. } = shown;
    let row = rows.iter().find(|row| {
        (row.history.as_str(), row.size, row.what.as_str()) == (history, size, what)
            && (row.share, row.machine, row.cores) == (share, machine, cores)
    })?;
    let sum: u64 = events.iter().map(|event| row.counts[*event]).sum();
    (sum > 0).then_some(sum as f64)
}

const STORES: [Shown; 6] = [FORK, FIRST_WRITE, SCATTERED, SEQUENTIAL, SNAPSHOTS, UNMAP];
const ATOMICS: [Shown; 7] = [FORK, FIRST_WRITE, SCATTERED, SEQUENTIAL, SNAPSHOTS, UNMAP, EXIT];

/// What is done, for the notes of every chart.
const DONE: &str = "64 MiB, all of it written before the fork; 256 scattered writes, 2048 in a row; 128 writes into each snapshot; 64 KiB unmapped.";

fn by_depth(rows: &[Row], groups: &[Shown], event: Event, title: &str, unit: &str) -> BarChart {
    let colours = [Colour::Grey, Colour::Blue, Colour::SkyBlue, Colour::Green];
    let bars = SHARES.iter().zip(colours).map(|((_, share), colour)| Bars {
        name: format!("--share {share}"),
        colour,
        values: groups.iter().map(|shown| count(rows, *shown, share, Machine::AArch64, 1, &[event])).collect(),
    });
    BarChart {
        title: format!("{title}, by depth of sharing"),
        y: Axis::new(unit, Scale::Decades),
        groups: groups.iter().map(|shown| shown.name.into()).collect(),
        bars: bars.collect(),
        notes: vec![DONE.into(), "The same in both formats and for any number of cores.".into()],
    }
}

/// Which threads run on which cores, for the charts in which that matters.
const RUNS: &str = "The parent has a thread on every core until the child, which has one, takes a core over.";

const INVALIDATIONS: [Event; 4] = [Event::OneLeaf, Event::OnePage, Event::Range, Event::Space];

fn by_machine(rows: &[Row]) -> BarChart {
    const GROUPS: [Shown; 8] = [FORK, FIRST_WRITE, SCATTERED, SEQUENTIAL, LAST_OWNER, SNAPSHOTS, UNMAP, FORK_OF_FORK];
    let bars = |name: &str, colour, machine, events: &[Event]| Bars {
        name: name.into(),
        colour,
        values: GROUPS.map(|shown| count(rows, shown, "l3", machine, 4, events)).into(),
    };
    BarChart {
        title: "What the processors execute for it, with level-3 tables shared and 4 cores".into(),
        y: Axis::new("instructions, interrupts", Scale::Decades),
        groups: GROUPS.map(|shown| shown.name.into()).into(),
        bars: vec![
            bars("AArch64: broadcast TLBI", Colour::Blue, Machine::AArch64, &INVALIDATIONS),
            bars("AArch64: DSB, ISB", Colour::SkyBlue, Machine::AArch64, &[Event::Barrier]),
            bars("x86_64: INVLPG, INVPCID on the own core", Colour::Vermilion, Machine::X86_64, &INVALIDATIONS),
            bars("x86_64: interrupts to other cores", Colour::Orange, Machine::X86_64, &[Event::Interrupt]),
        ],
        notes: vec![DONE.into(), RUNS.into(), "No bar: none at all. Equal counts are not equal times.".into()],
    }
}

fn by_cores(rows: &[Row]) -> LineChart {
    const LINES: [(Shown, Colour, Marker, Stroke); 5] = [
        (FORK, Colour::Blue, Marker::Circle, Stroke::Solid),
        (FIRST_WRITE, Colour::Vermilion, Marker::Square, Stroke::Solid),
        (UNMAP, Colour::Green, Marker::Triangle, Stroke::Solid),
        (SCATTERED, Colour::Orange, Marker::Diamond, Stroke::Solid),
        (SNAPSHOTS, Colour::Purple, Marker::Circle, Stroke::Dashed),
    ];
    let line = |(shown, colour, marker, stroke): (Shown, _, _, _)| Line {
        name: shown.name.into(),
        look: Look { colour, marker, stroke },
        points: CORES
            .iter()
            .filter_map(|&cores| {
                Some((cores as f64, count(rows, shown, "l3", Machine::X86_64, cores, &[Event::Interrupt])?))
            })
            .collect(),
    };
    LineChart {
        title: "Interrupts to other cores on x86_64, with level-3 tables shared".into(),
        x: Axis::new("cores", Scale::Doublings),
        y: Axis::new("interrupts", Scale::Decades),
        lines: LINES.map(line).into_iter().filter(|line| !line.points.is_empty()).collect(),
        notes: vec![
            DONE.into(),
            RUNS.into(),
            "No point: none at all. On AArch64 there are none with any number of cores: TLBI reaches every core by itself.".into(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::history::{self, Operation};
    use std::path::Path;

    #[test]
    fn everything_that_charts_show_is_recorded() {
        let recorded = history::read(Path::new("histories")).unwrap();
        for shown in [FORK, FIRST_WRITE, SCATTERED, SEQUENTIAL, LAST_OWNER, SNAPSHOTS, UNMAP, EXIT, FORK_OF_FORK] {
            let counts = Operation::Count(shown.what.into());
            let is_it = recorded
                .iter()
                .filter(|history| (history.name.as_str(), history.size) == (shown.history, shown.size))
                .any(|history| history.steps.iter().any(|step| step.operation == counts));
            assert!(is_it, "{} is not among the histories", shown.name);
        }
    }

    #[test]
    fn charts_without_rows_are_left_out() {
        assert_eq!(all(&[]), Ok(Vec::new()));
        let text = "space a\nreserve a 1G 4K\nwrite a 1G 4K\ncount parent's first write\nfork a b\n";
        let rows = crate::bench::compare::rows::run(&history::parse("first-write", text).unwrap()).unwrap();
        let names: Vec<_> = all(&rows).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["compare-stores.svg", "compare-atomics.svg", "compare-processor.svg"]);
    }
}
