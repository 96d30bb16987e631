//! Snapshots: a process's memory and one thread's registers at one moment, to go back to or to make processes of.

use crate::arch::{self, Context, floating_point};
use crate::lock::Mutex;
use crate::memory::change::attempt;
use crate::memory::kernel_memory::KernelMemory;
use crate::memory::kernel_memory::Tree;
use crate::memory::left;
use crate::memory::space::Locked;
use crate::object::process::Name;
use crate::object::{Kind, Object, Ref};
use graft_abi::Error;
use graft_paging::{Budget, Progress};

/// A tree with the content of a snapshot, in the making.
type Forking = graft_paging::Forking<arch::Format, KernelMemory>;
/// The tables of a snapshot.
type Tables = graft_paging::Snapshot<arch::Format, KernelMemory>;

/// The object behind a handle that `snapshot` has returned.
pub struct Snapshot {
    /// Taken out when the last reference goes.
    tables: Mutex<Option<Tables>>,
    /// As they were when the call was made, its result not stored yet.
    registers: Context,
    /// `None` if the thread had not used any.
    floating_point: Option<floating_point::State>,
    /// The process's name.
    pub name: Name,
}

static KIND: Kind<Snapshot> = Kind::new("snapshot");

impl Object for Snapshot {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(tables) = self.tables.get_mut().take() {
            left::leave(tables.dismantle());
        }
    }
}

impl Snapshot {
    /// An object for tables that [`fill`](Self::fill) brings.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(
        registers: &Context,
        floating_point: Option<&floating_point::State>,
        name: Name,
    ) -> Result<Ref<Snapshot>, Error> {
        Ref::new(|_| Snapshot {
            tables: Mutex::new(None),
            registers: registers.clone(),
            floating_point: floating_point.cloned(),
            name,
        })
    }

    /// Keeps the tables.
    pub fn fill(&self, tables: Tables) {
        *self.tables.lock() = Some(tables);
    }

    /// The registers of the thread that asked for it.
    pub fn registers(&self) -> &Context {
        &self.registers
    }

    /// Its floating-point state.
    pub fn floating_point(&self) -> Option<&floating_point::State> {
        self.floating_point.as_ref()
    }

    /// A tree with this content.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn fork(&self) -> Result<Tree, Error> {
        self.with(Tables::fork)
    }

    /// Begins to make a tree with this content, in pieces.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn begin_fork(&self) -> Result<Forking, Error> {
        self.with(Tables::begin_fork)
    }

    /// Goes on with it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a snapshot without tables; what the tree answers.
    pub fn fork_step(
        &self,
        forking: &mut Forking,
        budget: Budget,
    ) -> Result<Result<Progress, graft_paging::Error>, Error> {
        Ok(self.tables.lock().as_mut().ok_or(Error::NotFound)?.fork_step(forking, budget))
    }

    /// How many instructions, about, a [`fork`](Self::fork) takes at most, as far as that is below `limit`.
    pub fn fork_cost(&self, limit: u64) -> u64 {
        self.tables.lock().as_ref().map_or(0, |tables| tables.fork_cost(limit))
    }

    /// How many instructions, about, bringing a tree back to this content takes, as far as that is below `limit`.
    pub fn restore_cost(&self, tree: &Locked<'_>, limit: u64) -> u64 {
        self.tables.lock().as_ref().map_or(0, |tables| tree.restore_cost(tables, limit))
    }

    /// Brings a tree back to this content.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and then nothing has changed.
    pub fn restore(&self, tree: &mut Locked<'_>) -> Result<(), Error> {
        let tlb = tree.tlb();
        self.with(|tables| tree.restore_leaving(&tlb, tables))?;
        left::leave(tree.take_debris());
        Ok(())
    }

    fn with<R>(&self, mut operation: impl FnMut(&mut Tables) -> Result<R, graft_paging::Error>) -> Result<R, Error> {
        // Empty only while the call that takes the snapshot is under way, which has given out no handle to it yet.
        let mut guard = self.tables.lock();
        let tables = guard.as_mut().ok_or(Error::NotFound)?;
        attempt(|| operation(tables))
    }
}
