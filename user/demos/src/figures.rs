//! Figures and how they are shown.

use alloc::vec::Vec;

use graft_rt::size::Grouped;
use graft_rt::{println, time};

use crate::span::Span;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Counts of the machine's counter, shown as nanoseconds.
    Time,
    /// The same, for what is half of a measured stretch.
    HalfTime,
    /// Frames of memory.
    Frames,
    /// Bytes.
    Bytes,
}

/// All figures of a run, in the order in which they are shown.
#[derive(Debug, Default)]
pub struct Figures {
    all: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    metric: &'static str,
    unit: Unit,
    values: Vec<Span>,
}

struct Summary {
    unit: &'static str,
    least: u64,
    median: u64,
    most: u64,
    count: usize,
}

impl Figures {
    /// Makes room for a figure, so that noting values later does not touch new memory.
    pub fn prepare(&mut self, metric: &'static str, unit: Unit, repetitions: usize) {
        self.all.push(Figure { metric, unit, values: Vec::with_capacity(repetitions) });
    }

    /// Notes a value, which is no time, of a figure that was prepared.
    pub fn note_count(&mut self, metric: &str, value: u64) {
        self.note(metric, Span { counts: value, by: 0 });
    }

    /// Notes a value of a figure that was prepared.
    pub fn note(&mut self, metric: &str, value: Span) {
        if let Some(figure) = self.all.iter_mut().find(|figure| figure.metric == metric) {
            figure.values.push(value);
        }
    }

    /// Prints a row for each time that was taken, `span,PREFIX,METRIC,COUNTS,BY`, by which an observer outside the
    /// machine finds it again: it took COUNTS between two readings of the counter, and had ended when the counter was
    /// BY; no other ended in between.
    pub fn print_spans(&self, prefix: &str) {
        for figure in self.all.iter().filter(|figure| matches!(figure.unit, Unit::Time | Unit::HalfTime)) {
            for Span { counts, by } in &figure.values {
                println!("span,{prefix},{},{counts},{by}", figure.metric);
            }
        }
    }

    /// Prints a row for each figure, `PREFIX,METRIC,UNIT,MIN,MEDIAN,MAX,N`.
    pub fn print_rows(&self, prefix: &str) {
        for figure in &self.all {
            let Summary { unit, least, median, most, count } = figure.summary();
            println!("{prefix},{},{unit},{least},{median},{most},{count}", figure.metric);
        }
    }

    /// Prints all figures as a table for a person.
    pub fn print_table(&self) {
        println!("{:20} {:8} {:>14} {:>14} {:>14}", "metric", "unit", "min", "median", "max");
        for figure in &self.all {
            let Summary { unit, least, median, most, .. } = figure.summary();
            let [least, median, most] = [least, median, most].map(Grouped);
            println!("{:20} {unit:8} {least:>14} {median:>14} {most:>14}", figure.metric);
        }
    }
}

impl Figure {
    fn summary(&self) -> Summary {
        let frequency = time::frequency();
        let (unit, value): (_, &dyn Fn(u64) -> u64) = match self.unit {
            Unit::Time => ("ns", &|counts| time::to_nanoseconds(counts, frequency)),
            Unit::HalfTime => ("ns", &|counts| time::to_nanoseconds(counts / 2, frequency)),
            Unit::Frames => ("frames", &|frames| frames),
            Unit::Bytes => ("bytes", &|bytes| bytes),
        };
        let mut values: Vec<_> = self.values.iter().map(|span| value(span.counts)).collect();
        values.sort_unstable();
        let at = |index: usize| values.get(index).copied().unwrap_or(0);
        let last = values.len().saturating_sub(1);
        Summary { unit, least: at(0), median: at(last / 2), most: at(last), count: values.len() }
    }
}
