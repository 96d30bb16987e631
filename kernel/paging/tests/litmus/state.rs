//! The state of cores that reorder: what waits in their buffers, and what they may still see.

use std::collections::BTreeMap;
use std::rc::Rc;

use graft_paging::Frame;

use super::program::Everywhere;
use super::{Place, Time};
use crate::machine::Cached;

/// What waits in a core's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Waiting {
    Store { place: Place, value: u64, view: Time },
    Fence,
    Invalidation(Option<u64>, u16, Everywhere),
}

/// One way in which a walk can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// At an invalid descriptor of this level.
    Nothing(usize),
    Page {
        frame: Frame,
        read: bool,
        write: bool,
    },
}

#[derive(Clone, Hash, Default)]
pub(super) struct Core {
    /// Next operation, of the handler where there is one.
    pub(super) next: usize,
    pub(super) handler: Option<usize>,
    /// Register values, each with the earliest moment at which it can have been known.
    pub(super) registers: BTreeMap<String, (u64, Time)>,
    pub(super) buffer: Vec<Waiting>,
    /// Loads are satisfied after this.
    pub(super) loads: Time,
    /// Walks happen after this.
    pub(super) walks: Time,
    /// The end of the last `dsb`, and the latest moment on which a branch depended: a context synchronisation waits for
    /// both.
    pub(super) ordered: Time,
    /// The last store to each place that was seen.
    pub(super) coherent: BTreeMap<Place, Time>,
}

#[derive(Clone, Hash)]
pub(super) struct State {
    pub(super) cores: Vec<Core>,
    /// Every store that left a buffer, by place: its moment and its value.
    pub(super) history: Vec<Vec<(Time, u64)>>,
    /// After each event, by core and address: how a walk can end.
    pub(super) answers: Vec<Rc<Vec<Vec<Vec<Answer>>>>>,
    /// Which core invalidated at each event.
    pub(super) invalidated_by: Vec<Option<usize>>,
    pub(super) caches: Vec<Vec<(u16, Cached)>>,
}

impl State {
    pub(super) fn now(&self) -> Time {
        self.answers.len() - 1
    }
}

/// How an access can end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// With the place and moment of the store that it reads, unless that is in the core's own buffer, and with the
    /// earliest moment at which the value can have been known.
    Value(u64, Option<(Place, Time)>, Time),
    Stored(Place),
    Fault(usize, Time),
}
