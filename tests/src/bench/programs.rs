//! The two programs that need a fast fork, measured: how long kvd's requests wait, and what forkserver's executions
//! take.

use super::boots::Boot;
use super::plan::{LIMIT, machine};
use crate::bench::figures::{self, Figure};
use crate::builder::folder::Build;
use crate::harness::machine::Console;
use crate::harness::session;
use crate::harness::verdict::Expected;
use crate::plots::chart::{Axis, Colour, Line, LineChart, Look, Marker, Notation, PlotError, Scale, Stroke};
use graft_abi::Share;
use graft_rt::size::{Grouped, Size};
use indicatif::ProgressBar;

const LINES: [&str; 2] = ["kvd --mem 256M --csv", "forkserver --csv"];
/// Their part of the progress bar, each.
const WEIGHT: u64 = 80;

/// Percentiles as kvd names them, and as numbers; the last is the most that there was.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
const MOST: &str = "max";

/// The ways in which forkserver runs its target, and how they are called.
const WAYS: [(&str, &str, Share); 9] = [
    ("a new process each", "forkserver-spawn", Share::Copy),
    ("fork, copy", "forkserver-fork", Share::Copy),
    ("fork, l3", "forkserver-fork", Share::L3),
    ("fork, l2", "forkserver-fork", Share::L2),
    ("fork, l1", "forkserver-fork", Share::L1),
    ("restore, copy", "forkserver-restore", Share::Copy),
    ("restore, l3", "forkserver-restore", Share::L3),
    ("restore, l2", "forkserver-restore", Share::L2),
    ("restore, l1", "forkserver-restore", Share::L1),
];

/// The boots that measure them.
pub(super) fn boots(build: &Build) -> Vec<Boot<'static>> {
    let boot = |line: &'static str| {
        let name = line.split(' ').next().unwrap_or(line);
        let log = build.logs().join(format!("bench-{name}.log"));
        let machine = machine(build).with_line(line);
        let measure = move |bar: &ProgressBar| {
            let failed = |error: String| format!("{line}: {error}; see {}", log.display());
            let ended = session::run(machine.command(Console::Pipe), &log, LIMIT).map_err(|e| failed(e.to_string()))?;
            Expected::success().judge(&ended).map_err(|error| failed(error.to_string()))?;
            bar.inc(WEIGHT);
            let mut figures: Vec<_> = ended.output.lines().filter_map(row).collect();
            figures::count_nanoseconds(&mut figures);
            Ok(figures)
        };
        Boot { name: line.into(), weight: WEIGHT, measure: Box::new(measure) }
    };
    LINES.map(boot).into()
}

/// A row `kvd,SHARE,BYTES,METRIC,UNIT,VALUE`, or with the way behind the name as forkserver prints it.
fn row(line: &str) -> Option<Figure> {
    let fields: Vec<_> = line.trim().split(',').collect();
    let (program, rest) = match fields[..] {
        ["kvd", ref rest @ ..] => ("kvd".into(), rest),
        ["forkserver", way, ref rest @ ..] => (format!("forkserver-{way}"), rest),
        _ => return None,
    };
    let [share, bytes, metric, unit, value] = rest else { return None };
    let (bytes, value) = (bytes.parse().ok()?, value.parse().ok()?);
    let (share, metric, unit) = (share.to_string(), metric.to_string(), unit.to_string());
    Some(Figure { program, share, bytes, metric, unit, minimum: value, median: value, maximum: value, count: 1 })
}

fn find<'a>(figures: &'a [Figure], program: &str, share: &str, metric: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.program == program && figure.share == share && figure.metric == metric)
}

/// Both as tables.
pub(super) fn show(figures: &[Figure]) -> String {
    let value = |program: &str, share: &str, metric: &str| {
        find(figures, program, share, metric).map_or_else(|| "-".into(), |figure| Grouped(figure.median).to_string())
    };
    let bytes = figures.iter().find(|figure| figure.program == "kvd").map_or(0, |figure| figure.bytes);
    let mut text = format!("{:34}", format!("kvd with {}: a request waits", Size(bytes)));
    for name in PERCENTILES.map(|(name, _)| name).into_iter().chain([MOST]) {
        text += &format!("{name:>11}");
    }
    text.push('\n');
    let before = ("before any snapshot".to_string(), "before", Share::Copy);
    let during = Share::ALL.map(|share| (format!("while {} saves", share.name()), "during", share));
    let after = Share::ALL.map(|share| (format!("after {} has saved", share.name()), "after", share));
    for (name, phase, share) in [before].into_iter().chain(during).chain(after) {
        text += &format!("{name:34}");
        for percentile in PERCENTILES.map(|(name, _)| name).into_iter().chain([MOST]) {
            text += &format!("{:>11}", value("kvd", share.name(), &format!("{phase}_{percentile}")));
        }
        text.push('\n');
    }
    text += &format!("\n{:34}{:>11}\n", "forkserver, instructions", "execution");
    for (name, program, share) in WAYS {
        let share = if program == "forkserver-spawn" { "none" } else { share.name() };
        text += &format!("{name:34}{:>11}\n", value(program, share, "execution"));
    }
    text
}

/// How long kvd's requests wait, by percentile.
pub(super) fn chart(figures: &[Figure]) -> Result<String, PlotError> {
    let line = |phase: &str, share: Share, name: String, look| {
        let median =
            |metric: &str| Some(find(figures, "kvd", share.name(), &format!("{phase}_{metric}"))?.median as f64);
        let mut points: Vec<_> =
            PERCENTILES.iter().filter_map(|(name, percentile)| Some((*percentile, median(name)?))).collect();
        // The most of n requests is what all but one of them stay below.
        if let (Some(most), Some(requests)) = (median(MOST), median("requests")) {
            points.push((100.0 * (1.0 - 1.0 / requests.max(2.0)), most));
        }
        (!points.is_empty()).then_some(Line { name, look, points })
    };
    let look = |colour, marker, stroke| Look { colour, marker, stroke };
    let grey = look(Colour::Grey, Marker::None, Stroke::Dashed);
    let mut lines: Vec<_> = line("before", Share::Copy, "before any snapshot".into(), grey).into_iter().collect();
    for (share, colour, marker) in [
        (Share::Copy, Colour::Vermilion, Marker::Square),
        (Share::L3, Colour::Blue, Marker::Circle),
        (Share::L2, Colour::Green, Marker::Diamond),
        (Share::L1, Colour::Orange, Marker::Triangle),
    ] {
        lines.extend(line(
            "during",
            share,
            format!("while {} saves", share.name()),
            look(colour, marker, Stroke::Solid),
        ));
    }
    let bytes = figures.iter().find(|figure| figure.program == "kvd").map_or(0, |figure| figure.bytes);
    LineChart {
        title: format!("kvd with {}: how long a request waits", Size(bytes)),
        x: Axis::new("requests that wait no longer", Scale::Nines).written(Notation::Percent),
        y: Axis::new("instructions", Scale::Decades),
        lines,
        notes: vec![
            "QEMU virt, one Cortex-A72, instructions counted. From a request's arrival to its reply: the server's own time,".into(),
            "fork and the copies after it included, the turns of the saving child not. The last mark is the longest wait.".into(),
        ],
    }
    .svg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Vec<Figure> {
        let mut text = String::from(
            "graft: noise\nkvd,copy,268435456,before_p50,ns,3000\nkvd,copy,268435456,during_max,ns,935955\n",
        );
        for (share, most) in [("copy", 900_000), ("l3", 16_000), ("l2", 16_000), ("l1", 16_000)] {
            for metric in ["during_p50", "during_p90", "during_p99", "during_p99.9"] {
                text += &format!("kvd,{share},268435456,{metric},ns,{}\r\n", most / 4);
            }
            text += &format!("kvd,{share},268435456,during_requests,requests,48000\n");
        }
        text += "forkserver,spawn,none,4096,execution,ns,357532020\nforkserver,fork,l3,4096,execution,ns,18267\n";
        text.lines().filter_map(row).collect()
    }

    #[test]
    fn rows_of_both_programs_are_found_among_other_lines() {
        let figures = figures();
        assert_eq!(figures.len(), 2 + 4 * 5 + 2);
        let spawn = find(&figures, "forkserver-spawn", "none", "execution").unwrap();
        assert_eq!((spawn.median, spawn.maximum, spawn.count), (357_532_020, 357_532_020, 1));
        assert!(row("kvd,l3,1,fork,ns").is_none() && row("forkserver,fork,l3,x,execution,ns,1").is_none());
    }

    #[test]
    fn the_table_has_every_depth_and_every_way() {
        let text = show(&figures());
        for expected in ["256 MiB", "while l1 saves", "935,955", "restore, l2", "357,532,020", "18,267"] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn the_chart_ends_at_the_longest_wait() {
        let svg = chart(&figures()).unwrap();
        assert!(svg.contains("while l3 saves") && svg.contains("99.99"), "{svg}");
        assert!(chart(&[]).is_err());
    }
}
