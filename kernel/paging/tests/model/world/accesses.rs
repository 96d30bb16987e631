//! Accesses of programs and of the kernel, and the judge of what they find.

use super::{PATIENCE, Process, SPACES, Sharing, Verdict, World};
use crate::machine::CORES;
use crate::mmu::{Architecture, Rights};
use crate::oracle::{Content, WORDS};

use graft_paging::{Access, Action, Fault, Frame, Kind, VirtAddr};

impl<A: Architecture + 'static> World<A> {
    /// A program's access on a core that runs it: hardware first, the fault handler when it faults.
    /// Every answer that the TLB could give is judged, not only one.
    pub fn access(&self, core: usize, slot: usize, address: u64, access: Access, value: u64) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let page = address & !4095;
        let allowed = process.oracle.borrow().region(address).is_some_and(|region| region.permissions.allow(access));
        let mut answered = None;
        let mut patience = PATIENCE;
        while patience > 0 {
            patience -= if answered.is_some() { 3 } else { 1 };
            self.machine.activate(core, Some((process.asid, process.root)));
            let answers = self.machine.answers(core, address);
            self.judge(&process, slot, address, &answers)?;
            let grants = |rights: Rights| match access {
                Access::Read => rights.read,
                Access::Write => rights.write,
                Access::Execute => rights.execute,
            };
            if answers.iter().all(|answer| answer.is_some_and(|(_, rights)| grants(rights))) {
                ensure!(allowed, "{access:?} of {address:#x} works and must not");
                if access == Access::Write {
                    self.write(&process, answers[0].expect("all are present").0, page, value);
                }
                return Ok(());
            }
            // The worst TLB: it faults if it can.
            self.machine.faulted(core, address);
            let virtual_address = VirtAddr::new(address).expect("the universe is in the lower half");
            match process.with(|space| space.fault(&tlb, virtual_address, access)) {
                Ok(resolved) => {
                    ensure!(allowed, "a fault for {access:?} of {address:#x} was answered and must not be");
                    // After a repair the stale walk of another thread may cost one more fault with nothing left to do;
                    // that fault discards it.
                    ensure!(
                        answered.is_none() || (answered != Some(Action::Nothing) && resolved.action == Action::Nothing),
                        "{access:?} of {address:#x} on core {core}: {answered:?}, then {:?}",
                        resolved.action
                    );
                    answered = Some(resolved.action);
                }
                Err(Fault::Contended) if self.nested.get() => return Ok(()),
                Err(Fault::Contended) => continue,
                Err(Fault::OutOfMemory) => return self.may_want_memory(&process, slot, address, access),
                Err(fault) => {
                    ensure!(!allowed, "{access:?} of {address:#x} is allowed and was refused: {fault:?}");
                    return Ok(());
                }
            }
            self.machine.verdict()?;
        }
        Err(format!("{access:?} of {address:#x} faults for ever on core {core}"))
    }

    /// The kernel's own access on behalf of a system call, through the tree instead of the hardware.
    pub fn kernel_access(&self, slot: usize, address: u64, access: Access, value: u64) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let region = process.oracle.borrow().region(address);
        let allowed = region.is_some_and(|region| region.permissions.allow(access));
        let virtual_address = VirtAddr::new(address).expect("the universe is in the lower half");
        let there = self.machine.look(|| process.with(|space| space.memory_at(virtual_address, access)));
        let is_device = region.is_some_and(|region| region.kind == Kind::Device);
        ensure!(there.is_none() || (allowed && !is_device), "the kernel finds memory at {address:#x}, and must not");
        let resolve = || process.with(|space| space.resolve(&tlb, virtual_address, access));
        let mut resolved = resolve();
        for _ in 0..PATIENCE {
            match resolved {
                Err(Fault::Contended) if self.nested.get() => return Ok(()),
                Err(Fault::Contended) => resolved = resolve(),
                _ => break,
            }
        }
        match resolved {
            Ok(resolved) => {
                ensure!(allowed, "the kernel may {access:?} {address:#x}, and must not");
                let (frame, page) = (resolved.frame, address & !4095);
                // What needs nothing to be done is found at once, and nothing else is.
                let expected = (resolved.action == Action::Nothing && !is_device).then_some(frame);
                ensure!(there == expected, "the kernel finds {there:?} at {address:#x} and not {expected:?}");
                match access {
                    Access::Write => self.write(&process, frame, page, value),
                    _ => self.compare(&process, slot, frame, page)?,
                }
                Ok(())
            }
            Err(Fault::OutOfMemory) => self.may_want_memory(&process, slot, address, access),
            Err(fault) => {
                ensure!(!allowed, "the kernel's {access:?} of {address:#x} was refused: {fault:?}");
                Ok(())
            }
        }
    }

    /// Answers a fault and returns how: for tests of one case.
    pub fn fault(&self, slot: usize, address: u64, access: Access) -> Result<(Action, u32), Fault> {
        let process = self.process(slot).expect("the process lives");
        let virtual_address = VirtAddr::new(address).expect("a user address");
        let resolved = process.with(|space| space.fault(&self.tlb(&process), virtual_address, access))?;
        Ok((resolved.action, resolved.table_splits))
    }

    /// A shortage of memory is no excuse where a guarantee has committed a frame for the copy.
    fn may_want_memory(&self, process: &Process<A>, slot: usize, address: u64, access: Access) -> Verdict {
        let page = self.machine.look(|| process.with(|space| space.translate(VirtAddr::new(address)?)));
        let there = page.is_some_and(|translation| translation.page.kind != Kind::Zero);
        ensure!(
            !(there && process.sharing.get() == Sharing::Guaranteed),
            "{access:?} of {address:#x} by {slot} finds no memory, which a guarantee covers"
        );
        Ok(())
    }

    /// Carries out a store to a page, in memory and in the oracle.
    fn write(&self, process: &Process<A>, frame: Frame, page: u64, value: u64) {
        let mut oracle = process.oracle.borrow_mut();
        if self.machine.is_foreign(frame) {
            return;
        }
        let word = (value & 1) as usize;
        let mut content = oracle.content(page);
        content[word] = value;
        oracle.set_content(page, content);
        self.machine.word(frame, WORDS[word]).set(value);
    }

    /// Checks that a frame holds what the oracle says of the page.
    fn compare(&self, process: &Process<A>, slot: usize, frame: Frame, page: u64) -> Verdict {
        if self.machine.is_foreign(frame) {
            return Ok(());
        }
        let found: Content = WORDS.map(|word| self.machine.word(frame, word).get());
        let expected = process.oracle.borrow().content(page);
        ensure!(found == expected, "process {slot} reads {found:x?} at {page:#x} instead of {expected:x?}");
        Ok(())
    }

    /// Judges every translation that a TLB could use for an address.
    fn judge(&self, process: &Process<A>, slot: usize, address: u64, answers: &[Option<(Frame, Rights)>]) -> Verdict {
        let region = process.oracle.borrow().region(address);
        // While an operation on the space is under way, its descriptors may be in any state.
        let space = process.space.try_borrow().ok();
        let now =
            self.machine.look(|| space.as_ref().and_then(|space| space.as_ref()?.translate(VirtAddr::new(address)?)));
        for (frame, rights) in answers.iter().flatten() {
            if space.is_none() {
                // Only contents are checked: the operation under way does not change them.
                if rights.read && region.is_some() {
                    self.compare(process, slot, *frame, address & !4095)?;
                }
                continue;
            }
            let Some(region) = region else {
                return Err(format!("{address:#x} is unmapped and still translates to {frame:?}"));
            };
            let allow = |access| region.permissions.allow(access);
            ensure!(
                (!rights.read || allow(Access::Read)) && (!rights.execute || allow(Access::Execute)),
                "{address:#x} may be used as {rights:?}, but is {:?}",
                region.permissions
            );
            if rights.read {
                self.compare(process, slot, *frame, address & !4095)?;
            }
            if rights.write {
                ensure!(allow(Access::Write), "{address:#x} may be written, but is {:?}", region.permissions);
                let translation = now.ok_or("a write reaches a page that is not there")?;
                ensure!(translation.page.frame == *frame, "a write to {address:#x} reaches an old frame");
                ensure!(translation.writable_now, "a write to {address:#x} works, and the descriptors forbid it");
            }
        }
        Ok(())
    }

    pub(super) fn judge_locked(&self, addresses: &[u64]) -> Verdict {
        if self.rewriting.get() {
            return Ok(());
        }
        for slot in 0..SPACES {
            let Some(process) = self.process(slot).filter(|process| process.space.try_borrow().is_err()) else {
                continue;
            };
            let cores: Vec<_> =
                (0..CORES).filter(|&core| self.machine.active(core).is_some_and(|(a, _)| a == process.asid)).collect();
            for &address in addresses {
                let mut all = Vec::new();
                for &core in &cores {
                    let answers = self.machine.answers(core, address);
                    self.judge(&process, slot, address, &answers)?;
                    all.extend(answers.into_iter().flatten());
                }
                // Threads of one process that need no fault do not wait for the lock.
                if let Some((written, _)) = all.iter().find(|(_, rights)| rights.write) {
                    ensure!(
                        all.iter().all(|(frame, rights)| !rights.read || frame == written),
                        "{address:#x} is written in {written:?} while another thread reads another frame: {all:x?}"
                    );
                }
            }
        }
        Ok(())
    }
}
