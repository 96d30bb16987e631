//! The records of a process as the tree that they describe.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use graft_abi::{EntryKind, EntryRecord};

use crate::table_view::bits;

/// The tables of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The level-0 table. `None` if the process maps nothing or is gone.
    pub root: Option<Table>,
}

/// A translation table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its frame number.
    pub frame: u64,
    /// Its level, 0 to 3.
    pub level: u8,
    /// The first address that it translates.
    pub address: u64,
    /// References to it; 0 for the root, which no descriptor leads to.
    pub references: u32,
    /// Its descriptors that are not empty, in order.
    pub entries: Vec<Entry>,
}

/// A descriptor that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the kernel says about it.
    pub record: EntryRecord,
    /// The table that it leads to, if it leads to one.
    pub below: Option<Box<Table>>,
}

/// Why records are not those of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// A record belongs to a level that its predecessors do not lead to.
    Orphan(EntryRecord),
    /// A record names another table than the descriptor that leads to it.
    WrongTable(EntryRecord),
    /// A record's address is not one that its level can have, or not above its predecessor's.
    Disorder(EntryRecord),
    /// A record's kind is not a known one.
    UnknownKind(EntryRecord),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, record) = match self {
            TreeError::Orphan(record) => ("hangs below no table", record),
            TreeError::WrongTable(record) => ("is not in the table that leads to it", record),
            TreeError::Disorder(record) => ("is out of order", record),
            TreeError::UnknownKind(record) => ("is of no known kind", record),
        };
        write!(f, "the level-{} descriptor for {:#x} {what}", record.level, record.address)
    }
}

impl core::error::Error for TreeError {}

/// Bytes that one descriptor of this level covers.
pub const fn span(level: u8) -> u64 {
    1 << (39 - 9 * level as u32)
}

impl Entry {
    /// The descriptor's place in its table.
    pub fn index(&self) -> u64 {
        self.record.address / span(self.record.level) % 512
    }

    /// What the descriptor is.
    pub fn kind(&self) -> EntryKind {
        // `Tree::new` has refused records of unknown kinds.
        EntryKind::from_number(self.record.kind).unwrap_or(EntryKind::Reserved)
    }

    /// The frame that the descriptor leads to, if the processor would follow it.
    pub fn target(&self) -> Option<u64> {
        bits::is_valid(self.record.descriptor).then(|| bits::frame(self.record.descriptor))
    }

    /// One past the last address that the descriptor covers.
    pub fn end(&self) -> u64 {
        self.record.address + span(self.record.level)
    }
}

impl Tree {
    /// Builds the tree from records in the order in which `tables` gives them.
    pub fn new(records: &[EntryRecord]) -> Result<Tree, TreeError> {
        let Some(first) = records.first() else { return Ok(Tree { root: None }) };
        let mut root = Table { frame: first.table >> 12, level: 0, address: 0, references: 0, entries: Vec::new() };
        for &record in records {
            insert(&mut root, record)?;
        }
        Ok(Tree { root: Some(root) })
    }

    /// Every table, the root first.
    pub fn tables(&self) -> Vec<&Table> {
        let mut all = Vec::new();
        let mut rest: Vec<&Table> = self.root.iter().collect();
        while let Some(table) = rest.pop() {
            all.push(table);
            rest.extend(table.entries.iter().rev().filter_map(|entry| entry.below.as_deref()));
        }
        all
    }

    /// The descriptors on the way to an address, from level 0 down.
    pub fn path(&self, address: u64) -> Vec<&Entry> {
        let mut path = Vec::new();
        let mut table = self.root.as_ref();
        while let Some(current) = table {
            let Some(entry) = current.entry(address) else { break };
            path.push(entry);
            table = entry.below.as_deref();
        }
        path
    }

    /// The descriptor of this level on the way to an address.
    pub fn entry(&self, level: u8, address: u64) -> Option<&Entry> {
        self.path(address).into_iter().find(|entry| entry.record.level == level)
    }
}

impl Table {
    /// The descriptor for an address.
    pub fn entry(&self, address: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| (entry.record.address..entry.end()).contains(&address))
    }
}

fn insert(root: &mut Table, record: EntryRecord) -> Result<(), TreeError> {
    let kind = EntryKind::from_number(record.kind).ok_or(TreeError::UnknownKind(record))?;
    if record.level > 3 || !record.address.is_multiple_of(span(record.level)) {
        return Err(TreeError::Disorder(record));
    }
    let mut table = root;
    while table.level < record.level {
        let below = table.entries.last_mut().and_then(|entry| entry.below.as_deref_mut());
        table = below.ok_or(TreeError::Orphan(record))?;
    }
    if table.frame != record.table >> 12 {
        return Err(TreeError::WrongTable(record));
    }
    let size = span(record.level) * 512;
    let inside = record.address >= table.address && record.address - table.address < size;
    if !inside || table.entries.last().is_some_and(|last| last.record.address >= record.address) {
        return Err(TreeError::Disorder(record));
    }
    let below = (kind == EntryKind::Table && record.level < 3).then(|| {
        Box::new(Table {
            frame: bits::frame(record.descriptor),
            level: record.level + 1,
            address: record.address,
            references: record.references,
            entries: Vec::new(),
        })
    });
    table.entries.push(Entry { record, below });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_view::sample;

    #[test]
    fn records_become_the_tree_they_came_from() {
        let records = sample::after_fork().0;
        let tree = Tree::new(&records).unwrap();
        assert_eq!(tree.tables().len(), 7);
        let path = tree.path(sample::B);
        assert_eq!(path.iter().map(|entry| entry.index()).collect::<Vec<_>>(), [0, 8, 1, 0]);
        assert_eq!(path[3].target(), Some(sample::PAGE_B));
        assert_eq!(tree.entry(3, sample::B + 5 * 4096), None);
        assert_eq!(Tree::new(&[]).unwrap().root, None);
    }

    #[test]
    fn records_that_are_no_tree_are_refused() {
        let records = sample::after_fork().0;
        let broken = |index: usize, change: fn(&mut EntryRecord)| {
            let mut records = records.clone();
            change(&mut records[index]);
            Tree::new(&records).unwrap_err()
        };
        assert!(matches!(broken(2, |record| record.level = 3), TreeError::Orphan(_) | TreeError::Disorder(_)));
        assert!(matches!(broken(1, |record| record.table += 0x1000), TreeError::WrongTable(_)));
        assert!(matches!(broken(3, |record| record.address += 1 << 40), TreeError::Disorder(_)));
        assert!(matches!(broken(1, |record| record.level = 9), TreeError::Disorder(_)));
        assert!(matches!(broken(1, |record| record.kind = 0), TreeError::UnknownKind(_)));
    }
}
