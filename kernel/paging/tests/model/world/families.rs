//! How processes begin and end: forks, snapshots, exits.

use super::{Process, SNAPSHOTS, Sharing, Verdict, World};
use crate::machine::{CORES, Shared};
use crate::mmu::Architecture;

use graft_paging::{AddressSpace, Error, Memory, Purpose, Share};

impl<A: Architecture + 'static> World<A> {
    pub fn fork(&self, from: usize, to: usize, share: Share) -> Verdict {
        if self.process(to).is_some() {
            return Ok(());
        }
        let Some(process) = self.process(from).filter(|process| !process.claimed.get()) else { return Ok(()) };
        match self.attempt(&process, |space| space.fork(&self.tlb(&process), share)) {
            None | Some(Err(Error::OutOfMemory)) => {}
            Some(Ok(space)) => self.install_child(&process, to, space, Sharing::BestEffort),
            Some(Err(error)) => return Err(format!("fork: {error}")),
        }
        Ok(())
    }

    /// A fork whose copies must always find memory.
    pub fn fork_guaranteed(&self, from: usize, to: usize, share: Share) -> Verdict {
        if self.process(to).is_some() {
            return Ok(());
        }
        let Some(process) = self.process(from).filter(|process| !process.claimed.get()) else { return Ok(()) };
        let (usage, undisturbed) = (process.with(|space| space.usage()), self.chance.borrow().is_none());
        let enough = self.machine.available() as u64 >= usage.pages + usage.tables;
        let failing = self.machine.fail_after.get().is_some();
        let Some(result) = self.attempt(&process, |space| space.fork_guaranteed(&self.tlb(&process), share)) else {
            return Ok(());
        };
        match result {
            Ok(space) => {
                ensure!(process.sharing.get() != Sharing::BestEffort, "a guarantee without frames for all copies");
                self.install_child(&process, to, space, Sharing::Guaranteed);
            }
            Err(Error::OutOfMemory) => {
                ensure!(failing || !enough || !undisturbed, "a guarantee was refused, and there is memory");
            }
            Err(error) => ensure!(
                error == Error::Unguaranteed && process.sharing.get() == Sharing::BestEffort,
                "a guaranteed fork: {error}"
            ),
        }
        Ok(())
    }

    pub(super) fn install_child(
        &self,
        parent: &Process<A>,
        to: usize,
        space: AddressSpace<A, Shared<A>>,
        sharing: Sharing,
    ) {
        if parent.sharing.get() == Sharing::Undecided {
            parent.sharing.set(sharing);
        }
        let oracle = parent.oracle.borrow().fork();
        self.install(to, space, oracle, parent.sharing.get());
    }

    /// Takes a snapshot in place of an older one.
    pub fn snapshot(&self, slot: usize, number: usize, share: Share) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        if let Some(Ok(snapshot)) = self.attempt(&process, |space| space.snapshot(&self.tlb(&process), share)) {
            if process.sharing.get() == Sharing::Undecided {
                process.sharing.set(Sharing::BestEffort);
            }
            let oracle = process.oracle.borrow().fork();
            self.forget(number);
            *self.snapshots[number].borrow_mut() = Some((snapshot, oracle, process.sharing.get()));
        }
        Ok(())
    }

    pub fn restore(&self, slot: usize, number: usize) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        // Taken out of its place while in use, as under a lock of its own.
        let Some((mut snapshot, oracle, sharing)) = self.snapshots[number].take() else { return Ok(()) };
        self.rewriting.set(true);
        let result = process.with(|space| space.restore(&self.tlb(&process), &mut snapshot));
        self.rewriting.set(false);
        match result {
            Ok(()) => {
                *process.oracle.borrow_mut() = oracle.clone();
                process.sharing.set(sharing);
            }
            Err(error) => ensure!(matches!(error, Error::OutOfMemory | Error::Contended), "restore: {error}"),
        }
        *self.snapshots[number].borrow_mut() = Some((snapshot, oracle, sharing));
        Ok(())
    }

    /// Starts a process from a snapshot.
    pub fn revive(&self, number: usize, slot: usize) -> Verdict {
        if self.process(slot).is_some() {
            return Ok(());
        }
        let Some((mut snapshot, oracle, sharing)) = self.snapshots[number].take() else { return Ok(()) };
        if let Ok(space) = snapshot.fork() {
            self.install(slot, space, oracle.fork(), sharing);
        }
        *self.snapshots[number].borrow_mut() = Some((snapshot, oracle, sharing));
        Ok(())
    }

    pub fn forget(&self, number: usize) {
        let old = self.snapshots[number].take();
        if let Some((snapshot, ..)) = old {
            snapshot.destroy();
        }
    }

    pub fn exit(&self, slot: usize) -> Verdict {
        let Some(process) = self.processes[slot].take() else { return Ok(()) };
        let space = process.space.take().expect("a process in a slot has a space");
        for core in 0..CORES {
            if self.machine.active(core).is_some_and(|(asid, _)| asid == process.asid) {
                self.machine.activate(core, None);
            }
        }
        space.destroy(&self.tlb(&process));
        Ok(())
    }

    /// Gives up snapshots and the shared memory; the last step before the frames are counted.
    pub fn close(&self) {
        (0..SNAPSHOTS).for_each(|number| self.forget(number));
        for frame in self.shared {
            if self.machine.count(frame) == 1 {
                #[expect(unsafe_code, reason = "the world's own pages")]
                // SAFETY: the world's is the last reference.
                unsafe {
                    Shared(self.machine.clone()).free(frame, Purpose::Page);
                }
            }
        }
    }
}
