//! Changes of trees, locked or not: in steps that are short enough, tried again while another core holds what is
//! promised, refused as the call interface says it.

use crate::arch;
use crate::arch::memory::{clean_for_fetches, direct, invalidate_instructions};
use crate::memory::kernel_memory::{KernelMemory, Operation, Tree};
use crate::memory::left::leave;
use core::ops::{ControlFlow, Deref, DerefMut};
use graft_abi::{Error, PAGE_SIZE, USER_END, USER_START};
use graft_paging::{Budget, Change, Entry, Frame, Kind, Level, Place, Progress, Reach, Tlb, VirtRange};

/// What a core does at most before it answers interrupts, in instructions, about. Pieces may exceed it, but take no
/// more than 20,000.
pub const PIECE: Budget = Budget(12_000);

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
    unsafe { tree.change_at_once(tlb, range, change, reduced(PIECE, change), frame, before) }
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

/// Tries again for as long as another core holds a frame that this one is promised. That core is in the middle of a
/// copy in another space, for which it needs no lock but that space's: it finishes without this core's help.
#[inline(always)]
pub fn persist<R, E>(mut operation: impl FnMut() -> Result<R, E>, is_contended: impl Fn(&E) -> bool) -> Result<R, E> {
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
        // A reason that the tree has learnt since.
        _ => Error::NotAllowed,
    }
}

/// A range of whole pages in user memory.
///
/// # Errors
/// [`Error::Unaligned`], [`Error::BadLength`], [`Error::BadAddress`].
pub fn range(address: u64, bytes: u64) -> Result<VirtRange, Error> {
    if !address.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Error::Unaligned);
    }
    check_length(bytes)?;
    if address < USER_START as u64 {
        return Err(Error::BadAddress);
    }
    VirtRange::new(address, bytes).ok_or(Error::BadAddress)
}

/// Whole pages, at least one, and no more than there are addresses.
///
/// # Errors
/// [`Error::Unaligned`], [`Error::BadLength`].
pub fn check_length(bytes: u64) -> Result<(), Error> {
    if !bytes.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Error::Unaligned);
    }
    if bytes == 0 || bytes > USER_END as u64 { Err(Error::BadLength) } else { Ok(()) }
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
        let progress = attempt(|| match operation {
            None => change_at_once(self, &NeverRan, (range, change), frame),
            Some(operation) => step(self, &NeverRan, operation, PIECE, frame),
        })?;
        if progress == Progress::More && operation.is_none() {
            *operation = Some(Operation::new(KernelMemory, range, change));
        }
        Ok(progress)
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
