//! Figures and the rows that show them.

use core::fmt;

use crate::span::Span;

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

/// The figure that is half of what was measured: from one process to another and back.
const HALF: &str = "context_switch";

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
    values: [Span; REPETITIONS_MAX],
    count: usize,
}

/// One row, from its metric on.
pub(crate) struct Row<'a> {
    metric: &'static str,
    unit: &'static str,
    /// In ascending order, at least one.
    values: &'a [Span],
}

impl Figures {
    /// Notes a value, which is no time, of a metric.
    pub(crate) fn note_count(&mut self, metric: &str, value: u64) {
        self.note(metric, Span { counts: value, by: 0 });
    }

    /// Notes a value of a metric.
    pub(crate) fn note(&mut self, metric: &str, value: Span) {
        let index = METRICS.iter().position(|(name, _)| *name == metric).expect("a metric of the list");
        let figure = &mut self.all[index];
        figure.values[figure.count] = value;
        figure.count += 1;
        figure.values[..figure.count].sort_unstable_by_key(|span| span.counts);
    }

    /// All rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let with_figure = METRICS.iter().zip(&self.all);
        with_figure.map(|((metric, unit), figure)| Row { metric, unit, values: &figure.values[..figure.count] })
    }
}

impl Row<'_> {
    /// What was measured.
    pub(crate) fn metric(&self) -> &str {
        self.metric
    }

    /// When each time was taken; nothing where the values are no times.
    pub(crate) fn spans(&self) -> &[Span] {
        if self.unit == "ns" { self.values } else { &[] }
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { metric, unit, values } = self;
        let last = values.len() - 1;
        let at = |place: usize| if *metric == HALF { values[place].counts / 2 } else { values[place].counts };
        write!(f, "{metric},{unit},{},{},{},{}", at(0), at(last / 2), at(last), values.len())
    }
}
