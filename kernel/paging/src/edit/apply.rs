//! Carrying out a plan: nothing here can fail.

use super::sweep::{forgotten, sweep};
use super::{Decision, Edit, Slot, Stocks};
use crate::commit::{Commit, Ledger};
use crate::exit::release_copied;
use crate::gate::{self, Around, Exclusive, Frames, Location, Stale};
use crate::memory::Counts;
use crate::split::copy_table;
use crate::{AddressSpace, Descriptor, Entry, Format, Kind, Level, Memory, Reach, Tlb, VirtRange};

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
        let mut level = around.level();
        let mut top = around.table(level);
        let mut apply = Apply { memory, tlb, stock, edit, range, commit, ledger, outcome: Outcome::default() };
        let mut applied = apply.table(&mut top, level.base(range.first()));
        while level != Level::ROOT {
            level = level.above();
            let mut above = around.table(level);
            if applied.hollow {
                // The sweep begins where the topmost retired descriptor is.
                applied = apply.unlink(&mut above, range, applied.change);
                top = above;
            } else {
                above.account(memory, applied.change);
            }
        }
        let outcome = apply.outcome;
        match outcome.weakened {
            Some(reach) => tlb.invalidate(outcome.reached.map_or(range, |reached| reached.hull(range)), reach),
            None => tlb.publish(),
        }
        if outcome.retired {
            let base = top.level().base(range.first());
            sweep(memory, &mut top, base, range, outcome.forgotten, ledger, &mut self.dead);
        }
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
        for slot in Slot::of(level, base, self.range) {
            let index = slot.index;
            let old = table.load(memory, index);
            let decision = self.edit.decide(old, &slot).expect("the plan had no objection");
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
                Decision::Adopt(origin) => {
                    let new = adopt(memory, origin);
                    self.ledger.adopt(memory, new, level);
                    table.insert(memory, index, new);
                    change += gate::weight(memory, new, level);
                }
                Decision::Forget => {
                    change += gate::weight(memory, forgotten(old), level) - gate::weight(memory, old, level);
                    self.retire(table, &slot, old);
                    self.outcome.forgotten = true;
                }
                Decision::Remove => {
                    change += Counts::ZERO - gate::weight(memory, old, level);
                    retired += u32::from(self.retire(table, &slot, old));
                    lost = true;
                }
                Decision::Descend => {
                    let Owned { mut child, change: expanded } = self.own(table, &slot);
                    let below = self.table(&mut child, slot.start());
                    change += expanded + below.change;
                    if below.hollow {
                        let link = table.load(memory, index);
                        change += Counts::ZERO - gate::weight(memory, link, level);
                        retired += u32::from(self.retire(table, &slot, link));
                        lost = true;
                    }
                }
            }
        }
        self.close(table, change, retired, lost)
    }

    /// Accounts for what an edit did to a table.
    #[inline(always)]
    fn close<F: Format>(&self, table: &mut Exclusive<F>, change: Counts, retired: u32, lost: bool) -> Applied {
        table.account(self.memory, change);
        let hollow = lost && self.memory.counts(table.frame()).live() == retired && table.level() != Level::ROOT;
        Applied { change, hollow }
    }

    /// Retires the entry around the range, whose table has become hollow by this change.
    #[cold]
    fn unlink<F: Format>(&mut self, table: &mut Exclusive<F>, range: VirtRange, change: Counts) -> Applied {
        let level = table.level();
        let slot = Slot::of(level, level.base(range.first()), range).next().expect("the range is not empty");
        let link = table.load(self.memory, slot.index);
        let change = change - gate::weight(self.memory, link, level);
        let retired = u32::from(self.retire(table, &slot, link));
        self.close(table, change, retired, true)
    }

    /// Takes a descriptor away. `true` if it was present and now waits for the sweep.
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
