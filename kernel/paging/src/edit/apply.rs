//! Carrying out a plan: nothing here can fail.

use super::sweep::{forgotten, sweep, sweep_slot};
use super::{Cover, Decision, Edit, Slot, Stocks};
use crate::commit::{Commit, Ledger};
use crate::exit::release_copied;
use crate::gate::{self, Around, Exclusive, Frames, Location, Stale};
use crate::memory::Counts;
use crate::split::copy_table;
use crate::{AddressSpace, Descriptor, Entry, Error, Format, Kind, Level, Memory, Reach, Tlb, VirtRange};

impl<F: Format, M: Memory> AddressSpace<F, M> {
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
        let mut around = Around::new(self, range);
        let level = around.level();
        let mut top = around.table(level);
        let mut apply = Apply { memory, tlb, stock, edit, range, commit, ledger, outcome: Outcome::default() };
        let applied = apply.table(&mut top, level.base(range.first()));
        apply.above(&mut around, &mut top, applied);
        apply.invalidate();
        let outcome = apply.outcome;
        if outcome.retired {
            let base = top.level().base(range.first());
            sweep(memory, &mut top, base, range, outcome.forgotten, ledger, &mut self.dead);
        }
    }

    /// Applies an edit to a page, if the space alone reaches its table of level 3. `false` if it does not: nothing has
    /// been asked or changed. `before` is called once the edit has not refused.
    ///
    /// There is nothing to plan: the edit is asked once, and no table is needed.
    #[inline(always)]
    pub(crate) fn edit_page(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        edit: &impl Edit<F>,
        before: impl FnOnce(&Self),
    ) -> Result<bool, Error> {
        let memory = &self.memory.clone();
        let (level, commit) = (Level::LAST, self.commit);
        let mut around = Around::new(self, range);
        if around.level() != level || range.end() - range.start() != level.span() {
            return Ok(false);
        }
        let mut top = around.table(level);
        let slot = Slot { level, index: level.index(range.first()), range, cover: Cover::Whole };
        let old = top.load(memory, slot.index);
        let decision = edit.decide(old, &slot)?;
        before(around.space());
        let (stock, ledger) = (&mut Stocks::none(), commit.ledger());
        let mut apply = Apply { memory, tlb, stock, edit, range, commit, ledger: &ledger, outcome: Outcome::default() };
        let mut tally = Tally::default();
        apply.entry(&mut top, &slot, old, decision, &mut tally);
        let applied = apply.close(&mut top, tally);
        apply.above(&mut around, &mut top, applied);
        apply.invalidate();
        let outcome = apply.outcome;
        if outcome.retired && top.level() == level {
            sweep_slot(memory, &mut top, slot.index, outcome.forgotten, &ledger, &mut self.dead);
        } else if outcome.retired {
            let base = top.level().base(range.first());
            sweep(memory, &mut top, base, range, outcome.forgotten, &ledger, &mut self.dead);
        }
        ledger.settle(memory);
        Ok(true)
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

/// The table behind an entry, now this space's alone.
struct Owned<F> {
    child: Exclusive<F>,
    /// What making it added to the counts.
    change: Counts,
}

/// What an edit has done to the entries of a table so far.
#[derive(Default)]
struct Tally {
    change: Counts,
    /// Entries that wait for the sweep.
    retired: u32,
    /// Whether any was removed.
    lost: bool,
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
        let mut tally = Tally::default();
        for slot in Slot::of(level, base, self.range) {
            let old = table.load(memory, slot.index);
            let decision = self.edit.decide(old, &slot).expect("the plan had no objection");
            if !matches!(decision, Decision::Descend) {
                self.entry(table, &slot, old, decision, &mut tally);
                continue;
            }
            let Owned { mut child, change: expanded } = self.own(table, &slot);
            let below = self.table(&mut child, slot.start());
            tally.change += expanded + below.change;
            if below.hollow {
                let link = table.load(memory, slot.index);
                self.remove(table, &slot, link, &mut tally);
            }
        }
        self.close(table, tally)
    }

    /// Carries out what an edit has decided about an entry that it does not descend into.
    #[inline(always)]
    fn entry<F: Format>(
        &mut self,
        table: &mut Exclusive<F>,
        slot: &Slot,
        old: Descriptor<F>,
        decision: Decision<F>,
        tally: &mut Tally,
    ) {
        let (memory, level, index) = (self.memory, slot.level, slot.index);
        match decision {
            Decision::Keep => {}
            Decision::Store(new) => {
                tally.change += gate::weight(memory, new, level) - gate::weight(memory, old, level);
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
            Decision::Adopt(origin) => {
                let new = adopt(memory, origin);
                self.ledger.adopt(memory, new, level);
                table.insert(memory, index, new);
                tally.change += gate::weight(memory, new, level);
            }
            Decision::Forget => {
                tally.change += gate::weight(memory, forgotten(old), level) - gate::weight(memory, old, level);
                self.retire(table, slot, old);
                self.outcome.forgotten = true;
            }
            Decision::Remove => self.remove(table, slot, old, tally),
            Decision::Descend => unreachable!("what lies below is another table's"),
        }
    }

    /// Removes an entry, with everything below it.
    #[inline(always)]
    fn remove<F: Format>(&mut self, table: &mut Exclusive<F>, slot: &Slot, old: Descriptor<F>, tally: &mut Tally) {
        tally.change += Counts::ZERO - gate::weight(self.memory, old, slot.level);
        tally.retired += u32::from(self.retire(table, slot, old));
        tally.lost = true;
    }

    /// Accounts for what an edit did to a table.
    #[inline(always)]
    fn close<F: Format>(&self, table: &mut Exclusive<F>, Tally { change, retired, lost }: Tally) -> Applied {
        table.account(self.memory, change);
        let hollow = lost && self.memory.counts(table.frame()).live() == retired && table.level() != Level::ROOT;
        Applied { change, hollow }
    }

    /// Accounts in the tables above for what an edit did to the lowest one, and retires the entries that lead to
    /// hollow tables. `top` becomes the table with the topmost retired descriptor: the sweep begins there.
    #[inline(always)]
    fn above<F: Format>(&mut self, around: &mut Around<'_, F, M>, top: &mut Exclusive<F>, mut applied: Applied) {
        let mut level = around.level();
        while level != Level::ROOT {
            level = level.above();
            let mut above = around.table(level);
            if applied.hollow {
                applied = self.unlink(&mut above, applied.change);
                *top = above;
            } else {
                above.account(self.memory, applied.change);
            }
        }
    }

    /// Retires the entry around the range, whose table has become hollow by this change.
    #[cold]
    fn unlink<F: Format>(&mut self, table: &mut Exclusive<F>, change: Counts) -> Applied {
        let level = table.level();
        let slot = Slot::of(level, level.base(self.range.first()), self.range).next().expect("the range is not empty");
        let link = table.load(self.memory, slot.index);
        let mut tally = Tally { change, ..Tally::default() };
        self.remove(table, &slot, link, &mut tally);
        self.close(table, tally)
    }

    /// Has the TLBs forget what changed.
    #[inline(always)]
    fn invalidate(&self) {
        let Some(reach) = self.outcome.weakened else { return self.tlb.publish() };
        let range = self.outcome.reached.map_or(self.range, |reached| reached.hull(self.range));
        self.tlb.invalidate(range, reach);
    }

    /// Takes a descriptor away. `true` if it was present and now waits for the sweep.
    #[inline(always)]
    fn retire<F: Format>(&mut self, table: &mut Exclusive<F>, slot: &Slot, descriptor: Descriptor<F>) -> bool {
        if !descriptor.is_present() {
            table.remove(self.memory, slot.index);
            return false;
        }
        table.store(self.memory, slot.index, descriptor.retired());
        self.outcome.weaken(table.level());
        self.outcome.reached = Some(self.outcome.reached.map_or(slot.range, |reached| reached.hull(slot.range)));
        self.outcome.retired = true;
        true
    }

    /// `make_mut` for one step down.
    fn own<F: Format>(&mut self, table: &mut Exclusive<F>, slot: &Slot) -> Owned<F> {
        let (memory, index) = (self.memory, slot.index);
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
            return Owned { child, change };
        }
        if let Some(child) = table.child(memory, index) {
            return Owned { child, change: Counts::ZERO };
        }
        let child = copy_table::<F>(memory, descriptor.output(), self.stock.splits.take(memory), level.below(), None);
        gate::complete();
        table.redirect(memory, self.tlb, index, child.descriptor(), Stale { range: slot.range, reach: Reach::Tables });
        release_copied(memory, descriptor, level, self.commit.source());
        Owned { child, change: Counts::ZERO }
    }
}

/// What the new place of a moved entry gets: the same entry, shared with the old place until that is unmapped.
///
/// This is a fork within one space. Write permission returns with the first write, as for any last owner.
fn adopt<F: Format>(memory: &Frames<impl Memory>, origin: Location) -> Descriptor<F> {
    let level = origin.level;
    let descriptor = memory.load(origin.table, origin.index);
    if level == Level::LAST && !descriptor.is_counted() {
        return descriptor;
    }
    gate::retain(memory, descriptor.output());
    match descriptor.entry(level) {
        Entry::Page(page) if page.kind == Kind::Shared => descriptor,
        _ => gate::write_protect(memory, origin, descriptor),
    }
}
