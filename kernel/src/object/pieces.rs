//! Changes of memory in pieces: those of a range claim the space meanwhile, forks and moves take the tree away from it.
//!
//! A fault that wants a tree that is away waits, and so does every call. Where other threads may be running in the space it has been
//! frozen: they read what is there, and wait as soon as they store something.

#![forbid(unsafe_code)]

use crate::arch;
use crate::memory::change::{Draft, PIECE, change_at_once, refusal, step};
use crate::memory::kernel_memory::KernelMemory;
use crate::memory::kernel_memory::{Operation, Tree};
use crate::memory::left::leave;
use crate::memory::space::Locked;
use crate::object::Ref;
use crate::object::memory::MemoryObject;
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use graft_abi::Error;
use graft_paging::{Budget, Change, Frame, Progress, Promise, Share, VirtRange};

/// A change of a range in pieces. The space is claimed for it until it is over, or given up.
pub struct Edited {
    process: Ref<Process>,
    operation: Operation,
    /// The memory object that is mapped, if one is.
    object: Option<Ref<MemoryObject>>,
    is_over: bool,
}

impl Edited {
    /// Changes a range of a process's memory, or begins to: then `later` gets the rest.
    ///
    /// # Errors
    /// As the tree's method for the change; nothing has changed then.
    #[inline(always)]
    pub fn begin(
        process: &Ref<Process>,
        tree: Locked<'_>,
        (range, change): (VirtRange, Change),
        object: Option<Ref<MemoryObject>>,
        later: impl FnOnce(Edited),
    ) -> Result<Progress, Error> {
        let later = |operation| {
            later(Edited { process: process.clone(), operation, object: object.clone(), is_over: false });
        };
        tree.begin(range, change, |page| frame_of(object.as_ref(), page), later)
    }

    /// Goes on with it.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn step(&mut self) -> Result<Progress, Error> {
        let frame = |page| frame_of(self.object.as_ref(), page);
        let progress = self.process.space.lock().and_then(|tree| tree.go_on(&mut self.operation, frame));
        self.is_over = progress != Ok(Progress::More);
        progress
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        if !self.is_over {
            self.process.space.release();
        }
    }
}

#[inline(always)]
fn frame_of(object: Option<&Ref<MemoryObject>>, page: u64) -> Frame {
    object.expect("pages have an object").frame(page)
}

/// A move in pieces, and the tree that is changed.
pub struct Moved {
    process: Ref<Process>,
    tree: Option<Tree>,
    operation: Operation,
}

impl Moved {
    /// Moves a range of a process's memory, or begins to: then `later` gets the rest.
    ///
    /// # Errors
    /// As the tree's `relocate`; nothing has changed then.
    pub fn begin(
        process: &Ref<Process>,
        mut tree: Locked<'_>,
        from: VirtRange,
        to: VirtRange,
        later: impl FnOnce(Moved),
    ) -> Result<Progress, Error> {
        let change = Change::Move(to);
        let frame = |_| unreachable!("no pages are mapped here");
        let progress = tree.edit(|tree, tlb| change_at_once(tree, tlb, (from, change), frame))?;
        if tree.has_debris() {
            leave(tree.take_debris());
        }
        if progress == Progress::More {
            let tree = process.space.take_away(tree, process.has_other_threads());
            later(Moved {
                process: process.clone(),
                tree: Some(tree),
                operation: Operation::new(KernelMemory, from, change),
            });
        }
        Ok(progress)
    }
}

impl Moved {
    /// Goes on with it.
    ///
    /// # Errors
    /// As the tree's `relocate`; nothing has changed then.
    pub fn step(&mut self) -> Result<Progress, Error> {
        let Some(tree) = &mut self.tree else { return Ok(Progress::Done) };
        let tlb = self.process.space.tlb();
        let frame = |_| unreachable!("no pages are mapped here");
        let progress = step(tree, &tlb, &mut self.operation, PIECE, frame);
        leave(tree.take_debris());
        match progress {
            Err(graft_paging::Error::Contended) => Ok(Progress::More),
            result => result.map_err(refusal),
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.take() {
            self.process.space.give_back(tree);
        }
    }
}

/// What a fork in pieces is made of.
enum Origin {
    /// A process, whose tree is away.
    Process(Ref<Process>, Option<Tree>),
    /// A snapshot.
    Snapshot(Ref<Snapshot>),
}

/// A fork in pieces.
pub struct Forked {
    origin: Origin,
    forking: Option<graft_paging::Forking<arch::Format, KernelMemory>>,
}

/// What a fork leads to at once.
pub enum Fork {
    /// The child's tree.
    Made(Draft),
    /// It takes longer, and is to be [begun](Forked::begin).
    Long,
    /// Another thread's operation is under way.
    Busy,
}

/// The longest fork that is made at once, in instructions, about.
pub const FORK: u64 = 14_000;
/// What a step of a longer one takes.
const FORK_PIECE: Budget = Budget(8_000);

impl Forked {
    /// Begins a fork of a process that takes long. `None` while another thread's operation is under way.
    ///
    /// # Errors
    /// As [`fork`].
    pub fn begin(parent: &Ref<Process>, share: Share, promise: Promise) -> Result<Option<Forked>, Error> {
        let Some(tree) = parent.space.lock_to_change()? else { return Ok(None) };
        Self::begin_locked(parent, tree, share, promise).map(Some)
    }

    #[cold]
    fn begin_locked(
        parent: &Ref<Process>,
        mut tree: Locked<'_>,
        share: Share,
        promise: Promise,
    ) -> Result<Forked, Error> {
        let forking = tree.begin_fork(share, promise).map_err(refusal)?;
        let tree = parent.space.take_away(tree, parent.has_other_threads());
        Ok(Forked { origin: Origin::Process(parent.clone(), Some(tree)), forking: Some(forking) })
    }

    /// Goes on with it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn step(&mut self) -> Result<Progress, Error> {
        let Some(forking) = &mut self.forking else { return Ok(Progress::Done) };
        let progress = match &mut self.origin {
            Origin::Process(process, Some(tree)) => tree.fork_step(&process.space.tlb(), forking, FORK_PIECE),
            Origin::Process(_, None) => Ok(Progress::Done),
            Origin::Snapshot(snapshot) => snapshot.fork_step(forking, FORK_PIECE)?,
        };
        match progress {
            Err(graft_paging::Error::Contended) => Ok(Progress::More),
            result => result.map_err(refusal),
        }
    }

    /// Begins to make a tree with a snapshot's content.
    pub fn of(snapshot: &Ref<Snapshot>) -> Result<Forked, Error> {
        Ok(Forked { origin: Origin::Snapshot(snapshot.clone()), forking: Some(snapshot.begin_fork()?) })
    }

    /// The child's tree, after the last step.
    pub fn finish(&mut self) -> Option<Tree> {
        Some(self.forking.take()?.finish())
    }

    /// The same as a snapshot.
    pub fn finish_snapshot(&mut self) -> Option<graft_paging::Snapshot<arch::Format, KernelMemory>> {
        Some(self.forking.take()?.finish_snapshot())
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if let Origin::Process(process, tree) = &mut self.origin
            && let Some(tree) = tree.take()
        {
            process.space.give_back(tree);
        }
        if let Some(forking) = self.forking.take() {
            leave(forking.give_up());
        }
    }
}

/// Forks a process's memory, if that does not take long.
///
/// # Errors
/// [`Error::OutOfMemory`], [`Error::NotAllowed`] for a promise that cannot be made any more.
#[inline(always)]
pub fn fork(parent: &Ref<Process>, share: Share, promise: Promise) -> Result<Fork, Error> {
    let Some(mut tree) = parent.space.lock_to_change()? else { return Ok(Fork::Busy) };
    if tree.fork_cost(share, FORK) >= FORK {
        return Ok(Fork::Long);
    }
    let child = tree.edit(|tree, tlb| match promise {
        Promise::Guaranteed => tree.fork_guaranteed(tlb, share),
        Promise::BestEffort => tree.fork(tlb, share),
    });
    child.map(|tree| Fork::Made(Draft::of(tree)))
}

/// A snapshot that is there, or a fork that becomes one.
pub enum Kept {
    /// The snapshot.
    Made(graft_paging::Snapshot<arch::Format, KernelMemory>),
    /// It takes longer, and goes on in pieces.
    Begun,
    /// Another thread's operation is under way.
    Busy,
}

/// Takes a snapshot of a process's memory, or begins to, likewise.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn keep(process: &Ref<Process>, share: Share, later: impl FnOnce(Forked)) -> Result<Kept, Error> {
    let Some(mut tree) = process.space.lock_to_change()? else { return Ok(Kept::Busy) };
    if tree.fork_cost(share, FORK) >= FORK {
        later(Forked::begin_locked(process, tree, share, Promise::BestEffort)?);
        return Ok(Kept::Begun);
    }
    tree.edit(|tree, tlb| tree.snapshot(tlb, share)).map(Kept::Made)
}
