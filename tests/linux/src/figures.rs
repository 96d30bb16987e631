//! Figures and the rows that show them.

use core::fmt;

/// Every metric with its unit, in the order of the rows; forkbench's names and units.
const METRICS: [(&str, &str); 18] = [
    ("fork", "ns"),
    ("fork_exit_wait", "ns"),
    ("exit", "ns"),
    ("child_read", "ns"),
    ("child_first_write", "ns"),
    ("child_next_write", "ns"),
    ("parent_first_write", "ns"),
    ("parent_next_write", "ns"),
    ("last_owner_write", "ns"),
    ("demand_zero", "ns"),
    ("null_call", "ns"),
    ("child_unmap", "ns"),
    ("unmap", "ns"),
    ("spawn", "ns"),
    ("spawn_exit_wait", "ns"),
    ("table_bytes_fork", "bytes"),
    ("context_switch", "ns"),
    ("pipe_round_trip", "ns"),
];

/// Most values of one figure.
const REPETITIONS_MAX: usize = 3;

/// How often the figures for a size are taken: large sizes take long, and their values are the same.
pub(crate) fn repetitions(bytes: usize) -> usize {
    if bytes <= 64 << 20 { REPETITIONS_MAX } else { 1 }
}

/// The figures for one size.
#[derive(Default)]
pub(crate) struct Figures {
    all: [Figure; METRICS.len()],
}

#[derive(Clone, Copy, Default)]
struct Figure {
    values: [u64; REPETITIONS_MAX],
    count: usize,
}

/// One row, from its metric on.
pub(crate) struct Row<'a> {
    metric: &'static str,
    unit: &'static str,
    /// In ascending order, at least one.
    values: &'a [u64],
}

impl Figures {
    /// Notes a value of a metric.
    pub(crate) fn note(&mut self, metric: &str, value: u64) {
        let index = METRICS.iter().position(|(name, _)| *name == metric).expect("a metric of the list");
        let figure = &mut self.all[index];
        figure.values[figure.count] = value;
        figure.count += 1;
        figure.values[..figure.count].sort_unstable();
    }

    /// All rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let with_figure = METRICS.iter().zip(&self.all);
        with_figure.map(|((metric, unit), figure)| Row { metric, unit, values: &figure.values[..figure.count] })
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { metric, unit, values } = self;
        let last = values.len() - 1;
        write!(f, "{metric},{unit},{},{},{},{}", values[0], values[last / 2], values[last], values.len())
    }
}
