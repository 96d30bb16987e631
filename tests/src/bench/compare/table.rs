//! The counts as a table for the terminal, and as CSV.

use super::count::{Counts, Event};
use super::processor::Machine;
use super::rows::{CORES, Row};
use graft_rt::size::Size;
use std::fmt::Write;

/// Columns of the tree, the same in both formats: their names, and the events that they add up.
const TREE: [(&str, &[Event]); 8] = [
    ("loads", &[Event::Load]),
    ("stores", &[Event::Store]),
    ("atomics", &[Event::Atomic]),
    ("copied", &[Event::Copied]),
    ("zeroed", &[Event::Zeroed]),
    ("frames", &[Event::Table, Event::Page]),
    ("faults", &[Event::Fault]),
    ("splits", &[Event::Split]),
];
const AARCH64: [(&str, &[Event]); 5] = [
    ("breaks", &[Event::Break]),
    ("VALE1IS", &[Event::OneLeaf]),
    ("VAE1IS", &[Event::OnePage]),
    ("ASIDE1IS", &[Event::Space]),
    ("barriers", &[Event::Barrier]),
];
const X86_64: [(&str, &[Event]); 2] = [("INVLPG", &[Event::OnePage]), ("INVPCID", &[Event::Space])];

/// Characters of the column of the depth.
const DEPTH: usize = 5;

/// The cells of one depth of sharing, below the title of what was counted.
struct Line<'a> {
    title: String,
    share: &'a str,
    cells: Vec<String>,
}

/// The rows as a table: a paragraph for each thing that was counted, a line for each depth of sharing.
///
/// # Errors
/// If the tree did not do the same in both formats: one line would not do for them.
pub fn table(rows: &[Row]) -> Result<String, String> {
    let names = TREE.iter().chain(&AARCH64).chain(&X86_64).map(|(name, _)| (*name).to_owned());
    let cells = names.chain(CORES.map(|cores| cores.to_string())).collect();
    let mut lines = vec![Line { title: String::new(), share: "share", cells }];
    for row in rows.iter().filter(|row| row.machine == Machine::AArch64 && row.cores == CORES[0]) {
        lines.push(Line { title: title(row), share: row.share, cells: cells_of(rows, row)? });
    }
    let widest = |column: usize| lines.iter().map(|line| line.cells[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..lines[0].cells.len()).map(|column| widest(column) + 1).collect();

    let mut text = groups(&widths);
    let mut last = "";
    for Line { title, share, cells } in &lines {
        if title != last {
            let _ = writeln!(text, "\n{title}");
            last = title;
        }
        let _ = write!(text, "{share:DEPTH$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "{cell:>width$}");
        }
        text.push('\n');
    }
    Ok(text)
}

fn title(row: &Row) -> String {
    let size = if row.size == 0 { String::new() } else { format!(" of {}", Size(row.size)) };
    let what = if row.what == row.history { String::new() } else { format!(": {}", row.what) };
    format!("{}{size}{what}", row.history)
}

/// The line above the columns' names.
fn groups(widths: &[usize]) -> String {
    let mut text = " ".repeat(DEPTH);
    let mut widths = widths.iter();
    for (columns, name) in [
        (TREE.len(), "tree: the same in both"),
        (AARCH64.len(), "AArch64"),
        (CORES.len() + 2, "x86_64, interrupts by cores"),
    ] {
        let width = widths.by_ref().take(columns).sum::<usize>() - 1;
        let _ = write!(text, " {:-^width$}", format!(" {name} "));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The cells for one depth, from the rows of every machine and number of cores.
fn cells_of(rows: &[Row], row: &Row) -> Result<Vec<String>, String> {
    let key = |row: &Row| (row.history.clone(), row.size, row.what.clone(), row.share);
    let all: Vec<_> = rows.iter().filter(|other| key(other) == key(row)).collect();
    for other in &all {
        for (event, name) in Event::ALL.into_iter().filter(|(event, _)| event.is_the_trees()) {
            let (ours, theirs) = (row.counts[event], other.counts[event]);
            if ours != theirs {
                let (machine, cores, what) = (other.machine.name(), other.cores, title(row));
                return Err(format!(
                    "{what}, {}: {name} are {ours}, but on {machine} with {cores} cores {theirs}",
                    row.share
                ));
            }
        }
    }
    let find = |cores| -> Result<&Counts, String> {
        let found = all.iter().find(|other| (other.machine, other.cores) == (Machine::X86_64, cores));
        found.map(|other| &other.counts).ok_or_else(|| format!("{}: not replayed on x86_64", title(row)))
    };
    let mut cells: Vec<_> = TREE.iter().chain(&AARCH64).map(|(_, events)| cell(&row.counts, events)).collect();
    for (_, events) in X86_64 {
        cells.push(cell(find(CORES[0])?, events));
    }
    for cores in CORES {
        cells.push(cell(find(cores)?, &[Event::Interrupt]));
    }
    Ok(cells)
}

fn cell(counts: &Counts, events: &[Event]) -> String {
    match events.iter().map(|event| counts[*event]).sum() {
        0 => "·".into(),
        bytes if matches!(events, [Event::Copied | Event::Zeroed]) => format!("{}K", bytes >> 10),
        number => number.to_string(),
    }
}

/// All counts as CSV, with a heading.
pub fn csv(rows: &[Row]) -> String {
    let mut text = String::from("history,size,what,share,machine,cores");
    for (_, name) in Event::ALL {
        let _ = write!(text, ",{name}");
    }
    for Row { history, size, what, share, machine, cores, counts } in rows {
        let what = what.replace('"', "\"\"");
        let _ = write!(text, "\n{history},{size},\"{what}\",{share},{},{cores}", machine.name());
        for (event, _) in Event::ALL {
            let _ = write!(text, ",{}", counts[event]);
        }
    }
    text.push('\n');
    text
}
