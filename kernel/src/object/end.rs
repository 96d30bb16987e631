//! Ends: how a process or a thread ended, stored once, kept, and reported to every thread that waits for it.

use crate::arch;
use crate::lock::Mutex;
use crate::object::list::List;
use crate::object::notification::Binding;
use crate::object::parting::PARTING;
use crate::object::thread::{Queued, Thread};
use crate::object::wait::Queue;
use crate::object::{Object, Ref};
use crate::sched;
use crate::sched::crowd::{self, Crowd};
use crate::sync::Ordering;
use graft_abi::Error;

/// What a call that waits for an end answers: its `x0` and `x1`.
pub type Answer = [u64; 2];

/// How something ended, and the threads that wait for it.
pub struct End(Mutex<State>);

struct State {
    told: Told,
    waiters: List<Ref<Thread>, Queued>,
    /// What else is told.
    bound: Option<Binding>,
}

/// Not an [`Option`] of a pair: that takes a word more.
enum Told {
    Not,
    /// The answer, and the core that told it.
    By(u32, Answer),
}

/// An object that ends, and then stays as long as a process holds a handle to it.
pub trait Ends: Object + Queue + Crowd {
    /// Its end.
    fn end(&self) -> &End;
}

impl Default for End {
    fn default() -> End {
        End::new()
    }
}

impl End {
    /// The end of something that has just begun.
    pub const fn new() -> End {
        End(Mutex::new(State { told: Told::Not, waiters: List::new(), bound: None }))
    }

    /// How it ended, if it has.
    pub fn answer(&self) -> Option<Answer> {
        match self.0.lock().told {
            Told::By(_, answer) => Some(answer),
            Told::Not => None,
        }
    }

    /// How it ended, or, if it has not, what `join` makes of the list of waiters, under its lock.
    pub fn answer_or<R>(&self, join: impl FnOnce(&mut List<Ref<Thread>, Queued>) -> R) -> Result<Answer, R> {
        let mut state = self.0.lock();
        let Told::By(core, answer) = state.told else {
            return Err(join(&mut state.waiters));
        };
        drop(state);
        self.await_parting(core);
        Ok(answer)
    }

    /// Waits for the core that has told the end, which is a few instructions away from dropping its reference.
    fn await_parting(&self, core: u32) {
        while PARTING[core as usize].leaving.load(Ordering::Acquire) == self.address() {
            arch::relax();
        }
    }

    /// Has these bits set at the end, or now if it has ended.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if others are to be set already.
    pub fn bind(&self, binding: Binding) -> Result<(), Error> {
        let mut state = self.0.lock();
        if let Told::By(core, _) = state.told {
            drop(state);
            self.await_parting(core);
            binding.fire_last();
            return Ok(());
        }
        if state.bound.is_some() {
            return Err(Error::NotAllowed);
        }
        state.bound = Some(binding);
        Ok(())
    }

    /// Takes a thread out of the list of those that wait for this end.
    pub fn remove_waiter(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.0.lock().waiters.remove(thread)
    }

    /// Takes out a thread that has waited for this end, which has been told, and answers it.
    pub fn take_one(&self) -> Option<Ref<Thread>> {
        let mut state = self.0.lock();
        let Told::By(_, answer) = state.told else { return None };
        let waiter = state.waiters.pop_front()?;
        drop(state);
        sched::end_wait(&waiter, Some(answer));
        Some(waiter)
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Tells all waiters how an object ended, and drops this reference to it before they run on: an object that
/// has been waited for and closed has left no frame behind.
#[inline(always)]
pub fn tell<T: Ends>(object: Ref<T>, answer: Answer) {
    let core = arch::core_index();
    let leaving = &PARTING[core].leaving;
    leaving.store(object.end().address(), Ordering::Relaxed);
    let mut state = object.end().0.lock();
    state.told = Told::By(core as u32, answer);
    // From now on no thread joins the waiters.
    let first = state.waiters.pop_front();
    let crowd = (!state.waiters.is_empty()).then(|| object.clone());
    let bound = state.bound.take();
    drop(state);
    drop(object);
    leaving.store(0, Ordering::Release);
    if let Some(binding) = bound {
        binding.fire_last();
    }
    if let Some(waiter) = first {
        sched::end_wait(&waiter, Some(answer));
        sched::make_ready(waiter);
    }
    if let Some(crowd) = crowd {
        crowd::wake_all(crowd);
    }
}
