//! One process's tables as an indented list, with runs of like pages in one line.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_abi::{EntryKind, PAGE_SIZE, Permissions};

use crate::table_view::bits;
use crate::table_view::paint::{Meaning, Palette, Text};
use crate::table_view::tree::{Entry, Table, Tree};

/// What a listing counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tables, the root included.
    pub tables: u64,
    /// Tables that other processes reach too.
    pub shared_tables: u64,
    /// Pages that are present and counted: not zero pages, not foreign ones.
    pub pages: u64,
    /// Pages that other processes reach too, by themselves or by a shared table above.
    pub shared_pages: u64,
    /// Pages reserved and not yet backed.
    pub reserved_pages: u64,
}

/// Like pages side by side.
struct Run<'a> {
    first: &'a Entry,
    end: u64,
}

/// Lists the tables, one string a line.
pub fn list(tree: &Tree, palette: Palette) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(root) = &tree.root {
        let text =
            Text::new().with(Meaning::Heading, "level 0 root").with(Meaning::Faint, format!(" #{:x}", root.frame));
        lines.push(text.paint(palette));
        list_table(root, 1, palette, &mut lines);
    }
    lines
}

fn list_table(table: &Table, depth: usize, palette: Palette, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    for run in runs(table) {
        let text = Text::new().with(Meaning::Plain, indent.as_str());
        match &run.first.below {
            Some(below) => {
                lines.push(text.then(table_line(run.first, below)).paint(palette));
                list_table(below, depth + 1, palette, lines);
            }
            None => lines.push(text.then(run_line(&run)).paint(palette)),
        }
    }
}

fn table_line(entry: &Entry, table: &Table) -> Text {
    let shared = entry.record.references > 1;
    let meaning = if shared { Meaning::Both } else { Meaning::Plain };
    let text = Text::new()
        .with(Meaning::Plain, format!("[{}] ", entry.index()))
        .with(Meaning::Heading, format!("level {}", table.level))
        .with(Meaning::Faint, format!(" #{:x}", table.frame))
        .with(meaning, format!(" ×{}", entry.record.references));
    if bits::takes_write(entry.record.descriptor) {
        text.with(Meaning::ReadOnly, " APTable=10 read-only below")
    } else {
        text
    }
}

fn run_line(run: &Run<'_>) -> Text {
    let record = &run.first.record;
    let permissions = Permissions::from_number(record.permissions.into());
    let letters = match permissions {
        Some(Permissions::Read) => "r--",
        Some(Permissions::ReadWrite) => "rw-",
        Some(Permissions::ReadExecute) => "r-x",
        Some(Permissions::None) | None => "---",
    };
    let kind = match run.first.kind() {
        EntryKind::Page => "private",
        EntryKind::ZeroPage => "zero page",
        EntryKind::SharedPage => "shared",
        EntryKind::NoInheritPage => "not inherited",
        EntryKind::ForeignPage => "foreign",
        EntryKind::Reserved => "reserved",
        EntryKind::Table => "table",
    };
    let size = format!("{}", Kibibytes(run.end - record.address));
    let text = Text::new()
        .with(Meaning::Plain, format!("{:012x}-{:012x} {size:>9}  ", record.address, run.end))
        .with(Meaning::Plain, format!("{letters} {kind}"));
    let text = match record.references {
        0 => text,
        1 => text.with(Meaning::Plain, " ×1"),
        count => text.with(Meaning::Both, format!(" ×{count}")),
    };
    let waits = permissions == Some(Permissions::ReadWrite) && record.writable_now == 0;
    if waits && run.first.kind() != EntryKind::Reserved {
        text.with(Meaning::ReadOnly, " a write faults first")
    } else {
        text
    }
}

/// Bytes in KiB, or in larger units where these say the same.
struct Kibibytes(u64);

impl core::fmt::Display for Kibibytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(1 << 30) => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes.is_multiple_of(1 << 20) => write!(f, "{} MiB", bytes >> 20),
            bytes => write!(f, "{} KiB", bytes >> 10),
        }
    }
}

fn runs(table: &Table) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for entry in &table.entries {
        match runs.last_mut() {
            Some(run) if run.end == entry.record.address && is_alike(run.first, entry) => {
                run.end = entry.end();
            }
            _ => runs.push(Run { first: entry, end: entry.end() }),
        }
    }
    runs
}

fn is_alike(one: &Entry, other: &Entry) -> bool {
    let key = |entry: &Entry| {
        let record = entry.record;
        (record.kind, record.permissions, record.writable_now, record.references)
    };
    one.below.is_none() && other.below.is_none() && key(one) == key(other)
}

/// Counts what the tree holds.
pub fn summary(tree: &Tree) -> Summary {
    let mut summary = Summary::default();
    if let Some(root) = &tree.root {
        count(root, false, &mut summary);
    }
    summary
}

fn count(table: &Table, shared_above: bool, summary: &mut Summary) {
    let shared = shared_above || table.references > 1;
    summary.tables += 1;
    summary.shared_tables += u64::from(shared);
    for entry in &table.entries {
        let pages = (entry.end() - entry.record.address) / PAGE_SIZE as u64;
        match (entry.kind(), &entry.below) {
            (_, Some(below)) => count(below, shared, summary),
            (EntryKind::Page | EntryKind::SharedPage | EntryKind::NoInheritPage, None) => {
                summary.pages += 1;
                summary.shared_pages += u64::from(shared || entry.record.references > 1);
            }
            (EntryKind::Reserved, None) => summary.reserved_pages += pages,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_view::sample;

    #[test]
    fn runs_of_like_pages_are_one_line() {
        let tree = Tree::new(&sample::after_child_write().1).unwrap();
        let lines = list(&tree, Palette::Plain);
        assert_eq!(
            lines.join("\n"),
            "\
level 0 root #41000
  [0] level 1 #41001 ×1
    [0] level 2 #41002 ×1
      [2] level 3 #40020 ×2 APTable=10 read-only below
        000000400000-000000401000     4 KiB  r-x private ×1
    [8] level 2 #41003 ×1
      [0] level 3 #41010 ×1
        000200000000-000200001000     4 KiB  rw- private ×1
        000200001000-000200003000     8 KiB  rw- private ×2 a write faults first
      [1] level 3 #40011 ×2 APTable=10 read-only below
        000200200000-000200202000     8 KiB  rw- private ×1 a write faults first"
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn the_summary_counts_what_is_shared_by_a_table_above() {
        let tree = Tree::new(&sample::after_child_write().1).unwrap();
        assert_eq!(
            summary(&tree),
            Summary { tables: 7, shared_tables: 2, pages: 6, shared_pages: 5, reserved_pages: 0 }
        );
    }
}
