//! Two processes side by side: what each has alone at the sides, what both have once in the middle.
//!
//! ```text
//!   LEFT                              BOTH                              RIGHT
//!   ┌ level 2 ────────┐                                    ┌ level 2 ────────┐
//!   │ [0] APTable=10 ─┼──▶┌ level 3 ─────── ×2 ┐◀──────────┼ [0] APTable=10  │
//!   │                 │   │ [0] AP=01 rw▲      │           │                 │
//!   │                 │   └────────────────────┘           │                 │
//!   │ [1] APTable=00 ▼│                                    │ [1] APTable=00 ▼│
//!   ├ level 3 ────────┤                                    ├ level 3 ────────┤
//! ```
//!
//! A descriptor that leads to something both have gets an arrow to it, and everything below that
//! is drawn there, once. A descriptor that leads to something private has it below in its own column.

mod cell;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use graft_abi::EntryKind;

use self::cell::{Cell, Column, GAP, Leads, Mark, Row, compose};
use crate::table_view::bits;
use crate::table_view::paint::{Meaning, Palette, Text};
use crate::table_view::tree::{Entry, Table, Tree, span};

pub use self::cell::COLUMNS;

/// What is to be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The process on the left, and its heading.
    pub left: (&'a str, &'a Tree),
    /// The process on the right.
    pub right: Option<(&'a str, &'a Tree)>,
    /// The same two at the time of the picture before; what differs is marked.
    pub before: Option<(&'a Tree, Option<&'a Tree>)>,
    /// Addresses whose descriptors are drawn one by one; others are counted.
    pub focus: &'a Range<u64>,
    /// Names of tables, by an address below them and their level.
    pub names: &'a [(u64, u8, &'a str)],
}

impl Picture<'_> {
    /// Draws the picture, one string a line, none wider than [`COLUMNS`].
    pub fn draw(&self, palette: Palette) -> Vec<String> {
        let mut rows = Vec::new();
        let right = self.right.and_then(|(_, tree)| tree.root.as_ref());
        self.private(self.left.1.root.as_ref(), right, &mut rows);
        rows.push(Row { left: Cell::Bottom, right: Cell::Bottom, ..Row::EMPTY });

        let mut lines = Vec::from([self.headings().paint(palette)]);
        let mut open = (false, false, false);
        for row in &rows {
            lines.push(compose(row, &mut open).paint(palette));
        }
        lines
    }

    fn headings(&self) -> Text {
        let centred = |heading: &str, column: Column| {
            let before = column.width().saturating_sub(heading.chars().count()) / 2;
            Text::new().fill(Meaning::Plain, ' ', before).with(column.meaning(), heading).fill(
                Meaning::Plain,
                ' ',
                column.width(),
            )
        };
        let text = centred(self.left.0, Column::Left);
        let Some((right, _)) = self.right else { return text };
        let gap = " ".repeat(GAP);
        text.with(Meaning::Plain, gap.as_str())
            .then(centred("SHARED: drawn once", Column::Middle))
            .with(Meaning::Plain, gap)
            .then(centred(right, Column::Right))
    }

    /// Tables of the same level that the processes have each for itself.
    fn private(&self, left: Option<&Table>, right: Option<&Table>, rows: &mut Vec<Row>) {
        let header = |table: Option<&Table>, column| table.map_or(Cell::Blank, |table| self.header(table, column));
        rows.push(Row { left: header(left, Column::Left), right: header(right, Column::Right), ..Row::EMPTY });
        let mut below = Vec::new();
        for address in self.drawn(left, right) {
            let left = left.and_then(|table| table.entry(address));
            let right = right.and_then(|table| table.entry(address));
            if let (Some(one), Some(other)) = (left, right)
                && is_same(one, other)
            {
                self.shared(one, other, rows);
                continue;
            }
            let cell = |entry: Option<&Entry>, column| match entry {
                Some(entry) => self.descriptor(entry, column, Leads::Below),
                None => Cell::Blank,
            };
            rows.push(Row { left: cell(left, Column::Left), right: cell(right, Column::Right), ..Row::EMPTY });
            below.push((table_below(left), table_below(right)));
        }
        let more = |table: Option<&Table>, other: Option<&Table>| {
            table.and_then(|table| self.more(table, other)).unwrap_or(Cell::Blank)
        };
        let row = Row { left: more(left, right), right: more(right, left), ..Row::EMPTY };
        if !matches!((&row.left, &row.right), (Cell::Blank, Cell::Blank)) {
            rows.push(row);
        }
        for (left, right) in below {
            if left.is_some() || right.is_some() {
                self.private(left, right, rows);
            }
        }
    }

    /// What both descriptors lead to, in the middle.
    fn shared(&self, left: &Entry, right: &Entry, rows: &mut Vec<Row>) {
        let mut middle = Vec::new();
        match &left.below {
            Some(table) => {
                self.middle(table, &mut middle);
                middle.push(Cell::Bottom);
            }
            None => middle.push(self.page(left)),
        }
        for (index, cell) in middle.into_iter().enumerate() {
            let mut row = Row { middle: cell, ..Row::EMPTY };
            if index == 0 {
                row.left = self.descriptor(left, Column::Left, Leads::Middle);
                row.right = self.descriptor(right, Column::Right, Leads::Middle);
                row.arrows = (true, true);
            }
            rows.push(row);
        }
    }

    /// A table in the middle and everything below it.
    fn middle(&self, table: &Table, cells: &mut Vec<Cell>) {
        cells.push(self.header(table, Column::Middle));
        let drawn: Vec<&Entry> =
            self.drawn(Some(table), None).into_iter().filter_map(|address| table.entry(address)).collect();
        for entry in &drawn {
            cells.push(self.descriptor(entry, Column::Middle, Leads::Below));
        }
        cells.extend(self.more(table, None));
        for entry in drawn {
            if let Some(table) = &entry.below {
                self.middle(table, cells);
            }
        }
    }

    fn is_drawn(&self, entry: &Entry) -> bool {
        entry.record.address < self.focus.end && entry.end() > self.focus.start
    }

    /// First addresses of the descriptors to draw, of either table.
    fn drawn(&self, left: Option<&Table>, right: Option<&Table>) -> Vec<u64> {
        let entries = left.into_iter().chain(right).flat_map(|table| &table.entries);
        let mut addresses: Vec<u64> =
            entries.filter(|entry| self.is_drawn(entry)).map(|entry| entry.record.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The name of the table of this level that translates an address.
    fn name(&self, level: u8, address: u64) -> &str {
        let table = |address: u64| address / (span(level) * 512);
        let wanted = |&&(below, named, _): &&(u64, u8, &str)| named == level && table(below) == table(address);
        self.names.iter().find(wanted).map_or("", |(.., name)| name)
    }

    fn header(&self, table: &Table, column: Column) -> Cell {
        let name = self.name(table.level, table.address);
        let mut title = format!("level {}", table.level);
        if table.level == 0 {
            title.push_str(" root");
        }
        if !name.is_empty() {
            title.push(' ');
            title.push_str(name);
        }
        let text = Text::new().with(Meaning::Heading, title).with(Meaning::Faint, format!(" #{:x}", table.frame));
        let references = if table.references > 0 { format!("×{}", table.references) } else { String::new() };
        Cell::Header(self.changed_table(table, column), text, references)
    }

    fn descriptor(&self, entry: &Entry, column: Column, leads: Leads) -> Cell {
        let raw = entry.record.descriptor;
        let is_table = entry.below.is_some();
        let text = Text::new().with(Meaning::Plain, format!("[{}] ", entry.index()));
        let text = match entry.kind() {
            _ if is_table && bits::takes_write(raw) => {
                text.with(Meaning::ReadOnly, format!("APTable={:02b} read-only", bits::ap_table(raw)))
            }
            _ if is_table => {
                text.with(Meaning::Plain, format!("APTable={:02b}", bits::ap_table(raw))).then(from_above(entry, " ▲"))
            }
            EntryKind::Reserved => text.with(Meaning::Faint, "reserved"),
            _ => text.then(leaf_bits(raw)).then(if bits::lets_write(raw) {
                from_above(entry, "▲")
            } else {
                Text::new()
            }),
        };
        let text = match leads {
            Leads::Middle => text,
            Leads::Below if is_table => text.with(Meaning::Plain, " ▼"),
            Leads::Below => text.then(frame(entry)),
        };
        Cell::Inside(self.changed_entry(entry, column), text)
    }

    fn page(&self, entry: &Entry) -> Cell {
        let name = format!("page {}[{}]", self.name(3, entry.record.address), entry.index());
        let text = Text::new().with(Meaning::Both, name).then(frame(entry));
        Cell::Page(self.changed_entry(entry, Column::Middle), text)
    }

    /// How many descriptors of a table are not drawn.
    fn more(&self, table: &Table, other: Option<&Table>) -> Option<Cell> {
        let hidden: Vec<&Entry> = table.entries.iter().filter(|entry| !self.is_drawn(entry)).collect();
        if hidden.is_empty() {
            return None;
        }
        let same = |entry: &&&Entry| {
            other.and_then(|other| other.entry(entry.record.address)).is_some_and(|twin| is_same(entry, twin))
        };
        let shared = hidden.iter().filter(same).count();
        let plural = if hidden.len() == 1 { "descriptor" } else { "descriptors" };
        let mut text = format!("+{} {plural}", hidden.len());
        if shared > 0 {
            text.push_str(&format!(", {shared} shared"));
        }
        Some(Cell::Inside(Mark::Unchanged, Text::new().with(Meaning::Faint, text)))
    }

    fn tree_before(&self, column: Column) -> Option<Option<&Tree>> {
        let (left, right) = self.before?;
        Some(match column {
            Column::Right => right,
            Column::Left | Column::Middle => Some(left),
        })
    }

    fn changed_entry(&self, entry: &Entry, column: Column) -> Mark {
        let record = &entry.record;
        Mark::when(match self.tree_before(column) {
            None | Some(None) => false,
            Some(Some(tree)) => tree.entry(record.level, record.address).is_none_or(|old| {
                old.record.descriptor != record.descriptor
                    || entry.below.is_none() && old.record.references != record.references
            }),
        })
    }

    fn changed_table(&self, table: &Table, column: Column) -> Mark {
        Mark::when(match self.tree_before(column) {
            None | Some(None) => false,
            Some(Some(tree)) => {
                let same = |old: &&Table| old.frame == table.frame && old.level == table.level;
                tree.tables().iter().find(|old| same(old)).is_none_or(|old| old.references != table.references)
            }
        })
    }
}

/// The bits of a page descriptor that say what a program may do.
fn leaf_bits(raw: u64) -> Text {
    let (meaning, word) = if bits::lets_write(raw) { (Meaning::Plain, "rw") } else { (Meaning::ReadOnly, "ro") };
    let never = if bits::unprivileged_execute_never(raw) { "UXN " } else { "" };
    Text::new().with(meaning, format!("AP={:02b} ", bits::ap(raw))).with(Meaning::Plain, never).with(meaning, word)
}

/// A mark for a page that its own bits make writable and a table descriptor above write-protects.
fn from_above(entry: &Entry, mark: &str) -> Text {
    if entry.record.writable_now == 0 { Text::new().with(Meaning::ReadOnly, mark) } else { Text::new() }
}

fn frame(entry: &Entry) -> Text {
    let Some(frame) = entry.target() else { return Text::new() };
    let references = match entry.record.references {
        0 => String::new(),
        count => format!(" ×{count}"),
    };
    Text::new().with(Meaning::Faint, format!(" #{frame:x}")).with(Meaning::Plain, references)
}

fn table_below(entry: Option<&Entry>) -> Option<&Table> {
    entry.and_then(|entry| entry.below.as_deref())
}

/// Whether two descriptors lead to one and the same thing.
fn is_same(one: &Entry, other: &Entry) -> bool {
    one.target().is_some() && one.target() == other.target()
}

#[cfg(test)]
mod tests;
