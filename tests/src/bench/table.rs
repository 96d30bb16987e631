//! Tables of figures for a terminal.

use super::lines;
use super::plan::{SHOWN, size};
use super::systems::System;
use crate::bench::figures::Figure;
use graft_abi::Share;
use graft_rt::size::Grouped;

/// Columns of the tables of cache lines: what stands above, and the count and the state that stand below.
const LINES: [(&str, &str, &str); 8] = [
    ("L1D cold", "l1d", "cold"),
    ("L1D warm", "l1d", "warm"),
    ("L2 cold", "l2d", "cold"),
    ("L2 warm", "l2d", "warm"),
    ("zeroed", "zeroed", "cold"),
    ("L1I cold", "l1i", "cold"),
    ("TLB cold", "tlb", "cold"),
    ("TLB warm", "tlb", "warm"),
];
/// What to know about them.
const ABOUT_LINES: &str = "L1D, L2: lines of data that loads and stores missed; cold: caches and TLBs emptied at the start, \
                           warm: as they were. zeroed:\nlines that DC ZVA made without a fetch. TLB: walks. \
                           docs/performance.md says what is modelled.\n";

/// Fork by size, what it takes in tables, and everything else for one size; a column for each system. Where Linux is
/// among them, the last column says how many times the default takes. Then cache lines, as far as they were counted.
pub(super) fn show(figures: &[Figure], systems: &[System<'_>]) -> String {
    let ours = || figures.iter().filter(|figure| figure.program == "forkbench");
    let mut sizes: Vec<u64> = ours().map(|figure| figure.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let by_size =
        |metric: &'static str| -> Vec<_> { sizes.iter().map(|&bytes| (size(bytes), bytes, metric)).collect() };
    let mut metrics: Vec<&str> = Vec::new();
    // What only others have is at the end.
    let of_its_own = |figure: &&Figure| figure.bytes == SHOWN && !lines::is_metric(&figure.metric);
    for figure in ours().chain(figures).filter(of_its_own) {
        if !metrics.contains(&figure.metric.as_str()) {
            metrics.push(&figure.metric);
        }
    }
    let shown: Vec<_> = metrics.iter().map(|&metric| (label(figures, metric), SHOWN, metric)).collect();
    let mut tables = vec![
        lay_out("fork, instructions", systems, &by_size("fork")),
        lay_out("tables a fork takes, bytes", systems, &by_size("table_bytes_fork")),
        lay_out(&format!("{} touched, instructions", size(SHOWN)), systems, &shown),
    ];
    if figures.iter().any(|figure| lines::is_metric(&figure.metric)) {
        tables.push(lay_out("fork, lines missed in L1D, cold", systems, &by_size("fork.l1d.cold")));
        tables.extend(systems.iter().filter_map(|system| lines_of(system, &metrics)));
        tables.push(ABOUT_LINES.into());
    }
    tables.join("\n")
}

/// The lines that each operation of a system misses, if they were counted.
fn lines_of(system: &System<'_>, metrics: &[&str]) -> Option<String> {
    let row = |metric: &&str| -> Option<(String, Vec<u64>)> {
        let value = |(_, count, state): &(&str, &str, &str)| system.median(SHOWN, &lines::metric(metric, count, state));
        Some((metric.to_string(), LINES.iter().map(value).collect::<Option<_>>()?))
    };
    let rows: Vec<_> = metrics.iter().filter_map(row).collect();
    let title = format!("{}, {} touched, lines", system.name, size(SHOWN));
    let first = rows.iter().map(|row| row.0.len()).chain([title.len()]).max()?;
    let mut text = format!("{title:first$}");
    LINES.iter().for_each(|(name, ..)| text += &format!("  {name:>WIDTH$}"));
    for (name, values) in &rows {
        text += &format!("\n{name:first$}");
        values.iter().for_each(|value| text += &format!("  {:>WIDTH$}", Grouped(*value).to_string()));
    }
    (!rows.is_empty()).then_some(text + "\n")
}

/// A metric, with its unit where that is not instructions.
fn label(figures: &[Figure], metric: &str) -> String {
    match figures.iter().find(|figure| figure.metric == metric).map(|figure| figure.unit.as_str()) {
        Some(unit) if unit != "instructions" => format!("{metric}, {unit}"),
        _ => metric.into(),
    }
}

fn lay_out(title: &str, systems: &[System<'_>], rows: &[(String, u64, &str)]) -> String {
    // Without a single figure in these rows, a column would only be in the way.
    let filled = |system: &&System<'_>| rows.iter().any(|(_, bytes, metric)| system.median(*bytes, metric).is_some());
    let columns: Vec<_> = systems.iter().filter(filled).collect();
    let first = rows.iter().map(|row| row.0.len()).chain([title.len()]).max().unwrap_or(0);
    let mut text = format!("{title:first$}");
    for column in &columns {
        text += &format!("  {:>width$}", column.name, width = width(column));
    }
    let ratio = Ratio::of(&columns);
    if ratio.is_some() {
        text += &format!("  {:>WIDTH$}", Ratio::NAME);
    }
    text.push('\n');
    for (name, bytes, metric) in rows {
        text += &format!("{name:first$}");
        for column in &columns {
            let figure = column.median(*bytes, metric).map_or_else(|| "-".into(), |median| Grouped(median).to_string());
            text += &format!("  {figure:>width$}", width = width(column));
        }
        if let Some(ratio) = &ratio {
            text += &format!("  {:>WIDTH$}", ratio.show(*bytes, metric));
        }
        text.push('\n');
    }
    text
}

/// Least width of a column.
const WIDTH: usize = 11;

fn width(column: &System<'_>) -> usize {
    column.name.chars().count().max(WIDTH)
}

/// What Linux takes, divided by what the default takes.
struct Ratio<'a> {
    linux: &'a System<'a>,
    default: &'a System<'a>,
}

impl<'a> Ratio<'a> {
    const NAME: &'static str = "Linux / l3";

    /// `None` unless both are there.
    fn of(columns: &[&'a System<'a>]) -> Option<Ratio<'a>> {
        let linux = columns.iter().find(|system| system.is_linux)?;
        let default = columns.iter().find(|system| system.share == Some(Share::default()))?;
        Some(Ratio { linux, default })
    }

    /// To three digits; nothing where a figure is missing or 0.
    fn show(&self, bytes: u64, metric: &str) -> String {
        match (self.linux.median(bytes, metric), self.default.median(bytes, metric)) {
            (Some(linux), Some(default)) if default > 0 => {
                let ratio = linux as f64 / default as f64;
                let decimals = if ratio < 10.0 { 2 } else { 1 };
                if ratio < 100.0 { format!("{ratio:.decimals$}") } else { Grouped(ratio.round() as u64).to_string() }
            }
            _ => "-".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::systems::compared;
    use super::*;
    use crate::bench::figures;

    fn shown(figures: &[Figure]) -> String {
        show(figures, &compared(figures))
    }

    #[test]
    fn columns_are_aligned_and_missing_figures_are_shown_as_missing() {
        let ours = figures::parse(
            "forkbench,copy,0,fork,instructions,1,2500,3,3\n\
             forkbench,l3,0,fork,instructions,1,1700,3,3\n\
             forkbench,copy,1048576,fork,instructions,1,1234567,3,3\n",
        );
        let others = figures::parse("linux,6.12,1048576,fork,ns,1,109000,3,3\n");
        let table = shown(&[ours, others].concat());
        assert!(
            table.starts_with(
                "fork, instructions         copy           l3   Linux 6.12   Linux / l3\n\
                 0                         2,500        1,700            -            -\n\
                 1 MiB                 1,234,567            -      109,000            -\n"
            ),
            "{table}"
        );
    }

    #[test]
    fn linux_is_compared_with_the_default_to_three_digits() {
        let ratio = |linux: u64, default: u64| {
            let rows =
                format!("linux,6.12,0,fork,ns,0,{linux},0,1\nforkbench,l3,0,fork,instructions,0,{default},0,1\n");
            let table = shown(&figures::parse(&rows));
            table.lines().nth(1).and_then(|row| row.split_whitespace().last()).map(String::from).unwrap()
        };
        assert_eq!(ratio(53_909_872, 9_685), "5,566");
        assert_eq!((ratio(124, 10), ratio(3_596, 7_714)), ("12.4".into(), "0.47".into()));
        assert_eq!(ratio(1, 0), "-");
        let alone = shown(&figures::parse("forkbench,l3,0,fork,instructions,0,1,0,1\n"));
        assert!(!alone.contains("Linux"), "{alone}");
    }

    #[test]
    fn lines_have_a_table_for_each_system_and_no_row_among_instructions() {
        let row = |metric: &str, value: u64| format!("forkbench,l3,{SHOWN},{metric},lines,{value},{value},{value},1\n");
        let counts =
            LINES.iter().zip(1001..).map(|((_, count, state), value)| row(&lines::metric("fork", count, state), value));
        let instructions = format!("forkbench,l3,{SHOWN},fork,instructions,5,5,5,1\n");
        let table = shown(&figures::parse(&(instructions + &counts.collect::<String>())));
        let rows: Vec<_> = table.lines().filter(|line| line.starts_with("fork  ")).collect();
        assert_eq!(rows.len(), 2, "{table}");
        let numbers: Vec<_> = rows[1].split_whitespace().skip(1).collect();
        assert_eq!(numbers, ["1,001", "1,002", "1,003", "1,004", "1,005", "1,006", "1,007", "1,008"]);
        assert!(table.contains("\nl3, 1 GiB touched, lines     L1D cold     L1D warm"), "{table}");
        assert!(table.contains("\nfork, lines missed in L1D, cold           l3\n1 GiB"), "{table}");
    }

    #[test]
    fn what_is_not_counted_in_instructions_says_so() {
        let ours = figures::parse(&format!(
            "forkbench,copy,{SHOWN},fork,instructions,1,2,3,3\nforkbench,copy,{SHOWN},frames_fork,frames,5,6,7,3\n"
        ));
        let table = shown(&ours);
        assert!(table.contains("\nframes_fork, frames") && table.contains("\nfork  "), "{table}");
    }
}
