//! Families: grandchildren and siblings, which end in different orders.

use alloc::vec::Vec;

use graft_rt::abi::ProcessState;
use graft_rt::gate::Gate;
use graft_rt::process::{sleep, yield_now};
use graft_rt::test::claim_success;
use graft_rt::test::depths::{TABLE, Test, byte};
use graft_rt::{Error, ExitStatus, Process, claim, claim_eq, system};

use crate::{mark, memory};

/// The child of a process, with a handle that may only inspect.
fn child_of(parent: &Process) -> Result<Option<Process>, Error> {
    for process in system::processes() {
        let process = process?;
        if process.info()?.parent == parent.identifier() {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

/// Waits for the end of a process whose handle may only inspect.
fn look_until_ended(process: &Process) -> Result<Option<ExitStatus>, Error> {
    loop {
        let info = process.info()?;
        if info.state == ProcessState::Ended as u32 {
            return Ok(ExitStatus::from_register(info.exit_status));
        }
        sleep(core::time::Duration::from_micros(500));
    }
}

pub(crate) fn middle_ends_first(test: Test<'_>) -> Result<(), Error> {
    for middle_writes in [false, true] {
        let memory = memory()?;
        let gate = Gate::new()?;
        let middle = Process::fork_into(test.share, || {
            if middle_writes {
                memory.write(byte(2), 0x33);
            }
            let grandchild = Process::fork_into(test.share, || {
                gate.pass();
                let expected = |page: usize| if middle_writes && page == 2 { 0x33 } else { mark(page) };
                if memory.first_difference(expected).is_some() {
                    return 1;
                }
                memory.fill(|_| 0x44);
                memory.first_difference(|_| 0x44).map_or(0, |_| 2)
            });
            i32::from(grandchild.is_err())
        })?;
        claim_success(test.report, &middle, format_args!("the middle one"));
        let Some(grandchild) = child_of(&middle)? else {
            claim!(test.report, false, "the grandchild is alive");
            continue;
        };
        memory.write(byte(TABLE), 0x55);
        memory.write(byte(2), 0x56);
        gate.open();
        let status = look_until_ended(&grandchild)?;
        claim_eq!(test.report, status, Some(ExitStatus::Exited(0)), "the grandchild's end");
        let expected = |page: usize| match page {
            TABLE => 0x55,
            2 => 0x56,
            _ => mark(page),
        };
        claim_eq!(test.report, memory.first_difference(expected), None, "a page of the first one's");
        memory.fill(|_| 0x66);
        claim_eq!(test.report, memory.first_difference(|_| 0x66), None, "a page of the first one's, written last");
    }
    Ok(())
}

/// Each process forks the next, writes, and looks at what all before it have written.
pub(crate) fn chain(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let link = |depth: usize| {
        let expected = move |page: usize| if page % 64 < depth { (page % 64) as u8 + 0x80 } else { mark(page) };
        let sees = memory.first_difference(expected).is_none();
        (depth..memory.pages()).step_by(64).for_each(|page| memory.write(byte(page), depth as u8 + 0x80));
        sees
    };
    fn go_on(test: Test<'_>, depth: usize, link: &dyn Fn(usize) -> bool) -> i32 {
        if !link(depth) {
            return 1;
        }
        if depth == 8 {
            return 0;
        }
        let next = Process::fork_into(test.share, || go_on(test, depth + 1, link));
        i32::from(!next.is_ok_and(|next| next.wait().is_ok_and(ExitStatus::is_success)))
    }
    let first = Process::fork_into(test.share, || go_on(test, 0, &link))?;
    claim_success(test.report, &first, format_args!("the chain"));
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the first one's");
    Ok(())
}

pub(crate) fn second(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let gate = Gate::new()?;
    let keeper = |expected: u8| {
        let memory = &memory;
        let gate = &gate;
        move || {
            gate.pass();
            i32::from(
                memory.read(byte(0)) != expected
                    || memory.first_difference(|page| if page == 0 { expected } else { mark(page) }).is_some(),
            )
        }
    };
    memory.write(byte(0), 1);
    let one = Process::fork_into(test.share, keeper(1))?;
    memory.write(byte(0), 2);
    let two = Process::fork_into(test.share, keeper(2))?;
    // No write in between: the third fork finds everything read-only already.
    let three = Process::fork_into(test.share, keeper(2))?;
    memory.fill(|_| 3);
    gate.open();
    for (name, child) in [("first", &one), ("second", &two), ("third", &three)] {
        claim_success(test.report, child, format_args!("the {name} child"));
    }
    claim_eq!(test.report, memory.first_difference(|_| 3), None, "a page of the parent's");
    Ok(())
}

pub(crate) fn twelve(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let gate = Gate::new()?;
    let mut children = Vec::new();
    for number in 0..12_usize {
        let memory = &memory;
        let gate = &gate;
        children.push(Process::fork_into(test.share, move || {
            let own = |page: usize| if page % 12 == number { number as u8 } else { mark(page) };
            (number..memory.pages()).step_by(12).for_each(|page| memory.write(byte(page), number as u8));
            gate.pass();
            i32::from(memory.first_difference(own).is_some())
        })?);
    }
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's while twelve write");
    gate.open();
    for (number, child) in children.iter().enumerate() {
        claim_success(test.report, child, format_args!("child {number} of twelve"));
    }
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
    Ok(())
}

/// Two children at once, one of which splits tables while the other ends; many times over.
pub(crate) fn exit_against_split(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    for round in 0..40_usize {
        let ender = Process::fork_into(test.share, || {
            (0..round % 7).for_each(|_| yield_now());
            0
        })?;
        let splitter = Process::fork_into(test.share, || {
            (0..memory.pages()).step_by(TABLE).for_each(|page| memory.write(byte(page), 0x77));
            let expected = |page: usize| if page.is_multiple_of(TABLE) { 0x77 } else { mark(page) };
            i32::from(memory.first_difference(expected).is_some())
        })?;
        memory.write(byte(round), mark(round));
        claim_success(test.report, &splitter, format_args!("the one that splits, in round {round}"));
        claim_success(test.report, &ender, format_args!("the one that ends, in round {round}"));
    }
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
    Ok(())
}
