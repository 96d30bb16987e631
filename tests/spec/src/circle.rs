//! Circles of calls: a call that only those could receive which wait for its caller. See docs/ipc.md.

use crate::outcome::Step;
use crate::state::{Connection, Endpoint, Entry, Id, Process, Reply, State};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

impl Step {
    /// Whether all replies of the endpoint that a connection leads to are with processes that wait for the caller's, for
    /// certain: each has one thread, and one handle leads to each of these replies. Calls that are kept have no deadline
    /// here.
    pub(crate) fn closes_circle(&self, caller: Id, connection: Id) -> bool {
        let endpoint = self.state.get::<Connection>(connection).endpoint;
        let (mut waiting, mut certain) = (BTreeSet::new(), BTreeSet::new());
        let mut next = vec![self.process_of(caller)];
        while let Some(process) = next.pop() {
            if !waiting.insert(process) || self.state.threads_of(process).len() != 1 {
                continue;
            }
            for reply in self.sole_replies(process) {
                certain.insert(reply);
                let kept = self.still_waits(self.state.get::<Reply>(reply).open);
                next.extend(kept.map(|caller| self.process_of(caller)));
                // Those in line wait for it, too, if no other reply can take them.
                let endpoint = self.state.get::<Reply>(reply).endpoint;
                if replies(&self.state, endpoint).count() == 1 {
                    let callers = &self.state.get::<Endpoint>(endpoint).callers;
                    next.extend(callers.iter().map(|&caller| self.process_of(caller)));
                }
            }
        }
        let of_endpoint: Vec<Id> = replies(&self.state, endpoint).collect();
        !of_endpoint.is_empty() && of_endpoint.iter().all(|reply| certain.contains(reply))
    }

    /// Replies that one handle leads to, which is this process's.
    fn sole_replies(&self, process: Id) -> impl Iterator<Item = Id> {
        let names = |process: &Process, reply| process.handles.values().filter(|entry| entry.object == reply).count();
        let sole = move |&Entry { object, .. }: &Entry| {
            self.state.is::<Reply>(object)
                && self.state.all().map(|(_, other)| names(other, object)).sum::<usize>() == 1
        };
        self.state.get::<Process>(process).handles.values().copied().filter(sole).map(|entry| entry.object)
    }
}

fn replies(state: &State, endpoint: Id) -> impl Iterator<Item = Id> {
    state.all::<Reply>().filter(move |(_, reply)| reply.endpoint == endpoint).map(|(id, _)| id)
}
