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
//! fork copies only the root, however much the process maps. Write permission is removed where sharing starts, with the
//! format's subtree-read-only attribute (Arm ARM, "Hierarchical control of data access permissions"), in parent and
//! child. Entries that a child must not get, or that must stay writable, make their table, and the tables above it,
//! copied; their neighbours stay shared.

use crate::commit::{Commit, Shortage, Source};
use crate::exit::free_table;
use crate::gate::{self, Exclusive, Frames, Location};
use crate::{
    AddressSpace, Descriptor, Entry, Error, Format, Frame, Inherit, Kind, Level, Memory, Purpose, Reach, Tlb, VirtRange,
};

/// From which level down `fork` shares tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Share {
    /// From none: every table is copied and every page becomes copy-on-write. The classic fork.
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
    pub(crate) const fn includes(self, level: Level) -> bool {
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
    /// A copy of the space that shares all it can, from the given level down.
    ///
    /// Copies that the sharing causes later succeed for as long as there is memory, unless the space is under a
    /// guarantee [already](Self::fork_guaranteed).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if a table could not be allocated, or the guarantee could not be given;
    /// [`Error::Contended`] for a space under a guarantee. The space is as it was then, and nothing is leaked.
    #[inline]
    pub fn fork(&mut self, tlb: &impl Tlb, share: Share) -> Result<Self, Error> {
        if self.commit.is_guaranteed() {
            return self.share_paid(tlb, share);
        }
        let shared = self.share(tlb, share, Source::Free)?;
        self.commit = Commit::BestEffort;
        Ok(shared.child)
    }

    /// As [`fork`](Self::fork), with a guarantee: every split and every page copy that the fork can ever cause, in
    /// parent and child, will find memory. Parent and child stay under the guarantee, and so do the further forks of
    /// both. The first touch of reserved memory is not covered: it is no consequence of the fork.
    ///
    /// Costs O(1) beyond the fork: the root knows how many frames there are to copy. See [`Memory::commit`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is not that much memory; [`Error::Contended`]; [`Error::Unguaranteed`] if the
    /// space has been part of a fork without a guarantee. The space is as it was then.
    #[cfg(feature = "commit")]
    pub fn fork_guaranteed(&mut self, tlb: &impl Tlb, share: Share) -> Result<Self, Error> {
        if self.commit == Commit::BestEffort {
            return Err(Error::Unguaranteed);
        }
        let child = self.share_paid(tlb, share)?;
        self.commit = Commit::Guaranteed;
        Ok(child)
    }

    /// The fork, with frames committed for what it costs later.
    #[cold]
    fn share_paid(&mut self, tlb: &impl Tlb, share: Share) -> Result<Self, Error> {
        // All frames of the child, as if it shared none: the fork copies some of its tables at once, and the rest goes
        // into the charge.
        let usage = self.usage();
        let all = usage.pages + usage.tables;
        self.memory.commit(all)?;
        let shared = self.share(tlb, share, Source::Committed);
        let owed = shared.as_ref().map_or(0, |shared| {
            let child = shared.child.usage();
            child.pages - shared.kept_in_common + child.tables
        });
        self.memory.uncommit(all - owed);
        let mut child = shared?.child;
        child.commit = Commit::Guaranteed;
        Ok(child)
    }

    /// The fork itself.
    #[inline(always)]
    fn share(&mut self, tlb: &impl Tlb, share: Share, source: Source) -> Result<Shared<F, M>, Shortage> {
        let mut inheritance = Inheritance::new(&self.memory, share, source);
        let root = inheritance.copy::<F>(self.root(), Level::ROOT, false);
        // Also after a failure: a descriptor that lost its write permission keeps the mark, and the next fork trusts
        // the mark and skips this. If no descriptor lost it (a second fork without a write in between), there is
        // nothing to invalidate.
        if inheritance.downgraded {
            tlb.invalidate(VirtRange::ALL, Reach::Tables);
        }
        let kept_in_common = inheritance.shared_pages;
        Ok(Shared { child: Self::with_root(self.memory.clone(), root?, Commit::BestEffort), kept_in_common })
    }
}

/// What a fork has made.
struct Shared<F: Format, M: Memory> {
    child: AddressSpace<F, M>,
    /// Pages of it that are mapped shared, and never copied.
    kept_in_common: u64,
}

pub(crate) struct Inheritance<'a, M> {
    memory: &'a Frames<M>,
    share: Share,
    /// Whether a descriptor lost write permission that a TLB may still grant.
    pub(crate) downgraded: bool,
    /// Where the child's own tables come from.
    source: Source,
    /// Pages of the child that are mapped shared, and never copied.
    pub(crate) shared_pages: u64,
}

impl<'a, M: Memory> Inheritance<'a, M> {
    pub(crate) fn new(memory: &'a Frames<M>, share: Share, source: Source) -> Self {
        Inheritance { memory, share, downgraded: false, source, shared_pages: 0 }
    }

    /// What the child gets in place of a table that is not shared itself: a table of its own, empty if it gets nothing.
    ///
    /// `read_only_above`: a descriptor above refuses stores already, so no TLB grants any.
    fn copy<F: Format>(
        &mut self,
        source: Frame,
        level: Level,
        read_only_above: bool,
    ) -> Result<Exclusive<F>, Shortage> {
        let memory = self.memory;
        let fresh = self.source.allocate(memory, Purpose::Table)?;
        let counts = memory.counts(source);
        if counts.has_unshareable() || !(level == Level::LAST || self.share.includes(level.below())) {
            return self.select(source, Exclusive::fresh(memory, fresh, level), read_only_above);
        }
        let bounds = counts.bounds();
        let mut target = Exclusive::to_fill(memory, fresh, level, counts);
        let downgraded = gate::share_entries(memory, source, bounds, &mut target);
        self.downgraded |= downgraded && !read_only_above;
        Ok(target)
    }

    /// The same, entry by entry: for tables above those that are shared, and for tables that hold something a child
    /// does not get.
    fn select<F: Format>(
        &mut self,
        source: Frame,
        mut target: Exclusive<F>,
        read_only_above: bool,
    ) -> Result<Exclusive<F>, Shortage> {
        let memory = self.memory;
        let level = target.level();
        let bounds = memory.counts(source).bounds();
        let mut live = 0;
        for index in bounds.clone() {
            match self.entry::<F>(Location { table: source, level, index }, read_only_above) {
                Ok(empty) if empty.is_empty() => {}
                Ok(descriptor) => {
                    target.put(memory, index, descriptor);
                    live += 1;
                    target.account(memory, gate::weight(memory, descriptor, level));
                }
                Err(error) => {
                    target.set_live(memory, live, bounds);
                    free_table(memory, target, self.source);
                    return Err(error);
                }
            }
        }
        target.set_live(memory, live, bounds);
        Ok(target)
    }

    /// What the child gets of one entry.
    #[inline(always)]
    pub(crate) fn entry<F: Format>(&mut self, at: Location, read_only_above: bool) -> Result<Descriptor<F>, Shortage> {
        let memory = self.memory;
        let level = at.level;
        let descriptor = memory.load(at.table, at.index);
        let share = match descriptor.entry(level) {
            Entry::Empty => return Ok(Descriptor::EMPTY),
            Entry::Reserved(reservation) => {
                return Ok(if reservation.inherit == Inherit::Yes { descriptor } else { Descriptor::EMPTY });
            }
            Entry::Page(page) => match page.kind {
                Kind::NoInherit | Kind::Device => return Ok(Descriptor::EMPTY),
                Kind::Zero | Kind::Foreign => return Ok(descriptor),
                Kind::Shared => {
                    self.shared_pages += 1;
                    gate::retain(memory, page.frame);
                    return Ok(descriptor);
                }
                Kind::Private => page.frame,
            },
            Entry::Table(table) => {
                let shareable = !memory.counts(table.frame).has_unshareable();
                if !shareable || !self.share.includes(level.below()) {
                    let copy = self.copy::<F>(table.frame, level.below(), read_only_above || table.read_only)?;
                    if memory.counts(copy.frame()).live() > 0 {
                        return Ok(copy.descriptor());
                    }
                    free_table(memory, copy, self.source);
                    return Ok(Descriptor::EMPTY);
                }
                table.frame
            }
        };
        gate::retain(memory, share);
        let protected = gate::write_protect(memory, at, descriptor);
        self.downgraded |= protected != descriptor && !read_only_above;
        Ok(protected)
    }
}
