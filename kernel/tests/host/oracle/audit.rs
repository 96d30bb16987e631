//! Whether the kernel's tables are as the specification has them.

use super::Conductor;
use graft_abi::{Handle, ProcessState, Rights};
use graft_kernel::object::endpoint::{Connection, Endpoint, Reply};
use graft_kernel::object::job::Job;
use graft_kernel::object::memory::MemoryObject;
use graft_kernel::object::notification::Notification;
use graft_kernel::object::process::Process;
use graft_kernel::object::snapshot::Snapshot;
use graft_kernel::object::thread::Thread;
use graft_kernel::object::{AnyRef, Object};
use graft_spec::{Id, State};
use std::collections::BTreeMap;

impl Conductor<'_> {
    /// Whether there are these processes, with these statuses and handles.
    pub fn audit(&self, state: &State) -> Result<(), String> {
        let there = self.processes();
        let mut objects = Objects::default();
        let expected: BTreeMap<u64, &graft_spec::state::Process> =
            state.all().map(|(_, process): (Id, &graft_spec::state::Process)| (process.identifier, process)).collect();
        let identifiers: Vec<u64> = there.iter().map(|process| process.identifier()).collect();
        // The conductor keeps the first one.
        let differ = |identifier: &u64| *identifier != self.root.identifier() && !expected.contains_key(identifier);
        if let Some(other) = identifiers.iter().find(|identifier| differ(identifier)) {
            return Err(format!("process {other} is still there"));
        }
        for (identifier, expected) in expected {
            let process = there.iter().find(|process| process.identifier() == identifier);
            let process = process.ok_or_else(|| format!("process {identifier} is gone"))?;
            let info = process.info();
            let status = (info.state == ProcessState::Ended as u32).then_some(info.exit_status);
            if status != expected.status {
                return Err(format!("process {identifier} has the status {status:x?}, not {:x?}", expected.status));
            }
            let handles = process.handles.lock();
            for number in state.machine.reserved + 1..=100 {
                let found = handles.get(Handle(number), Rights::NONE).ok();
                let wanted = expected.handles.get(&number);
                let fits = match (found, wanted) {
                    (None, None) => true,
                    (Some((object, rights)), Some(entry)) => {
                        rights == entry.rights && objects.is(object, entry.object, state)
                    }
                    _ => false,
                };
                if !fits {
                    let found = found.map(|(_, rights)| rights);
                    return Err(format!("handle {number} of process {identifier} is {found:x?}, not {wanted:x?}"));
                }
            }
        }
        Ok(())
    }
}

/// Which object of the kernel's is which of the specification's.
#[derive(Default)]
struct Objects {
    by_address: BTreeMap<usize, Id>,
    by_name: BTreeMap<Id, usize>,
}

impl Objects {
    fn is(&mut self, object: &AnyRef, id: Id, state: &State) -> bool {
        use graft_spec::Object as Model;
        fn address<T: Object>(object: &AnyRef) -> Option<usize> {
            object.as_kind::<T>().map(|object| std::ptr::from_ref::<T>(object).addr())
        }
        let address = match state.objects[&id] {
            Model::Process(_) => address::<Process>(object),
            Model::Thread(_) => address::<Thread>(object),
            Model::Endpoint(_) => address::<Endpoint>(object),
            Model::Connection(_) => address::<Connection>(object),
            Model::Reply(_) => address::<Reply>(object),
            Model::Notification(_) => address::<Notification>(object),
            Model::Memory(_) => address::<MemoryObject>(object),
            Model::Job(_) => address::<Job>(object),
            Model::Snapshot(_) => address::<Snapshot>(object),
        };
        let Some(address) = address else { return false };
        *self.by_address.entry(address).or_insert(id) == id && *self.by_name.entry(id).or_insert(address) == address
    }
}
