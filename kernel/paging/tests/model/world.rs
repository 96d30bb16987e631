//! Spaces on a machine beside their oracles, and the judge between them.

pub mod pieces;

use graft_paging::{
    Access, Action, AddressSpace, Descriptor, Entry, Error, Fault, Foreign, Frame, Inherit, Kind, Level, Memory,
    Permissions, Place, Purpose, Reservation, Share, Sizes, Snapshot, VirtAddr, VirtRange,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::{Rc, Weak};

use crate::history::Random;
use crate::machine::{AsidTlb, Bystander, CORES, Machine, Point, Shared};
use crate::mmu::{Architecture, Rights};
use crate::oracle::{Content, Oracle, SHARED_PAGES, WORDS};

pub const SPACES: usize = 6;
pub const SNAPSHOTS: usize = 2;

pub struct Process<A: Architecture> {
    /// Behind a lock of its own, as in a kernel; no other lock is ever taken.
    space: RefCell<Option<AddressSpace<A, Shared<A>>>>,
    pub oracle: RefCell<Oracle>,
    asid: u16,
    root: Frame,
    sharing: Cell<Sharing>,
    /// An operation is between two pieces.
    claimed: Cell<bool>,
}

/// What is known about copies that a process may have to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It shares nothing yet.
    Undecided,
    /// No frames are committed for them.
    BestEffort,
    /// They must find memory.
    Guaranteed,
}

impl<A: Architecture> Process<A> {
    pub fn with<R>(&self, operation: impl FnOnce(&mut AddressSpace<A, Shared<A>>) -> R) -> R {
        operation(self.space.borrow_mut().as_mut().expect("a process in a slot has a space"))
    }
}

/// A snapshot beside its oracle.
type Taken<A> = (Snapshot<A, Shared<A>>, Oracle, Sharing);

/// Enough attempts for every other core to finish a copy.
const PATIENCE: usize = 10;

pub struct World<A: Architecture> {
    pub machine: Rc<Machine<A>>,
    processes: [RefCell<Option<Rc<Process<A>>>>; SPACES],
    next_asid: Cell<u16>,
    /// Memory that processes can map shared; the world holds a reference to each page.
    shared: [Frame; SHARED_PAGES],
    contents: Rc<RefCell<[Content; SHARED_PAGES]>>,
    /// Snapshots, each with what it must hold.
    snapshots: [RefCell<Option<Taken<A>>>; SNAPSHOTS],
    /// Whether the operation under way changes contents: what another core reads meanwhile may be old or new.
    rewriting: Cell<bool>,
    /// Whether another core acts in the middle of an operation.
    nested: Cell<bool>,
    /// The generator of what other cores do next; `None` while no other core may act.
    pub chance: RefCell<Option<Random>>,
}

/// The message of a failed check.
pub type Verdict = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => { if !$condition { return Err(format!($($message)*)); } };
}

impl<A: Architecture + 'static> World<A> {
    pub fn new(frames: usize, addresses: Vec<u64>) -> Rc<Self> {
        let machine = Rc::new(Machine::new(frames, addresses));
        let memory = Shared(machine.clone());
        let shared = [(); SHARED_PAGES].map(|()| {
            let frame = memory.allocate(Purpose::Page).expect("a new machine has memory");
            WORDS.iter().for_each(|&word| machine.word(frame, word).set(0));
            frame
        });
        let world = Rc::new(World {
            machine,
            shared,
            contents: Rc::default(),
            processes: [const { RefCell::new(None) }; SPACES],
            next_asid: Cell::new(1),
            snapshots: [const { RefCell::new(None) }; SNAPSHOTS],
            rewriting: Cell::new(false),
            nested: Cell::new(false),
            chance: RefCell::new(None),
        });
        let bystander: Weak<dyn Bystander> = Rc::downgrade(&(world.clone() as Rc<dyn Bystander>));
        world.machine.set_bystander(bystander);
        world
    }

    pub fn process(&self, slot: usize) -> Option<Rc<Process<A>>> {
        self.processes[slot].borrow().clone()
    }

    /// Starts an empty process in a slot. Does nothing if the slot is taken.
    pub fn create(&self, slot: usize) -> Verdict {
        if self.process(slot).is_none()
            && let Ok(space) = AddressSpace::new(Shared(self.machine.clone()))
        {
            let oracle = Oracle { shared: self.contents.clone(), ..Oracle::default() };
            self.install(slot, space, oracle, Sharing::Undecided);
        }
        Ok(())
    }

    fn install(&self, slot: usize, space: AddressSpace<A, Shared<A>>, oracle: Oracle, sharing: Sharing) {
        if self.process(slot).is_some() {
            // Another core took the slot meanwhile.
            space.destroy(&AsidTlb { machine: self.machine.clone(), asid: u16::MAX });
            return;
        }
        let mut space = space;
        // A walk that follows one of these descriptors finds that it does not lead to memory.
        let set_trap = |index| {
            #[expect(unsafe_code, reason = "no core of the machine walks there")]
            // SAFETY: programs have no address of the kernel's half.
            unsafe {
                space.set_kernel_entry(index, Descriptor::from_raw(Machine::<A>::TRAP));
            }
        };
        // In one step: another core must not find the slot still empty.
        self.machine.look(|| (A::USER_ENTRIES..512).for_each(set_trap));
        let (root, asid) = (space.root(), self.next_asid.get());
        let (space, oracle) = (RefCell::new(Some(space)), RefCell::new(oracle));
        let process = Process { space, oracle, asid, root, sharing: Cell::new(sharing), claimed: Cell::new(false) };
        *self.processes[slot].borrow_mut() = Some(Rc::new(process));
        self.next_asid.set(asid + 1);
    }

    /// Another core does something in the middle of an operation.
    pub fn while_nested(&self, action: impl FnOnce()) {
        self.nested.set(true);
        action();
        self.nested.set(false);
    }

    /// Carries out an operation on a range, again for as long as another core holds the frame that it needs. `None`:
    /// that core cannot go on before this one has finished.
    fn attempt<R>(
        &self,
        process: &Process<A>,
        operation: impl Fn(&mut AddressSpace<A, Shared<A>>) -> Result<R, Error>,
    ) -> Option<Result<R, Error>> {
        for _ in 0..PATIENCE {
            match process.with(&operation) {
                Err(Error::Contended) if self.nested.get() => return None,
                Err(Error::Contended) => {}
                result => return Some(result),
            }
        }
        Some(Err(Error::Contended))
    }

    fn tlb(&self, process: &Process<A>) -> AsidTlb<A> {
        AsidTlb { machine: self.machine.clone(), asid: process.asid }
    }

    /// Runs the process on a core.
    pub fn switch(&self, core: usize, slot: usize) -> Verdict {
        self.machine.activate(core, self.process(slot).map(|process| (process.asid, process.root)));
        Ok(())
    }

    pub fn reserve(&self, slot: usize, range: VirtRange, permissions: Permissions, inherit: Inherit) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let Some(result) =
            self.attempt(&process, |space| space.reserve(&tlb, range, Reservation { permissions, inherit }))
        else {
            return Ok(());
        };
        let free = process.oracle.borrow().is_free(range);
        match result {
            Ok(()) => {
                ensure!(free, "reserve overwrote something in {range:?}");
                let kind = if inherit == Inherit::No { Kind::NoInherit } else { Kind::Private };
                process.oracle.borrow_mut().map(range, permissions, kind);
            }
            Err(Error::Occupied(_)) => ensure!(!free, "reserve refused {range:?}, which is free"),
            Err(Error::OutOfMemory) => {}
            Err(error) => return Err(format!("reserve {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn map_foreign(&self, slot: usize, range: VirtRange, permissions: Permissions, kind: Foreign) -> Verdict {
        let first = self.machine.foreign_frame();
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let Some(result) = self.attempt(&process, |space| {
            #[expect(unsafe_code, reason = "frames beyond the machine's")]
            // SAFETY: there is no memory.
            unsafe {
                space.map_frames(&tlb, range, first, permissions, kind)
            }
        }) else {
            return Ok(());
        };
        let free = process.oracle.borrow().is_free(range);
        match result {
            Ok(()) => {
                ensure!(free, "map_frames overwrote something in {range:?}");
                let kind = if kind == Foreign::Device { Kind::Device } else { Kind::Foreign };
                process.oracle.borrow_mut().map(range, permissions, kind);
            }
            Err(Error::Occupied(_)) => ensure!(!free, "map_frames refused {range:?}, which is free"),
            Err(Error::OutOfMemory) => {}
            Err(error) => return Err(format!("map_frames {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn map_shared(&self, slot: usize, range: VirtRange, permissions: Permissions) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let frame = |number| self.shared[number as usize];
        let Some(result) = self.attempt(&process, |space| {
            #[expect(unsafe_code, reason = "the world's own pages")]
            // SAFETY: the world has a reference to each.
            unsafe {
                space.map_pages(&tlb, range, permissions, Kind::Shared, frame)
            }
        }) else {
            return Ok(());
        };
        let free = process.oracle.borrow().is_free(range);
        match result {
            Ok(()) => {
                ensure!(free, "map_pages overwrote something in {range:?}");
                process.oracle.borrow_mut().map(range, permissions, Kind::Shared);
            }
            Err(Error::Occupied(_)) => ensure!(!free, "map_pages refused {range:?}, which is free"),
            Err(Error::OutOfMemory) => {}
            Err(error) => return Err(format!("map_pages {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn discard(&self, slot: usize, range: VirtRange) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let allowed = process.oracle.borrow().may_discard(range);
        match self.attempt(&process, |space| space.discard(&tlb, range)) {
            None => {}
            Some(Ok(())) => {
                ensure!(allowed, "discard {range:?} succeeded on memory that is not private");
                process.oracle.borrow_mut().discard(range);
            }
            Some(Err(Error::OutOfMemory)) => {}
            Some(Err(error)) => ensure!(!allowed, "discard {range:?}: {error}"),
        }
        Ok(())
    }

    pub fn relocate(&self, slot: usize, from: VirtRange, to: VirtRange) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let apart = from.end() <= to.start() || to.end() <= from.start();
        let free = apart && process.oracle.borrow().is_free(to);
        match self.attempt(&process, |space| space.relocate(&tlb, from, to)) {
            None => {}
            Some(Ok(())) => {
                ensure!(free, "relocate {from:?} overwrote something in {to:?}");
                process.oracle.borrow_mut().relocate(from, to);
            }
            Some(Err(Error::Occupied(_))) => ensure!(!free, "relocate {from:?} refused {to:?}, which is free"),
            Some(Err(Error::OutOfMemory)) => {}
            Some(Err(error)) => return Err(format!("relocate {from:?} {to:?}: {error}")),
        }
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

    pub fn unmap(&self, slot: usize, range: VirtRange) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        match self.attempt(&process, |space| space.unmap(&tlb, range)) {
            None | Some(Err(Error::OutOfMemory)) => {}
            Some(Ok(())) => process.oracle.borrow_mut().unmap(range),
            Some(Err(error)) => return Err(format!("unmap {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn protect(&self, slot: usize, range: VirtRange, permissions: Permissions) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let allowed = process.oracle.borrow().may_protect(range, permissions);
        match self.attempt(&process, |space| space.protect(&tlb, range, permissions)) {
            None | Some(Err(Error::OutOfMemory)) => {}
            Some(Ok(())) => {
                ensure!(allowed, "protect {range:?} succeeded across a hole or on foreign memory");
                process.oracle.borrow_mut().protect(range, permissions);
            }
            Some(Err(error)) => ensure!(!allowed, "protect {range:?} {permissions:?}: {error}"),
        }
        Ok(())
    }

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
        let enough = self.machine.available() as u64 >= usage.resident + usage.tables;
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

    fn install_child(&self, parent: &Process<A>, to: usize, space: AddressSpace<A, Shared<A>>, sharing: Sharing) {
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
        let allowed = process.oracle.borrow().region(address).is_some_and(|region| region.permissions.allow(access));
        let virtual_address = VirtAddr::new(address).expect("the universe is in the lower half");
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

    /// Counts from the tables themselves, and compares the results with every count that is kept.
    pub fn audit(&self) -> Verdict {
        self.machine.look(|| self.audit_everything())
    }

    fn audit_everything(&self) -> Verdict {
        let mut references: BTreeMap<Frame, u32> = self.shared.iter().map(|&frame| (frame, 1)).collect();
        let mut seen = BTreeSet::new();
        let (mut separate, mut paid) = (0, BTreeSet::new());
        let (mut parts, mut roots) = (0, BTreeSet::new());
        for slot in 0..SPACES {
            let Some(process) = self.process(slot) else { continue };
            let space = process.space.borrow();
            let space = space.as_ref().expect("a process in a slot has a space");
            let own = Self::audit_space(space, process.oracle.borrow().pages(), &mut references, &mut seen)?;
            parts += Self::audit_sizes(space, 3)?;
            roots.insert(space.root());
            if process.sharing.get() == Sharing::Guaranteed {
                separate += own.len();
                paid.extend(own);
            }
        }
        for snapshot in &self.snapshots {
            if let Some((snapshot, oracle, sharing)) = &*snapshot.borrow() {
                let own = Self::audit_space(snapshot.space(), oracle.pages(), &mut references, &mut seen)?;
                parts += Self::audit_sizes(snapshot.space(), 3)?;
                roots.insert(snapshot.space().root());
                if *sharing == Sharing::Guaranteed {
                    separate += own.len();
                    paid.extend(own);
                }
            }
        }
        let (owed, committed) = ((separate - paid.len()) as isize, self.machine.committed.get());
        ensure!(owed == committed, "{owed} frames would be needed to share nothing, {committed} are committed");
        for (&frame, &count) in &references {
            let kept = self.machine.count(frame);
            ensure!(kept == count, "{frame:?} has {count} references and a count of {kept}");
        }
        // The parts of all spaces add up to the whole, except for the world's own part of the memory that processes map
        // shared.
        let whole: f64 = references
            .iter()
            .filter(|(frame, _)| !roots.contains(frame))
            .map(|(frame, &count)| 1.0 - if self.shared.contains(frame) { 1.0 / f64::from(count) } else { 0.0 })
            .sum();
        let parts = parts as f64 / (1_u64 << Sizes::PART_BITS) as f64;
        let add_up = (whole - parts).abs() < 0.01;
        ensure!(add_up, "proportional sizes add up to {parts} frames of {whole}");
        let in_use = self.machine.frames_in_use();
        ensure!(in_use == references.len(), "{in_use} frames in use, {} of them reachable", references.len());
        self.machine.verdict()
    }

    /// A walk over everything that a process has, while other processes go on: the sizes must still add up.
    pub fn look(&self, slot: usize) -> Verdict {
        self.process(slot)
            .map_or(Ok(()), |process| process.with(|space| Self::audit_sizes(space, usize::MAX).map(|_| ())))
    }

    /// The parts that a space has, counted in steps of so many descriptors; everything that it reaches is in its sizes.
    fn audit_sizes(space: &AddressSpace<A, Shared<A>>, step: usize) -> Result<u64, String> {
        let (mut sizes, mut from) = (Sizes::default(), Some(Place::START));
        while let Some(place) = from {
            let (more, next) = space.sizes(place, step);
            sizes += more;
            from = next;
        }
        let (pages, tables) = (sizes.private_pages + sizes.shared_pages, sizes.private_tables + sizes.shared_tables);
        let usage = space.usage();
        ensure!((pages, tables + 1) == (usage.resident, usage.tables), "{sizes:?} of {usage:?}");
        Ok(sizes.parts)
    }

    /// The part of [`audit`](Self::audit) that looks at one tree. Counts every descriptor in a table that has not been
    /// seen. Returns the frames that a write would copy if all were shared.
    fn audit_space(
        space: &AddressSpace<A, Shared<A>>,
        pages: u64,
        references: &mut BTreeMap<Frame, u32>,
        seen: &mut BTreeSet<Frame>,
    ) -> Result<BTreeSet<Frame>, String> {
        references.insert(space.root(), 1);
        let (mut resident, mut waiting, mut tables) = (0, 0, BTreeSet::from([space.root()]));
        let mut copied = BTreeSet::new();
        let mut complaint = None;
        let _: ControlFlow<()> = space.visit(Place::START, 1 << 48, Level::LAST, |visit| {
            let first_time = !seen.contains(&visit.table);
            match visit.entry {
                Entry::Empty => {}
                Entry::Reserved(_) => waiting += visit.level.pages(),
                Entry::Table(table) => {
                    tables.insert(table.frame);
                    copied.insert(table.frame);
                    if first_time {
                        *references.entry(table.frame).or_default() += 1;
                    }
                    if visit.references > 1 && !table.read_only {
                        complaint = Some(format!("{visit:x?}: shared and not read-only on the way in"));
                    }
                }
                Entry::Page(page) => {
                    resident += u64::from(page.kind.is_counted());
                    if page.kind == Kind::Private {
                        copied.insert(page.frame);
                    }
                    waiting += u64::from(page.kind == Kind::Zero);
                    if page.kind.is_counted() && first_time {
                        *references.entry(page.frame).or_default() += 1;
                    }
                    let sole = visit.references == 1 || !page.kind.is_counted() || page.kind == Kind::Shared;
                    if page.writable && (!sole || page.kind == Kind::Zero) {
                        complaint = Some(format!("{visit:x?}: writable, and not its owner's alone"));
                    }
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(complaint) = complaint {
            return Err(complaint);
        }
        let usage = space.usage();
        let found = (resident, waiting, tables.len() as u64);
        ensure!(
            found == (usage.resident, usage.reserved, usage.tables),
            "resident, reserved, tables are {found:?}, and accounted as {usage:?}"
        );
        ensure!(usage.resident + usage.reserved == pages, "{usage:?} does not add up to {} pages", pages);
        seen.extend(tables);
        Ok(copied)
    }

    /// What a program can see of a process, and what the process costs: neither may change when an operation fails. A
    /// page of zeroes counts as none: in a shared table a relative may show it at any moment.
    pub fn fingerprint(&self, slot: usize, addresses: &[u64]) -> Option<(Vec<Option<Frame>>, graft_paging::Usage)> {
        let process = self.process(slot)?;
        let zero_page = Shared(self.machine.clone()).zero_page();
        let look = |space: &mut AddressSpace<A, Shared<A>>| {
            let frames = addresses
                .iter()
                .map(|&address| space.translate(VirtAddr::new(address)?).map(|translation| translation.page.frame))
                .map(|frame| frame.filter(|frame| *frame != zero_page));
            Some((frames.collect(), space.usage()))
        };
        self.machine.look(|| process.with(look))
    }

    /// Answers a fault and returns how: for tests of one case.
    pub fn fault(&self, slot: usize, address: u64, access: Access) -> Result<(Action, u32), Fault> {
        let process = self.process(slot).expect("the process lives");
        let virtual_address = VirtAddr::new(address).expect("a user address");
        let resolved = process.with(|space| space.fault(&self.tlb(&process), virtual_address, access))?;
        Ok((resolved.action, resolved.table_splits))
    }

    /// The sizes that the space itself reports.
    pub fn usage(&self, slot: usize) -> graft_paging::Usage {
        self.process(slot).expect("the process lives").with(|space| space.usage())
    }
}

impl<A: Architecture + 'static> Bystander for World<A> {
    /// Another core accesses, forks or ends a process whose space is not locked; then every core that runs the locked
    /// space must still see what its oracle says, through every entry that its TLB holds.
    fn act(&self, point: Point) {
        let Some(mut random) = self.chance.take() else { return };
        // There are many loads.
        let rarity = match point {
            Point::Load => 32,
            Point::Change => 8,
        };
        if random.below(rarity) != 0 {
            *self.chance.borrow_mut() = Some(random);
            return;
        }
        let fail_after = self.machine.fail_after.take();
        let refused = self.machine.refused.get();
        let addresses = self.machine.universe.clone();
        let slot = random.below(SPACES);
        let free = self.process(slot).is_some_and(|process| process.space.try_borrow().is_ok());
        let (address, value) = (addresses[random.below(addresses.len())], random.next());
        let mut verdict = Ok(());
        self.while_nested(|| {
            verdict = match random.below(10) {
                _ if !free => Ok(()),
                0 => self.exit(slot),
                1 => self.fork(slot, random.below(SPACES), Share::Level3),
                2 => self.fork(slot, random.below(SPACES), Share::Level1),
                3..=5 => self.access(random.below(CORES), slot, address, Access::Read, value),
                _ => self.access(random.below(CORES), slot, address, Access::Write, value),
            };
        });
        let verdict = verdict.and_then(|()| self.judge_locked(&addresses));
        if let Err(what) = verdict {
            self.machine.violate(format!("in the middle of it, on another core: {what}"));
        }
        self.machine.fail_after.set(fail_after);
        self.machine.refused.set(refused);
        *self.chance.borrow_mut() = Some(random);
    }
}

impl<A: Architecture + 'static> World<A> {
    fn judge_locked(&self, addresses: &[u64]) -> Verdict {
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
