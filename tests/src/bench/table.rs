//! Tables of figures for a terminal.

use super::systems::{self, System};
use super::{SHOWN, size};
use crate::figures::Figure;
use graft_rt::size::Grouped;

/// Fork by size, what it takes in tables, and everything else for one size.
pub(super) fn show(figures: &[Figure]) -> String {
    let systems = systems::compared(figures);
    let ours = || figures.iter().filter(|figure| figure.program == "forkbench");
    let mut sizes: Vec<u64> = ours().map(|figure| figure.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let by_size =
        |metric: &'static str| -> Vec<_> { sizes.iter().map(|&bytes| (size(bytes), bytes, metric)).collect() };
    let mut metrics: Vec<&str> = Vec::new();
    for figure in ours().filter(|figure| figure.bytes == SHOWN) {
        if !metrics.contains(&figure.metric.as_str()) {
            metrics.push(&figure.metric);
        }
    }
    let shown: Vec<_> = metrics.into_iter().map(|metric| (label(figures, metric), SHOWN, metric)).collect();
    [
        lay_out("fork, instructions", &systems, &by_size("fork")),
        lay_out("tables a fork takes, bytes", &systems, &by_size("table_bytes_fork")),
        lay_out(&format!("{} touched, instructions", size(SHOWN)), &systems, &shown),
    ]
    .join("\n")
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
    text.push('\n');
    for (name, bytes, metric) in rows {
        text += &format!("{name:first$}");
        for column in &columns {
            let figure = column.median(*bytes, metric).map_or_else(|| "-".into(), |median| Grouped(median).to_string());
            text += &format!("  {figure:>width$}", width = width(column));
        }
        text.push('\n');
    }
    text
}

fn width(column: &System<'_>) -> usize {
    column.name.chars().count().max(11)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    #[test]
    fn columns_are_aligned_and_missing_figures_are_shown_as_missing() {
        let ours = figures::parse(
            "forkbench,copy,0,fork,instructions,1,2500,3,3\n\
             forkbench,l3,0,fork,instructions,1,1700,3,3\n\
             forkbench,copy,1048576,fork,instructions,1,1234567,3,3\n",
        );
        let others = figures::parse("linux,6.12,1048576,fork,ns,1,109000,3,3\n");
        let table = show(&[ours, others].concat());
        assert!(
            table.starts_with(
                "fork, instructions         copy           l3   Linux 6.12\n\
                 0                         2,500        1,700            -\n\
                 1 MiB                 1,234,567            -      109,000\n"
            ),
            "{table}"
        );
    }

    #[test]
    fn what_is_not_counted_in_instructions_says_so() {
        let ours = figures::parse(&format!(
            "forkbench,copy,{SHOWN},fork,instructions,1,2,3,3\nforkbench,copy,{SHOWN},frames_fork,frames,5,6,7,3\n"
        ));
        let table = show(&ours);
        assert!(table.contains("\nframes_fork, frames") && table.contains("\nfork  "), "{table}");
    }
}
