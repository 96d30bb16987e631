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

mod format;
mod instruction;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use format::{BadLine, Vocabulary, parse};
pub use instruction::{Instruction, Operand};

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

/// An event: what the acting thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame, by its address, is memory for tables from now on, and all zero.
    Init(u64),
    /// A frame is filled with zeroes.
    Zero(u64),
    /// A store of a word.
    Write {
        /// Where.
        address: u64,
        /// What.
        value: u64,
    },
    /// A frame is given back.
    Free(u64),
    /// A barrier that waits for stores: `DSB ISHST`.
    WaitForStores,
    /// A barrier that waits for everything: `DSB ISH` or `DSB SY`.
    WaitForAll,
    /// `ISB`.
    Synchronise,
    /// A broadcast invalidation.
    Invalidate(Invalidation),
    /// The thread runs in this space: `TTBR0_EL1`.
    Run {
        /// Address of the root.
        root: u64,
        /// Address space identifier.
        asid: u16,
    },
    /// The kernel's half is translated through this table of level 1: `TTBR1_EL1`.
    Kernel(u64),
    /// The thread sets a register that says how addresses are translated.
    Set {
        /// Which.
        register: Register,
        /// To what.
        value: u64,
    },
    /// No thread runs in the space of this root any more. One may come back.
    Release(u64),
    /// The thread has the space of this root for itself.
    Lock(u64),
    /// It has not any more.
    Unlock(u64),
}

/// A register that says how addresses are translated and is the same for all spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Register {
    /// `TCR_EL1`
    Translation,
    /// `SCTLR_EL1`
    System,
}

/// A TLB invalidation, broadcast to the inner-shareable domain. Pages are numbers: addresses divided by [`FRAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// The last-level entry of a page: `VALE1IS`.
    Leaf(u16, u64),
    /// Entries of every level for a page: `VAE1IS`.
    Page(u16, u64),
    /// Entries of every level for so many pages from one on: `RVAE1IS`.
    Pages(u16, u64, u64),
    /// Everything of a space: `ASIDE1IS`.
    Space(u16),
    /// Everything: `VMALLE1IS`.
    All,
}

/// A rule that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A descriptor became valid before the invalidation was complete.
    MakeBeforeClean(u64),
    /// A valid descriptor was made to lead elsewhere, or to be of another kind.
    NoBreak {
        /// Where it stands.
        address: u64,
        /// What it was.
        old: u64,
        /// What it became.
        new: u64,
    },
    /// A table changed that only unclean descriptors lead to.
    ChangedWhileUnclean(u64),
    /// A frame was freed that a descriptor leads to, or did until an invalidation that is not complete.
    FreedInUse {
        /// The frame.
        frame: u64,
        /// The descriptor.
        descriptor: u64,
    },
    /// A root was freed that a space still has, or had until an invalidation that is not complete.
    FreedRoot(u64),
    /// A store into memory, or a table in memory, that has not been initialised.
    NotInitialised(u64),
    /// An ASID got another root before everything of it was invalidated.
    AsidReused(u16),
    /// A root runs under a second ASID.
    TwoAsids(u64),
    /// A thread changed a table of one space without having that space for itself.
    NotLocked(u64),
    /// A frame that descriptors lead to as a table is a page of a program, too, or was until an invalidation that is
    /// not complete.
    TwoUses(u64),
    /// The kernel's half got another root.
    OtherKernel(u64),
    /// A thread that translates switched that off, or set how to anew.
    Reconfigured(Register),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::MakeBeforeClean(address) => {
                write!(f, "the descriptor at {address:#x} becomes valid before its invalidation is complete")
            }
            Violation::NoBreak { address, old, new } => {
                write!(f, "the valid descriptor at {address:#x} changes from {old:#x} to {new:#x} without a break")
            }
            Violation::ChangedWhileUnclean(address) => {
                write!(f, "the table with {address:#x} changes, and only unclean descriptors lead to it")
            }
            Violation::FreedInUse { frame, descriptor } => {
                write!(f, "frame {frame:#x} is freed, and TLBs may know it from the descriptor at {descriptor:#x}")
            }
            Violation::FreedRoot(frame) => write!(f, "the root {frame:#x} is freed, and TLBs may know it"),
            Violation::NotInitialised(address) => write!(f, "{address:#x} has not been initialised"),
            Violation::AsidReused(asid) => write!(f, "ASID {asid} has a new root, and TLBs may know the old one"),
            Violation::TwoAsids(root) => write!(f, "the root {root:#x} runs under two ASIDs"),
            Violation::NotLocked(address) => write!(f, "the table with {address:#x} changes without its space's lock"),
            Violation::TwoUses(frame) => write!(f, "frame {frame:#x} is a table and a page of a program"),
            Violation::OtherKernel(root) => write!(f, "the kernel's half has another root, {root:#x}"),
            Violation::Reconfigured(register) => write!(f, "{register:?} register set by a thread that translates"),
        }
    }
}

impl std::error::Error for Violation {}

/// How far the cleaning of a descriptor has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing was done yet.
    Stored,
    /// A barrier has waited for the store.
    Visible,
    /// The invalidation was broadcast.
    Told,
}

/// A descriptor that was valid.
struct Unclean {
    thread: Thread,
    old: u64,
    /// By the spaces that reach it, and the addresses it translates there: what is not clean yet.
    left: BTreeMap<(Scope, u64), Progress>,
}

/// Which addresses an entry of a TLB is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// A space's.
    Asid(u16),
    /// The kernel's half of all spaces.
    Global,
}

/// A root that no thread runs with.
struct Released {
    root: u64,
    /// How far each thread that has done anything about it has come.
    progress: BTreeMap<Thread, Progress>,
}

/// Whose addresses a table translates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    User,
    Kernel,
}

struct Table {
    half: Half,
    level: usize,
    /// Descriptors that lead here, unclean ones included.
    entries: BTreeSet<u64>,
}

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

    /// Where a table's word at this offset of what the table translates is found: by space and address.
    fn places(&self, table: u64, offset: u64) -> Vec<(Scope, u64)> {
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
    fn link(&mut self, address: u64, raw: u64, level: usize) -> Result<(), Violation> {
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
    fn adopt(&mut self, table: u64, level: usize) -> Result<(), Violation> {
        let words = *self.memory.get(&table).ok_or(Violation::NotInitialised(table))?.clone();
        for (index, raw) in words.into_iter().enumerate().filter(|(_, raw)| is_valid(*raw)) {
            self.link(table + 8 * index as u64, raw, level)?;
        }
        Ok(())
    }

    /// A descriptor does not lead there any more, in memory or in any TLB.
    fn unlink(&mut self, address: u64, raw: u64, level: usize) {
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
    fn abandon(&mut self, table: u64) {
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

    fn wait(&mut self, thread: Thread, for_all: bool) {
        let mut clean = Vec::new();
        for (address, unclean) in self.unclean.iter_mut().filter(|(_, unclean)| unclean.thread == thread) {
            unclean.left.retain(|_, progress| {
                if *progress == Progress::Stored {
                    *progress = Progress::Visible;
                }
                !(for_all && *progress == Progress::Told)
            });
            if unclean.left.is_empty() {
                clean.push(*address);
            }
        }
        for address in clean {
            // One that was cleaned may have taken others with it.
            if let Some(unclean) = self.unclean.remove(&address) {
                let level = self.tables.get(&frame_of(address)).map_or(3, |table| table.level);
                self.unlink(address, unclean.old, level);
            }
        }
        let mut gone = Vec::new();
        for (asid, released) in &mut self.released {
            match released.progress.get(&thread) {
                None | Some(Progress::Stored) => {
                    released.progress.insert(thread, Progress::Visible);
                }
                Some(Progress::Told) if for_all => gone.push((*asid, released.root)),
                Some(Progress::Visible | Progress::Told) => {}
            }
        }
        for (asid, root) in gone {
            self.released.remove(&asid);
            self.roots.remove(&asid);
            self.locks.remove(&root);
            self.abandon(root);
        }
    }

    fn invalidate(&mut self, thread: Thread, invalidation: Invalidation) {
        let tables = &self.tables;
        for (address, unclean) in self.unclean.iter_mut().filter(|(_, unclean)| unclean.thread == thread) {
            let level = tables.get(&frame_of(*address)).map_or(3, |table| table.level);
            let is_leaf = level == 3 || unclean.old & KIND != KIND;
            for ((scope, at), progress) in &mut unclean.left {
                if *progress == Progress::Visible && reaches(invalidation, *scope, *at, span(level), is_leaf) {
                    *progress = Progress::Told;
                }
            }
        }
        for (asid, released) in &mut self.released {
            let everything = matches!(invalidation, Invalidation::All) || invalidation == Invalidation::Space(*asid);
            if let Some(progress @ Progress::Visible) = released.progress.get_mut(&thread)
                && everything
            {
                *progress = Progress::Told;
            }
        }
    }

    fn run(&mut self, root: u64, asid: u16) -> Result<(), Violation> {
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

    fn run_kernel(&mut self, root: u64) -> Result<(), Violation> {
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
    fn set(&mut self, thread: Thread, register: Register, value: u64) -> Result<(), Violation> {
        let is_allowed = match register {
            Register::Translation => self.registers.get(&(thread, register)).is_none_or(|old| *old == value),
            Register::System => value & 1 == 1,
        };
        self.registers.insert((thread, register), value);
        if is_allowed { Ok(()) } else { Err(Violation::Reconfigured(register)) }
    }

    fn release(&mut self, root: u64) {
        let asid = self.roots.iter().find(|(_, known)| **known == root).map(|(asid, _)| *asid);
        if let Some(asid) = asid {
            self.released.insert(asid, Released { root, progress: BTreeMap::new() });
        }
    }
}

/// Whether an invalidation ends the use of a descriptor that translates so many bytes from an address.
fn reaches(invalidation: Invalidation, scope: Scope, at: u64, bytes: u64, is_leaf: bool) -> bool {
    // Those by address reach global entries, too, whatever ASID they name.
    let is_of = |asid| scope == Scope::Asid(asid) || scope == Scope::Global;
    // Of a table TLBs may hold something for every page below it, and for a block every page of it.
    let covers = |first: u64, pages: u64| first * FRAME <= at && at + bytes <= (first + pages) * FRAME;
    match invalidation {
        Invalidation::All => true,
        Invalidation::Space(asid) => scope == Scope::Asid(asid),
        Invalidation::Leaf(asid, page) => is_of(asid) && is_leaf && covers(page, 1),
        Invalidation::Page(asid, page) => is_of(asid) && covers(page, 1),
        Invalidation::Pages(asid, first, pages) => is_of(asid) && covers(first, pages),
    }
}

#[cfg(test)]
mod tests;
