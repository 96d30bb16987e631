//! Which descriptors lead to which tables and pages.

use std::collections::BTreeSet;

use crate::cleaning::Scope;
use crate::{Checker, ENTRIES, FRAME, KERNEL_BASE, KIND, OUTPUT, Violation, frame_of, is_valid, span};

/// Whose addresses a table translates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    User,
    Kernel,
}

pub(super) struct Table {
    pub(super) half: Half,
    pub(super) level: usize,
    /// Descriptors that lead here, unclean ones included.
    pub(super) entries: BTreeSet<u64>,
}

impl Checker {
    /// Where a table's word at this offset of what the table translates is found: by space and address.
    pub(super) fn places(&self, table: u64, offset: u64) -> Vec<(Scope, u64)> {
        let Some(Table { level, entries, .. }) = self.tables.get(&table) else { return Vec::new() };
        let mut all = Vec::new();
        if *level == 0 {
            let here = |(asid, root): (&u16, &u64)| (*root == table).then_some((Scope::Asid(*asid), offset));
            all.extend(self.roots.iter().filter_map(here));
        }
        if self.kernel == Some(table) {
            all.push((Scope::Global, KERNEL_BASE + offset));
        }
        for entry in entries {
            let above = self.tables.get(&frame_of(*entry)).map_or(0, |table| table.level);
            all.extend(self.places(frame_of(*entry), span(above) * (entry % FRAME / 8) + offset));
        }
        all
    }

    /// A descriptor leads somewhere from now on.
    pub(super) fn link(&mut self, address: u64, raw: u64, level: usize) -> Result<(), Violation> {
        let to = raw & OUTPUT;
        let half = self.tables[&frame_of(address)].half;
        if level == 3 || raw & KIND != KIND {
            // The kernel maps all memory, and keeps it mapped.
            if half == Half::User {
                self.pages.entry(to).or_default().insert(address);
            }
            return if half == Half::User && self.is_table(to) { Err(Violation::TwoUses(to)) } else { Ok(()) };
        }
        if self.pages.contains_key(&to) {
            return Err(Violation::TwoUses(to));
        }
        if let Some(table) = self.tables.get_mut(&to) {
            table.entries.insert(address);
            return Ok(());
        }
        self.tables.insert(to, Table { half, level: level + 1, entries: BTreeSet::from([address]) });
        self.adopt(to, level + 1)
    }

    /// Links everything that a new table's descriptors lead to.
    pub(super) fn adopt(&mut self, table: u64, level: usize) -> Result<(), Violation> {
        let words = *self.memory.get(&table).ok_or(Violation::NotInitialised(table))?.clone();
        for (index, raw) in words.into_iter().enumerate().filter(|(_, raw)| is_valid(*raw)) {
            self.link(table + 8 * index as u64, raw, level)?;
        }
        Ok(())
    }

    /// A descriptor does not lead there any more, in memory or in any TLB.
    pub(super) fn unlink(&mut self, address: u64, raw: u64, level: usize) {
        let to = raw & OUTPUT;
        if level == 3 || raw & KIND != KIND {
            if let Some(entries) = self.pages.get_mut(&to) {
                entries.remove(&address);
                if entries.is_empty() {
                    self.pages.remove(&to);
                }
            }
            return;
        }
        let Some(table) = self.tables.get_mut(&to) else { return };
        table.entries.remove(&address);
        if table.entries.is_empty() {
            self.abandon(to);
        }
    }

    /// A frame is no table any more.
    pub(super) fn abandon(&mut self, table: u64) {
        let Some(Table { level, .. }) = self.tables.remove(&table) else { return };
        let words = self.memory.get(&table).map(|words| **words).unwrap_or([0; ENTRIES]);
        for (index, raw) in words.into_iter().enumerate() {
            let address = table + 8 * index as u64;
            let raw = self.unclean.remove(&address).map_or(raw, |unclean| unclean.old);
            if is_valid(raw) {
                self.unlink(address, raw, level);
            }
        }
    }
}
