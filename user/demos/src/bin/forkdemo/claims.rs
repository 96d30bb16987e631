//! Every claim that pictures and words make, checked against the kernel's records.

use graft_lib::table_view::tree::{Entry, Tree};
use graft_lib::table_view::{bits, check};
use graft_rt::abi::PAGE_SIZE;
use graft_rt::test::Report;
use graft_rt::{Share, claim, claim_eq};

use crate::actors::{A, B, PAGES};
use crate::stage::{Moment, View};
use crate::words::Step;

const PAGE: u64 = PAGE_SIZE as u64;
/// The level that a page is at, so to speak, and every table is above.
const PAGE_LEVEL: u8 = 4;

/// The level of the uppermost thing that a fork shares: a table, or with `copy` the page.
const fn shared_level(share: Share) -> u8 {
    match share {
        Share::Copy => PAGE_LEVEL,
        Share::L3 => 3,
        Share::L2 => 2,
        Share::L1 => 1,
    }
}

/// Checks the claims of one picture.
pub(crate) fn check(report: &Report, step: Step, share: Share, now: &Moment, before: Option<&Moment>) {
    sound(report, now);
    match (step, now.child.as_ref().zip(before)) {
        (Step::Prepared, _) | (Step::ChildEnded, _) => alone(report, step, now),
        (Step::Forked, Some((child, before))) => forked(report, share, now, child, before),
        (Step::ChildRead, Some((_, before))) => read(report, now, before),
        (Step::ChildWrote, Some((child, before))) => child_wrote(report, share, now, child, before),
        (Step::ParentWrote, Some((child, before))) => parent_wrote(report, share, now, child, before),
        (_, None) => _ = claim!(report, false, "{step:?}: there are two processes"),
    }
}

/// What must hold in every picture: the bits say what the records say, and the counts are right.
fn sound(report: &Report, now: &Moment) {
    let views = [Some(&now.parent), now.child.as_ref()];
    for view in views.into_iter().flatten() {
        if let Err(violation) = check::check(&view.tree) {
            claim!(report, false, "process {}: {violation}", view.info.identifier);
        }
        let tables = view.tree.tables().len() as u64;
        claim_eq!(report, tables, view.info.tables, "tables of process {}", view.info.identifier);
    }
    let counted = match &now.child {
        Some(child) => check::check_references(&[&now.parent.tree, &child.tree]),
        None => check::check_references(&[&now.parent.tree]),
    };
    let wrong = counted.err();
    claim!(report, wrong.is_none(), "{}", wrong.map_or_else(Default::default, |wrong| alloc::format!("{wrong}")));
}

/// The addresses of the pages of A and B.
fn pages() -> impl Iterator<Item = u64> {
    (0..PAGES.0).map(|page| A + page * PAGE).chain((0..PAGES.1).map(|page| B + page * PAGE))
}

/// The descriptor that leads to the table of this level, or to the page, of an address.
fn way_in(tree: &Tree, level: u8, address: u64) -> Option<&Entry> {
    tree.entry(level - 1, address)
}

fn target(tree: &Tree, level: u8, address: u64) -> Option<u64> {
    way_in(tree, level, address)?.target()
}

fn references(tree: &Tree, level: u8, address: u64) -> u32 {
    way_in(tree, level, address).map_or(0, |entry| entry.record.references)
}

fn writable(tree: &Tree, address: u64) -> bool {
    way_in(tree, PAGE_LEVEL, address).is_some_and(|entry| entry.record.writable_now == 1)
}

fn read_only_bit(tree: &Tree, level: u8, address: u64) -> bool {
    way_in(tree, level, address).is_some_and(|entry| match level {
        PAGE_LEVEL => !bits::lets_write(entry.record.descriptor),
        _ => bits::takes_write(entry.record.descriptor),
    })
}

/// One process: everything has one reference. Before the fork, all may be written.
fn alone(report: &Report, step: Step, now: &Moment) {
    let tree = &now.parent.tree;
    for address in pages() {
        for level in 1..=PAGE_LEVEL {
            claim_eq!(
                report,
                references(tree, level, address),
                1,
                "{step:?}: references at level {level} of {address:#x}"
            );
        }
        if step == Step::Prepared {
            claim!(report, writable(tree, address), "before the fork {address:#x} may be written");
        }
    }
}

fn forked(report: &Report, share: Share, now: &Moment, child: &View, before: &Moment) {
    let (parent, child) = (&now.parent.tree, &child.tree);
    let first = shared_level(share);
    for address in pages() {
        for level in 1..=PAGE_LEVEL {
            let same = target(parent, level, address) == target(child, level, address);
            claim_eq!(report, same, level >= first, "after the fork, level {level} of {address:#x} is shared");
            let count = if level == first { 2 } else { 1 };
            for (who, tree) in [("parent", parent), ("child", child)] {
                claim_eq!(
                    report,
                    references(tree, level, address),
                    count,
                    "{who}: references at level {level} of {address:#x}"
                );
                claim_eq!(
                    report,
                    read_only_bit(tree, level, address),
                    level == first,
                    "{who}: level {level} of {address:#x} is read-only on the way in"
                );
            }
        }
        claim!(
            report,
            !writable(parent, address) && !writable(child, address),
            "after the fork {address:#x} may be written by neither"
        );
        let page = target(&before.parent.tree, PAGE_LEVEL, address);
        claim_eq!(report, target(child, PAGE_LEVEL, address), page, "after the fork the child's page at {address:#x}");
    }
}

fn read(report: &Report, now: &Moment, before: &Moment) {
    let both = |moment: &Moment| (moment.parent.tree.clone(), moment.child.as_ref().map(|view| view.tree.clone()));
    claim!(report, both(now) == both(before), "a read changes no descriptor and no count");
    let faults = |moment: &Moment| moment.child.as_ref().map(|view| view.info.faults);
    claim_eq!(report, faults(now), faults(before), "faults of the child after its read");
}

fn child_wrote(report: &Report, share: Share, now: &Moment, child: &View, before: &Moment) {
    let parent = &now.parent.tree;
    for level in 1..=PAGE_LEVEL {
        let differs = target(parent, level, A) != target(&child.tree, level, A);
        claim!(report, differs, "after the child's write, level {level} of A[0] is no longer shared");
        claim_eq!(report, references(&child.tree, level, A), 1, "child: references at level {level} of A[0]");
    }
    claim!(report, writable(&child.tree, A), "the child may write A[0]");
    let untouched = target(&before.parent.tree, PAGE_LEVEL, A);
    claim_eq!(report, target(parent, PAGE_LEVEL, A), untouched, "the parent's page A[0]");
    claim_eq!(report, references(parent, PAGE_LEVEL, A), 1, "parent: references of page A[0]");
    for address in (1..PAGES.0).map(|page| A + page * PAGE) {
        for (who, tree) in [("parent", parent), ("child", &child.tree)] {
            claim_eq!(
                report,
                references(tree, PAGE_LEVEL, address),
                2,
                "{who}: references of the page at {address:#x}"
            );
            claim!(
                report,
                read_only_bit(tree, PAGE_LEVEL, address),
                "{who}: the page at {address:#x} is read-only by its own bits"
            );
        }
    }
    still_shared(report, share, parent, &child.tree);
    if let Some(before) = &before.child {
        let splits = child.info.table_splits - before.info.table_splits;
        claim_eq!(report, splits, u64::from(PAGE_LEVEL - shared_level(share)), "tables that the child's write split");
        claim_eq!(report, child.info.page_copies - before.info.page_copies, 1, "pages that the child's write copied");
        claim_eq!(report, child.info.faults - before.info.faults, 1, "faults that the child's write took");
    }
}

/// B is still what both have: its table, or with `copy` its pages.
fn still_shared(report: &Report, share: Share, parent: &Tree, child: &Tree) {
    let level = shared_level(share).max(3);
    claim_eq!(report, target(parent, level, B), target(child, level, B), "what both have of B");
    for (who, tree) in [("parent", parent), ("child", child)] {
        claim_eq!(report, references(tree, level, B), 2, "{who}: references of what both have of B");
        claim!(report, !writable(tree, B), "{who}: B may not be written");
    }
}

fn parent_wrote(report: &Report, share: Share, now: &Moment, child: &View, before: &Moment) {
    let (parent, written) = (&now.parent.tree, A + PAGE);
    claim!(report, writable(parent, written), "the parent may write A[1]");
    let old = target(&before.parent.tree, PAGE_LEVEL, written);
    claim!(report, target(parent, PAGE_LEVEL, written) != old, "the parent has a new page A[1]");
    claim_eq!(report, target(&child.tree, PAGE_LEVEL, written), old, "the child's page A[1]");
    claim_eq!(report, references(&child.tree, PAGE_LEVEL, written), 1, "child: references of page A[1]");
    for level in 1..PAGE_LEVEL {
        let table = target(&before.parent.tree, level, written);
        claim_eq!(report, target(parent, level, written), table, "the parent's table at level {level}, not copied");
    }
    still_shared(report, share, parent, &child.tree);
    let (now, before) = (&now.parent.info, &before.parent.info);
    claim_eq!(report, now.table_splits - before.table_splits, 0, "tables that the parent's write split");
    claim_eq!(report, now.page_copies - before.page_copies, 1, "pages that the parent's write copied");
    claim_eq!(report, now.faults - before.faults, 1, "faults that the parent's write took");
}
