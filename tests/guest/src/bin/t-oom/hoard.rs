//! Programs that take all that there is, say so, and keep it: others have to live beside them.

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::memory::Shared;
use graft_rt::process::sleep;
use graft_rt::test::touch_stack_and_heap;
use graft_rt::{Process, Share, println};

/// Refusals after which there is nothing left.
const REFUSALS: u32 = 3;

/// Takes all memory for objects, or for processes, and never gives it back.
pub(crate) fn hoard(what: &str) -> ! {
    touch_stack_and_heap();
    let objects = if what == "objects" { objects() } else { Vec::new() };
    if what == "processes" {
        processes();
    }
    println!("nothing is left");
    wait(objects)
}

fn objects() -> Vec<Shared> {
    let mut objects = Vec::with_capacity(200);
    let mut bytes = 1 << 32;
    while bytes >= PAGE_SIZE {
        match Shared::new(bytes) {
            Ok(object) => objects.push(object),
            Err(_) => bytes /= 2,
        }
    }
    objects
}

/// By a child, which may be ended for want of memory: what it has made stays.
fn processes() {
    let breed = || {
        let mut refused = 0;
        while refused < REFUSALS {
            match Process::fork_into(Share::L1, || wait(())) {
                Ok(_) => refused = 0,
                Err(_) => refused += 1,
            }
        }
        0
    };
    let Ok(child) = Process::fork_into(Share::L1, breed) else { return };
    touch_stack_and_heap();
    let _ = child.wait();
}

fn wait<T>(_kept: T) -> ! {
    loop {
        sleep(Duration::from_secs(1000));
    }
}
