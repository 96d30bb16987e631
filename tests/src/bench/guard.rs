//! The regression guard: does an operation take more instructions than `tests/instructions.csv` says?
//!
//! The file's rows say what is measured, so a row more is a measurement more: write it with any count and run
//! `make bench-accept`. Comments and order stay as they are.

use super::plan::Point;
use crate::bench::figures::{self, Figure};
use graft_abi::Share;
use std::fmt;
use std::fs;

/// The file with the accepted counts.
pub const FILE: &str = "tests/instructions.csv";
/// How far a count may move, in percent, before the guard reports it.
const TOLERANCE: u64 = 5;

/// The accepted counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    lines: Vec<Line>,
}

/// A line of the file: a row, or a text that is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Text(String),
    Row(Row),
}

/// One accepted count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is measured.
    point: Point,
    /// As it is written: `16M`.
    memory: String,
    metric: String,
    count: u64,
}

/// A count that is not what was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    row: Row,
    now: u64,
}

impl Accepted {
    /// Reads the file.
    pub fn read() -> Result<Accepted, String> {
        Accepted::parse(&fs::read_to_string(FILE).map_err(|error| format!("cannot read {FILE}: {error}"))?)
    }

    /// Reads the file's text; the error names the line.
    pub fn parse(text: &str) -> Result<Accepted, String> {
        let line = |(index, line): (usize, &str)| match line {
            _ if line.is_empty() || line.starts_with('#') || line == Row::HEADING => Ok(Line::Text(line.into())),
            _ => match Row::parse(line) {
                Some(row) => Ok(Line::Row(row)),
                None => Err(format!("{FILE}, line {}: {line:?} is not {:?}", index + 1, Row::HEADING)),
            },
        };
        let accepted = Accepted { lines: text.lines().enumerate().map(line).collect::<Result<_, _>>()? };
        if accepted.rows().next().is_none() { Err(format!("{FILE} has no rows")) } else { Ok(accepted) }
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.lines.iter().filter_map(|line| match line {
            Line::Row(row) => Some(row),
            Line::Text(_) => None,
        })
    }

    /// What has to be measured, each point once.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for row in self.rows() {
            if !points.contains(&row.point) {
                points.push(row.point);
            }
        }
        points
    }

    /// Every row whose count is another now; an error if one was not measured.
    pub fn changes(&self, figures: &[Figure]) -> Result<Vec<Change>, String> {
        let mut changes = Vec::new();
        for row in self.rows() {
            let (share, bytes) = row.point.key();
            let now = figures::median(figures, share, bytes, &row.metric)?;
            if now != row.count {
                changes.push(Change { row: row.clone(), now });
            }
        }
        Ok(changes)
    }

    /// The same file with what was measured.
    #[must_use]
    pub fn renewed(mut self, changes: &[Change]) -> Accepted {
        for line in &mut self.lines {
            if let Line::Row(row) = line
                && let Some(change) = changes.iter().find(|change| change.row == *row)
            {
                row.count = change.now;
            }
        }
        self
    }

    /// Judges what was measured: what to note, or as an error what has become dearer and how to accept that.
    pub fn judge(&self, figures: &[Figure]) -> Result<String, String> {
        let changes = self.changes(figures)?;
        let list =
            |changes: Vec<&Change>| changes.iter().map(|change| change.to_string()).collect::<Vec<_>>().join("; ");
        let grown: Vec<_> = changes.iter().filter(|change| change.has_grown()).collect();
        if !grown.is_empty() {
            return Err(format!(
                "more than {TOLERANCE} % dearer: {}. If that is the price of something: make bench-accept, and say in the \
                 commit what for",
                list(grown)
            ));
        }
        let shrunk: Vec<_> = changes.iter().filter(|change| change.has_shrunk()).collect();
        let count = self.rows().count();
        if shrunk.is_empty() {
            return Ok(format!("{count} counts, {} moved by less than {TOLERANCE} %", changes.len()));
        }
        Ok(format!("{count} counts, cheaper: {}; make bench-accept keeps it so", list(shrunk)))
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| match line {
            Line::Text(text) => writeln!(f, "{text}"),
            Line::Row(Row { point, memory, metric, count }) => {
                writeln!(f, "{},{memory},{metric},{count}", point.key().0)
            }
        })
    }
}

impl Row {
    const HEADING: &str = "share,memory,metric,count";

    fn parse(line: &str) -> Option<Row> {
        let [share, memory, metric, count] = line.split(',').collect::<Vec<_>>()[..] else { return None };
        let bytes = graft_rt::size::parse(memory).ok()?;
        let point = match share {
            figures::MESSAGES => Point::Messages,
            share => Point::Fork { share: Share::from_name(share)?, bytes },
        };
        Some(Row { point, memory: memory.into(), metric: metric.into(), count: count.parse().ok()? })
    }
}

impl Change {
    fn has_grown(&self) -> bool {
        self.now * 100 > self.row.count * (100 + TOLERANCE)
    }

    fn has_shrunk(&self) -> bool {
        self.now * 100 < self.row.count * (100 - TOLERANCE)
    }
}

/// `l3 1G fork 9400 → 9870 (+5.0 %)`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { point, memory, metric, count } = &self.row;
        write!(f, "{} {memory} {metric} {count} → {}", point.key().0, self.now)?;
        if *count > 0 {
            let percent = (self.now as f64 - *count as f64) * 100.0 / *count as f64;
            write!(f, " ({percent:+.1} %)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# why\nshare,memory,metric,count\nl3,16M,fork,1000\nl3,16M,exit,200\n\ncopy,1G,fork,30\n";

    #[test]
    fn rows_of_messages_are_measured_by_their_own_program() {
        let accepted = Accepted::parse("ipc,0,call_reply_0,400\n").unwrap();
        assert_eq!(accepted.points(), [Point::Messages]);
        let figures = figures::parse("ipcbench,call_reply_0,ns,1,421,1,5\n");
        assert!(accepted.judge(&figures).unwrap_err().contains("ipc 0 call_reply_0 400 → 421 (+5.2 %)"));
        assert_eq!(accepted.to_string(), "ipc,0,call_reply_0,400\n");
    }

    fn accepted() -> Accepted {
        Accepted::parse(TEXT).unwrap()
    }

    fn measured(fork: u64, exit: u64, copy: u64) -> Vec<Figure> {
        figures::parse(&format!(
            "forkbench,l3,16777216,fork,instructions,0,{fork},0,3\nforkbench,l3,16777216,exit,instructions,0,{exit},0,3\n\
             forkbench,copy,1073741824,fork,instructions,0,{copy},0,3\n"
        ))
    }

    #[test]
    fn the_rows_say_what_to_measure() {
        let points = [(Share::L3, 16 << 20), (Share::Copy, 1 << 30)].map(|(share, bytes)| Point::Fork { share, bytes });
        assert_eq!(accepted().points(), points);
    }

    #[test]
    fn what_grows_by_more_than_the_tolerance_fails_and_says_how_to_accept() {
        assert!(accepted().judge(&measured(1050, 200, 30)).is_ok());
        let error = accepted().judge(&measured(1051, 209, 32)).unwrap_err();
        for text in ["l3 16M fork 1000 → 1051 (+5.1 %)", "copy 1G fork 30 → 32 (+6.7 %)", "make bench-accept"] {
            assert!(error.contains(text), "{error}");
        }
        assert!(!error.contains("exit"), "{error}");
    }

    #[test]
    fn what_shrinks_is_told_and_passes() {
        assert_eq!(accepted().judge(&measured(990, 200, 30)).unwrap(), "3 counts, 1 moved by less than 5 %");
        let note = accepted().judge(&measured(949, 190, 30)).unwrap();
        assert!(note.contains("l3 16M fork 1000 → 949 (-5.1 %)") && !note.contains("exit"), "{note}");
    }

    #[test]
    fn something_that_cost_nothing_must_not_begin_to_cost() {
        let nothing = Accepted::parse("l3,16M,fork,0\n").unwrap();
        assert!(nothing.judge(&measured(1, 0, 0)).unwrap_err().contains("l3 16M fork 0 → 1"));
    }

    #[test]
    fn a_row_that_was_not_measured_fails() {
        let error = accepted().judge(&measured(1000, 200, 30)[..2]).unwrap_err();
        assert!(error.contains("no row copy,1073741824,fork"), "{error}");
    }

    #[test]
    fn renewing_changes_counts_and_nothing_else() {
        let figures = measured(1051, 200, 31);
        let renewed = accepted().renewed(&accepted().changes(&figures).unwrap());
        assert_eq!(renewed.to_string(), TEXT.replace(",1000", ",1051").replace(",30\n", ",31\n"));
        assert_eq!(renewed.changes(&figures), Ok(Vec::new()));
        assert_eq!(accepted().to_string(), TEXT);
    }

    #[test]
    fn a_line_that_is_no_row_is_named() {
        for line in ["l4,16M,fork,1", "l3,16X,fork,1", "l3,16M,fork", "l3,16M,fork,-1", "l3,16M,fork,1,2"] {
            let error = Accepted::parse(&format!("# first\n{line}\n")).unwrap_err();
            assert!(error.contains("line 2") && error.contains(line), "{error}");
        }
        assert!(Accepted::parse("# nothing\n").unwrap_err().contains("no rows"));
    }

    #[test]
    fn the_checked_in_file_is_one() {
        let text = include_str!("../../instructions.csv");
        assert_eq!(Accepted::parse(text).unwrap().to_string(), text);
    }
}
