//! Writes by the parent and by its children.

use alloc::vec::Vec;

use graft_rt::gate::Gate;
use graft_rt::test::depths::{TABLE, Test, byte};
use graft_rt::test::{claim_end, claim_success};
use graft_rt::{Error, ExitStatus, Process, Region, claim_eq};

use crate::{mark, memory};

pub(crate) fn isolated(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let (parent_wrote, child_wrote) = (Gate::new()?, Gate::new()?);
    let by_child = |page: usize| if page.is_multiple_of(5) { 0xcc } else { mark(page) };
    let by_parent = |page: usize| if page.is_multiple_of(3) { 0xaa } else { mark(page) };
    let child = Process::fork_into(test.share, || {
        if memory.first_difference(mark).is_some() {
            return 1;
        }
        parent_wrote.pass();
        if memory.first_difference(mark).is_some() {
            return 2;
        }
        (0..memory.pages()).step_by(5).for_each(|page| memory.write(byte(page), 0xcc));
        child_wrote.open();
        if memory.first_difference(by_child).is_some() { 3 } else { 0 }
    })?;
    (0..memory.pages()).step_by(3).for_each(|page| memory.write(byte(page), 0xaa));
    parent_wrote.open();
    child_wrote.pass();
    claim_eq!(test.report, memory.first_difference(by_parent), None, "a page of the parent's after the child's writes");
    claim_success(test.report, &child, format_args!("the child"));
    claim_eq!(test.report, memory.first_difference(by_parent), None, "a page of the parent's after the child's end");
    Ok(())
}

/// Two children share with the parent; each writes in turn while the others end.
pub(crate) fn last_owner(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let (gate, written) = (Gate::new()?, Gate::new()?);
    let writer = Process::fork_into(test.share, || {
        memory.write(byte(0), 1);
        written.open();
        0
    })?;
    let reader = Process::fork_into(test.share, || {
        gate.pass();
        i32::from(memory.first_difference(mark).is_some())
    })?;
    written.pass();
    claim_success(test.report, &writer, format_args!("the child that writes"));
    // The table that the writer split has lost an owner; its pages are still the reader's as well.
    memory.fill(|_| 0xee);
    gate.open();
    claim_success(test.report, &reader, format_args!("the child that reads"));
    memory.fill(|_| 0xef);
    claim_eq!(test.report, memory.first_difference(|_| 0xef), None, "a page of the parent's");
    Ok(())
}

pub(crate) fn moments(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let gate = Gate::new()?;
    let mut children = Vec::new();
    for moment in 0..10_usize {
        // Pages of the moment, among those of others, in every table.
        (moment..memory.pages()).step_by(37).for_each(|page| memory.write(byte(page), moment as u8));
        let seen: Vec<u8> = (0..memory.pages()).map(|page| memory.read(byte(page))).collect();
        children.push(Process::fork_into(test.share, || {
            gate.pass();
            i32::from(memory.first_difference(|page| seen[page]).is_some())
        })?);
    }
    memory.fill(|_| 0x99);
    gate.open();
    for (moment, child) in children.iter().enumerate() {
        claim_success(test.report, child, format_args!("the child of moment {moment}"));
    }
    Ok(())
}

pub(crate) fn reused(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    for round in 0..3_u8 {
        let gate = Gate::new()?;
        let child = Process::fork_into(test.share, || {
            gate.pass();
            0
        })?;
        memory.write(byte(TABLE + 3), round);
        gate.open();
        claim_success(test.report, &child, format_args!("the child that does nothing"));
        // What its end has freed wrongly would be handed out here.
        let other = Region::new(memory.bytes())?;
        other.fill(|_| 0xdd);
        let expected = |page: usize| if page == TABLE + 3 { round } else { mark(page) };
        claim_eq!(test.report, memory.first_difference(expected), None, "a page of the parent's in round {round}");
    }
    Ok(())
}

pub(crate) fn same_page(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    for parent_first in [true, false] {
        memory.fill(mark);
        let (go, done) = (Gate::new()?, Gate::new()?);
        let child = Process::fork_into(test.share, || {
            go.pass();
            let before = memory.read(byte(1));
            memory.write(byte(1), 0x0c);
            done.open();
            let after = memory.read(byte(1));
            i32::from((before, after) != (mark(1), 0x0c))
        })?;
        if parent_first {
            memory.write(byte(1), 0x0a);
        }
        go.open();
        done.pass();
        claim_eq!(
            test.report,
            memory.read(byte(1)),
            if parent_first { 0x0a } else { mark(1) },
            "the page, before the parent's write"
        );
        memory.write(byte(1), 0x0b);
        claim_end(test.report, &child, ExitStatus::Exited(0), format_args!("the child that writes to the same page"));
        claim_eq!(test.report, memory.read(byte(1)), 0x0b, "the page, after the parent's write");
    }
    Ok(())
}
