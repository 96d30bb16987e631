//! A process's address space: its translation tree, the lock on it, and the ASID it runs under.

use crate::arch::{self, MAX_CORES};
use crate::lock::{Mutex, MutexGuard};
use crate::memory::asid::{Allocator, First, Tag};
use crate::memory::change::{PIECE, attempt, change_at_once, persist, step};
use crate::memory::kernel_memory::{KernelMemory, Operation, Tree};
use crate::memory::left::leave;
use core::mem;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use graft_abi::Error;
use graft_paging::{Access, Change, Fault, Frame, Progress, Reach, Resolved, Tlb, Usage, VirtAddr, VirtRange};

/// Why a call was refused for want of memory that does not want any: it is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A fork in pieces has the tree of a process: later.
    Absence,
    /// Shared tables had to be copied first, and have been, which is as much as fits into a piece: at once.
    Tables,
}

/// What the last refusal on a core for want of memory met: 0, or one more than the number of the obstacle.
static MET: [AtomicU8; MAX_CORES] = [const { AtomicU8::new(0) }; MAX_CORES];

/// What the last refusal on this core for want of memory came about by, if not by want of memory. Tells it once.
pub fn met_obstacle() -> Option<Obstacle> {
    match MET[arch::core_index()].swap(0, Ordering::Relaxed) {
        0 => None,
        1 => Some(Obstacle::Absence),
        _ => Some(Obstacle::Tables),
    }
}

/// The refusal for an obstacle, which [`met_obstacle`] tells.
#[cold]
pub fn refuse_for(obstacle: Obstacle) -> Error {
    MET[arch::core_index()].store(1 + obstacle as u8, Ordering::Relaxed);
    Error::OutOfMemory
}

static IDENTIFIERS: Allocator<MAX_CORES> = Allocator::new();

/// Learns how many identifiers the cores have. Called once, before any process runs.
///
/// `limit` is for a test that wants to see them run out: use no more bits than that.
pub fn initialise(limit: Option<u32>) {
    let bits = arch::mmu::asid_bits();
    IDENTIFIERS.set_bits(limit.map_or(bits, |limit| limit.min(bits)));
}

/// An address space that cores can run in.
pub struct Space {
    held: Mutex<Held>,
    tag: Tag,
    /// Physical address of the level-0 table: what a core needs to run, and an onlooker to read the sizes, without the
    /// lock. 0 without a tree.
    root: AtomicU64,
}

/// What the lock is for.
struct Held {
    /// `None` once the process has ended, and while a fork in pieces has it.
    tree: Option<Tree>,
    /// A fork in pieces has it.
    away: bool,
    /// A thread of the process is between two pieces of an operation: faults are answered, nothing else changes the
    /// tree.
    claimed: bool,
}

impl Space {
    /// A space without a tree: that of a process in the making. It cannot run.
    pub const fn empty() -> Space {
        Space {
            held: Mutex::new(Held { tree: None, away: false, claimed: false }),
            tag: Tag::new(),
            root: AtomicU64::new(0),
        }
    }

    /// Gives an [`empty`](Self::empty) space its tree.
    #[inline(always)]
    pub fn install(&self, tree: Tree) {
        self.root.store(tree.root().address(), Ordering::Relaxed);
        let none = self.held.lock().tree.replace(tree);
        debug_assert!(none.is_none(), "the space is empty");
        // Nothing to destroy: a fork need not look whether there is.
        mem::forget(none);
    }

    /// Lets the calling core translate user addresses through this space.
    #[inline(always)]
    pub fn activate(&self, core: usize) {
        // SAFETY: the space is there.
        let identify = || unsafe { arch::aside(Self::identify, self, 0) }.addr() as u16;
        let asid = IDENTIFIERS.reactivate(core, &self.tag, identify);
        arch::mmu::activate(self.root.load(Ordering::Relaxed), asid);
    }

    /// Its identifier on a core that has to do something first.
    ///
    /// # Safety
    /// The space is there.
    #[cold]
    unsafe extern "C" fn identify(space: *const Space, _: u64) -> *const () {
        // SAFETY: the caller's.
        let activation = IDENTIFIERS.activate_slowly(arch::core_index(), unsafe { &(*space).tag });
        match activation.first {
            First::Nothing => {}
            First::Complete => arch::tlb::publish(),
            First::Flush => {
                // What is walked for the space before may come back until then.
                arch::mmu::deactivate();
                arch::tlb::invalidate_all();
            }
        }
        core::ptr::without_provenance(activation.asid.into())
    }

    /// The tree, locked.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the process has ended. [`Error::OutOfMemory`] while the tree is away, and then
    /// [`met_obstacle`] says so once.
    #[inline(always)]
    pub fn lock(&self) -> Result<Locked<'_>, Error> {
        let guard = self.held.lock();
        if guard.tree.is_none() {
            return Err(Self::refuse(&guard));
        }
        Ok(Locked { guard, tag: &self.tag })
    }

    #[cold]
    fn refuse(held: &Held) -> Error {
        if held.away { refuse_for(Obstacle::Absence) } else { Error::NotFound }
    }

    /// Where the TLB invalidations of its tree go.
    pub fn tlb(&self) -> Invalidator<'_> {
        Invalidator(&self.tag)
    }

    /// Takes the tree away for a fork in pieces, which is one moment for all threads of the process: until it is
    /// [returned](Self::give_back), a fault waits. `company`: other threads may be running.
    pub fn take_away(&self, mut tree: Locked<'_>, company: bool) -> Tree {
        if company {
            let tlb = tree.tlb();
            tree.freeze(&tlb);
        }
        tree.guard.away = true;
        tree.guard.tree.take().expect("locked with its tree")
    }

    /// Gives back a tree that has been away.
    pub fn give_back(&self, tree: Tree) {
        let mut held = self.held.lock();
        held.away = false;
        held.tree = Some(tree);
    }

    /// The tree, locked, to change more of it than a fault does. `None` while another thread's operation is under way.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    #[inline(always)]
    pub fn lock_to_change(&self) -> Result<Option<Locked<'_>>, Error> {
        let tree = self.lock()?;
        Ok((!tree.guard.claimed).then_some(tree))
    }

    /// Gives up a claim whose operation goes no further.
    pub fn release(&self) {
        self.held.lock().claimed = false;
    }

    /// Replaces the tree and destroys the old one. No core may be running in this space.
    pub fn replace(&self, tree: Tree) {
        let root = tree.root().address();
        let mut guard = self.held.lock();
        self.retract_root();
        if let Some(old) = guard.tree.replace(tree) {
            // The ASID stays: dismantling the old tree rids the TLBs of everything under it.
            leave(old.dismantle(&Invalidator(&self.tag)));
        }
        self.root.store(root, Ordering::Relaxed);
    }

    /// Takes the tree away, and frees it if that is quickly done; otherwise leaves it to this core. No core may be
    /// running in this space.
    #[inline(always)]
    pub fn destroy(&self) {
        self.retract_root();
        let tree = self.held.lock().tree.take();
        if let Some(tree) = tree {
            leave(tree.destroy_within(&Invalidator(&self.tag), PIECE));
        }
    }
}

impl Space {
    /// The tree, locked, for an onlooker; `None` if it is still busy after a short while. A thread that looks at
    /// another process's memory does not wait for that process's operations on it, but tries again later.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_to_look(&self) -> Result<Option<Locked<'_>>, Error> {
        match self.held.lock_within(PATIENCE) {
            Some(guard) if guard.tree.is_none() => {
                if guard.away {
                    Ok(None)
                } else {
                    Err(Error::NotFound)
                }
            }
            guard => Ok(guard.map(|guard| Locked { guard, tag: &self.tag })),
        }
    }

    /// How large the space is now, without its lock. All zero without a tree.
    pub fn usage(&self) -> Usage {
        let root = self.root.load(Ordering::Acquire);
        if root == 0 {
            return Usage::default();
        }
        // SAFETY: it has been a root of this space; the counts of all frames lie in an array of their own.
        let usage = unsafe { Usage::below(&KernelMemory, Frame::containing(root)) };
        // Pairs with the fence in `retract_root`: if one of the numbers was stored when the frame had another use
        // already, the root is seen to have gone.
        fence(Ordering::Acquire);
        if self.root.load(Ordering::Relaxed) == root { usage } else { Usage::default() }
    }

    /// Before the root's frame can have another use.
    fn retract_root(&self) {
        self.root.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
    }
}

/// How often an onlooker looks at a lock that is taken.
const PATIENCE: u32 = 200;
/// What the smallest change of a range takes, in instructions, about.
const EDIT: u32 = 1_000;

/// A locked tree.
pub struct Locked<'a> {
    guard: MutexGuard<'a, Held>,
    tag: &'a Tag,
}

impl<'a> Locked<'a> {
    /// Where its TLB invalidations go.
    #[inline(always)]
    pub fn tlb(&self) -> Invalidator<'a> {
        Invalidator(self.tag)
    }

    /// Answers a fault of the program's.
    #[inline(always)]
    pub fn fault(&mut self, address: VirtAddr, access: Access) -> Result<Resolved, Fault> {
        let tlb = self.tlb();
        persist(|| self.deref_mut().fault(&tlb, address, access), |fault| *fault == Fault::Contended)
    }

    /// Makes an address accessible for the kernel, as long as the lock is held.
    #[inline(always)]
    pub fn resolve(&mut self, address: VirtAddr, access: Access) -> Result<Resolved, Fault> {
        let tlb = self.tlb();
        persist(|| self.deref_mut().resolve(&tlb, address, access), |fault| *fault == Fault::Contended)
    }

    /// Begins a change of a range. Where that was not all, `later` gets the rest, and the space is claimed until
    /// [`go_on`](Self::go_on) says that it is done.
    pub fn begin(
        mut self,
        range: VirtRange,
        change: Change,
        frame: impl Fn(u64) -> Frame,
        later: impl FnOnce(Operation),
    ) -> Result<Progress, Error> {
        let progress = self.edit(|tree, tlb| change_at_once(tree, tlb, (range, change), &frame))?;
        if progress == Progress::More {
            self.guard.claimed = true;
            later(Operation::new(KernelMemory, range, change));
        }
        if self.has_debris() {
            let mut debris = self.take_debris();
            drop(self);
            debris.clear_further(PIECE, EDIT);
            leave(debris);
        }
        Ok(progress)
    }

    /// Goes on with a change of a range.
    pub fn go_on(mut self, operation: &mut Operation, frame: impl Fn(u64) -> Frame) -> Result<Progress, Error> {
        let result = self.edit(|tree, tlb| step(tree, tlb, operation, PIECE, &frame));
        self.guard.claimed = result == Ok(Progress::More);
        if self.has_debris() {
            leave(self.take_debris());
        }
        result
    }

    /// Changes the tree; a refusal as the call interface says it.
    pub fn edit<R>(
        &mut self,
        mut change: impl FnMut(&mut Tree, &Invalidator<'_>) -> Result<R, graft_paging::Error>,
    ) -> Result<R, Error> {
        let tlb = self.tlb();
        attempt(|| change(self.deref_mut(), &tlb))
    }
}

impl Deref for Locked<'_> {
    type Target = Tree;

    #[inline(always)]
    fn deref(&self) -> &Tree {
        self.guard.tree.as_ref().expect("checked when it was locked")
    }
}

impl DerefMut for Locked<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Tree {
        self.guard.tree.as_mut().expect("checked when it was locked")
    }
}

/// TLB maintenance for the space with this tag.
pub struct Invalidator<'a>(&'a Tag);

// SAFETY: the tag says under which identifier the space's translations are cached, if they are anywhere; the
// instructions are broadcast, and awaited.
unsafe impl Tlb for Invalidator<'_> {
    #[inline(always)]
    fn publish(&self) {
        arch::tlb::publish();
    }

    #[inline(always)]
    fn invalidate(&self, range: VirtRange, reach: Reach) {
        // The stores into the tables come before this look at the tag, as `Tag::asid` demands.
        fence(Ordering::SeqCst);
        let Some(asid) = self.0.asid() else {
            return arch::tlb::publish();
        };
        arch::tlb::invalidate(asid, range, reach);
    }
}

/// Gives the space that the calling core runs in another tree, in place of the old one, which is destroyed.
pub fn change_current(space: &Space, tree: Tree) {
    arch::mmu::deactivate();
    space.replace(tree);
    space.activate(arch::core_index());
}
