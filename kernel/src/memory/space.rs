//! A process's address space: its translation tree, the lock on it, and the ASID it runs under.

use crate::arch::memory::{clean_for_fetches, direct, invalidate_instructions};
use crate::arch::{self, MAX_CORES};
use crate::lock::{Mutex, MutexGuard};
use crate::memory::asid::{Allocator, First, Tag};
use crate::memory::kernel_memory::KernelMemory;
use core::mem;
use core::ops::{ControlFlow, Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use graft_abi::Error;
use graft_paging::{
    Access, AddressSpace, Budget, Change, Entry, Fault, Frame, Kind, Level, Place, Progress, Reach, Resolved, Tlb,
    Usage, VirtAddr, VirtRange,
};

/// The tree of one address space.
pub type Tree = AddressSpace<arch::Format, KernelMemory>;
/// What trees were cut into, and waits to be freed.
pub type Debris = graft_paging::Debris<arch::Format, KernelMemory>;
/// A change of a range that is under way.
pub type Operation = graft_paging::Operation<KernelMemory>;

/// What a core does at most before it answers interrupts, in instructions, about. Pieces may exceed it, but take no
/// more than 20,000.
pub const PIECE: Budget = Budget(12_000);

/// What each core has left to be freed. Its own threads free it: the one whose call has left it, or the last one of a
/// process that has ended.
static LEFT: [Left; MAX_CORES] = [const {
    Left {
        any: AtomicBool::new(false),
        debris: Mutex::new(Debris::none(KernelMemory)),
        met_absence: AtomicBool::new(false),
    }
}; MAX_CORES];

#[repr(align(64))]
struct Left {
    any: AtomicBool,
    debris: Mutex<Debris>,
    /// Whether a tree that was wanted was away.
    met_absence: AtomicBool,
}

/// Whether the last refusal on this core for want of memory came about because a tree is away.
pub fn met_absence() -> bool {
    LEFT[arch::core_index()].met_absence.swap(false, Ordering::Relaxed)
}

/// Leaves debris to this core.
#[inline(always)]
pub fn leave(debris: Debris) {
    if !debris.is_empty() {
        leave_some(debris);
    }
}

#[cold]
fn leave_some(debris: Debris) {
    let left = &LEFT[arch::core_index()];
    left.debris.lock().append(debris);
    left.any.store(true, Ordering::Relaxed);
}

/// Whether something has been left to this core.
#[inline(always)]
pub fn has_left() -> bool {
    LEFT[arch::core_index()].any.load(Ordering::Relaxed)
}

/// Takes over what has been left to this core.
pub fn take_left() -> Debris {
    let left = &LEFT[arch::core_index()];
    left.any.store(false, Ordering::Relaxed);
    mem::replace(&mut *left.debris.lock(), Debris::none(KernelMemory))
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
        let activation = IDENTIFIERS.activate(core, &self.tag);
        match activation.first {
            First::Nothing => {}
            First::Complete => arch::tlb::publish(),
            First::Flush => arch::tlb::invalidate_all(),
        }
        arch::mmu::activate(self.root.load(Ordering::Relaxed), activation.asid);
    }

    /// The tree, locked.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the process has ended. [`Error::OutOfMemory`] while the tree is away, and then
    /// [`met_absence`] says so once.
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
        if held.away {
            LEFT[arch::core_index()].met_absence.store(true, Ordering::Relaxed);
            return Error::OutOfMemory;
        }
        Error::NotFound
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

/// A piece of a change of a range.
///
/// # Errors
/// As the tree's method of the same name.
pub fn step(
    tree: &mut Tree,
    tlb: &impl Tlb,
    operation: &mut Operation,
    budget: Budget,
    frame: impl Fn(u64) -> Frame,
) -> Result<Progress, graft_paging::Error> {
    let change = operation.change();
    let before = |tree: &Tree, part| prepare(tree, part, change);
    // SAFETY: a memory object keeps the frames that are mapped of it (`MemoryObject::mapping`), or they are there for
    // good.
    unsafe { tree.step(tlb, operation, reduced(budget, change), frame, before) }
}

/// A change of a range, all of it, if that is little: otherwise nothing has changed.
///
/// # Errors
/// As the tree's method of the same name.
#[inline(always)]
pub fn change_at_once(
    tree: &mut Tree,
    tlb: &impl Tlb,
    (range, change): (VirtRange, Change),
    frame: impl Fn(u64) -> Frame,
) -> Result<Progress, graft_paging::Error> {
    let before = |tree: &Tree, part| prepare(tree, part, change);
    // SAFETY: as in `step`.
    unsafe { tree.change_at_once(tlb, (range, change), reduced(PIECE, change), frame, before) }
}

/// What is left of a budget for the change itself.
#[inline(always)]
fn reduced(budget: Budget, change: Change) -> Budget {
    match change {
        // Cache maintenance takes several times what the change does.
        Change::Protect(graft_paging::Permissions::ReadExecute) => Budget(budget.0 / 3),
        // So does finding the frames.
        Change::MapPages { .. } => Budget(budget.0 / 2),
        _ => budget,
    }
}

/// Called before a part of a range changes: the program may mean to execute what it has written there.
#[inline(always)]
fn prepare(tree: &Tree, part: VirtRange, change: Change) {
    if change == Change::Protect(graft_paging::Permissions::ReadExecute) {
        make_fetchable(tree, part);
    }
}

/// A tree that no core has run in, and that is destroyed with its holder unless it is taken.
pub struct Draft(Option<Tree>);

impl Draft {
    /// An empty one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new() -> Result<Draft, Error> {
        Ok(Draft(Some(Tree::new(KernelMemory).map_err(|_| Error::OutOfMemory)?)))
    }

    /// A tree that is there.
    #[inline(always)]
    pub fn of(tree: Tree) -> Draft {
        Draft(Some(tree))
    }

    /// Begins a change of a range, or goes on with it.
    ///
    /// # Errors
    /// As the tree's method of the same name.
    pub fn change(
        &mut self,
        operation: &mut Option<Operation>,
        range: VirtRange,
        change: Change,
    ) -> Result<Progress, Error> {
        let frame = |_| unreachable!("no pages are mapped here");
        let progress = match operation {
            None => change_at_once(self, &NeverRan, (range, change), frame),
            Some(operation) => step(self, &NeverRan, operation, PIECE, frame),
        };
        if progress == Ok(Progress::More) && operation.is_none() {
            *operation = Some(Operation::new(KernelMemory, range, change));
        }
        progress.map_err(refusal)
    }

    /// The same draft in other hands; this one is over.
    pub fn transfer(&mut self) -> Draft {
        Draft(self.0.take())
    }

    /// Takes it, to run in it.
    pub fn take(mut self) -> Tree {
        self.0.take().expect(IN_DRAFT)
    }
}

const IN_DRAFT: &str = "only the draft's end takes its tree away";

impl Deref for Draft {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        self.0.as_ref().expect(IN_DRAFT)
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Tree {
        self.0.as_mut().expect(IN_DRAFT)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(tree) = self.0.take() {
            leave(tree.dismantle(&NeverRan));
        }
    }
}

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

/// Tries again for as long as another core holds a frame that this one is promised. That core is in the middle of a
/// copy in another space, for which it needs no lock but that space's: it finishes without this core's help.
#[inline(always)]
fn persist<R, E>(mut operation: impl FnMut() -> Result<R, E>, is_contended: impl Fn(&E) -> bool) -> Result<R, E> {
    loop {
        match operation() {
            Err(error) if is_contended(&error) => arch::relax(),
            result => return result,
        }
    }
}

/// Carries an operation on a tree out, again for as long as it is contended; a refusal as the call interface says it.
#[inline(always)]
pub fn attempt<R>(operation: impl FnMut() -> Result<R, graft_paging::Error>) -> Result<R, Error> {
    persist(operation, |error| *error == graft_paging::Error::Contended).map_err(refusal)
}

/// Why the tree refused, as the call interface says it. What is contended has been [tried again](attempt).
#[cold]
pub fn refusal(error: graft_paging::Error) -> Error {
    match error {
        graft_paging::Error::Occupied(_) => Error::Occupied,
        graft_paging::Error::NotMapped(_) => Error::NotMapped,
        graft_paging::Error::Kernel(_) => Error::BadAddress,
        graft_paging::Error::Unsuitable(..) | graft_paging::Error::Unguaranteed => Error::NotAllowed,
        graft_paging::Error::OutOfMemory | graft_paging::Error::Contended => Error::OutOfMemory,
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

/// TLB maintenance for a tree that no core has run in: nothing can be cached of it.
pub struct NeverRan;

// SAFETY: a walker reads a root only where a core runs in it, and none has.
unsafe impl Tlb for NeverRan {
    fn publish(&self) {
        arch::tlb::publish();
    }

    fn invalidate(&self, _range: VirtRange, _reach: Reach) {
        arch::tlb::publish();
    }
}

/// The permissions of the call interface as the tree's.
pub fn permissions(wanted: graft_abi::Permissions) -> graft_paging::Permissions {
    match wanted {
        graft_abi::Permissions::None => graft_paging::Permissions::None,
        graft_abi::Permissions::Read => graft_paging::Permissions::Read,
        graft_abi::Permissions::ReadWrite => graft_paging::Permissions::ReadWrite,
        graft_abi::Permissions::ReadExecute => graft_paging::Permissions::ReadExecute,
    }
}

/// Gives the space that the calling core runs in another tree, in place of the old one, which is destroyed.
pub fn change_current(space: &Space, tree: Tree) {
    arch::mmu::deactivate();
    space.replace(tree);
    space.activate(arch::core_index());
}

/// Makes what was written to the pages of a range visible to instruction fetches, on every core. *Before* they become
/// executable: afterwards another thread of the program could fetch what its caches hold of the frame's former content.
///
/// Pages that have not been written need nothing: a program that executes there gets the page of zeroes,
/// which was made fetchable at start, and a page that is executable is not writable, so no other frame takes its place.
pub fn make_fetchable(tree: &Tree, range: VirtRange) {
    let mut any = false;
    let _ = tree.visit::<()>(Place { address: range.start(), level: Level::ROOT }, range.end(), Level::LAST, |visit| {
        if let Entry::Page(page) = visit.entry
            && page.kind != Kind::Zero
            && visit.address.get() >= range.start()
        {
            // SAFETY: a frame that the tree maps, thus RAM in the direct map.
            unsafe { clean_for_fetches(direct(page.frame.address())) };
            any = true;
        }
        ControlFlow::Continue(())
    });
    if any {
        invalidate_instructions();
    }
}
