//! Do the raw bits say what the records claim, and does the tree keep its promises?
//!
//! Walks the descriptors as the processor would (Arm ARM, "Hierarchical control of data access
//! permissions"): a leaf's own bits, less what any table descriptor above has taken away. The
//! numbered promises are those of the design: 2, read-only on the way in; 3, a writable leaf has a
//! frame with one reference.

use alloc::vec::Vec;
use core::fmt;

use graft_abi::{EntryKind, EntryRecord};

use crate::table_view::bits;
use crate::table_view::tree::{Table, Tree};

/// What is wrong, and with which descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The kernel and the bits disagree on whether a store through the descriptor works.
    WritableNow(EntryRecord),
    /// A table has several references, and a descriptor to it does not write-protect what is below.
    OpenWayIn(EntryRecord),
    /// A page has several references and may be written.
    SharedAndWritable(EntryRecord),
    /// A page may be written and executed.
    WritableAndExecutable(EntryRecord),
    /// The kernel's reference count differs from the number of descriptors that lead there.
    References {
        /// One of the descriptors.
        record: EntryRecord,
        /// How many there are.
        found: u32,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (record, what) = match self {
            Violation::WritableNow(record) => (record, "does not do to writes what the kernel says it does"),
            Violation::OpenWayIn(record) => (record, "leads to a shared table and leaves it writable"),
            Violation::SharedAndWritable(record) => (record, "lets a shared page be written"),
            Violation::WritableAndExecutable(record) => (record, "lets a page be written and executed"),
            Violation::References { record, .. } => (record, "leads to something whose references are miscounted"),
        };
        write!(
            f,
            "the level-{} descriptor {:#018x} for {:#x} {what}",
            record.level, record.descriptor, record.address
        )?;
        match self {
            Violation::References { record, found } => {
                write!(f, ": {found} descriptors lead there, {} are counted", record.references)
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Violation {}

/// Checks the descriptors of one process.
pub fn check(tree: &Tree) -> Result<(), Violation> {
    tree.root.as_ref().map_or(Ok(()), |root| check_table(root, true))
}

fn check_table(table: &Table, writable_above: bool) -> Result<(), Violation> {
    for entry in &table.entries {
        let record = entry.record;
        let raw = record.descriptor;
        let writable = writable_above
            && match &entry.below {
                Some(_) => !bits::takes_write(raw),
                None => bits::is_valid(raw) && bits::lets_write(raw),
            };
        if writable != (record.writable_now == 1) {
            return Err(Violation::WritableNow(record));
        }
        match &entry.below {
            Some(below) => {
                if record.references > 1 && !bits::takes_write(raw) {
                    return Err(Violation::OpenWayIn(record));
                }
                check_table(below, writable)?;
            }
            None if writable => {
                if entry.kind() == EntryKind::Page && record.references > 1 {
                    return Err(Violation::SharedAndWritable(record));
                }
                if !bits::unprivileged_execute_never(raw) {
                    return Err(Violation::WritableAndExecutable(record));
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// Checks the reference counts of processes that share with each other and with no other process.
///
/// A table or page has as many references as there are descriptors that lead to it; a descriptor in a table
/// that several processes share counts once.
pub fn check_references(trees: &[&Tree]) -> Result<(), Violation> {
    let mut descriptors: Vec<EntryRecord> = Vec::new();
    for table in trees.iter().flat_map(|tree| tree.tables()) {
        let counted =
            |entry: &&crate::table_view::tree::Entry| matches!(entry.kind(), EntryKind::Table | EntryKind::Page);
        descriptors.extend(table.entries.iter().filter(counted).map(|entry| entry.record));
    }
    let place = |record: &EntryRecord| (bits::frame(record.descriptor), record.table, record.address);
    descriptors.sort_unstable_by_key(place);
    descriptors.dedup_by_key(|record| place(record));
    for same in descriptors.chunk_by(|one, other| bits::frame(one.descriptor) == bits::frame(other.descriptor)) {
        let found = same.len() as u32;
        if let Some(&record) = same.iter().find(|record| record.references != found) {
            return Err(Violation::References { record, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_view::sample;

    type Records = (Vec<EntryRecord>, Vec<EntryRecord>);

    fn verdict((left, right): &Records) -> Result<(), Violation> {
        let (left, right) = (Tree::new(left).unwrap(), Tree::new(right).unwrap());
        check(&left)?;
        check(&right)?;
        check_references(&[&left, &right])
    }

    #[test]
    fn sound_processes_pass() {
        assert_eq!(verdict(&sample::after_fork()), Ok(()));
        assert_eq!(verdict(&sample::after_child_write()), Ok(()));
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        let broken = |change: fn(&mut EntryRecord)| {
            let mut records = sample::after_fork();
            let leads_to_a = |record: &&mut EntryRecord| record.level == 2 && record.address == sample::A;
            change(records.0.iter_mut().find(leads_to_a).unwrap());
            verdict(&records)
        };
        assert!(matches!(broken(|record| record.writable_now = 1), Err(Violation::WritableNow(_))));
        let open = broken(|record| {
            record.descriptor &= !(1 << 62);
            record.writable_now = 1;
        });
        assert!(matches!(open, Err(Violation::OpenWayIn(_))));
        assert!(matches!(broken(|record| record.references = 3), Err(Violation::References { found: 2, .. })));

        let page = |change: fn(&mut EntryRecord)| {
            let mut records = sample::after_child_write();
            let written = |record: &&mut EntryRecord| record.level == 3 && record.address == sample::A;
            change(records.1.iter_mut().find(written).unwrap());
            verdict(&records)
        };
        assert!(matches!(page(|record| record.references = 2), Err(Violation::SharedAndWritable(_))));
        assert!(matches!(page(|record| record.descriptor &= !(1 << 54)), Err(Violation::WritableAndExecutable(_))));
        assert!(matches!(page(|record| record.writable_now = 0), Err(Violation::WritableNow(_))));
    }
}
