//! Fork in pieces: the child's tree is built table by table, so that no step takes longer than a budget allows.
//!
//! The space is the caller's alone from the first step to the last: nothing may change it meanwhile, no fault either.
//! Where other threads may be running in it, it is [frozen](AddressSpace::freeze) first: what they store then faults
//! and waits, and the fork is one moment for them.
//!
//! The unit of work is a table that the fork copies, with up to 512 entries that are shared. The tables above it are
//! made as the child needs them.

use core::ops::ControlFlow;

use crate::commit::{Commit, Source};
use crate::exit::Debris;
use crate::fork::Inheritance;
use crate::gate::{self, Exclusive, Frames, Location, Stock};
use crate::memory::Counts;
#[cfg(feature = "snapshot")]
use crate::snapshot::Snapshot;
use crate::{
    ADDRESS_BITS, AddressSpace, Budget, Descriptor, Entry, Error, Format, Frame, Level, Memory, Progress, Reach, Share,
    Tlb, VirtAddr, VirtRange,
};

/// Whether a fork promises memory for the copies that it may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// As [`AddressSpace::fork`].
    BestEffort,
    /// As [`AddressSpace::fork_guaranteed`].
    #[cfg(feature = "commit")]
    Guaranteed,
}

impl Promise {
    fn is_guaranteed(self) -> bool {
        match self {
            Promise::BestEffort => false,
            #[cfg(feature = "commit")]
            Promise::Guaranteed => true,
        }
    }
}

/// A fork that is under way.
#[must_use = "a fork that is dropped instead of finished or given up leaks its tables"]
pub struct Forking<F: Format, M: Memory> {
    child: AddressSpace<F, M>,
    share: Share,
    /// Everything below this address is done.
    cursor: u64,
    /// Where the child's tables come from.
    source: Source,
    /// Frames that were committed for the fork: as many as the space has, each counted as if nothing were shared.
    committed: u64,
    /// Pages of the child's that are mapped shared, and never copied.
    shared_pages: u64,
}

/// Instructions, about, for an entry of a table that is copied.
const COPIED: u32 = 19;
/// For a page, likewise.
const COPIED_PAGE: u32 = 14;
/// What a page or a table takes beyond that where a table is gone through entry by entry, because the child does not
/// get all of it as it is.
const SELECTED: u32 = 40;
/// For an entry that is taken by itself.
const PLACED: u32 = 400;

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// How many instructions, about, a fork takes at most, as far as that is below `limit`.
    ///
    /// The counts of the root tell where little is copied for certain. Otherwise the tables that a fork copies are
    /// looked at.
    #[inline(always)]
    pub fn fork_cost(&self, share: Share, limit: u64) -> u64 {
        let counts = self.memory.counts(self.root()).get();
        // Above the tables that are shared, an entry leads to a table, or is a reservation for all of what such a table
        // covers.
        let entries = match share {
            Share::Pages => counts.tables as u64 * crate::ENTRIES as u64,
            Share::Level3 => counts.tables as u64 + counts.reserved as u64 / crate::ENTRIES as u64,
            Share::Level2 => counts.tables as u64 + counts.reserved as u64 / (crate::ENTRIES * crate::ENTRIES) as u64,
            Share::Level1 => 0,
        };
        let cost = entries * u64::from(COPIED);
        if counts.unshareable == 0 && cost < limit { cost } else { self.counted_fork_cost(share, limit) }
    }

    #[cold]
    #[inline(never)]
    fn counted_fork_cost(&self, share: Share, limit: u64) -> u64 {
        let mut cost = 0;
        let _ = copied::<F>(&self.memory, self.root(), Level::ROOT, share, limit, &mut cost);
        cost
    }

    /// Takes write permission from all of the space, until a store faults: the marks stand in the root alone.
    pub fn freeze(&mut self, tlb: &impl Tlb) {
        let memory = &self.memory.clone();
        let mut root = self.exclusive_root();
        for index in memory.counts(root.frame()).bounds() {
            let descriptor = root.load(memory, index);
            if descriptor.is_present() && !descriptor.is_read_only_table() {
                root.store(memory, index, descriptor.write_protected(Level::ROOT));
            }
        }
        tlb.invalidate(VirtRange::ALL, Reach::Tables);
    }

    /// Begins a fork that goes in pieces. From the first [step](Self::fork_step) on the space has shared something,
    /// under a guarantee or not, also if the fork is given up: what has been shared by then is referred to until its
    /// debris is cleared.
    ///
    /// # Errors
    /// As [`fork_guaranteed`](Self::fork_guaranteed).
    pub fn begin_fork(&mut self, share: Share, promise: Promise) -> Result<Forking<F, M>, Error> {
        if promise.is_guaranteed() && self.commit == Commit::BestEffort {
            return Err(Error::Unguaranteed);
        }
        let paid = promise.is_guaranteed() || self.commit.is_guaranteed();
        let mut child = Self::within(self.memory.clone())?;
        child.commit = Commit::BestEffort;
        let (mut source, mut committed) = (Source::Free, 0);
        if paid {
            let usage = self.usage();
            // All but the root, which is there.
            committed = usage.pages + usage.tables - 1;
            if let Err(error) = self.memory.commit(committed) {
                child.destroy(&NeverRan);
                return Err(error.into());
            }
            source = Source::Committed;
        }
        Ok(Forking { child, share, cursor: 0, source, committed, shared_pages: 0 })
    }

    /// Goes on with a fork until it is done or the budget is used up.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Contended`]: it can be tried again from where it was, or
    /// [given up](Forking::give_up).
    pub fn fork_step(
        &mut self,
        tlb: &impl Tlb,
        forking: &mut Forking<F, M>,
        budget: Budget,
    ) -> Result<Progress, Error> {
        self.commit = match forking.source {
            Source::Free => Commit::BestEffort,
            Source::Committed => Commit::Guaranteed,
        };
        let memory = &self.memory.clone();
        let mut inheritance = Inheritance::new(memory, forking.share, forking.source);
        let (mut cost, mut result) = (0_u32, Ok(Progress::More));
        while cost < budget.0 {
            if forking.cursor >> ADDRESS_BITS != 0 {
                result = Ok(Progress::Done);
                break;
            }
            match forking.inherit(self.root(), &mut inheritance) {
                Ok(more) => cost += more,
                Err(shortage) => {
                    result = Err(shortage);
                    break;
                }
            }
        }
        forking.shared_pages += inheritance.shared_pages;
        // Also after a failure: the next fork trusts the marks.
        if inheritance.downgraded {
            tlb.invalidate(VirtRange::ALL, Reach::Tables);
        }
        result
    }
}

/// Adds up what copying a table takes, and the tables below that are not shared. Stops at the limit.
fn copied<F: Format>(
    memory: &Frames<impl Memory>,
    table: Frame,
    level: Level,
    share: Share,
    limit: u64,
    cost: &mut u64,
) -> ControlFlow<()> {
    let counts = memory.counts(table);
    let bounds = counts.bounds();
    let is_last = level == Level::LAST;
    let is_copied_whole = !counts.has_unshareable() && (is_last || share.includes(level.below()));
    let places = bounds.len() as u64;
    let entries = match (is_copied_whole, is_last) {
        (true, true) => places * u64::from(COPIED_PAGE),
        (true, false) => places * u64::from(COPIED),
        // The others are reservations, which are taken as they are.
        (false, _) => {
            let counted = counts.get();
            let shared = (counted.tables + if is_last { counted.pages } else { 0 }) as u64;
            places * u64::from(COPIED) + shared.min(places) * u64::from(SELECTED)
        }
    };
    *cost += u64::from(PLACED) + entries;
    if *cost >= limit {
        return ControlFlow::Break(());
    }
    if is_copied_whole || is_last {
        return ControlFlow::Continue(());
    }
    for index in bounds {
        if let Entry::Table(below) = memory.load::<F>(table, index).entry(level)
            && (!share.includes(level.below()) || memory.counts(below.frame).has_unshareable())
        {
            copied::<F>(memory, below.frame, level.below(), share, limit, cost)?;
        }
    }
    ControlFlow::Continue(())
}

impl<F: Format, M: Memory> Forking<F, M> {
    /// The child, after a step that was the last.
    ///
    /// # Panics
    /// If there are more to do.
    pub fn finish(self) -> AddressSpace<F, M> {
        assert!(self.cursor >> ADDRESS_BITS != 0, "a fork is finished when it is done");
        self.settled()
    }

    /// The child as it is, with no more committed than what it shares.
    fn settled(self) -> AddressSpace<F, M> {
        let mut child = self.child;
        if self.source == Source::Committed {
            // What the child shares stays paid for. The rest is for what it did not get, or has become its tables.
            let usage = child.usage();
            child.memory.uncommit(self.committed - (usage.pages - self.shared_pages + usage.tables - 1));
            child.commit = Commit::Guaranteed;
        }
        child
    }

    /// The child as a [`Snapshot`], likewise.
    ///
    /// # Panics
    /// As [`finish`](Self::finish).
    #[cfg(feature = "snapshot")]
    pub fn finish_snapshot(self) -> Snapshot<F, M> {
        let share = self.share;
        Snapshot::of(self.finish(), share)
    }

    /// Gives the fork up. The space that was forked stays as it is.
    pub fn give_up(self) -> Debris<F, M> {
        self.settled().dismantle(&NeverRan)
    }

    /// Takes over what comes next; what that cost, about.
    fn inherit(&mut self, root: Frame, inheritance: &mut Inheritance<'_, M>) -> Result<u32, Error> {
        let memory = &self.child.memory.clone();
        let address = VirtAddr::new(self.cursor).expect("more is left");
        let (mut table, mut level, mut read_only) = (root, Level::ROOT, false);
        loop {
            let (bounds, index) = (memory.counts(table).bounds(), level.index(address));
            let slot = VirtRange::entry(address, level);
            let base = slot.start() - index as u64 * level.span();
            if index < bounds.start || index >= bounds.end {
                let next = if index < bounds.start { bounds.start } else { crate::ENTRIES };
                self.cursor = base + next as u64 * level.span();
                return Ok(PLACED / 8);
            }
            let descriptor = memory.load::<F>(table, index);
            let mut cost = PLACED;
            match descriptor.entry(level) {
                Entry::Empty => {
                    self.cursor = slot.end();
                    return Ok(PLACED / 8);
                }
                Entry::Table(below) => {
                    let counts = memory.counts(below.frame);
                    let shareable = !counts.has_unshareable();
                    if !(shareable && self.share.includes(level.below())) {
                        let copied_alone =
                            level.below() == Level::LAST || (shareable && self.share.includes(level.below().below()));
                        if !copied_alone {
                            (table, level) = (below.frame, level.below());
                            read_only |= below.read_only;
                            continue;
                        }
                        let each = if level.below() == Level::LAST { COPIED_PAGE } else { COPIED };
                        cost += counts.bounds().len() as u32 * each;
                    }
                }
                Entry::Reserved(_) | Entry::Page(_) => {}
            }
            self.take(inheritance, Location { table, level, index }, address, read_only)?;
            self.cursor = slot.end();
            return Ok(cost);
        }
    }

    /// Gives the child its part of one entry.
    fn take(
        &mut self,
        inheritance: &mut Inheritance<'_, M>,
        from: Location,
        address: VirtAddr,
        read_only: bool,
    ) -> Result<(), Error> {
        let memory = &self.child.memory.clone();
        let mut root = self.child.exclusive_root();
        let missing = missing::<F>(memory, root.frame(), from.level, address);
        let mut stock = Stock::allocate(memory, missing, self.source)?;
        let descriptor = match inheritance.entry::<F>(from, read_only) {
            Ok(descriptor) => descriptor,
            Err(error) => {
                stock.give_back(memory);
                return Err(error.into());
            }
        };
        if !descriptor.is_empty() {
            link(memory, &mut root, from.level, address, descriptor, &mut stock);
        }
        stock.give_back(memory);
        Ok(())
    }
}

/// TLB maintenance for tables that no core has walked from this root.
pub(crate) struct NeverRan;

#[expect(unsafe_code, reason = "implementing it is a promise")]
// SAFETY: a walker reads a root only where a core runs in it, and none runs in a snapshot's, nor in a child's before it
// is finished; so no TLB has anything to forget.
unsafe impl Tlb for NeverRan {
    fn publish(&self) {}

    fn invalidate(&self, _range: VirtRange, _reach: Reach) {}
}

/// Tables that the child lacks on the way to an entry of this level.
fn missing<F: Format>(memory: &Frames<impl Memory>, root: Frame, level: Level, address: VirtAddr) -> usize {
    let (mut table, mut at) = (root, Level::ROOT);
    while at < level {
        let descriptor = memory.load::<F>(table, at.index(address));
        if !descriptor.is_present() {
            return level.number() - at.number();
        }
        (table, at) = (descriptor.output(), at.below());
    }
    0
}

/// Puts an entry into the child's tree, and makes the tables that lead to it. Answers with what that adds to the counts
/// above.
fn link<F: Format>(
    memory: &Frames<impl Memory>,
    table: &mut Exclusive<F>,
    level: Level,
    address: VirtAddr,
    descriptor: Descriptor<F>,
    stock: &mut Stock,
) -> Counts {
    let at = table.level();
    let index = at.index(address);
    let change = if at == level {
        table.insert(memory, index, descriptor);
        gate::weight(memory, descriptor, level)
    } else if table.load(memory, index).is_present() {
        let mut below = table.child(memory, index).expect("the child's tables above are its own");
        link(memory, &mut below, level, address, descriptor, stock)
    } else {
        let mut below = Exclusive::<F>::fresh(memory, stock.take(memory), at.below());
        let change = link(memory, &mut below, level, address, descriptor, stock);
        gate::complete();
        table.insert(memory, index, below.descriptor());
        change + Counts { tables: 1, ..Counts::ZERO }
    };
    table.account(memory, change);
    change
}
