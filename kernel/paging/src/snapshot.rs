//! Snapshots: a fork in which no core runs, and the way back to it.
//!
//! Restoring compares the two trees from the root down. Where both lead to the same table or page nothing has diverged
//! below, and nothing below is looked at; where they differ, the space drops its own and shares the snapshot's again.
//! So the cost of a restore is that of what diverged, and it allocates nothing.

use core::cell::Cell;
use core::ops::ControlFlow;

use crate::commit::{Ledger, Source, frames_behind};
use crate::exit::{Dead, release_entry};
use crate::fork::Inheritance;
use crate::forking::{Forking, NeverRan, Promise};
use crate::gate::{self, Exclusive, Frames, Location};
use crate::{
    AddressSpace, Budget, Debris, Error, Format, Frame, Level, Memory, Progress, Purpose, Reach, Share, Tlb, VirtRange,
};

/// The content of an address space at one moment. No core ever runs in it.
#[must_use = "a snapshot that is dropped instead of destroyed leaks its tables"]
pub struct Snapshot<F: Format, M: Memory> {
    space: AddressSpace<F, M>,
    share: Share,
}

impl<F: Format, M: Memory> Snapshot<F, M> {
    /// What it holds, for looking at.
    pub fn space(&self) -> &AddressSpace<F, M> {
        &self.space
    }

    /// A snapshot in a space in which no core runs, which shares from this level down.
    pub(crate) fn of(space: AddressSpace<F, M>, share: Share) -> Self {
        Snapshot { space, share }
    }

    /// A new space with this content.
    ///
    /// # Errors
    /// As [`AddressSpace::fork`].
    pub fn fork(&mut self) -> Result<AddressSpace<F, M>, Error> {
        self.space.fork(&NeverRan, self.share)
    }

    /// Begins a new space with this content, in pieces.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    pub fn begin_fork(&mut self) -> Result<Forking<F, M>, Error> {
        self.space.begin_fork(self.share, Promise::BestEffort)
    }

    /// Goes on with it.
    ///
    /// # Errors
    /// As [`AddressSpace::fork_step`].
    pub fn fork_step(&mut self, forking: &mut Forking<F, M>, budget: Budget) -> Result<Progress, Error> {
        self.space.fork_step(&NeverRan, forking, budget)
    }

    /// How many instructions, about, a [`fork`](Self::fork) takes at most, as far as that is below `limit`.
    pub fn fork_cost(&self, limit: u64) -> u64 {
        self.space.fork_cost(self.share, limit)
    }

    /// Gives the snapshot up, in constant time: what is left is to be cleared.
    pub fn dismantle(self) -> Debris<F, M> {
        self.space.dismantle(&NeverRan)
    }

    /// Gives the snapshot up.
    pub fn destroy(self) {
        self.space.destroy(&NeverRan);
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// A snapshot of the space; from `share` down its tables are the space's own.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    pub fn snapshot(&mut self, tlb: &impl Tlb, share: Share) -> Result<Snapshot<F, M>, Error> {
        Ok(Snapshot { space: self.fork(tlb, share)?, share })
    }

    /// How many instructions, about, a [`restore`](Self::restore) takes, as far as that is below `limit`.
    pub fn restore_cost(&self, snapshot: &Snapshot<F, M>, limit: u64) -> u64 {
        let (own, source) = (self.root(), snapshot.space.root());
        let mut cost = 0;
        let _ = compared::<F>(&self.memory, own, source, Level::ROOT, snapshot.share, limit, &mut cost);
        cost
    }

    /// Brings the space back to a snapshot of it, or of any other space: afterwards it is what a fork of the snapshot
    /// would be. The root stays where it is, so cores may go on running in the space.
    ///
    /// A space restored to a snapshot that is under a guarantee is under it afterwards.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the space has lost tables with shared mappings, which cannot be shared with the
    /// snapshot, and one of those could not be allocated, and if a guarantee could not be given for what the space
    /// comes to share; [`Error::Contended`] where a snapshot under a guarantee needs such a table. Nothing has changed
    /// then.
    ///
    /// # Panics
    /// If the snapshot is of a space in another memory.
    pub fn restore(&mut self, tlb: &impl Tlb, snapshot: &mut Snapshot<F, M>) -> Result<(), Error> {
        self.restore_leaving(tlb, snapshot)?;
        self.dead.clear_all::<F>(&self.memory);
        Ok(())
    }

    /// As [`restore`](Self::restore), and what the space has lost waits in it to be [taken](Self::take_debris).
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_leaving(&mut self, tlb: &impl Tlb, snapshot: &mut Snapshot<F, M>) -> Result<(), Error> {
        assert!(self.memory.is_same(&snapshot.space.memory), "a space is restored from a snapshot in the same memory");
        let memory = &self.memory.clone();
        let source = snapshot.space.root();
        let ledger = self.commit.ledger();
        let mut root = self.exclusive_root();
        let dead = &mut self.dead;
        let rewind = Rewind { memory, share: Some(snapshot.share), ledger: &ledger, adopted: Cell::new(0) };
        if memory.counts(source).has_unshareable() && !rewind.needs_no_table(&root, source) {
            let copy = snapshot.fork()?.take_root().expect("a new space has a root");
            let rewind = Rewind { share: None, ..rewind };
            // What is not the same in both roots goes; then the copy's entries move over.
            rewind.retire(&mut root, copy.frame());
            tlb.invalidate(VirtRange::ALL, Reach::Tables);
            rewind.take_over(&mut root, copy, dead);
        } else {
            let most = if snapshot.space.commit.is_guaranteed() { rewind.owed(&root, source) } else { 0 };
            if most > 0 {
                memory.commit(most)?;
            }
            if rewind.retire(&mut root, source) {
                tlb.invalidate(VirtRange::ALL, Reach::Tables);
            }
            rewind.replace(&mut root, source, dead);
            if most > 0 {
                // Less, if a relative has let a table go meanwhile: then only what has diverged below it was adopted.
                memory.uncommit(most - rewind.adopted.get());
            }
        }
        ledger.settle(memory);
        self.commit = snapshot.space.commit;
        tlb.publish();
        Ok(())
    }
}

/// Adds up what comparing two tables takes, and what has to be done about their differences. Stops at the limit.
fn compared<F: Format>(
    memory: &Frames<impl Memory>,
    own: Frame,
    source: Frame,
    level: Level,
    share: Share,
    limit: u64,
    cost: &mut u64,
) -> ControlFlow<()> {
    let (mine, wanted) = (memory.counts(own).bounds(), memory.counts(source).bounds());
    let all = mine.start.min(wanted.start)..mine.end.max(wanted.end);
    *cost += all.len() as u64 * COMPARE_COST;
    for index in all {
        if *cost >= limit {
            return ControlFlow::Break(());
        }
        let (mine, wanted) = (memory.load::<F>(own, index), memory.load::<F>(source, index));
        if mine == wanted {
            continue;
        }
        *cost += DIVERGED_COST;
        let tables = level != Level::LAST && mine.is_present() && wanted.is_present();
        if !tables || mine.write_protected(level) == wanted.write_protected(level) {
            continue;
        }
        let (own, source) = (mine.output(), wanted.output());
        if gate::is_sole(memory, own) && (!share.includes(level.below()) || memory.counts(source).has_unshareable()) {
            compared::<F>(memory, own, source, level.below(), share, limit, cost)?;
        }
    }
    ControlFlow::Continue(())
}

/// Instructions, about, that the passes of a restore take for an entry that is the same in both tables.
const COMPARE_COST: u64 = 24;
/// For one that is not.
const DIVERGED_COST: u64 = 250;

struct Rewind<'a, M> {
    memory: &'a Frames<M>,
    /// From where down the snapshot shares; `None` to change whole entries of the root alone.
    share: Option<Share>,
    /// For what the space lets go.
    ledger: &'a Ledger,
    /// Frames that the space has come to share.
    adopted: Cell<u64>,
}

/// What is to be done about an entry.
enum Divergence<F> {
    /// Nothing has diverged.
    None,
    /// Something has, below: both have a table of their own here.
    Below(Exclusive<F>, Frame),
    /// The entries lead to different things.
    Here,
}

impl<M: Memory> Rewind<'_, M> {
    /// Compares one entry of the space with the snapshot's.
    fn compare<F: Format>(&self, own: &Exclusive<F>, source: Frame, index: usize) -> Divergence<F> {
        let (memory, level) = (self.memory, own.level());
        let (mine, wanted) = (own.load(memory, index), memory.load(source, index));
        if gate::for_good(mine, level) == gate::for_good(wanted, level) {
            return Divergence::None;
        }
        if !mine.is_present() || !wanted.is_present() {
            return Divergence::Here;
        }
        // A table that cannot be shared is the snapshot's own, and so may be what the space has in its place.
        if let Some(share) = self.share
            && level != Level::LAST
            && (!share.includes(level.below()) || memory.counts(wanted.output()).has_unshareable())
            && let Some(child) = own.child(memory, index)
        {
            return Divergence::Below(child, wanted.output());
        }
        Divergence::Here
    }

    /// The entries of two tables that are not the same to the letter: all others have not diverged.
    fn changed<F: Format>(&self, own: &Exclusive<F>, source: Frame) -> impl Iterator<Item = usize> + use<'_, F, M> {
        let table = own.frame();
        let (mine, wanted) = (self.memory.counts(table).bounds(), self.memory.counts(source).bounds());
        let all = mine.start.min(wanted.start)..mine.end.max(wanted.end);
        all.filter(move |&index| self.memory.load::<F>(table, index) != self.memory.load(source, index))
    }

    /// Whether the space has a table of its own wherever the snapshot has one that cannot be shared.
    fn needs_no_table<F: Format>(&self, own: &Exclusive<F>, source: Frame) -> bool {
        let memory = self.memory;
        own.level() == Level::LAST
            || self.changed(own, source).all(|index| {
                let wanted = memory.load::<F>(source, index);
                if !wanted.is_present() || !memory.counts(wanted.output()).has_unshareable() {
                    return true;
                }
                match self.compare(own, source, index) {
                    Divergence::None => true,
                    Divergence::Below(child, source) => self.needs_no_table(&child, source),
                    Divergence::Here => false,
                }
            })
    }

    /// How many frames the space will come to share, at most.
    fn owed<F: Format>(&self, own: &Exclusive<F>, source: Frame) -> u64 {
        let owed = |index| match self.compare(own, source, index) {
            Divergence::None => 0,
            Divergence::Below(child, source) => self.owed(&child, source),
            Divergence::Here => frames_behind::<F>(self.memory, self.memory.load(source, index), own.level()),
        };
        self.changed(own, source).map(owed).sum()
    }

    /// Takes away what has diverged. `true` if there was anything.
    fn retire<F: Format>(&self, own: &mut Exclusive<F>, source: Frame) -> bool {
        let mut any = false;
        for index in self.changed(own, source) {
            match self.compare(own, source, index) {
                Divergence::None => {}
                Divergence::Below(mut child, source) => any |= self.retire(&mut child, source),
                Divergence::Here => {
                    let descriptor = own.load(self.memory, index);
                    if descriptor.is_present() {
                        own.store(self.memory, index, descriptor.retired());
                        any = true;
                    }
                }
            }
        }
        any
    }

    /// Puts the snapshot's entries where others were taken away. The TLBs have forgotten those.
    fn replace<F: Format>(&self, own: &mut Exclusive<F>, source: Frame, dead: &mut Dead) {
        let (memory, level) = (self.memory, own.level());
        // Whatever the level: here sharing is all there is left to do, and it cannot fail.
        let mut inheritance = Inheritance::new(memory, Share::Level1, Source::Free);
        for index in self.changed(own, source) {
            match self.compare(own, source, index) {
                Divergence::None => {}
                Divergence::Below(mut child, source) => self.replace(&mut child, source, dead),
                Divergence::Here => {
                    let old = own.load(memory, index);
                    let wanted = Location { table: source, level, index };
                    let new = inheritance.entry::<F>(wanted, true).expect("sharing allocates nothing");
                    own.refill(memory, index, new);
                    self.adopted.set(self.adopted.get() + frames_behind(memory, new, level));
                    if old.is_retired() {
                        release_entry(memory, old.restored(), level, self.ledger, dead);
                    }
                }
            }
        }
        self.adopt_counts(own, source);
    }

    /// Moves the entries of a root in which no core runs into a root whose own are all retired.
    fn take_over<F: Format>(&self, own: &mut Exclusive<F>, copy: Exclusive<F>, dead: &mut Dead) {
        let memory = self.memory;
        gate::complete();
        for index in 0..F::USER_ENTRIES {
            let old = own.load(memory, index);
            own.refill(memory, index, copy.load(memory, index));
            // Retired; or the same as the copy's, so that two references have become one.
            let held = if old.is_retired() { old.restored() } else { old };
            if held.is_present() {
                release_entry(memory, held, Level::ROOT, self.ledger, dead);
            }
        }
        self.adopt_counts(own, copy.frame());
        memory.free(copy.unlinked(), Purpose::Table);
    }

    /// Same entries, same counts.
    fn adopt_counts<F: Format>(&self, own: &mut Exclusive<F>, source: Frame) {
        let counts = self.memory.counts(source);
        own.set_live(self.memory, counts.live(), counts.bounds());
        own.account(self.memory, counts.get() - self.memory.counts(own.frame()).get());
    }
}
