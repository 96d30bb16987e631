//! Spaces on a machine beside their oracles, and the judge between them.
//!
//! | room | what |
//! |---|---|
//! | `ranges.rs` | operations on ranges |
//! | `families.rs` | forks, snapshots, exits |
//! | `pieces.rs` | the same in pieces |
//! | `accesses.rs` | programs and the kernel access memory; every answer that a TLB could give is judged |
//! | `audit.rs` | everything is counted again from the tables |

/// Returns the message as a failed check where the condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => { if !$condition { return Err(format!($($message)*)); } };
}

mod accesses;
mod audit;
mod families;
pub mod pieces;
mod ranges;

use graft_paging::{Access, AddressSpace, Descriptor, Error, Frame, Memory, Purpose, Share, Snapshot};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::history::Random;
use crate::machine::{AsidTlb, Bystander, CORES, Machine, Point, Shared};
use crate::mmu::Architecture;
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
