//! What applying an edit can need at most, and whether the operation refuses.

use super::{Decision, Edit, Needed, Slot};
use crate::commit::frames_behind;
use crate::gate::{self, Around, Frames};
use crate::{AddressSpace, Budget, Descriptor, Error, Format, Frame, Level, Memory, VirtRange};

/// A plan for a part of a range.
pub(crate) struct Planned {
    /// The tables that applying it can need at most.
    pub(crate) needed: Needed,
    /// Where the part ends, if that is not the end of the range.
    pub(crate) cut: Option<u64>,
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
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

    /// As [`plan`](Self::plan), for as much of the range as the budget covers.
    ///
    /// `goes_on`: the plan for what lies before the range has counted the tables on the way to its first address.
    pub(crate) fn plan_part(
        &self,
        range: VirtRange,
        edit: &impl Edit<F>,
        budget: Budget,
        goes_on: bool,
    ) -> Result<Planned, Error> {
        Self::check(range)?;
        let mut plan = Plan::new(&self.memory, edit, range, budget);
        plan.goes_on = goes_on;
        plan.paid = self.commit.is_guaranteed();
        // Every operation descends into the tables above, which are not copied.
        let (table, level) = Around::peek(self, range);
        plan.cost = level.number() as u32 * ENTRY_COST;
        plan.table(Below::Table(table), level, level.base(range.first()), false)?;
        Ok(Planned { needed: plan.needed, cut: plan.cut })
    }
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
        for slot in Slot::of(level, base, range) {
            let descriptor = match below {
                Below::Table(table) => self.memory.load(table, slot.index),
                Below::Uniform(descriptor) => descriptor,
            };
            let cost = match self.edit.decide(descriptor, &slot)? {
                Decision::Descend => {
                    self.cost = total;
                    self.below(descriptor, level, slot.range, frozen)?;
                    if self.cut.is_some() {
                        return Ok(());
                    }
                    total = self.cost;
                    continue;
                }
                Decision::Keep => KEEP_COST,
                Decision::Store(_) if level != Level::LAST => STORE_COST + self.edit.look_cost(),
                Decision::Store(_) => STORE_COST,
                Decision::Adopt(origin) if self.paid => {
                    let adopted = self.memory.load::<F>(origin.table, origin.index);
                    self.needed.adopted += frames_behind(self.memory, adopted, level);
                    ENTRY_COST
                }
                Decision::Remove | Decision::Forget | Decision::Adopt(_) => ENTRY_COST,
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

/// What a planned table holds.
#[derive(Clone, Copy)]
enum Below<F: Format> {
    /// It exists.
    Table(Frame),
    /// It will be made, with this descriptor, empty or reserved, in every slot.
    Uniform(Descriptor<F>),
}
