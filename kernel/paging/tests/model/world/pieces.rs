//! Operations in pieces: between the pieces other threads of the same process fault, and relatives run any operation.
//! Some operations are given up half way.

use super::{PATIENCE, Process, SPACES, Sharing, Verdict, World};
use crate::history::Random;
use crate::machine::{CORES, Point, Shared};
use crate::mmu::Architecture;
use std::rc::Rc;

use graft_paging::{
    Access, Budget, Change, Debris, Error, Foreign, Inherit, Kind, Operation, Permissions, Progress, Promise,
    Reservation, Share, VirtRange,
};

/// A change of a range, without its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piecewise {
    Reserving,
    Mapping,
    MappingForeign,
    Unmapping,
    Discarding,
    Protecting,
}

impl Piecewise {
    pub const ALL: [Piecewise; 6] = [
        Piecewise::Reserving,
        Piecewise::Mapping,
        Piecewise::MappingForeign,
        Piecewise::Unmapping,
        Piecewise::Discarding,
        Piecewise::Protecting,
    ];
}

/// What follows a piece.
enum After {
    GoOn,
    /// The thread is killed, with or without its process.
    GiveUp,
}

impl<A: Architecture + 'static> World<A> {
    /// Changes a range in pieces of this budget.
    pub fn in_pieces(
        &self,
        slot: usize,
        range: VirtRange,
        what: Piecewise,
        permissions: Permissions,
        budget: u32,
    ) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let (tlb, budget) = (self.tlb(&process), Budget(budget));
        let (change, allowed) = {
            let oracle = process.oracle.borrow();
            match what {
                Piecewise::Reserving => {
                    let reservation = Reservation { permissions, inherit: Inherit::Yes };
                    (Change::Reserve(reservation), oracle.is_free(range))
                }
                Piecewise::Mapping => (Change::MapPages { permissions, kind: Kind::Shared }, oracle.is_free(range)),
                Piecewise::MappingForeign => {
                    let (first, foreign) = (self.machine.foreign_frame(), Foreign::Normal);
                    (Change::MapFrames { first, permissions, foreign }, oracle.is_free(range))
                }
                Piecewise::Unmapping => (Change::Unmap, true),
                Piecewise::Discarding => (Change::Discard, oracle.may_discard(range)),
                Piecewise::Protecting => (Change::Protect(permissions), oracle.may_protect(range, permissions)),
            }
        };
        let memory = Shared(self.machine.clone());
        let mut debris = Debris::none(memory.clone());
        // A small change is done at once.
        let mut operation = None;
        let mut applied = range.start();
        let mut verdict = Ok(());
        loop {
            let result = process.with(|space| {
                #[expect(unsafe_code, reason = "existing frames are mapped")]
                // SAFETY: the world has references to its shared pages, and its foreign frames are there for good.
                let result = unsafe {
                    let frame = |page| self.shared[page as usize];
                    match &mut operation {
                        None => space.change_at_once(&tlb, range, change, budget, frame, |_, _| {}),
                        Some(operation) => space.step(&tlb, operation, budget, frame, |_, _| {}),
                    }
                };
                debris.append(space.take_debris());
                result
            });
            let reached = match result {
                Ok(Progress::Done) => range.end(),
                Ok(Progress::More) => operation.as_ref().map_or(range.start(), Operation::applied_to),
                Err(error) => {
                    let refusal = !matches!(error, Error::OutOfMemory | Error::Contended);
                    if applied != range.start() || (refusal && allowed) {
                        verdict = Err(format!("{change:?} of {range:?} was refused at {applied:#x}: {error}"));
                    }
                    break;
                }
            };
            if reached > applied {
                if !allowed {
                    verdict = Err(format!("{change:?} of {range:?} must be refused"));
                    break;
                }
                self.note(&process, what, permissions, (range, applied, reached));
                applied = reached;
            }
            if result == Ok(Progress::Done) {
                break;
            }
            operation.get_or_insert_with(|| Operation::new(memory.clone(), range, change));
            debris.clear(budget);
            process.claimed.set(true);
            let after = self.between(slot);
            process.claimed.set(false);
            match after {
                Ok(After::GoOn) if self.process(slot).is_some_and(|now| Rc::ptr_eq(&now, &process)) => {}
                Ok(After::GoOn) => break,
                Ok(After::GiveUp) => break,
                Err(what) => {
                    verdict = Err(what);
                    break;
                }
            }
        }
        drop(operation);
        self.clear_away(slot, debris, budget)?;
        verdict
    }

    /// The oracle's part of what a piece has done.
    fn note(
        &self,
        process: &Process<A>,
        what: Piecewise,
        permissions: Permissions,
        (range, applied, reached): (VirtRange, u64, u64),
    ) {
        let mut oracle = process.oracle.borrow_mut();
        let part = VirtRange::new(applied, reached - applied).expect("pieces are whole pages");
        // What is mapped grows: it is one region in the end.
        let all = VirtRange::new(range.start(), reached - range.start()).expect("pieces are whole pages");
        match what {
            Piecewise::Reserving => oracle.map(all, permissions, Kind::Private),
            Piecewise::Mapping => oracle.map(all, permissions, Kind::Shared),
            Piecewise::MappingForeign => oracle.map(all, permissions, Kind::Foreign),
            Piecewise::Unmapping => oracle.unmap(part),
            Piecewise::Discarding => oracle.discard(part),
            Piecewise::Protecting => oracle.protect(part, permissions),
        }
    }

    /// Forks in pieces of this budget, and sometimes gives up between two pieces.
    pub fn fork_in_pieces(&self, from: usize, to: usize, share: Share, promise: Promise, budget: u32) -> Verdict {
        if self.process(to).is_some() {
            return Ok(());
        }
        let Some(process) = self.process(from).filter(|process| !process.claimed.get()) else { return Ok(()) };
        let (tlb, budget) = (self.tlb(&process), Budget(budget));
        // Locked from the first piece to the last: no fault is answered between pieces.
        let mut guard = process.space.borrow_mut();
        let space = guard.as_mut().expect("a process in a slot has a space");
        space.freeze(&tlb);
        let mut forking = match space.begin_fork(share, promise) {
            Ok(forking) => forking,
            Err(Error::OutOfMemory | Error::Unguaranteed) => return Ok(()),
            Err(error) => return Err(format!("a fork in pieces: {error}")),
        };
        let mut patience = PATIENCE;
        let done = loop {
            match space.fork_step(&tlb, &mut forking, budget) {
                Ok(Progress::Done) => break true,
                Ok(Progress::More) => {}
                Err(Error::Contended) if patience > 0 => patience -= 1,
                Err(_) => break false,
            }
            self.machine.interleave(Point::Change);
            let given_up = match self.chance.borrow_mut().as_mut() {
                Some(random) => random.below(40) == 0,
                None => false,
            };
            if given_up {
                break false;
            }
        };
        let sharing = if promise == Promise::Guaranteed { Sharing::Guaranteed } else { Sharing::BestEffort };
        if done {
            let child = forking.finish();
            drop(guard);
            self.install_child(&process, to, child, sharing);
        } else {
            let debris = forking.give_up();
            drop(guard);
            // What the failed fork shares until the debris is cleared is counted.
            if process.sharing.get() == Sharing::Undecided {
                process.sharing.set(sharing);
            }
            self.clear_away(from, debris, budget)?;
        }
        Ok(())
    }

    /// Moves in pieces of this budget. If the move is given up half way, the process ends.
    pub fn relocate_in_pieces(&self, slot: usize, from: VirtRange, to: VirtRange, budget: u32) -> Verdict {
        let Some(process) = self.process(slot).filter(|process| !process.claimed.get()) else { return Ok(()) };
        let (tlb, budget) = (self.tlb(&process), Budget(budget));
        let apart = from.end() <= to.start() || to.end() <= from.start();
        let free = apart && process.oracle.borrow().is_free(to);
        // Locked from the first piece to the last: no fault is answered between pieces.
        let mut guard = process.space.borrow_mut();
        let space = guard.as_mut().expect("a process in a slot has a space");
        // A small change is done at once.
        let mut operation = None;
        let mut patience = PATIENCE;
        // Memory that is in both places for a while is not what the oracle says.
        self.rewriting.set(true);
        let result = loop {
            #[expect(unsafe_code, reason = "no existing frames are mapped")]
            // SAFETY: a move maps nothing.
            let step = unsafe {
                match &mut operation {
                    None => space.change_at_once(&tlb, from, Change::Move(to), budget, |_| unreachable!(), |_, _| {}),
                    Some(operation) => space.step(&tlb, operation, budget, |_| unreachable!(), |_, _| {}),
                }
            };
            match step {
                Ok(Progress::Done) => break Some(Ok(())),
                Ok(Progress::More) => {
                    let memory = Shared(self.machine.clone());
                    operation.get_or_insert_with(|| Operation::new(memory, from, Change::Move(to)));
                }
                Err(Error::Contended) if patience > 0 => patience -= 1,
                Err(error) => break Some(Err(error)),
            }
            self.machine.interleave(Point::Change);
            let given_up = match self.chance.borrow_mut().as_mut() {
                Some(random) => random.below(60) == 0,
                None => false,
            };
            if given_up {
                break None;
            }
        };
        drop(operation);
        self.rewriting.set(false);
        let debris = space.take_debris();
        drop(guard);
        if let Some(Ok(())) = result {
            process.oracle.borrow_mut().relocate(from, to);
        }
        self.clear_away(slot, debris, budget)?;
        match result {
            None => self.exit(slot),
            Some(Ok(())) if !free => Err(format!("a move of {from:?} in pieces overwrote something in {to:?}")),
            Some(Err(Error::Occupied(_))) if free => {
                Err(format!("a move of {from:?} in pieces refused {to:?}, which is free"))
            }
            Some(Ok(()) | Err(Error::Occupied(_) | Error::OutOfMemory | Error::Contended)) => Ok(()),
            Some(Err(error)) => Err(format!("a move of {from:?} in pieces to {to:?}: {error}")),
        }
    }

    /// Ends a process in pieces of this budget.
    pub fn exit_in_pieces(&self, slot: usize, budget: u32) -> Verdict {
        let Some(process) = self.processes[slot].take() else { return Ok(()) };
        let space = process.space.take().expect("a process in a slot has a space");
        for core in 0..CORES {
            if self.machine.active(core).is_some_and(|(asid, _)| asid == process.asid) {
                self.machine.activate(core, None);
            }
        }
        let debris = space.dismantle(&self.tlb(&process));
        self.clear_away(slot, debris, Budget(budget))
    }

    fn clear_away(&self, slot: usize, mut debris: Debris<A, Shared<A>>, budget: Budget) -> Verdict {
        let mut verdict = Ok(());
        while debris.clear(budget) == Progress::More {
            if verdict.is_ok() {
                verdict = self.between(slot).map(drop);
            }
        }
        verdict
    }

    /// Lets another thread or a relative act between two pieces, if it may.
    fn between(&self, slot: usize) -> Result<After, String> {
        // A failed operation must have changed nothing, and to see that, nothing else may change anything either.
        if self.machine.fail_after.get().is_some() {
            return Ok(After::GoOn);
        }
        self.machine.interleave(Point::Change);
        let Some(mut random) = self.chance.take() else { return Ok(After::GoOn) };
        let (choice, other) = (random.below(40), random.below(SPACES));
        let addresses = &self.machine.universe;
        let (address, value, core) = (addresses[random.below(addresses.len())], random.next(), random.below(CORES));
        let access = [Access::Read, Access::Write, Access::Write, Access::Execute][random.below(4)];
        *self.chance.borrow_mut() = Some(Random::new(random.next()));
        match choice {
            0 => return Ok(After::GiveUp),
            1 if self.process(slot).is_some() => return self.exit(slot).map(|()| After::GiveUp),
            2..=20 => self.access(core, slot, address, access, value)?,
            21..=30 => self.access(core, other, address, access, value)?,
            31..=32 if other != slot => self.exit(other)?,
            33..=34 if other != slot => self.fork(other, random.below(SPACES), Share::Level3)?,
            35..=36 if other != slot => self.fork(other, random.below(SPACES), Share::Level1)?,
            _ => {}
        }
        Ok(After::GoOn)
    }
}
