//! What there is to draw: the tables and pages that lead to the regions, and whose they are.

use super::area::Area;
use super::dump::{Dump, Region, Step};
use graft_abi::EntryKind;
use graft_lib::table_view::bits;
use graft_lib::table_view::tree::{Entry, Table, Tree, span};

/// The row of pages; that of a table is its level.
pub(super) const PAGES: usize = 4;

/// The process or processes that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Both,
    Right,
}

impl Side {
    pub(super) const ALL: [Side; 3] = [Side::Left, Side::Both, Side::Right];
}

/// What has happened to something since the moment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// It has another count.
    Counted,
    /// It was not there.
    New,
}

/// A table or a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) frame: u64,
    pub(super) row: usize,
    pub(super) side: Side,
    /// `level 3 A`, or for a page `A[1]`.
    pub(super) name: String,
    /// Descriptors that lead to it; 0 for a root.
    pub(super) references: u32,
    pub(super) change: Change,
    pub(super) cells: Vec<Cell>,
    /// Descriptors that are not drawn.
    pub(super) more: usize,
    pub(super) area: Area,
}

/// A descriptor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) index: u64,
    /// Its bits in the manual's words.
    pub(super) bits: String,
    /// Whether it write-protects what it leads to.
    pub(super) is_read_only: bool,
    /// Whether its own bits permit a store that a table descriptor above forbids.
    pub(super) is_held_back: bool,
    pub(super) has_changed: bool,
    /// The frame that it leads to.
    pub(super) target: Option<u64>,
    pub(super) area: Area,
}

/// The two moments and what there is to draw of them.
pub(super) fn both(dump: &Dump) -> Result<([&Step; 2], [Vec<Node>; 2]), String> {
    let moment = |words: &str| {
        let found = dump.steps.iter().find(|step| step.title.contains(words) && step.processes.len() == 2);
        found.ok_or_else(|| format!("the dump has no step {words:?} of two processes"))
    };
    let steps = [moment("After fork")?, moment("the child has written")?];
    let [before, after] = steps.map(|step| [&step.processes[0].1, &step.processes[1].1]);
    let graphs = [gather(before, None, &dump.regions), gather(after, Some(before), &dump.regions)];
    Ok((steps, graphs))
}

/// The tables and pages of two processes, with changes since the moment `before`.
fn gather(now: [&Tree; 2], before: Option<[&Tree; 2]>, regions: &[Region]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (tree, side) in now.into_iter().zip([Side::Left, Side::Right]) {
        let old = before.map(|[left, right]| if side == Side::Left { left } else { right });
        if let Some(root) = &tree.root {
            Gather { nodes: &mut nodes, side, regions, before, old }.table(root);
        }
    }
    nodes
}

/// Gathers what one process reaches.
struct Gather<'a> {
    nodes: &'a mut Vec<Node>,
    side: Side,
    regions: &'a [Region],
    before: Option<[&'a Tree; 2]>,
    /// The same process before.
    old: Option<&'a Tree>,
}

impl Gather<'_> {
    fn table(&mut self, table: &Table) {
        let (drawn, hidden): (Vec<&Entry>, Vec<&Entry>) = table.entries.iter().partition(|entry| self.is_drawn(entry));
        let name = self.region(table.address, table.address + 512 * span(table.level)).filter(|_| table.level == 3);
        let name = format!("level {}{}", table.level, name.map_or_else(String::new, |name| format!(" {name}")));
        let cells = drawn.iter().map(|entry| self.cell(entry)).collect();
        self.add(table.frame, usize::from(table.level), name, table.references, cells, hidden.len());
        for entry in drawn {
            match &entry.below {
                Some(below) => self.table(below),
                None => self.page(entry),
            }
        }
    }

    fn page(&mut self, entry: &Entry) {
        let Some(frame) = entry.target() else { return };
        let record = &entry.record;
        let name = self.region(record.address, entry.end()).unwrap_or_default();
        let name = format!("{name}[{}]", entry.index());
        self.add(frame, PAGES, name, record.references, Vec::new(), 0);
    }

    /// Adds a table or page, or notes that both reach it.
    fn add(&mut self, frame: u64, row: usize, name: String, references: u32, cells: Vec<Cell>, more: usize) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.frame == frame && node.row == row) {
            if node.side != self.side {
                node.side = Side::Both;
            }
            return;
        }
        let change = self.change(frame, row, references);
        let side = self.side;
        self.nodes.push(Node { frame, row, side, name, references, change, cells, more, area: Area::default() });
    }

    fn cell(&self, entry: &Entry) -> Cell {
        let raw = entry.record.descriptor;
        let is_table = entry.below.is_some();
        let is_open = if is_table { !bits::takes_write(raw) } else { bits::lets_write(raw) };
        let bits = match entry.kind() {
            _ if is_table => format!("APTable={:02b}", bits::ap_table(raw)),
            EntryKind::Reserved => "reserved".into(),
            _ => format!("AP={:02b} {}", bits::ap(raw), if is_open { "rw" } else { "ro" }),
        };
        let old = self.old.map(|tree| tree.entry(entry.record.level, entry.record.address));
        Cell {
            index: entry.index(),
            bits,
            is_read_only: bits::is_valid(raw) && !is_open,
            is_held_back: is_open && entry.record.writable_now == 0,
            has_changed: old.is_some_and(|old| old.is_none_or(|old| old.record.descriptor != raw)),
            target: entry.target(),
            area: Area::default(),
        }
    }

    fn change(&self, frame: u64, row: usize, references: u32) -> Change {
        let Some(trees) = self.before else { return Change::None };
        let roots = trees.iter().filter_map(|tree| tree.root.as_ref().map(|root| (root.frame, 0)));
        let entries = trees.iter().flat_map(|tree| tree.tables()).flat_map(|table| &table.entries);
        let leads_to = entries.filter_map(|entry| {
            let row = usize::from(entry.record.level) + 1;
            Some(((entry.target()?, row), entry.record.references))
        });
        let mut old = roots.map(|root| (root, 0)).chain(leads_to);
        match old.find(|(place, _)| *place == (frame, row)) {
            None => Change::New,
            Some((_, count)) if count != references => Change::Counted,
            Some(_) => Change::None,
        }
    }

    fn region(&self, start: u64, end: u64) -> Option<&str> {
        let inside = |region: &&Region| region.addresses.start < end && start < region.addresses.end;
        self.regions.iter().find(inside).map(|region| region.name.as_str())
    }

    fn is_drawn(&self, entry: &Entry) -> bool {
        self.region(entry.record.address, entry.end()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::picture::sample;

    fn graphs() -> [Vec<Node>; 2] {
        both(&sample::dump()).unwrap().1
    }

    /// Level or page, side, count and change of everything with this name.
    fn found(nodes: &[Node], name: &str) -> Vec<(Side, u32, Change)> {
        let named = nodes.iter().filter(|node| node.name == name);
        named.map(|node| (node.side, node.references, node.change)).collect()
    }

    #[test]
    fn after_a_fork_the_last_tables_are_in_the_middle() {
        let [nodes, _] = graphs();
        for level in ["level 0", "level 1", "level 2"] {
            let sides: Vec<_> = found(&nodes, level).into_iter().map(|(side, ..)| side).collect();
            assert_eq!(sides, [Side::Left, Side::Right], "{level}");
        }
        for name in ["level 3 A", "level 3 B"] {
            assert_eq!(found(&nodes, name), [(Side::Both, 2, Change::None)]);
        }
        for name in ["A[0]", "A[1]", "A[2]", "B[0]", "B[1]"] {
            assert_eq!(found(&nodes, name), [(Side::Both, 1, Change::None)]);
        }
        let level_1 = nodes.iter().find(|node| node.name == "level 1").unwrap();
        assert_eq!((level_1.more, level_1.cells.len(), level_1.cells[0].index), (1, 1, 8));
        let shared = nodes.iter().find(|node| node.name == "level 3 A").unwrap();
        assert!(shared.cells.iter().all(|cell| cell.bits == "AP=01 rw" && cell.is_held_back && !cell.has_changed));
    }

    #[test]
    fn a_write_puts_a_new_table_and_a_new_page_at_the_side_of_the_writer() {
        let [_, nodes] = graphs();
        assert_eq!(found(&nodes, "level 3 A"), [(Side::Left, 1, Change::Counted), (Side::Right, 1, Change::New)]);
        assert_eq!(found(&nodes, "A[0]"), [(Side::Left, 1, Change::None), (Side::Right, 1, Change::New)]);
        assert_eq!(found(&nodes, "A[1]"), [(Side::Both, 2, Change::Counted)]);
        assert_eq!(found(&nodes, "level 3 B"), [(Side::Both, 2, Change::None)]);
        let changed: Vec<(Side, u64, &str)> = nodes
            .iter()
            .flat_map(|node| node.cells.iter().map(move |cell| (node.side, cell)))
            .filter(|(_, cell)| cell.has_changed)
            .map(|(side, cell)| (side, cell.index, cell.bits.as_str()))
            .collect();
        let expected = [
            (Side::Left, 1, "AP=11 ro"),
            (Side::Left, 2, "AP=11 ro"),
            (Side::Right, 0, "APTable=00"),
            (Side::Right, 0, "AP=01 rw"),
            (Side::Right, 1, "AP=11 ro"),
            (Side::Right, 2, "AP=11 ro"),
        ];
        assert_eq!(changed, expected);
    }
}
