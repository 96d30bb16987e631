//! Reads after a fork.

use graft_rt::gate::Gate;
use graft_rt::process::own_info;
use graft_rt::test::claim_success;
use graft_rt::test::depths::Test;
use graft_rt::{Error, Process, Region, claim_eq};

use crate::{mark, memory};

pub(crate) fn no_fault(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let child = Process::fork_into(test.share, || {
        // Once for the stack and what else the measuring itself writes.
        let _ = own_info();
        let before = own_info();
        let difference = memory.first_difference(mark);
        let after = own_info();
        match difference {
            Some(_) => 1,
            None if after.faults != before.faults => 2,
            None if after.resident_pages != before.resident_pages => 3,
            None => 0,
        }
    })?;
    claim_success(test.report, &child, format_args!("the child that reads every page (2: it took a fault)"));
    let before = own_info();
    let difference = memory.first_difference(mark);
    claim_eq!(test.report, difference, None, "a page of the parent's");
    claim_eq!(test.report, own_info().faults, before.faults, "faults of the parent's reads");
    Ok(())
}

/// Reserved memory, some of it read before the fork, some never.
pub(crate) fn untouched(test: Test<'_>) -> Result<(), Error> {
    let memory = Region::new(6 << 20)?;
    let zero = |from: usize, to: usize| (from..to).step_by(0x800).all(|offset| memory.read(offset) == 0);
    claim_eq!(test.report, zero(0, 2 << 20), true, "fresh memory is zero");
    let (gate, written) = (Gate::new()?, Gate::new()?);
    let child = Process::fork_into(test.share, || {
        if !zero(0, 3 << 20) {
            return 1;
        }
        memory.fill(|_| 0xcc);
        written.open();
        gate.pass();
        memory.first_difference(|_| 0xcc).map_or(0, |_| 2)
    })?;
    written.pass();
    claim_eq!(test.report, zero(0, 5 << 20), true, "the parent's memory is zero after the child's writes");
    memory.fill(|_| 0xaa);
    gate.open();
    claim_success(test.report, &child, format_args!("the child that fills untouched memory"));
    claim_eq!(test.report, memory.first_difference(|_| 0xaa), None, "a page of the parent's");
    Ok(())
}
