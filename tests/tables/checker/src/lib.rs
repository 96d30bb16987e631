//! A checker of what a kernel does to translation tables: stores, barriers, invalidations, frames that go.
//!
//! ```text
//!                 valid ──────────── other output, other kind ──────────────▶ violation
//!                   │ ▲
//!        invalid    │ │ valid
//!                   ▼ │
//!   unclean ─ DSB ─▶ · ─ TLBI that reaches it, for every space ─▶ · ─ DSB ISH ─▶ clean
//!      └────────────── valid, or what it led to is freed ───────────────────▶ violation
//! ```
//!
//! The rules are those of the Arm ARM, "Using break-before-make when updating translation table entries" and "TLB
//! maintenance instructions", as the public checker `casemate` (github.com/rems-project/casemate) has them: a
//! descriptor that was valid is *unclean* until the thread that invalidated it has waited for the store, invalidated
//! the TLBs, and waited for that. Where the two differ:
//!
//! - tables have several owners here: a descriptor is clean when it is clean for every address space that reaches it;
//! - valid over valid is judged by what changes, not by whether a table is concerned: permissions may change without a
//!   break;
//! - frames of pages are watched too: nothing that an unclean descriptor leads to may be freed;
//! - an ASID may not be given to another root before everything of it has gone;
//! - no table is a page of a program;
//! - the kernel's own half is watched as tables of every address space; what its leaves lead to is not.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cleaning;
mod event;
mod format;
mod instruction;
mod roots;
mod tree;
mod violation;

use std::collections::{BTreeMap, BTreeSet};

pub use event::{Event, Invalidation, Register};
pub use format::{BadLine, Vocabulary, parse};
pub use instruction::{Instruction, Operand};
pub use violation::Violation;

use cleaning::{Progress, Scope, Unclean};
use roots::Released;
use tree::Table;

/// Descriptors in a table.
pub const ENTRIES: usize = 512;
/// Bytes in a frame.
pub const FRAME: u64 = 4096;

/// Where the kernel's half begins that a table of level 1 translates, as a `TLBI` has addresses: without bits 63 to 56.
const KERNEL_BASE: u64 = 0x00ff_ff80_0000_0000;
/// Bits of a descriptor that lead somewhere, and of a root's register.
pub const OUTPUT: u64 = 0x0000_ffff_ffff_f000;
/// Valid, and a table or page rather than a block: bits 1 and 0.
const KIND: u64 = 0b11;
/// What may change in a valid descriptor without a break: permissions, which are hierarchical ones in a table's
/// (APTable, UXNTable, PXNTable: 62–59), direct ones in a page's (AP 7–6, PXN 53, UXN 54); the access flag (10); what
/// software keeps (58–55).
const PERMISSIONS: u64 = 0b1111 << 59 | 0b1111 << 55 | 0b11 << 53 | 1 << 10 | 0b11 << 6;

/// A core or a thread that acts as one.
pub type Thread = usize;

/// The state of all tables.
#[derive(Default)]
pub struct Checker {
    memory: BTreeMap<u64, Box<[u64; ENTRIES]>>,
    tables: BTreeMap<u64, Table>,
    /// Descriptors that map a frame, unclean ones included.
    pages: BTreeMap<u64, BTreeSet<u64>>,
    unclean: BTreeMap<u64, Unclean>,
    roots: BTreeMap<u16, u64>,
    kernel: Option<u64>,
    /// What the registers of each thread that translates say.
    registers: BTreeMap<(Thread, Register), u64>,
    released: BTreeMap<u16, Released>,
    /// The thread that has each space for itself; spaces that were never locked are not judged.
    locks: BTreeMap<u64, Option<Thread>>,
}

fn is_valid(raw: u64) -> bool {
    raw & 1 == 1
}

fn frame_of(address: u64) -> u64 {
    address & !(FRAME - 1)
}

/// Bytes that an entry of a table of this level translates.
fn span(level: usize) -> u64 {
    FRAME << (9 * (3 - level))
}

impl Checker {
    /// Whether descriptors lead to this frame as a table, or it is a root.
    pub fn is_table(&self, frame: u64) -> bool {
        self.tables.contains_key(&frame)
    }

    /// The level of a table, 0 for a root.
    pub fn level(&self, frame: u64) -> Option<usize> {
        self.tables.get(&frame).map(|table| table.level)
    }

    /// Whether the frame's content is known.
    pub fn is_initialised(&self, frame: u64) -> bool {
        self.memory.contains_key(&frame)
    }

    /// Tables there are.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Judges what a thread did.
    ///
    /// # Errors
    /// The rule that it broke. The checker is of no use after that.
    pub fn step(&mut self, thread: Thread, event: Event) -> Result<(), Violation> {
        match event {
            Event::Init(frame) | Event::Zero(frame) => {
                if self.is_table(frame) {
                    return Err(Violation::ChangedWhileUnclean(frame));
                }
                self.memory.insert(frame, Box::new([0; ENTRIES]));
            }
            Event::Write { address, value } => self.write(thread, address, value)?,
            Event::Free(frame) => self.free(frame)?,
            Event::WaitForStores => self.wait(thread, false),
            Event::WaitForAll => self.wait(thread, true),
            Event::Synchronise => {}
            Event::Invalidate(invalidation) => self.invalidate(thread, invalidation),
            Event::Run { root, asid } => self.run(root, asid)?,
            Event::Kernel(root) => self.run_kernel(root)?,
            Event::Set { register, value } => self.set(thread, register, value)?,
            Event::Release(root) => self.release(root),
            Event::Lock(root) => {
                self.locks.insert(root, Some(thread));
            }
            Event::Unlock(root) => {
                self.locks.insert(root, None);
            }
        }
        Ok(())
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.memory.get(&frame_of(address)).map(|words| words[(address % FRAME / 8) as usize])
    }

    fn write(&mut self, thread: Thread, address: u64, new: u64) -> Result<(), Violation> {
        let old = self.word(address).ok_or(Violation::NotInitialised(address))?;
        if let Some(table) = self.tables.get(&frame_of(address)) {
            let level = table.level;
            self.judge(thread, address, level, old, new)?;
        }
        let words = self.memory.get_mut(&frame_of(address)).expect("a word of it was read");
        words[(address % FRAME / 8) as usize] = new;
        Ok(())
    }

    fn judge(&mut self, thread: Thread, address: u64, level: usize, old: u64, new: u64) -> Result<(), Violation> {
        if old == new {
            return Ok(());
        }
        let keeps_meaning = is_valid(old) && is_valid(new) && (old ^ new) & !PERMISSIONS == 0;
        let places = self.places(frame_of(address), span(level) * (address % FRAME / 8));
        if (is_valid(old) || is_valid(new)) && !keeps_meaning {
            let table = &self.tables[&frame_of(address)];
            let only_unclean = |entry: &u64| self.unclean.contains_key(entry);
            if !table.entries.is_empty() && table.entries.iter().all(only_unclean) {
                return Err(Violation::ChangedWhileUnclean(address));
            }
            let root = |(scope, _): &(Scope, u64)| match scope {
                Scope::Asid(asid) => Some(self.roots[asid]),
                Scope::Global => None,
            };
            let mut spaces = places.iter().filter_map(root).collect::<BTreeSet<u64>>().into_iter();
            if let (Some(root), None) = (spaces.next(), spaces.next())
                && self.locks.get(&root).is_some_and(|holder| *holder != Some(thread))
            {
                return Err(Violation::NotLocked(address));
            }
        }
        match (is_valid(old), is_valid(new)) {
            (true, true) if keeps_meaning => {}
            (true, true) => return Err(Violation::NoBreak { address, old, new }),
            (false, true) => {
                if self.unclean.contains_key(&address) {
                    return Err(Violation::MakeBeforeClean(address));
                }
                self.link(address, new, level)?;
            }
            (true, false) => {
                let left: BTreeMap<_, _> = places.into_iter().map(|place| (place, Progress::Stored)).collect();
                // A tree in which no thread has run yet is in no TLB.
                match left.is_empty() {
                    true => self.unlink(address, old, level),
                    false => {
                        self.unclean.insert(address, Unclean { thread, old, left });
                    }
                }
            }
            (false, false) => {}
        }
        Ok(())
    }

    fn free(&mut self, frame: u64) -> Result<(), Violation> {
        if let Some(table) = self.tables.get(&frame) {
            return Err(match table.entries.first() {
                Some(&descriptor) => Violation::FreedInUse { frame, descriptor },
                None => Violation::FreedRoot(frame),
            });
        }
        if let Some(&descriptor) = self.pages.get(&frame).and_then(|entries| entries.first()) {
            return Err(Violation::FreedInUse { frame, descriptor });
        }
        self.memory.remove(&frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
