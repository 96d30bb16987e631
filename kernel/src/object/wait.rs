//! Waiting: one mechanism for everything that a thread can wait for.
//!
//! ```text
//!   thread ── Wait ──▶ queue, in an object that this keeps alive     wake:    the queue gives the thread up
//!      ▲                 │ counted reference                         cancel:  the thread says where to take it out
//!      └─────────────────┘
//! ```

use super::endpoint::Reply;
use super::thread::Thread;
use super::{AnyRef, Object, Ref};
use core::ptr::NonNull;

/// Where blocked threads stand, and can be taken out of.
pub trait Queue: Sync + 'static {
    /// Takes a thread out; `None` if it does not stand here any more: then the core that took it out makes it ready.
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>>;
}

/// What a blocked thread waits for.
pub enum Wait {
    /// To be taken out of a queue.
    Queue(Place),
    /// For a message, among the receivers of an endpoint.
    Message(Ref<Reply>),
    /// For the answer to a call that another thread has taken. It stands in no queue: the reference that a queue would
    /// have is where the call is kept, and is found gone there.
    Answer,
}

/// A queue, and what keeps it.
pub struct Place {
    queue: NonNull<dyn Queue>,
    /// What the queue is part of; nothing for one that is there for good.
    keeper: Option<AnyRef>,
}

impl Wait {
    /// In an object, which stays for as long as the thread waits.
    pub fn in_object<T: Object + Queue>(object: Ref<T>) -> Wait {
        let queue: &dyn Queue = &*object;
        let queue = NonNull::from(queue);
        Wait::Queue(Place { queue, keeper: Some(object.erase()) })
    }

    /// In a part of an object, which stays for as long as the thread waits.
    pub fn in_part<T: Object>(object: Ref<T>, part: impl FnOnce(&T) -> &dyn Queue) -> Wait {
        let queue = core::ptr::from_ref(part(&object)).cast_mut();
        // SAFETY: the address of a reference. The object never moves, and the keeper keeps it: the queue is used for no
        // longer than that.
        let queue = unsafe { NonNull::new_unchecked(queue) };
        Wait::Queue(Place { queue, keeper: Some(object.erase()) })
    }

    /// In a queue that is there for good.
    pub fn in_place(queue: &'static dyn Queue) -> Wait {
        Wait::Queue(Place { queue: NonNull::from(queue), keeper: None })
    }

    /// The object that the queue is part of, if it is of this kind.
    #[inline(always)]
    pub fn object<T: Object>(self) -> Option<Ref<T>> {
        match self {
            Wait::Queue(Place { keeper: Some(keeper), .. }) => keeper.into(),
            _ => None,
        }
    }

    /// Takes the thread out of the queue, as [`Queue::cancel`] does.
    pub fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        match self {
            // SAFETY: the keeper keeps the queue's object, or it is there for good; an object never moves.
            Wait::Queue(place) => unsafe { place.queue.as_ref() }.cancel(thread),
            Wait::Message(reply) => reply.cancel(thread),
            // SAFETY: the caller keeps the thread.
            Wait::Answer => unsafe { Ref::revive(thread) },
        }
    }
}
