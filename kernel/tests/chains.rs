//! Chains of objects, each of which holds the last reference to the next: when the first goes, all go, and the stack
//! does not grow with the chain.

use graft_abi::Rights;
use graft_kernel::arch::memory::SIZE;
use graft_kernel::arch::{self, Context, PhysRange};
use graft_kernel::memory::frames;
use graft_kernel::object::process::{NAME_SIZE, Name, Process};
use graft_kernel::object::thread::{Scheduling, Thread};
use graft_kernel::object::{AnyRef, Ref};

/// More links than the stack has room for calls.
const LINKS: usize = 6_000;
/// What a core has in the kernel, and a little more for the host's own runtime.
const STACK: usize = 96 << 10;

fn process() -> Ref<Process> {
    Process::new(None, Name([0; NAME_SIZE])).expect("there is a frame")
}

/// A chain whose links are made by `link`, each around the one before.
fn claim_chain_goes(mut link: impl FnMut(Option<AnyRef>) -> AnyRef) {
    let before = frames::figures().objects;
    let mut last = None;
    for _ in 0..LINKS {
        last = Some(link(last));
    }
    assert!(frames::figures().objects >= before + LINKS as u64, "the chain is there");
    drop(last);
    assert_eq!(frames::figures().objects, before, "nothing of the chain is left");
}

fn holder(held: Option<AnyRef>) -> Ref<Process> {
    let process = process();
    if let Some(held) = held {
        process.handles.lock().insert(held, Rights::ALL).expect("the table is empty");
    }
    process
}

#[test]
fn the_end_of_a_chain_of_objects_does_not_recurse() {
    let work = || {
        arch::adopt(0);
        frames::initialise(&[PhysRange { start: 0, end: SIZE }]).expect("there is memory");
        // A process holds the next by a handle.
        claim_chain_goes(|held| holder(held).erase());
        // A thread holds its process, which holds the next thread by a handle.
        claim_chain_goes(|held| {
            Thread::new(holder(held), Scheduling::FIRST, &Context::new_user(0, 0, [0; 2]), |_| {})
                .expect("there is a frame")
                .erase()
        });
        // Each holds the next twice.
        claim_chain_goes(|held| {
            let next = holder(held.clone());
            if let Some(held) = held {
                next.handles.lock().insert(held, Rights::ALL).expect("there is room");
            }
            next.erase()
        });
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).expect("a thread").join().expect("no chain overflows");
}
