//! Endpoints: where messages and receivers meet.
//!
//! ```text
//!   client                                                            server
//!   Connection, badge ──▶ Rendezvous ◀── Endpoint        the last handle to this one closes the rendezvous
//!                          callers      ◀── Reply        the call that has been received and not yet answered
//!                          receivers
//! ```
//!
//! At most one of the two lists has members that wait. The core that ends a thread's wait is the one that takes it out
//! of its list, and answers its call: with a message, or with the reason why there is none. A thread in `callers` has
//! its message in its registers. Once a call has been taken, the [`Reply`] has the caller's own reference, and the
//! number of its wait. Whichever core ends that wait first, by an answer, at the deadline or with the caller's process,
//! ends it alone: the number is of that wait and of no later one.

use crate::arch::MAX_CORES;
use crate::lock::{Mutex, MutexGuard};
use crate::object::list::List;
use crate::object::notification::Binding;
use crate::object::thread::{Queued, State, Thread, WaitNumber};
use crate::object::wait::{Queue, Wait};
use crate::object::{Kind, Object, Ref};
use crate::sched;
use crate::sched::crowd::{self, Crowd};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use graft_abi::Error;

/// Callers in line that [`Reply::waiting`] looks at.
const IN_LINE: usize = 4;

/// Where the two sides meet. No handle leads here.
pub struct Rendezvous {
    sides: Mutex<Sides>,
    /// How many replies there are, for [`crate::ipc::circle`].
    replies: AtomicU32,
    /// The process that has made the last one.
    server: AtomicU64,
}

/// Threads that have come first.
pub struct Sides {
    /// Those with a message.
    pub callers: List<Ref<Thread>, Queued>,
    /// Those without.
    pub receivers: List<Ref<Thread>, Queued>,
    /// What is told when a call comes in line.
    bound: Option<Binding>,
    closed: bool,
}

impl Sides {
    /// Tells that a call has come in line.
    pub fn announce(&self) {
        if let Some(binding) = &self.bound {
            binding.fire();
        }
    }
}

/// The right to receive, and to make connections.
pub struct Endpoint {
    rendezvous: Ref<Rendezvous>,
}

/// A way to an endpoint.
pub struct Connection {
    rendezvous: Ref<Rendezvous>,
    /// Tells the receiver which connection it is.
    pub badge: u64,
    /// What is told when no handle and no call leads through it any more.
    unused: Mutex<Option<Binding>>,
}

/// Where calls are received and answered, one at a time.
pub struct Reply {
    rendezvous: Ref<Rendezvous>,
    /// Under the rendezvous' lock.
    place: UnsafeCell<Place>,
}

/// Where a reply keeps a call.
struct Place {
    open: Option<Taken>,
    /// A thread has taken the caller of the call that was kept here, and is about to bring it back.
    is_lent: bool,
}

// SAFETY: `place` is reached through `Reply::place`, which asks for what is behind the lock, or by the last owner.
unsafe impl Sync for Reply {}

/// A call that a receiver has taken: a thread that waits for the answer.
pub struct Taken {
    caller: Ref<Thread>,
    wait: WaitNumber,
}

impl Endpoint {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new() -> Result<Ref<Endpoint>, Error> {
        let sides = || Sides { callers: List::new(), receivers: List::new(), bound: None, closed: false };
        let new = || Rendezvous { sides: Mutex::new(sides()), replies: AtomicU32::new(0), server: AtomicU64::new(0) };
        let rendezvous = Ref::new(|_| new())?;
        Ref::new(|_| Endpoint { rendezvous })
    }

    /// A way here.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn connection(&self, badge: u64) -> Result<Ref<Connection>, Error> {
        Ref::new(|_| Connection { rendezvous: self.rendezvous.clone(), badge, unused: Mutex::new(None) })
    }

    /// Has these bits set whenever a call comes in line, and now if one is there. Another binding ends with that.
    pub fn bind(&self, binding: Binding) {
        let mut sides = self.rendezvous.sides.lock();
        if !sides.callers.is_empty() {
            binding.fire();
        }
        let older = sides.bound.replace(binding);
        drop(sides);
        drop(older);
    }

    /// A place to receive at, made by the process with this identifier.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn reply(&self, server: u64) -> Result<Ref<Reply>, Error> {
        let place = || Place { open: None, is_lent: false };
        let reply = Ref::new(|_| Reply { rendezvous: self.rendezvous.clone(), place: UnsafeCell::new(place()) })?;
        self.rendezvous.replies.fetch_add(1, Ordering::Relaxed);
        self.rendezvous.server.store(server, Ordering::Relaxed);
        Ok(reply)
    }
}

impl Drop for Endpoint {
    /// The call of every thread that waits ends with [`Error::Gone`].
    fn drop(&mut self) {
        let mut sides = self.rendezvous.sides.lock();
        sides.closed = true;
        let bound = sides.bound.take();
        drop(sides);
        drop(bound);
        crowd::wake_all(self.rendezvous.clone());
    }
}

impl Crowd for Rendezvous {
    fn take_one(&self) -> Option<Ref<Thread>> {
        let mut sides = self.sides.lock();
        // One that is passed over is taken out by the core that has ended its wait.
        let taken = sides.callers.take_first(MAX_CORES + 1, sched::unblock);
        let (thread, _) = taken.or_else(|| sides.receivers.take_first(MAX_CORES + 1, sched::unblock))?;
        drop(sides);
        sched::answer_with(&thread, Error::Gone);
        Some(thread)
    }
}

/// Takes the first thread whose wait the calling core ends out of one of the sides, with that wait. Where another core
/// has ended it, at its deadline or with its process, that core takes it out: until then it stays, and blocks nowhere
/// else. [`None`] if there is no thread; [`Error::NotReady`] if there are only such.
///
/// In one step under the lock: a thread that was taken out first and whose wait was found over would run on, and
/// perhaps stand here again when the other core comes to take it out.
#[inline(always)]
pub fn take_first(side: &mut List<Ref<Thread>, Queued>) -> Option<Result<(Ref<Thread>, Wait), Error>> {
    // As many as there are cores can have been ended otherwise at a moment.
    match side.take_first(MAX_CORES + 1, sched::unblock) {
        Some(taken) => Some(Ok(taken)),
        None if side.is_empty() => None,
        None => Some(Err(Error::NotReady)),
    }
}

impl Rendezvous {
    /// The two sides.
    ///
    /// # Errors
    /// [`Error::Gone`] when the endpoint has been closed.
    #[inline(always)]
    fn open(&self) -> Result<MutexGuard<'_, Sides>, Error> {
        let sides = self.sides.lock();
        if sides.closed { Err(Error::Gone) } else { Ok(sides) }
    }
}

impl Connection {
    /// Has these bits set when the last handle is closed. Another binding ends with that.
    pub fn bind(&self, binding: Binding) {
        let older = self.unused.lock().replace(binding);
        drop(older);
    }

    /// The two sides of the endpoint that it leads to.
    ///
    /// # Errors
    /// [`Error::Gone`] when the endpoint has been closed.
    #[inline(always)]
    pub fn sides(&self) -> Result<MutexGuard<'_, Sides>, Error> {
        self.rendezvous.open()
    }
}

impl Connection {
    /// How many replies there are where it leads.
    pub fn replies(&self) -> u32 {
        self.rendezvous.replies.load(Ordering::Relaxed)
    }

    /// Whether the process with this identifier has made the last of them.
    pub fn is_served_by(&self, process: u64) -> bool {
        self.rendezvous.server.load(Ordering::Relaxed) == process
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(binding) = self.unused.get_mut().take() {
            binding.fire_last();
        }
    }
}

impl Reply {
    /// The two sides of the endpoint that it receives from, closed or not.
    #[inline(always)]
    pub fn lock(&self) -> MutexGuard<'_, Sides> {
        self.rendezvous.sides.lock()
    }

    /// The two sides of the endpoint that it receives from.
    ///
    /// # Errors
    /// [`Error::Gone`] when the endpoint has been closed.
    #[inline(always)]
    pub fn sides(&self) -> Result<MutexGuard<'_, Sides>, Error> {
        self.rendezvous.open()
    }

    /// Whether it receives what is sent through this connection.
    pub fn receives_from(&self, connection: &Connection) -> bool {
        self.rendezvous.is(&connection.rendezvous)
    }

    /// The threads that nothing but this reply can answer, unless their waits end at a deadline or with a process: that
    /// of the call that is kept here, and, if there is no other reply of the endpoint, those in line, a few of them.
    pub fn waiting(&self, mut with: impl FnMut(&Thread)) {
        let mut sides = self.lock();
        if let Some(Taken { caller, wait }) = self.open(&mut sides)
            && caller.is_in(*wait)
            && caller.deadline_core().is_none()
        {
            with(caller);
        }
        if self.rendezvous.replies.load(Ordering::Relaxed) == 1 {
            let blocked = |caller: &&Thread| caller.state() == State::Blocked && caller.deadline_core().is_none();
            sides.callers.iter().take(IN_LINE).filter(blocked).for_each(with);
        }
    }

    /// Takes a thread that waits for a message out of the receivers.
    pub fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.lock().receivers.remove(thread)
    }

    /// The call that is kept here.
    ///
    /// # Panics
    /// If these are another endpoint's sides.
    #[inline(always)]
    fn open<'a>(&'a self, sides: &'a mut Sides) -> &'a mut Option<Taken> {
        &mut self.place(sides).open
    }

    #[inline(always)]
    fn place<'a>(&'a self, sides: &'a mut Sides) -> &'a mut Place {
        assert!(core::ptr::eq(sides, self.rendezvous.sides.as_ptr()), "a lock of another endpoint");
        // SAFETY: the caller has the only way to what the rendezvous' lock protects.
        unsafe { &mut *self.place.get() }
    }

    /// Keeps a call until it is answered, and returns what has to be seen to without the lock.
    #[inline(always)]
    pub fn keep(&self, sides: &mut Sides, caller: Ref<Thread>) -> Kept {
        let open = self.open(sides);
        // SAFETY: the calling core has taken it out of its queue, or off itself.
        let wait = unsafe { caller.block_for_answer() };
        let older = open.replace(Taken { caller, wait });
        // It stays here: the answer finds that the caller waits no longer, as at any later moment.
        let ended = match open {
            Some(taken) if sched::meets_end(&taken.caller, wait) => Some(taken.caller.clone()),
            _ => None,
        };
        Kept { older, ended }
    }

    /// Takes the call that is kept here.
    #[inline(always)]
    pub fn take(&self, sides: &mut Sides) -> Option<Taken> {
        self.open(sides).take()
    }

    /// Whether another thread has taken the caller of the call that is kept here, and is about to bring the call back.
    pub fn is_lent(&self, sides: &mut Sides) -> bool {
        self.place(sides).is_lent
    }

    /// Takes the caller of the call that is kept here: it is the calling thread's until it is
    /// [brought back](Self::bring_back). `stopped`: it has to be one that is stopped at a fault.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none is kept, or the caller waits no longer; [`Error::BadArgument`] if it is one that is
    /// stopped and should not be, or the other way; [`Error::NotReady`] while another thread has it.
    pub fn take_lent(&self, sides: &mut Sides, stopped: bool) -> Result<Ref<Thread>, Error> {
        let place = self.place(sides);
        if place.is_lent {
            return Err(Error::NotReady);
        }
        let Taken { caller, wait } = place.open.as_ref().ok_or(Error::NotFound)?;
        if caller.is_stopped() != stopped {
            return Err(Error::BadArgument);
        }
        if !sched::unblock_from(caller, *wait) {
            return Err(Error::NotFound);
        }
        let taken = place.open.take().ok_or(Error::NotFound)?;
        place.is_lent = true;
        Ok(taken.caller)
    }

    /// Keeps a call again that was [taken](Self::take_lent). If another one has come to be kept here meanwhile, that
    /// one stays, and this one is given up.
    pub fn bring_back(&self, sides: &mut Sides, caller: Ref<Thread>) -> Kept {
        let place = self.place(sides);
        place.is_lent = false;
        if place.open.is_none() {
            return self.keep(sides, caller);
        }
        // SAFETY: it is the calling thread's since it was taken.
        let wait = unsafe { caller.block_for_answer() };
        Kept { older: Some(Taken { caller, wait }), ended: None }
    }

    /// The same for a call that is over: its caller is the calling core's to be refused.
    pub fn end_lent(&self, sides: &mut Sides) {
        self.place(sides).is_lent = false;
    }

    /// The caller of the call that is kept here, if it waits, this core may run it at once, and no other is in line:
    /// then it is this core's, and has this level. With the two sides, locked.
    #[inline(always)]
    pub fn take_to_run(&self, core: usize) -> Option<(MutexGuard<'_, Sides>, Ref<Thread>, u32)> {
        let sides = self.rendezvous.open().ok()?;
        if !sides.callers.is_empty() {
            return None;
        }
        // SAFETY: the rendezvous is locked.
        let open = unsafe { &mut (*self.place.get()).open };
        let taken = open.take()?;
        if let Some(level) = sched::level_next(core, &taken.caller)
            && sched::unblock_from_to_run(core, &taken.caller, taken.wait)
        {
            return Some((sides, taken.caller, level));
        }
        *open = Some(taken);
        None
    }
}

/// What follows when a call is kept.
#[must_use]
pub struct Kept {
    /// A call that was kept before, and is given up.
    pub older: Option<Taken>,
    /// The caller, which could not be blocked because its process is ending.
    pub ended: Option<Ref<Thread>>,
}

impl Kept {
    /// Whether nothing does.
    #[inline(always)]
    pub fn is_settled(&self) -> bool {
        self.older.is_none() && self.ended.is_none()
    }

    /// Gives up the older call. A thread that is returned has to be ended.
    #[inline(always)]
    pub fn settle(self) -> Option<Ref<Thread>> {
        if let Some(older) = self.older {
            older.give_up(Error::Gone);
        }
        self.ended
    }
}

impl Kept {
    /// As [`settle`](Self::settle). The thread ends when it meets its process's mark: a piece of work may come before.
    pub fn settle_later(self) {
        if let Some(ended) = self.settle() {
            sched::make_ready(ended);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.rendezvous.replies.fetch_sub(1, Ordering::Relaxed);
        if let Some(taken) = self.place.get_mut().open.take() {
            taken.give_up(Error::Gone);
            // Mostly the thread that closes it has received with it.
            sched::return_priority_of_current();
        }
    }
}

impl Taken {
    /// The caller, which this core owns from here on; `None` if it does not wait for the answer any more.
    #[inline(always)]
    pub fn claim(self) -> Option<Ref<Thread>> {
        sched::unblock_from(&self.caller, self.wait).then_some(self.caller)
    }

    /// Ends the call without an answer.
    pub fn give_up(self, error: Error) {
        if let Some(caller) = self.claim() {
            sched::refuse(caller, error);
        }
    }
}

impl Queue for Connection {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.rendezvous.sides.lock().callers.remove(thread)
    }
}

static RENDEZVOUS: Kind<Rendezvous> = Kind::new("rendezvous");
static ENDPOINT: Kind<Endpoint> = Kind::new("endpoint");
static CONNECTION: Kind<Connection> = Kind::new("connection");
static REPLY: Kind<Reply> = Kind::new("reply");

impl Object for Rendezvous {
    fn kind() -> &'static Kind<Self> {
        &RENDEZVOUS
    }
}

impl Object for Endpoint {
    fn kind() -> &'static Kind<Self> {
        &ENDPOINT
    }
}

impl Object for Connection {
    fn kind() -> &'static Kind<Self> {
        &CONNECTION
    }
}

impl Object for Reply {
    fn kind() -> &'static Kind<Self> {
        &REPLY
    }
}
