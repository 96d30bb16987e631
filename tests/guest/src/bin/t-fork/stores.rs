//! The kernel's own stores: results of calls, into memory that is shared.

use graft_rt::abi::{Call, PAGE_SIZE, ProcessInfo};
use graft_rt::call::raw;
use graft_rt::gate::Gate;
use graft_rt::test::claim_success;
use graft_rt::test::depths::{Test, byte};
use graft_rt::{Error, Handle, Process, Region, claim_eq, process};

use crate::{mark, memory};

/// Lets the kernel store a ProcessInfo of the caller at an offset of the region. Returns whether
/// what is there now begins with the caller's identifier.
fn store(memory: &Region, offset: usize) -> bool {
    let address = (memory.address() + offset) as u64;
    // SAFETY: the kernel stores into the region, in which no Rust object lives.
    let answer = unsafe { raw(Call::ProcessInfo as u64, [Handle::SELF.0.into(), address, 0, 0, 0, 0]) };
    let stored: u64 = (0..8).map(|byte| u64::from(memory.read(offset + byte)) << (8 * byte)).sum();
    answer.result().is_ok() && stored == process::identify()
}

/// Where results go: within a page, and over the edge of two.
const PLACES: [usize; 3] = [0, 5 * PAGE_SIZE, 7 * PAGE_SIZE - size_of::<ProcessInfo>() / 2];

pub(crate) fn results(test: Test<'_>) -> Result<(), Error> {
    for place in PLACES {
        let memory = memory()?;
        let (gate, stored) = (Gate::new()?, Gate::new()?);
        let child = Process::fork_into(test.share, || {
            let right = store(&memory, place);
            stored.open();
            gate.pass();
            let own: u64 = (0..8).map(|byte| u64::from(memory.read(place + byte)) << (8 * byte)).sum();
            i32::from(!right || own != process::identify())
        })?;
        stored.pass();
        claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's after the child's call");
        let zero = (1..8).all(|offset| memory.read(byte(place / PAGE_SIZE + 1) - PAGE_SIZE + offset) == 0);
        claim_eq!(test.report, zero, true, "bytes of the parent's page after the child's call");
        claim_eq!(test.report, store(&memory, place), true, "the parent's call");
        gate.open();
        claim_success(test.report, &child, format_args!("the child that makes a call with a result at {place:#x}"));
    }
    Ok(())
}
