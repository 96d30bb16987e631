//! Threads: closures that run beside each other in one process.
//!
//! ```text
//!   lower addresses   | guard: faults on any access | <- stack, touched pages only | x0: the closure
//! ```
//!
//! A thread has a stack of its own, which is given back when the last handle to the thread goes. So dropping
//! a handle waits for the thread: a stack in use is never given back. A thread that panics ends its
//! process, as everywhere in this library.
//!
//! A forked child has the thread that forked and no other. Handles to the others name threads of the parent
//! there, whose results arrive in the parent's memory: [`JoinHandle::join`] refuses, dropping does not wait.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use graft_abi::{Call, Error, Handle, PAGE_SIZE, Permissions, ThreadEnd, ThreadInfo};

use crate::Region;
use crate::call::call;
use crate::process;
use crate::sync::Mutex;

pub use crate::process::yield_now;

/// Bytes of a thread's stack.
pub const STACK_SIZE: usize = 256 << 10;
/// Bytes below it that fault. Functions with larger frames touch every page on their way down.
const GUARD: usize = PAGE_SIZE;

type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

/// A thread to wait for, and its result.
///
/// Dropping it waits, too, and forgets the result.
#[derive(Debug)]
pub struct JoinHandle<T> {
    // Dropped first, so that the thread has stored its result before `result` goes.
    running: Arc<Running>,
    result: Arc<Mutex<Option<T>>>,
}

/// What a thread has that must outlive it.
#[derive(Debug)]
struct Running {
    handle: Handle,
    stack: ManuallyDrop<Region>,
    /// The process it runs in.
    process: u64,
}

/// Where threads run that may borrow what lives longer than the scope; see [`scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'environment: 'scope> {
    threads: Mutex<Vec<Arc<Running>>>,
    process: u64,
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'environment mut &'environment ()>,
}

/// Starts a thread.
///
/// # Errors
///
/// [`Error::ThreadsExhausted`], [`Error::HandlesExhausted`], [`Error::AddressesExhausted`] for its stack,
/// [`Error::OutOfMemory`]. The closure is gone then, and nothing else is left.
pub fn spawn<T, F>(work: F) -> Result<JoinHandle<T>, Error>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: it borrows nothing that could end.
    unsafe { start(work) }
}

/// Runs `body`, which may start threads that borrow what it could borrow itself, and waits for all of them.
///
/// ```no_run
/// let words = ["one", "two"];
/// graft_rt::thread::scope(|scope| {
///     scope.spawn(|| graft_rt::println!("{words:?}")).map(drop)
/// })?;
/// # Ok::<(), graft_rt::Error>(())
/// ```
///
/// What ends before the scope does cannot be borrowed:
///
/// ```compile_fail,E0597
/// graft_rt::thread::scope(|scope| {
///     let inner = 1;
///     let inner = &inner;
///     scope.spawn(move || *inner).map(drop)
/// });
/// ```
pub fn scope<'environment, T>(body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'environment>) -> T) -> T {
    let scope = Scope {
        threads: Mutex::new(Vec::new()),
        process: process::identify(),
        scope: PhantomData,
        environment: PhantomData,
    };
    let result = body(&scope);
    scope.wait();
    result
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a thread that ends before the scope does.
    ///
    /// # Errors
    ///
    /// As [`spawn`](spawn()).
    pub fn spawn<T, F>(&'scope self, work: F) -> Result<JoinHandle<T>, Error>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: `scope` waits for it before what it borrows ends.
        let thread = unsafe { start(work) }?;
        self.threads.lock().push(thread.running.clone());
        Ok(thread)
    }

    fn wait(&self) {
        // A forked child has none of them, and would wait for a lock that one of them had for ever.
        if process::identify() != self.process {
            return;
        }
        loop {
            // A thread in the list may add others to it before it ends.
            let Some(thread) = self.threads.lock().pop() else { return };
            // The scope must not end without it: the thread may use what ends with the scope.
            thread.wait().expect("only the scope closes the handles of its threads");
        }
    }
}

impl<T> JoinHandle<T> {
    /// Waits until the thread has ended and returns what its closure has returned.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] for the calling thread itself and, in a forked child, for a thread of the parent's;
    /// [`Error::NotFound`] if the thread has ended in another way than by returning.
    pub fn join(self) -> Result<T, Error> {
        self.running.wait()?;
        // The thread, the only other user of this lock, has ended.
        self.result.try_lock().and_then(|mut result| result.take()).ok_or(Error::NotFound)
    }

    /// Gives it a priority and the cores that it may run on; see [`schedule`].
    ///
    /// # Errors
    /// As there.
    pub fn schedule(&self, priority: u8, cores: Cores) -> Result<(), Error> {
        schedule_thread(self.running.handle, priority, cores)
    }

    /// How long it has run, also after its end; see [`info`](info()).
    ///
    /// # Errors
    /// As there.
    pub fn info(&self) -> Result<ThreadInfo, Error> {
        info(self.running.handle)
    }

    /// The handle, for raw calls and for passing on.
    pub fn handle(&self) -> Handle {
        self.running.handle
    }
}

/// Cores that a thread may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All that there are.
    All,
    /// Those whose bit is set.
    Some(u64),
}

/// Gives the calling thread a priority below [`PRIORITIES`](graft_abi::PRIORITIES) and the cores that it may run on. Of
/// threads that are ready, one of the highest priority runs; those of one priority take turns.
///
/// # Errors
/// [`Error::NotAllowed`] for a priority above the thread's limit; [`Error::BadArgument`] for one that there is not, and
/// if the machine has none of these cores.
pub fn schedule(priority: u8, cores: Cores) -> Result<(), Error> {
    schedule_thread(Handle::SELF, priority, cores)
}

fn schedule_thread(thread: Handle, priority: u8, cores: Cores) -> Result<(), Error> {
    let cores = match cores {
        Cores::All => 0,
        Cores::Some(0) => return Err(Error::BadArgument),
        Cores::Some(cores) => cores,
    };
    // SAFETY: the call touches no memory.
    unsafe { call(Call::Schedule, [thread.0.into(), priority.into(), cores]) }.map(drop)
}

/// How long the calling thread has run, for itself and for those that have called it, and how it is scheduled.
pub fn own_info() -> ThreadInfo {
    info(Handle::SELF).unwrap_or_default()
}

/// The same of the thread that a handle names.
///
/// # Errors
/// [`Error::BadHandle`], [`Error::WrongObject`], [`Error::NoRight`] without the right to inspect.
pub fn info(thread: Handle) -> Result<ThreadInfo, Error> {
    let mut info = ThreadInfo::default();
    // SAFETY: the kernel stores a ThreadInfo into a variable that is borrowed mutably.
    unsafe { call(Call::ThreadInfo, [thread.0.into(), (&raw mut info).addr() as u64]) }?;
    Ok(info)
}

impl Running {
    fn wait(&self) -> Result<(), Error> {
        if process::identify() != self.process {
            return Err(Error::NotAllowed);
        }
        join(self.handle).map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.wait().is_ok();
        let _ = process::close(self.handle);
        let here = (&raw const ended).addr();
        let stack = self.stack.address()..self.stack.address() + self.stack.bytes();
        // In a forked child no thread uses it, unless it is the stack of the thread that forked.
        if ended || (process::identify() != self.process && !stack.contains(&here)) {
            // SAFETY: this is the end of the structure.
            unsafe { ManuallyDrop::drop(&mut self.stack) };
        }
    }
}

/// Starts a thread.
///
/// # Safety
///
/// It ends before anything that `work` or its result borrows does.
unsafe fn start<'a, T, F>(work: F) -> Result<JoinHandle<T>, Error>
where
    F: FnOnce() -> T + Send + 'a,
    T: Send + 'a,
{
    let stack = Region::new(GUARD + STACK_SIZE)?;
    stack.protect(0..GUARD, Permissions::None)?;
    let result = Arc::new(Mutex::new(None));
    let its_result = result.clone();
    let work: Work<'a> = Box::new(move || {
        let value = work();
        *its_result.lock() = Some(value);
    });
    // Twice boxed: a register holds a thin pointer.
    let work = Box::into_raw(Box::new(work));
    let top = stack.address() + stack.bytes();
    // SAFETY: the thread touches its own stack and what `begin` may: its closure.
    let answer = unsafe {
        call(Call::ThreadCreate, [begin as *const () as u64, top as u64, work.expose_provenance() as u64, 0])
    };
    match answer {
        Ok(answer) => {
            let (stack, process) = (ManuallyDrop::new(stack), process::identify());
            Ok(JoinHandle { running: Arc::new(Running { handle: answer.handle(), stack, process }), result })
        }
        Err(error) => {
            // SAFETY: the address comes from `into_raw`, and no thread has got it.
            drop(unsafe { Box::from_raw(work) });
            Err(error)
        }
    }
}

/// Where every thread begins.
extern "C" fn begin(work: usize) -> ! {
    // SAFETY: `start` has passed this address, once, and what it leads to lives as long as the thread does
    // (`start`'s contract).
    let work = unsafe { Box::from_raw(core::ptr::with_exposed_provenance_mut::<Work<'_>>(work)) };
    work();
    // SAFETY: nothing is left on this stack, and no thread uses the value 0 that this one ends with.
    let refusal = unsafe { call(Call::ThreadExit, [0]) };
    unreachable!("thread_exit returned {refusal:?}")
}

/// Blocks until the thread that a handle names has ended and returns how. May be asked again, and by others.
pub fn join(thread: Handle) -> Result<ThreadEnd, Error> {
    // SAFETY: the call touches no memory.
    let answer = unsafe { call(Call::ThreadJoin, [thread.0.into()]) }?;
    // What this version does not know is a kernel's newer invention: still an end.
    Ok(ThreadEnd::from_registers([answer.x0, answer.x1]).unwrap_or(ThreadEnd::Exited(0)))
}
