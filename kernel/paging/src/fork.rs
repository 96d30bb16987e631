//! Fork: the child gets the parent's tables, not copies of them.
//!
//! ```text
//!    level 0   level 1   level 2                        level 3
//!    parent ──▶  ■  ──▶  ■  ──┐ read-only
//!                             ├──────────────▶  ■ shared, 2 references, untouched
//!    child  ──▶  ■  ──▶  ■  ──┘ read-only
//!             copied: one entry per 2 MiB
//! ```
//!
//! Sharing starts at a level of the caller's choice: at 3 the tables above are copied, one descriptor per 2 MiB; at 1 a
//! fork copies only the root, whatever the process maps. Write permission is removed where sharing starts, with the format's
//! subtree-read-only attribute (Arm ARM, "Hierarchical control of data access permissions"), in parent and child.
//! Entries that a child must not get, or that must stay writable, make their table, and the tables above
//! it, copied; their neighbours stay shared.

use crate::exit::free_table;
use crate::gate::{self, Exclusive, Fresh};
use crate::memory::Counts;
use crate::{
    AddressSpace, Entry, Format, Frame, Inherit, Kind, Level, Memory, OutOfMemory, Purpose, Reach, Tlb, VirtRange,
};

/// From which level down `fork` shares tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    /// None: every table is copied and every page becomes copy-on-write. The classic fork.
    Pages,
    /// Level-3 tables, 2 MiB each.
    Level3,
    /// Level-2 tables, 1 GiB each.
    Level2,
    /// Level-1 tables, 512 GiB each: constant time.
    Level1,
}

impl Share {
    /// Whether tables of this level are shared.
    #[inline(always)]
    const fn includes(self, level: Level) -> bool {
        let first = match self {
            Share::Pages => Level::COUNT,
            Share::Level3 => 3,
            Share::Level2 => 2,
            Share::Level1 => 1,
        };
        level.number() >= first
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// A copy of the space that shares whatever it can, from the given level down.
    ///
    /// # Errors
    /// If a table could not be allocated. The space is as it was then, and nothing is leaked.
    pub fn fork(&mut self, tlb: &impl Tlb, share: Share) -> Result<Self, OutOfMemory> {
        let mut child = Self::new(self.memory.clone())?;
        let mut downgraded = false;
        let (source, mut target) = (self.root(), child.exclusive_root());
        let mut inheritance = Inheritance { memory: &self.memory, share, downgraded: &mut downgraded };
        let result = inheritance.table::<F>(source, &mut target, false);
        // Also after a failure: what lost its write permission keeps the mark, and the next fork trusts the
        // mark and skips this. Nothing lost it (a second fork without a write between)? Nothing to invalidate.
        if downgraded {
            tlb.invalidate(VirtRange::ALL, Reach::Tables);
        }
        match result {
            Ok(()) => Ok(child),
            Err(OutOfMemory) => {
                child.abandon();
                Err(OutOfMemory)
            }
        }
    }
}

struct Inheritance<'a, M> {
    memory: &'a M,
    share: Share,
    /// Whether a descriptor lost write permission that a TLB may still grant.
    downgraded: &'a mut bool,
}

impl<M: Memory> Inheritance<'_, M> {
    /// Fills `target`, a fresh table, with what the child gets of `source`. On failure the target can be dropped as it is.
    ///
    /// `read_only_above`: a descriptor above `source` refuses stores already, so no TLB grants any.
    fn table<F: Format>(
        &mut self,
        source: Frame,
        target: &mut Exclusive<F>,
        read_only_above: bool,
    ) -> Result<(), OutOfMemory> {
        let memory = self.memory;
        let level = target.level();
        let counts = memory.counts(source);
        let bounds = counts.bounds();
        let all_shareable = !counts.has_unshareable();
        if all_shareable && (level == Level::LAST || self.share.includes(level.below())) {
            let downgraded = if level == Level::LAST {
                gate::share_entries::<F, true>(memory, source, bounds.clone(), target)
            } else {
                gate::share_entries::<F, false>(memory, source, bounds.clone(), target)
            };
            *self.downgraded |= downgraded && !read_only_above;
            target.set_live(memory, counts.live(), bounds);
            target.account(memory, counts.get());
            return Ok(());
        }
        let mut live = 0;
        let mut downgraded = false;
        let mut result = Ok(());
        for index in bounds.clone() {
            let raw = memory.load(source, index);
            if raw == 0 {
                continue;
            }
            let inherited = if level == Level::LAST || !F::is_present(raw) {
                if !all_shareable && !is_inherited::<F>(raw, level) {
                    continue;
                }
                if !F::is_present(raw) {
                    raw
                } else {
                    if F::is_counted(raw) {
                        gate::retain(memory, F::output(raw));
                    }
                    if !all_shareable && stays_writable::<F>(raw) {
                        raw
                    } else {
                        let protected = gate::write_protect::<F>(memory, source, level, index, raw);
                        downgraded |= protected != raw;
                        protected
                    }
                }
            } else {
                let child = F::output(raw);
                let shareable = all_shareable || !memory.counts(child).has_unshareable();
                if shareable && self.share.includes(level.below()) {
                    gate::retain(memory, child);
                    let protected = gate::write_protect::<F>(memory, source, level, index, raw);
                    downgraded |= protected != raw;
                    protected
                } else {
                    let read_only = read_only_above || F::is_read_only_table(raw);
                    match self.copy::<F>(child, level.below(), read_only) {
                        Ok(Some(copy)) => copy.descriptor(),
                        Ok(None) => continue,
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
            };
            target.put(memory, index, inherited);
            live += 1;
        }
        target.set_live(memory, live, bounds.clone());
        *self.downgraded |= downgraded && !read_only_above;
        if all_shareable {
            target.account(memory, counts.get());
        } else {
            let mut sum = Counts::ZERO;
            for index in bounds {
                sum += gate::weight::<F>(memory, target.load(memory, index), level);
            }
            target.account(memory, sum);
        }
        result
    }

    /// A copy of a table for the child; `None` if the child gets nothing of it.
    fn copy<F: Format>(
        &mut self,
        source: Frame,
        level: Level,
        read_only_above: bool,
    ) -> Result<Option<Exclusive<F>>, OutOfMemory> {
        let memory = self.memory;
        let mut copy = Exclusive::<F>::fresh(memory, Fresh::allocate(memory, Purpose::Table)?, level);
        let result = self.table(source, &mut copy, read_only_above);
        if result.is_ok() && memory.counts(copy.frame()).live() > 0 {
            return Ok(Some(copy));
        }
        free_table::<F>(memory, copy.frame(), level);
        result.map(|()| None)
    }
}

/// Whether a child gets this page or reservation.
fn is_inherited<F: Format>(raw: u64, level: Level) -> bool {
    match F::decode(raw, level) {
        Entry::Reserved(reservation) => reservation.inherit == Inherit::Yes,
        Entry::Page(page) => !matches!(page.kind, Kind::NoInherit | Kind::Device),
        Entry::Empty | Entry::Table(_) => true,
    }
}

/// Whether parent and child both go on writing to this page.
#[inline(always)]
fn stays_writable<F: Format>(raw: u64) -> bool {
    matches!(F::decode(raw, Level::LAST), Entry::Page(page) if matches!(page.kind, Kind::Shared | Kind::Foreign))
}
