//! Roots, and the registers that say how addresses are translated.

use std::collections::{BTreeMap, BTreeSet};

use crate::cleaning::Progress;
use crate::tree::{Half, Table};
use crate::{Checker, Register, Thread, Violation};

/// A root that no thread runs with.
pub(super) struct Released {
    pub(super) root: u64,
    /// How far each thread that has done anything about it has come.
    pub(super) progress: BTreeMap<Thread, Progress>,
}

impl Checker {
    pub(super) fn run(&mut self, root: u64, asid: u16) -> Result<(), Violation> {
        if self.released.get(&asid).is_some_and(|released| released.root != root) {
            return Err(Violation::AsidReused(asid));
        }
        self.released.remove(&asid);
        match self.roots.get(&asid) {
            Some(known) if *known == root => return Ok(()),
            Some(_) => return Err(Violation::AsidReused(asid)),
            None => {}
        }
        if self.roots.values().any(|known| *known == root) {
            return Err(Violation::TwoAsids(root));
        }
        self.roots.insert(asid, root);
        if !self.is_table(root) {
            if self.pages.contains_key(&root) {
                return Err(Violation::TwoUses(root));
            }
            self.tables.insert(root, Table { half: Half::User, level: 0, entries: BTreeSet::new() });
            self.adopt(root, 0)?;
        }
        Ok(())
    }

    pub(super) fn run_kernel(&mut self, root: u64) -> Result<(), Violation> {
        if self.kernel.is_some_and(|known| known != root) {
            return Err(Violation::OtherKernel(root));
        }
        if self.kernel.is_none() {
            self.kernel = Some(root);
            self.tables.insert(root, Table { half: Half::Kernel, level: 1, entries: BTreeSet::new() });
            self.adopt(root, 1)?;
        }
        Ok(())
    }

    /// The first values are those with which a thread begins.
    pub(super) fn set(&mut self, thread: Thread, register: Register, value: u64) -> Result<(), Violation> {
        let is_allowed = match register {
            Register::Translation => self.registers.get(&(thread, register)).is_none_or(|old| *old == value),
            Register::System => value & 1 == 1,
        };
        self.registers.insert((thread, register), value);
        if is_allowed { Ok(()) } else { Err(Violation::Reconfigured(register)) }
    }

    pub(super) fn release(&mut self, root: u64) {
        let asid = self.roots.iter().find(|(_, known)| **known == root).map(|(asid, _)| *asid);
        if let Some(asid) = asid {
            self.released.insert(asid, Released { root, progress: BTreeMap::new() });
        }
    }
}
