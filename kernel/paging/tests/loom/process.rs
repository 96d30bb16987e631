//! Processes on that machine: hardware that walks their tables and caches the walks, and a fault handler behind a lock.

use std::sync::Arc;

use graft_paging::{Access, AddressSpace, Fault, Frame, Reach, Tlb, VirtAddr, VirtRange};
use loom::sync::Mutex;
use loom::sync::atomic::{Ordering::Release, fence};

use crate::machine::{Machine, Shared};
use crate::mmu::{Architecture, Rights, Step};

/// What a core caches of a walk: an entry of its TLB (`level` 4) or of a walk cache.
#[derive(Clone, Copy)]
struct Cached {
    start: u64,
    level: usize,
    frame: Frame,
    rights: Rights,
}

/// Bytes that a table of this level, or a page (4), covers.
fn span(level: usize) -> u64 {
    1 << (48 - 9 * level)
}

/// A TLB that keeps the first answer it got until it is told to forget it. The lock makes an invalidation wait for the
/// accesses under way (Arm: `DSB`).
#[derive(Default)]
struct Translations(Vec<Cached>);

impl Translations {
    fn translate<A: Architecture>(
        &mut self,
        machine: &Machine<A>,
        root: Frame,
        address: u64,
    ) -> Option<(Frame, Rights)> {
        let top = Cached { start: 0, level: 0, frame: root, rights: Rights::ALL };
        let covers = |cached: &&Cached| cached.start <= address && address - cached.start < span(cached.level);
        let mut at = self.0.iter().filter(covers).max_by_key(|cached| cached.level).copied().unwrap_or(top);
        while at.level < 4 {
            let index = (address >> (39 - 9 * at.level)) as usize % 512;
            let (frame, rights) = match A::step(machine.walk(at.frame, index), at.level) {
                Step::Invalid => return None,
                Step::Table(frame, rights) | Step::Page(frame, rights) => (frame, rights),
            };
            let level = at.level + 1;
            at = Cached { start: address & !(span(level) - 1), level, frame, rights: at.rights.and(rights) };
            self.0.push(at);
        }
        Some((at.frame, at.rights))
    }

    fn forget<A: Architecture>(&mut self, range: VirtRange, reach: Reach) {
        self.0.retain(|cached| {
            let overlaps = cached.start < range.end() && range.start() < cached.start + span(cached.level);
            match cached.level {
                4 => !overlaps,
                _ if A::PAGE_INVALIDATION_REACHES_WALK_CACHES => false,
                _ => !(overlaps && reach == Reach::Tables),
            }
        });
    }
}

/// A process: a space behind its lock, and the TLBs of the cores that run it.
pub struct Process<A: Architecture> {
    machine: Shared<A>,
    root: Frame,
    space: Mutex<Option<AddressSpace<A, Shared<A>>>>,
    cores: [Mutex<Translations>; 2],
}

impl<A: Architecture> Process<A> {
    pub fn new(machine: &Shared<A>, space: AddressSpace<A, Shared<A>>) -> Arc<Self> {
        let root = space.root();
        Arc::new(Process {
            machine: machine.clone(),
            root,
            space: Mutex::new(Some(space)),
            cores: std::array::from_fn(|_| Mutex::new(Translations::default())),
        })
    }

    /// An operation under the space's lock.
    pub fn with<R>(&self, operation: impl FnOnce(&mut AddressSpace<A, Shared<A>>, &Self) -> R) -> R {
        operation(self.space.lock().unwrap().as_mut().expect("the process lives"), self)
    }

    /// Lets the hardware carry out an access on a core, and answers its faults.
    fn access<R>(
        &self,
        core: usize,
        address: u64,
        access: Access,
        carry_out: impl Fn(&Machine<A>, Frame) -> R,
    ) -> Result<R, Fault> {
        for _ in 0..5 {
            let mut translations = self.cores[core].lock().unwrap();
            let machine = &self.machine.0;
            if let Some((frame, rights)) = translations.translate(machine, self.root, address)
                && if access == Access::Write { rights.write } else { rights.read }
            {
                return Ok(carry_out(machine, frame));
            }
            if A::FAULT_INVALIDATES {
                translations.0.retain(|cached| address.wrapping_sub(cached.start) >= span(cached.level));
            }
            drop(translations);
            let address = VirtAddr::new(address).unwrap();
            loop {
                match self.with(|space, tlb| space.fault(tlb, address, access)) {
                    // Another core holds the frame: it runs now, and either gives the frame back or ends the sharing.
                    Err(Fault::Contended) => loom::thread::yield_now(),
                    answer => break answer.map(drop)?,
                }
            }
        }
        panic!("{address:#x} faults for ever");
    }

    pub fn write(&self, core: usize, address: u64, word: usize, value: u64) {
        self.access(core, address, Access::Write, |machine, frame| machine.write(frame, word, value)).unwrap();
    }

    pub fn read(&self, core: usize, address: u64, word: usize) -> u64 {
        self.try_read(core, address, word).unwrap()
    }

    pub fn try_read(&self, core: usize, address: u64, word: usize) -> Result<u64, Fault> {
        self.access(core, address, Access::Read, |machine, frame| machine.read(frame, word))
    }

    pub fn exit(&self) {
        let space = self.space.lock().unwrap().take().expect("the process lives");
        space.destroy(self);
    }
}

#[expect(unsafe_code, reason = "implementing Tlb is a promise")]
// SAFETY: what an invalidation must reach is gone from the caches of all cores when it returns.
unsafe impl<A: Architecture> Tlb for Process<A> {
    /// `DSB ISHST`: a core that sees a store after the barrier also sees the stores before it.
    fn publish(&self) {
        fence(Release);
    }

    /// Waits for the accesses under way, and orders nothing else: what spaces share is ordered by their counts alone.
    fn invalidate(&self, range: VirtRange, reach: Reach) {
        for core in &self.cores {
            core.lock().unwrap().forget::<A>(range, reach);
        }
    }
}
