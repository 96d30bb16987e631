//! Changing a range: one recursion for map, unmap and protect.
//!
//! 1. *Plan.* Walk the range, ask the operation about every descriptor, refuse if it refuses, and count the tables that
//!    will be needed.
//! 2. *Set aside* that many frames, or fail. Nothing has changed so far.
//! 3. *Apply.* Own every table on the way (`make_mut`: re-open, split, expand a reservation) and store. A descriptor
//!    that is removed is *retired*: invalid for the hardware, but it still says what it led to.
//! 4. *Invalidate* once.
//! 5. *Sweep.* Empty what was retired and drop the references it held.
//!
//! The plan holds when it is applied. The space is held by `&mut`, and the counts of tables that it alone reaches
//! cannot rise. Other spaces may drop their references meanwhile; then some frames were set aside for nothing and go
//! back. Other spaces may also make the two stores that a frozen table permits; the operation gives the same answer
//! before and after them ([`Edit::decide`]).

use crate::commit::{Commit, Ledger, Shortage, Source, frames_behind};
use crate::exit::{Dead, release_copied, release_entry};
use crate::gate::{self, Exclusive, Frames, Stock};
use crate::memory::Counts;
use crate::split::copy_table;
use crate::{
    AddressSpace, Budget, Descriptor, ENTRIES, Entry, Error, Format, Frame, Kind, Level, Memory, Reach, Tlb, VirtAddr,
    VirtRange,
};

/// What becomes of a descriptor in the range.
pub(crate) enum Decision<F: Format> {
    /// It stays.
    Keep,
    /// It becomes this one, in place: not another present frame, not empty.
    Store(Descriptor<F>),
    /// It is removed, with everything below it.
    Remove,
    /// The page is removed and leaves a reservation behind.
    Forget,
    /// The empty entry is made to lead where entry `index` of `table` leads, which keeps its own reference for now.
    Adopt {
        /// The table in the old place.
        table: Frame,
        /// Its entry.
        index: usize,
    },
    /// The answer lies a level below. An empty or reserved descriptor becomes a table for it.
    Descend,
}

/// How much of what a descriptor covers lies in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// All of it.
    Whole,
    /// Not all of it.
    Part,
}

/// An operation on a range.
pub(crate) trait Edit<F: Format> {
    /// About how many instructions more than usual an answer takes for an empty entry above level 3.
    fn look_cost(&self) -> u32 {
        0
    }

    /// What becomes of the descriptor of a table of `level` that covers `slot`, of which `cover` says how much lies in
    /// the range.
    ///
    /// The plan and its application both ask, and in between another core may show the page of zeroes or take write
    /// permission away, here and in every other shared table. The operation refuses and descends for the same
    /// descriptors both times: see [`gate::for_good`].
    fn decide(
        &self,
        descriptor: Descriptor<F>,
        level: Level,
        slot: VirtRange,
        cover: Cover,
    ) -> Result<Decision<F>, Error>;
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    pub(crate) fn edit(&mut self, tlb: &impl Tlb, range: VirtRange, edit: &impl Edit<F>) -> Result<(), Error> {
        let needed = self.plan(range, edit, None)?;
        self.carry_out(tlb, range, edit, needed)?;
        self.dead.clear_all::<F>(&self.memory);
        Ok(())
    }

    /// Sets aside the frames that an edit needs, and applies it.
    pub(crate) fn carry_out(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        edit: &impl Edit<F>,
        needed: Needed,
    ) -> Result<(), Error> {
        let mut stock = Stocks::allocate(&self.memory, needed, self.commit)?;
        let ledger = self.commit.ledger();
        self.apply(tlb, range, edit, &mut stock, &ledger);
        ledger.settle(&self.memory);
        stock.give_back(&self.memory);
        Ok(())
    }

    /// Asks the operation about the range; returns how many tables [`apply`](Self::apply) can need at most.
    ///
    /// `counted`: the range of a plan that is carried out before this one. Where both ranges meet in one table, that
    /// plan descends to it as well and has counted it.
    pub(crate) fn plan(
        &self,
        range: VirtRange,
        edit: &impl Edit<F>,
        counted: Option<VirtRange>,
    ) -> Result<Needed, Error> {
        Self::check(range)?;
        let mut plan = Plan::new(&self.memory, edit, range, Budget::UNLIMITED);
        plan.counted = counted;
        plan.table(Below::Table(self.root()), Level::ROOT, 0, false)?;
        Ok(plan.needed)
    }

    /// As [`plan`](Self::plan), for as much of the range as the budget covers; returns where that part ends as well, or
    /// `None` if it is all of the range.
    ///
    /// `goes_on`: the plan for what lies before the range has counted the tables on the way to its first address.
    pub(crate) fn plan_part(
        &self,
        range: VirtRange,
        edit: &impl Edit<F>,
        budget: Budget,
        goes_on: bool,
    ) -> Result<(Needed, Option<u64>), Error> {
        Self::check(range)?;
        let mut plan = Plan::new(&self.memory, edit, range, budget);
        plan.goes_on = goes_on;
        plan.paid = self.commit == Commit::Guaranteed;
        plan.table(Below::Table(self.root()), Level::ROOT, 0, false)?;
        Ok((plan.needed, plan.cut))
    }

    /// Carries out the plan, and cannot fail.
    pub(crate) fn apply(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        edit: &impl Edit<F>,
        stock: &mut Stocks,
        ledger: &Ledger,
    ) {
        let memory = &self.memory.clone();
        let commit = self.commit;
        let mut root = self.exclusive_root();
        let mut apply = Apply { memory, tlb, stock, edit, range, commit, ledger, outcome: Outcome::default() };
        apply.table(&mut root, 0);
        let outcome = apply.outcome;
        match outcome.weakened {
            Some(reach) => tlb.invalidate(outcome.reached.map_or(range, |reached| reached.hull(range)), reach),
            None => tlb.publish(),
        }
        if outcome.retired {
            sweep(memory, &mut root, 0, range, outcome.forgotten, ledger, &mut self.dead);
        }
    }
}

/// Tables that applying an edit can need at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed {
    /// To copy shared ones.
    splits: usize,
    /// Where there were none.
    new: usize,
    /// Frames that the space shares with itself for a while, under a guarantee.
    adopted: u64,
}

impl Needed {
    /// The frames that no guarantee has committed already.
    pub(crate) fn beyond_the_charge(self, commit: Commit) -> u64 {
        self.tables(commit) + self.adopted
    }

    /// Whether more than one shared table is copied.
    pub(crate) fn copies_several(self) -> bool {
        self.splits > 1
    }

    /// The tables among them.
    pub(crate) fn tables(self, commit: Commit) -> u64 {
        let splits = if commit.source() == Source::Committed { 0 } else { self.splits };
        (splits + self.new) as u64
    }
}

impl core::ops::AddAssign for Needed {
    fn add_assign(&mut self, other: Needed) {
        self.splits += other.splits;
        self.new += other.new;
        self.adopted += other.adopted;
    }
}

/// The frames for them.
pub(crate) struct Stocks {
    splits: Stock,
    new: Stock,
}

impl Stocks {
    pub(crate) fn allocate(memory: &Frames<impl Memory>, needed: Needed, commit: Commit) -> Result<Stocks, Shortage> {
        Self::allocate_from(memory, needed, commit.source(), Source::Free)
    }

    /// All of them out of what is committed.
    pub(crate) fn allocate_committed(memory: &Frames<impl Memory>, needed: Needed) -> Result<Stocks, Shortage> {
        Self::allocate_from(memory, needed, Source::Committed, Source::Committed)
    }

    fn allocate_from(
        memory: &Frames<impl Memory>,
        needed: Needed,
        splits: Source,
        new: Source,
    ) -> Result<Stocks, Shortage> {
        let splits = Stock::allocate(memory, needed.splits, splits)?;
        match Stock::allocate(memory, needed.new, new) {
            Ok(new) => Ok(Stocks { splits, new }),
            Err(shortage) => {
                splits.give_back(memory);
                Err(shortage)
            }
        }
    }

    /// Gives back the frames that were not needed, and returns how many.
    pub(crate) fn give_back(self, memory: &Frames<impl Memory>) -> Needed {
        Needed { splits: self.splits.give_back(memory), new: self.new.give_back(memory), adopted: 0 }
    }
}

/// What a planned table holds.
#[derive(Clone, Copy)]
enum Below<F: Format> {
    /// It exists.
    Table(Frame),
    /// It will be made, with this descriptor, empty or reserved, in every slot.
    Uniform(Descriptor<F>),
}

/// Which entries of a table that starts at `base` the range touches, and how.
pub(crate) fn slots(level: Level, base: u64, range: VirtRange) -> impl Iterator<Item = (usize, VirtRange, Cover)> {
    let first = range.start().saturating_sub(base) / level.span();
    let end = range.end().saturating_sub(base).div_ceil(level.span());
    (first as usize..ENTRIES.min(end as usize)).map(move |index| {
        let slot = VirtRange::slot(base, level, index);
        let whole = range.start() <= slot.start() && slot.end() <= range.end();
        (index, slot, if whole { Cover::Whole } else { Cover::Part })
    })
}

/// Counts the tables that applying an edit can need at most.
struct Plan<'a, M, E> {
    memory: &'a Frames<M>,
    edit: &'a E,
    range: VirtRange,
    /// Another plan, carried out before this one, has counted the tables on the way to this range.
    counted: Option<VirtRange>,
    /// Whether the charge must grow by what moves while both places share it.
    paid: bool,
    /// A plan for what lies before the range has counted the tables on the way to its first address.
    goes_on: bool,
    /// About how many instructions applying may take.
    budget: u32,
    /// About how many it takes so far.
    cost: u32,
    /// Where the budget ended.
    cut: Option<u64>,
    needed: Needed,
}

/// About how many instructions planning, applying and sweeping take for an entry that stays.
const KEEP_COST: u32 = 130;
/// For one that is replaced.
const STORE_COST: u32 = 260;
/// For one that is removed or moved, or for a table that the edit descends into.
const ENTRY_COST: u32 = 600;
/// For a table that is copied, and for each of its entries.
const SPLIT_COST: u32 = 500;
const COPIED_COST: u32 = 14;
/// For a table that is made.
const NEW_COST: u32 = 2_000;

impl<'a, M: Memory, E> Plan<'a, M, E> {
    fn new(memory: &'a Frames<M>, edit: &'a E, range: VirtRange, budget: Budget) -> Self {
        let (budget, needed) = (budget.0, Needed::default());
        Plan { memory, edit, range, counted: None, paid: false, goes_on: false, budget, cost: 0, cut: None, needed }
    }

    /// Accounts for work at this address; `true` if it exceeds the budget, so that the piece ends before the address. A
    /// piece includes at least the work at its first address.
    #[inline(always)]
    fn exceeds(&mut self, cost: u32, slot: VirtRange) -> bool {
        self.cost = self.cost.wrapping_add(cost);
        if self.cost <= self.budget || slot.start() <= self.range.start() {
            return false;
        }
        self.cut = Some(slot.start());
        true
    }

    fn table<F: Format>(&mut self, below: Below<F>, level: Level, base: u64, frozen: bool) -> Result<(), Error>
    where
        E: Edit<F>,
    {
        // Local copies: a small edit spends most of its time in this loop.
        let (range, budget, mut total) = (self.range, self.budget, self.cost);
        for (index, slot, cover) in slots(level, base, range) {
            let descriptor = match below {
                Below::Table(table) => self.memory.load(table, index),
                Below::Uniform(descriptor) => descriptor,
            };
            let cost = match self.edit.decide(descriptor, level, slot, cover)? {
                Decision::Descend => {
                    self.cost = total;
                    self.below(descriptor, level, slot, frozen)?;
                    if self.cut.is_some() {
                        return Ok(());
                    }
                    total = self.cost;
                    continue;
                }
                Decision::Keep => KEEP_COST,
                Decision::Store(_) if level != Level::LAST => STORE_COST + self.edit.look_cost(),
                Decision::Store(_) => STORE_COST,
                Decision::Adopt { table, index } if self.paid => {
                    let adopted = self.memory.load::<F>(table, index);
                    self.needed.adopted += frames_behind(self.memory, adopted, level);
                    ENTRY_COST
                }
                Decision::Remove | Decision::Forget | Decision::Adopt { .. } => ENTRY_COST,
            };
            total = total.wrapping_add(cost);
            if total > budget && slot.start() > range.start() {
                self.cut = Some(slot.start());
                return Ok(());
            }
        }
        self.cost = total;
        Ok(())
    }
}

impl<M: Memory, E> Plan<'_, M, E> {
    /// What lies below an entry that the plan descends into.
    #[inline(always)]
    fn below<F: Format>(
        &mut self,
        descriptor: Descriptor<F>,
        level: Level,
        slot: VirtRange,
        frozen: bool,
    ) -> Result<(), Error>
    where
        E: Edit<F>,
    {
        let counted = self.goes_on && slot.start() < self.range.start();
        let (below, frozen) = if descriptor.is_present() {
            let child = descriptor.output();
            let frozen = frozen || !gate::is_sole(self.memory, child);
            let counted = counted || self.counted.is_some_and(|range| range.intersect(slot).is_some());
            let cost = if frozen {
                SPLIT_COST + self.memory.counts(child).bounds().len() as u32 * COPIED_COST
            } else {
                ENTRY_COST
            };
            if self.exceeds(cost, slot) {
                return Ok(());
            }
            self.needed.splits += usize::from(frozen && !counted);
            (Below::Table(child), frozen)
        } else {
            if self.exceeds(NEW_COST + self.edit.look_cost(), slot) {
                return Ok(());
            }
            self.needed.new += usize::from(!counted);
            (Below::Uniform(descriptor), false)
        };
        self.table(below, level.below(), slot.start(), frozen)
    }
}

/// What applying an edit did.
#[derive(Default)]
struct Outcome {
    /// A translation that a TLB may hold lost permissions or was removed.
    weakened: Option<Reach>,
    /// What retired tables covered: more than the range, where a table's last entry was removed and the table with it.
    reached: Option<VirtRange>,
    /// Retired descriptors wait for the sweep.
    retired: bool,
    /// They are pages that leave reservations behind.
    forgotten: bool,
}

impl Outcome {
    fn weaken(&mut self, level: Level) {
        if level != Level::LAST || self.weakened.is_none() {
            self.weakened = Some(if level == Level::LAST { Reach::Pages } else { Reach::Tables });
        }
    }
}

struct Apply<'a, M, T, E> {
    memory: &'a Frames<M>,
    tlb: &'a T,
    stock: &'a mut Stocks,
    edit: &'a E,
    range: VirtRange,
    commit: Commit,
    ledger: &'a Ledger,
    outcome: Outcome,
}

/// What an edit did to one table.
struct Applied {
    /// What the tables above must account for.
    change: Counts,
    /// It has lost entries, and every one that is left has been retired: the table can go too. A table that has just
    /// been made and is still empty stays: the next piece of a move continues in it.
    hollow: bool,
}

impl<M: Memory, T: Tlb, E> Apply<'_, M, T, E> {
    fn table<F: Format>(&mut self, table: &mut Exclusive<F>, base: u64) -> Applied
    where
        E: Edit<F>,
    {
        let memory = self.memory;
        let level = table.level();
        let (mut change, mut retired, mut lost) = (Counts::ZERO, 0, false);
        for (index, slot, cover) in slots(level, base, self.range) {
            let old = table.load(memory, index);
            let decision = self.edit.decide(old, level, slot, cover).expect("the plan had no objection");
            match decision {
                Decision::Keep => {}
                Decision::Store(new) => {
                    change += gate::weight(memory, new, level) - gate::weight(memory, old, level);
                    if old.is_empty() {
                        if new.is_present() && new.is_counted() {
                            gate::retain(memory, new.output());
                        }
                        table.insert(memory, index, new);
                    } else {
                        table.store(memory, index, new);
                    }
                    if old.is_present() {
                        self.outcome.weaken(level);
                    }
                }
                Decision::Adopt { table: source, index: entry } => {
                    let new = adopt(memory, source, entry, level);
                    self.ledger.adopt(memory, new, level);
                    table.insert(memory, index, new);
                    change += gate::weight(memory, new, level);
                }
                Decision::Forget => {
                    change += gate::weight(memory, forgotten(old), level) - gate::weight(memory, old, level);
                    self.retire(table, index, old, slot);
                    self.outcome.forgotten = true;
                }
                Decision::Remove => {
                    change += Counts::ZERO - gate::weight(memory, old, level);
                    retired += u32::from(self.retire(table, index, old, slot));
                    lost = true;
                }
                Decision::Descend => {
                    let (mut child, expanded) = self.own(table, index, slot);
                    let below = self.table(&mut child, slot.start());
                    change += expanded + below.change;
                    if below.hollow {
                        let link = table.load(memory, index);
                        change += Counts::ZERO - gate::weight(memory, link, level);
                        retired += u32::from(self.retire(table, index, link, slot));
                        lost = true;
                    }
                }
            }
        }
        table.account(memory, change);
        let hollow = lost && memory.counts(table.frame()).live() == retired && level != Level::ROOT;
        Applied { change, hollow }
    }

    /// Takes a descriptor away. `true` if it was present and now waits for the sweep.
    fn retire<F: Format>(
        &mut self,
        table: &mut Exclusive<F>,
        index: usize,
        descriptor: Descriptor<F>,
        slot: VirtRange,
    ) -> bool {
        if !descriptor.is_present() {
            table.remove(self.memory, index);
            return false;
        }
        table.store(self.memory, index, descriptor.retired());
        self.outcome.weaken(table.level());
        self.outcome.reached = Some(self.outcome.reached.map_or(slot, |reached| reached.hull(slot)));
        self.outcome.retired = true;
        true
    }

    /// `make_mut` for one step down: the table behind an entry, now this space's alone, and what making it added to the
    /// counts.
    fn own<F: Format>(&mut self, table: &mut Exclusive<F>, index: usize, slot: VirtRange) -> (Exclusive<F>, Counts) {
        let memory = self.memory;
        let level = table.level();
        let descriptor = table.load(memory, index);
        if !descriptor.is_present() {
            let fresh = self.stock.new.take(memory);
            let child = if descriptor.is_empty() {
                let child = Exclusive::fresh(memory, fresh, level.below());
                gate::complete();
                table.insert(memory, index, child.descriptor());
                child
            } else {
                let child = Exclusive::filled(memory, fresh, level.below(), descriptor);
                gate::complete();
                table.store(memory, index, child.descriptor());
                child
            };
            let change = gate::weight(memory, child.descriptor(), level) - gate::weight(memory, descriptor, level);
            return (child, change);
        }
        if let Some(child) = table.child(memory, index) {
            return (child, Counts::ZERO);
        }
        let child = copy_table::<F>(memory, descriptor.output(), self.stock.splits.take(memory), level.below(), None);
        gate::complete();
        table.redirect(memory, self.tlb, index, child.descriptor(), (slot, Reach::Tables));
        release_copied(memory, descriptor, level, &self.commit.source().repaid());
        (child, Counts::ZERO)
    }
}

/// What the new place of a moved entry gets: the same entry, shared with the old place until that is unmapped.
///
/// This is a fork within one space. Write permission returns with the first write, as for any last owner.
fn adopt<F: Format>(memory: &Frames<impl Memory>, source: Frame, index: usize, level: Level) -> Descriptor<F> {
    let descriptor = memory.load(source, index);
    if level == Level::LAST && !descriptor.is_counted() {
        return descriptor;
    }
    gate::retain(memory, descriptor.output());
    match descriptor.entry(level) {
        Entry::Page(page) if page.kind == Kind::Shared => descriptor,
        _ => gate::write_protect(memory, source, level, index, descriptor),
    }
}

/// The reservation that stands for a page whose content is given up.
fn forgotten<F: Format>(descriptor: Descriptor<F>) -> Descriptor<F> {
    let Entry::Page(page) = descriptor.entry(Level::LAST) else { unreachable!("only pages are forgotten") };
    Descriptor::new(Entry::Reserved(page.untouched()), Level::LAST)
}

/// Empties every retired slot in the range, or restores its reservation, and drops the reference that it held. The TLBs
/// have forgotten them.
fn sweep<F: Format>(
    memory: &Frames<impl Memory>,
    table: &mut Exclusive<F>,
    base: u64,
    range: VirtRange,
    forget: bool,
    ledger: &Ledger,
    dead: &mut Dead,
) {
    let level = table.level();
    for (index, slot, _) in slots(level, base, range) {
        let descriptor = table.load(memory, index);
        if descriptor.is_retired() {
            let descriptor = descriptor.restored();
            if forget {
                table.store(memory, index, forgotten(descriptor));
            } else {
                table.remove(memory, index);
            }
            release_entry(memory, descriptor, level, ledger, dead);
        } else if level != Level::LAST
            && descriptor.is_present()
            && let Some(mut child) = table.child(memory, index)
        {
            sweep(memory, &mut child, slot.start(), range, forget, ledger, dead);
        }
    }
}

/// The first address of a slot, for an error.
pub(crate) fn first(slot: VirtRange) -> VirtAddr {
    VirtAddr::new(slot.start()).expect("slots of the tree have user addresses")
}
