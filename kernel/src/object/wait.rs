//! Waiting: one mechanism for everything that a thread can wait for.
//!
//! ```text
//!   thread ── Wait ──▶ queue, in an object that this keeps alive     wake:    the queue gives the thread up
//!      ▲                 │ counted reference                         cancel:  the thread says where to take it out
//!      └─────────────────┘
//! ```

use super::thread::Thread;
use super::{AnyRef, Object, Ref};
use core::ptr::NonNull;

/// Where blocked threads stand, and can be taken out of.
pub trait Queue: Sync + 'static {
    /// Takes a thread out; `None` if it does not stand here any more: then the core that took it out makes it ready.
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>>;

    /// Whether the call that waits here has been taken by another thread, so that it cannot be made again.
    fn has_taken(&self) -> bool {
        false
    }
}

/// What a blocked thread waits for.
pub struct Wait {
    queue: NonNull<dyn Queue>,
    /// What the queue is part of; nothing for one that is there for good.
    keeper: Option<AnyRef>,
}

impl Wait {
    /// In an object, which stays for as long as the thread waits.
    pub fn in_object<T: Object + Queue>(object: Ref<T>) -> Wait {
        let queue: &dyn Queue = &*object;
        let queue = NonNull::from(queue);
        Wait { queue, keeper: Some(object.erase()) }
    }

    /// In a queue that is there for good.
    pub fn in_place(queue: &'static dyn Queue) -> Wait {
        Wait { queue: NonNull::from(queue), keeper: None }
    }

    /// The object that the queue is part of, if it is of this kind.
    pub fn object<T: Object>(&self) -> Option<&Ref<T>> {
        self.keeper.as_ref()?.get().ok()
    }

    /// As [`Queue::has_taken`].
    pub fn has_taken(&self) -> bool {
        // SAFETY: as in `cancel`.
        unsafe { self.queue.as_ref() }.has_taken()
    }

    /// Takes the thread out of the queue, as [`Queue::cancel`] does.
    pub fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        // SAFETY: the keeper keeps the queue's object, or it is there for good; an object never moves.
        unsafe { self.queue.as_ref() }.cancel(thread)
    }
}
