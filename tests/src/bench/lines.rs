//! Cache lines: what the plugin beside the guest has counted, joined with the times that the guest says it has taken.
//!
//! ```text
//!   guest:   span,forkbench,l3,1073741824,fork,9503,181306473     9,503 counts, over by 181,306,473
//!   plugin:  181296970,181306473,260,232,…                        from one reading of the counter to another
//!                 └──────────── the same ──▶ Figure fork.l1d.cold, lines, 260 …
//! ```
//!
//! The two agree on what they have seen by the counter's values, or there are no figures.

use super::figures::Figure;
use crate::builder::folder::Build;
use graft_cache_model::{Counts, Span};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest QEMU with the plugin's interface.
const OLDEST: [u32; 2] = [9, 2];
/// The states in which caches are at the start, as metrics end with them.
const STATES: [&str; 2] = ["cold", "warm"];

/// The metric of a count: `fork.l1d.cold`.
pub fn metric(of: &str, count: &str, state: &str) -> String {
    format!("{of}.{count}.{state}")
}

/// Whether a metric is a count of this file.
pub fn is_metric(metric: &str) -> bool {
    metric.contains('.')
}

/// The emulator's version: `10.0.2`.
pub fn version(emulator: &Path) -> Result<String, String> {
    let output =
        Command::new(emulator).arg("--version").output().map_err(|error| format!("cannot run QEMU: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.split_whitespace().skip_while(|word| *word != "version").nth(1);
    Ok(number.ok_or("QEMU does not tell its version")?.into())
}

/// The plugin, if this emulator can load it; otherwise why not, in one line.
pub fn plugin(build: &Build, emulator: &Path) -> Result<PathBuf, String> {
    let version = version(emulator)?;
    let takes_plugins = || {
        let command = &mut Command::new(emulator);
        command.args(["-plugin", "help"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !is_new_enough(&version) || !takes_plugins() || !cfg!(target_os = "linux") {
        let [major, minor] = OLDEST;
        return Err(format!(
            "cache lines need QEMU {major}.{minor} or newer, built with plugins, on Linux, and this is QEMU {version}"
        ));
    }
    let path = build.cache_plugin();
    if path.is_file() { Ok(path) } else { Err(format!("{} is missing: make builds it", path.display())) }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [parts.next().unwrap_or(0), parts.next().unwrap_or(0)] >= OLDEST
}

/// The figures of a run: of each metric the lines that it missed, cold and warm.
///
/// # Errors
/// If the plugin's file is not whole, or has not seen what the guest says.
pub fn figures(output: &str, counted: &Path) -> Result<Vec<Figure>, String> {
    let text = fs::read_to_string(counted).map_err(|error| format!("cannot read {}: {error}", counted.display()))?;
    let spans = parse(&text).map_err(|problem| format!("{}: {problem}", counted.display()))?;
    join(&times(output), &spans)
}

/// A time that the guest says it has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Time {
    program: String,
    share: String,
    bytes: u64,
    pub(super) metric: String,
    pub(super) counts: u64,
    by: u64,
}

/// The guest's rows: `span,PROGRAM,SHARE,BYTES,METRIC,COUNTS,BY`.
pub(super) fn times(output: &str) -> Vec<Time> {
    let row = |line: &str| {
        let ["span", program, share, bytes, metric, counts, by] = line.trim().split(',').collect::<Vec<_>>()[..] else {
            return None;
        };
        let [bytes, counts, by] = [bytes, counts, by].map(|text| text.parse().ok());
        let [program, share, metric] = [program, share, metric].map(String::from);
        Some(Time { program, share, bytes: bytes?, metric, counts: counts?, by: by? })
    };
    output.lines().filter_map(row).collect()
}

/// The plugin's rows, and its last one, which says whether they are to be trusted.
pub(super) fn parse(text: &str) -> Result<Vec<Span>, String> {
    let mut spans = Vec::new();
    for line in text.lines().skip(1) {
        if let Some(unwalked) = line.strip_prefix("end,") {
            return match unwalked {
                "0" => Ok(spans),
                _ => Err(format!("the translation tables do not explain {unwalked} of the guest's accesses")),
            };
        }
        let numbers: Option<Vec<u64>> = line.split(',').map(|number| number.parse().ok()).collect();
        let numbers = numbers.filter(|numbers| numbers.len() == 2 + 2 * Counts::NAMES.len());
        let numbers = numbers.ok_or_else(|| format!("{line:?} is no row"))?;
        let counts = |at: usize| Counts::of(std::array::from_fn(|place| numbers[at + place]));
        let (cold, warm) = (counts(2), counts(2 + Counts::NAMES.len()));
        spans.push(Span { begin: numbers[0], end: numbers[1], cold, warm, missed: Vec::new() });
    }
    Err("the last row is missing: the machine did not end by itself".into())
}

/// The plugin's span of each of the guest's times: the last one of that length that ended by then, but after the time
/// before it had ended.
pub(super) fn matched<'a>(times: &[Time], spans: &'a [Span]) -> Result<Vec<&'a Span>, String> {
    let mut ends: Vec<u64> = times.iter().map(|time| time.by).collect();
    ends.sort_unstable();
    let find = |time: &Time| {
        let earlier = ends[..ends.partition_point(|end| *end < time.by)].last().copied().unwrap_or(0);
        let is_it = |span: &&Span| (earlier + 1..=time.by).contains(&span.end) && span.end - span.begin == time.counts;
        spans.iter().filter(is_it).max_by_key(|span| span.end).ok_or_else(|| {
            let Time { share, bytes, metric, counts, by, .. } = time;
            format!("the plugin has not seen {metric} of {share},{bytes}: {counts} counts, over by {by}")
        })
    };
    times.iter().map(find).collect()
}

fn join(times: &[Time], spans: &[Span]) -> Result<Vec<Figure>, String> {
    // In the order in which the guest prints its metrics.
    let mut order = Vec::new();
    let mut values: BTreeMap<usize, Vec<[Counts; 2]>> = BTreeMap::new();
    for (time, span) in times.iter().zip(matched(times, spans)?) {
        let key = (&time.program, &time.share, time.bytes, &time.metric);
        let place = order.iter().position(|known| *known == key).unwrap_or_else(|| {
            order.push(key);
            order.len() - 1
        });
        values.entry(place).or_default().push([span.cold, span.warm]);
    }
    let mut figures = Vec::new();
    for (place, (program, share, bytes, of)) in order.into_iter().enumerate() {
        for (state_place, state) in STATES.into_iter().enumerate() {
            for (count_place, count) in Counts::NAMES.into_iter().enumerate() {
                let mut all: Vec<u64> =
                    values[&place].iter().map(|counts| counts[state_place].values()[count_place]).collect();
                all.sort_unstable();
                let last = all.len() - 1;
                figures.push(Figure {
                    program: program.clone(),
                    share: share.clone(),
                    bytes,
                    metric: metric(of, count, state),
                    unit: if count == "tlb" { "walks" } else { "lines" }.into(),
                    minimum: all[0],
                    median: all[last / 2],
                    maximum: all[last],
                    count: all.len() as u64,
                });
            }
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::median;

    fn row(begin: u64, end: u64, cold: u64, warm: u64) -> String {
        format!("{begin},{end},{cold},2,3,4,5,6,7,{warm},9,10,11,12,13,14\n")
    }

    fn joined(output: &str, rows: &str) -> Result<Vec<Figure>, String> {
        join(&times(output), &parse(&format!("begin,end,…\n{rows}end,0\n"))?)
    }

    #[test]
    fn a_time_finds_what_was_counted_beside_it() {
        let output = "$ forkbench\nspan,forkbench,l3,4096,fork,100,1100\r\nforkbench,l3,4096,fork,ns,100,100,100,1\n";
        let rows = [row(900, 1000, 1, 1), row(1000, 1100, 20, 8), row(900, 1100, 3, 3)].concat();
        let figures = joined(output, &rows).unwrap();
        assert_eq!(figures.len(), 2 * Counts::NAMES.len());
        let of = |metric| median(&figures, "l3", 4096, metric).unwrap();
        assert_eq!(
            (of("fork.l1d.cold"), of("fork.l1d.warm"), of("fork.tlb.cold"), of("fork.zeroed.warm")),
            (20, 8, 5, 14)
        );
        assert!(figures.iter().all(|figure| is_metric(&figure.metric) && figure.program == "forkbench"));
        let walks: Vec<_> = figures.iter().filter(|figure| figure.unit == "walks").collect();
        assert_eq!(walks.len(), 2);
    }

    #[test]
    fn a_childs_time_is_the_last_of_its_length_before_the_parents_next_reading() {
        let output = "span,forkbench,l3,0,child_read,3,500\nspan,forkbench,l3,0,last_owner_write,50,550\n";
        let rows = [row(397, 400, 1, 0), row(437, 440, 2, 0), row(500, 550, 3, 0), row(540, 543, 4, 0)].concat();
        let figures = joined(output, &rows).unwrap();
        assert_eq!(median(&figures, "l3", 0, "child_read.l1d.cold"), Ok(2));
        assert_eq!(median(&figures, "l3", 0, "last_owner_write.l1d.cold"), Ok(3));
    }

    #[test]
    fn a_time_that_was_not_seen_is_an_error_though_an_older_one_was_as_long() {
        let output = "span,forkbench,l3,0,fork,100,1100\nspan,forkbench,l3,0,fork,100,2100\n";
        let error = joined(output, &row(1000, 1100, 1, 1)).unwrap_err();
        assert!(error.contains("fork of l3,0: 100 counts, over by 2100"), "{error}");
    }

    #[test]
    fn repetitions_are_one_figure() {
        let output: String = (1..=3).map(|end| format!("span,forkbench,l3,0,fork,100,{end}100\n")).collect();
        let rows = [row(1000, 1100, 9, 1), row(2000, 2100, 7, 1), row(3000, 3100, 8, 1)].concat();
        let figures = joined(&output, &rows).unwrap();
        let fork = figures.iter().find(|figure| figure.metric == "fork.l1d.cold").unwrap();
        assert_eq!((fork.minimum, fork.median, fork.maximum, fork.count), (7, 8, 9, 3));
    }

    #[test]
    fn a_file_that_is_not_whole_or_not_to_be_trusted_is_an_error() {
        assert!(parse("begin\n1,2,3\n").unwrap_err().contains("\"1,2,3\" is no row"));
        assert!(parse(&format!("begin\n{}", row(1, 2, 3, 4))).unwrap_err().contains("last row is missing"));
        assert!(parse("begin\nend,7\n").unwrap_err().contains("do not explain 7"));
    }

    #[test]
    fn old_emulators_are_told_from_new_ones() {
        assert_eq!(["8.2.4", "9.1.3", "9.2.0", "10.0.2", "11"].map(is_new_enough), [false, false, true, true, true]);
    }
}
