//! The charts: fork and its tables by size, and the price of each operation.

use super::lines;
use super::plan::{SHOWN, size, sizes};
use super::systems::{self, System};
use crate::bench::figures::Figure;
use crate::plots::chart::{
    Axis, BarChart, Bars, Colour, Line, LineChart, Look, Marker, Notation, PlotError, Scale, Stroke,
};
use graft_abi::Share;

/// How everything was measured.
const CONDITIONS: &str = "QEMU virt, one Cortex-A72. Every page was written before the fork.";
/// What to know about figures that are instructions.
const INSTRUCTIONS: &str = "Instructions (-icount shift=0) hide cycles: a barrier, a TLB invalidation and a cache miss \
                            count as one each.";

/// What to know about figures that are cache lines.
const LINES: &str = "A model of a Cortex-A72: L1D 32 KiB, L2 1 MiB, all emptied at the start; without prefetch. \
                     docs/performance.md.";

/// The operations in the chart of operations, and their names there.
const OPERATIONS: [(&str, &str); 6] = [
    ("fork", "fork"),
    ("fork_exit_wait", "fork, exit and wait"),
    ("child_first_write", "first write"),
    ("child_next_write", "next write"),
    ("last_owner_write", "last owner's write"),
    ("demand_zero", "fresh page"),
];
/// The same in the chart of lines.
const MISSING: [(&str, &str); 6] = [
    ("fork", "fork"),
    ("exit", "exit"),
    ("child_first_write", "first write"),
    ("child_next_write", "next write"),
    ("unmap", "unmap"),
    ("spawn", "spawn"),
];

/// Every chart with its file's name.
pub(super) fn all(figures: &[Figure]) -> Result<Vec<(&'static str, String)>, String> {
    // The others are above ours in most charts, and so they are in the legend.
    let mut systems = systems::compared(figures);
    systems.sort_by_key(|system| system.share.is_some());
    let instructions = || Axis::new("instructions", Scale::Decades);
    let lines_missed = || Axis::new("cache lines missed in L1D, cold", Scale::Decades);
    let bytes = Axis::new("memory for tables", Scale::Doublings).written(Notation::Bytes);
    let title = "Fork, as the parent sees it";
    let tables = "Translation tables that a fork takes";
    let (plain, missed) = (|metric: &str| metric.to_string(), |metric: &str| lines::metric(metric, "l1d", "cold"));
    let mut charts = vec![
        ("bench-fork.svg", by_size(&systems, "fork", title, instructions(), &[INSTRUCTIONS]).svg()),
        ("bench-tables.svg", by_size(&systems, "table_bytes_fork", tables, bytes, &[]).svg()),
        ("bench-operations.svg", operations(&systems, &OPERATIONS, plain, instructions(), INSTRUCTIONS).svg()),
    ];
    if figures.iter().any(|figure| lines::is_metric(&figure.metric)) {
        charts.extend([
            ("bench-fork-lines.svg", by_size(&systems, &missed("fork"), title, lines_missed(), &[LINES]).svg()),
            ("bench-lines.svg", operations(&systems, &MISSING, missed, lines_missed(), LINES).svg()),
        ]);
    }
    let drawn = |(name, chart): (&'static str, Result<String, PlotError>)| {
        chart.map(|svg| (name, svg)).map_err(|error| format!("{name}: {error}"))
    };
    charts.into_iter().map(drawn).collect()
}

fn by_size(systems: &[System<'_>], metric: &str, title: &str, y: Axis, about: &[&str]) -> LineChart {
    let mut lines = Vec::new();
    let mut notes = notes(about);
    for (number, system) in systems.iter().enumerate() {
        let mut points = system.by_size(metric);
        let mut look = look(number, system);
        if let [(from, _), (to, _)] = points[..] {
            let (from, to) = (size(from), size(to));
            notes.push(format!("{}: measured at {from} and {to}; a straight line between them.", system.name));
            look.marker = Marker::None;
            points = between(points[0], points[1]);
        }
        // A logarithm has no place for nothing.
        let points: Vec<_> = points.into_iter().filter(|point| point.0 > 0 && point.1 > 0).collect();
        if !points.is_empty() {
            let points = points.into_iter().map(|(bytes, value)| (bytes as f64, value as f64)).collect();
            lines.push(Line { name: title_of(system), look, points });
        }
    }
    let x = Axis::new("memory of the process", Scale::Doublings).written(Notation::Bytes);
    LineChart { title: title.into(), x, y, lines, notes }
}

fn notes(about: &[&str]) -> Vec<String> {
    [&[CONDITIONS], about].concat().into_iter().map(String::from).collect()
}

/// A straight line between two points, at every size that we measure.
fn between((from, low): (u64, u64), (to, high): (u64, u64)) -> Vec<(u64, u64)> {
    let part = |bytes: u64| (bytes - from) as f64 / (to - from) as f64;
    let value = |bytes: u64| low as f64 + (high as f64 - low as f64) * part(bytes);
    sizes().filter(|bytes| (from..=to).contains(bytes)).map(|bytes| (bytes, value(bytes).round() as u64)).collect()
}

fn operations(
    systems: &[System<'_>],
    groups: &[(&str, &str)],
    metric_of: impl Fn(&str) -> String,
    y: Axis,
    about: &str,
) -> BarChart {
    // A logarithm has no place for nothing.
    let value = |system: &System, metric: &str| {
        Some(system.median(SHOWN, &metric_of(metric))? as f64).filter(|value| *value > 0.0)
    };
    let bars = systems.iter().enumerate().map(|(number, system)| Bars {
        name: title_of(system),
        colour: look(number, system).colour,
        values: groups.iter().map(|(metric, _)| value(system, metric)).collect(),
    });
    BarChart {
        title: format!("A process with {}", size(SHOWN)),
        y,
        groups: groups.iter().map(|(_, name)| (*name).into()).collect(),
        bars: bars.filter(|bars| bars.values.iter().any(Option::is_some)).collect(),
        notes: notes(&[about]),
    }
}

fn title_of(system: &System<'_>) -> String {
    match system.share {
        Some(Share::Copy) => "Graft copy (classic)".into(),
        Some(Share::L3) => "Graft l3 (default)".into(),
        Some(share) => format!("Graft {}", share.name()),
        None => system.name.clone(),
    }
}

fn look(number: usize, system: &System<'_>) -> Look {
    let ours = |colour, marker| Look { colour, marker, stroke: Stroke::Solid };
    match system.share {
        Some(Share::Copy) => ours(Colour::Vermilion, Marker::Square),
        Some(Share::L3) => ours(Colour::Blue, Marker::Circle),
        Some(Share::L2) => ours(Colour::Green, Marker::Diamond),
        Some(Share::L1) => ours(Colour::Orange, Marker::Triangle),
        None => {
            let colours = [Colour::Black, Colour::Grey, Colour::Purple, Colour::SkyBlue];
            let markers = [Marker::Triangle, Marker::Circle, Marker::Square, Marker::Diamond];
            let number = number % colours.len();
            Look { colour: colours[number], marker: markers[number], stroke: Stroke::Dashed }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;
    use crate::bench::figures;

    fn figures() -> Vec<Figure> {
        let row = |share: &str, bytes: u64, metric: &str, value: u64| {
            format!("forkbench,{share},{bytes},{metric},instructions,{value},{value},{value},3\n")
        };
        let mut text = String::from("odf,arm64,0,fork,instructions,1000,1000,1000,1\n");
        text += &format!("odf,arm64,{SHOWN},fork,instructions,5000,5000,5000,1\n");
        for point in plan(sizes()) {
            let (share, bytes) = point.key();
            text += &row(share, bytes, "fork", 1000 + bytes / 4096);
            text += &row(share, bytes, "table_bytes_fork", 4096 + bytes / 512);
            text += &row(share, bytes, "fork.l1d.cold", 100 + bytes / 65536);
        }
        figures::parse(&text)
    }

    #[test]
    fn every_chart_is_drawn_and_names_all_that_it_compares() {
        let charts = all(&figures()).unwrap();
        assert_eq!(charts.len(), 5);
        let without: Vec<_> = figures().into_iter().filter(|figure| !lines::is_metric(&figure.metric)).collect();
        assert_eq!(all(&without).unwrap().len(), 3, "no lines were counted");
        for name in ["Graft copy (classic)", "Graft l3 (default)", "Graft l2", "Graft l1"] {
            assert!(charts.iter().all(|(_, svg)| svg.contains(&format!("\n{name}\n"))), "{name}");
        }
        assert!(charts[0].1.contains("\non-demand-fork arm64\n") && !charts[1].1.contains("on-demand-fork"));
        assert!(charts[0].1.contains("measured at 0 and 1 GiB"));
    }

    #[test]
    fn no_figures_are_an_error() {
        assert!(all(&[]).unwrap_err().contains("bench-fork.svg: there is nothing to draw"));
    }

    #[test]
    fn two_known_sizes_make_a_straight_line() {
        let line = between((0, 1000), (SHOWN, 5000));
        assert_eq!(line.first(), Some(&(0, 1000)));
        assert_eq!(line.last(), Some(&(SHOWN, 5000)));
        assert!(line.contains(&(SHOWN / 4, 2000)) && line.len() == 12, "{line:?}");
    }
}
