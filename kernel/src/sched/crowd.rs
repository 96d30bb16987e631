//! Threads that wait for something that is over: there may be any number, and they are woken a few at a time.
//!
//! ```text
//!   over ──▶ the first few are woken here ──▶ the last of them wakes the others, as work in pieces, before it goes on
//! ```

use super::make_ready;
use super::work::Task;
use crate::object::thread::Thread;
use crate::object::{AnyRef, Object, Ref};
use core::ptr::NonNull;
use graft_paging::Progress;

/// Threads that are woken before interrupts are answered.
const AT_ONCE: usize = 32;

/// Where threads wait, and none comes to wait any more.
pub trait Crowd: Sync + 'static {
    /// Takes a thread out and answers its call. It is the calling core's.
    fn take_one(&self) -> Option<Ref<Thread>>;
}

/// The threads that are left somewhere, to be woken.
pub struct Rest {
    crowd: NonNull<dyn Crowd>,
    /// Keeps it.
    _keeper: AnyRef,
}

// SAFETY: a crowd is `Sync`, and the keeper may go anywhere.
unsafe impl Send for Rest {}

impl Rest {
    /// What is left in this object.
    fn of<T: Object + Crowd>(object: Ref<T>) -> Rest {
        let crowd: &dyn Crowd = &*object;
        let crowd = NonNull::from(crowd);
        Rest { crowd, _keeper: object.erase() }
    }

    /// Wakes a few.
    pub fn wake_some(&self) -> Progress {
        // SAFETY: the keeper keeps it, and an object never moves.
        let crowd = unsafe { self.crowd.as_ref() };
        for _ in 0..AT_ONCE {
            let Some(thread) = crowd.take_one() else { return Progress::Done };
            make_ready(thread);
        }
        Progress::More
    }

    /// Has a thread, which the calling core owns and has been woken from there, wake them before it goes on, even if it
    /// is ended meanwhile.
    fn leave_to(self, thread: &Thread) {
        thread.work.give(Some(Task::Wake(self)));
    }
}

/// Wakes all threads that wait in an object.
#[cold]
pub fn wake_all<T: Object + Crowd>(object: Ref<T>) {
    for _ in 1..AT_ONCE {
        let Some(thread) = object.take_one() else { return };
        make_ready(thread);
    }
    if let Some(last) = object.take_one() {
        Rest::of(object).leave_to(&last);
        make_ready(last);
    }
}
