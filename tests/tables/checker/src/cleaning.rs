//! The cleaning of descriptors that were valid: stores, barriers and invalidations.

use std::collections::BTreeMap;

use crate::{Checker, FRAME, Invalidation, KIND, Thread, frame_of, span};

/// How far the cleaning of a descriptor has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was done yet.
    Stored,
    /// A barrier has waited for the store.
    Visible,
    /// The invalidation was broadcast.
    Told,
}

/// A descriptor that was valid.
pub(super) struct Unclean {
    pub(super) thread: Thread,
    pub(super) old: u64,
    /// By the spaces that reach it, and the addresses it translates there: what is not clean yet.
    pub(super) left: BTreeMap<(Scope, u64), Progress>,
}

/// Which addresses an entry of a TLB is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// A space's.
    Asid(u16),
    /// The kernel's half of all spaces.
    Global,
}

impl Checker {
    pub(super) fn wait(&mut self, thread: Thread, for_all: bool) {
        let mut clean = Vec::new();
        for (address, unclean) in self.unclean.iter_mut().filter(|(_, unclean)| unclean.thread == thread) {
            unclean.left.retain(|_, progress| {
                if *progress == Progress::Stored {
                    *progress = Progress::Visible;
                }
                !(for_all && *progress == Progress::Told)
            });
            if unclean.left.is_empty() {
                clean.push(*address);
            }
        }
        for address in clean {
            // One that was cleaned may have taken others with it.
            if let Some(unclean) = self.unclean.remove(&address) {
                let level = self.tables.get(&frame_of(address)).map_or(3, |table| table.level);
                self.unlink(address, unclean.old, level);
            }
        }
        let mut gone = Vec::new();
        for (asid, released) in &mut self.released {
            match released.progress.get(&thread) {
                None | Some(Progress::Stored) => {
                    released.progress.insert(thread, Progress::Visible);
                }
                Some(Progress::Told) if for_all => gone.push((*asid, released.root)),
                Some(Progress::Visible | Progress::Told) => {}
            }
        }
        for (asid, root) in gone {
            self.released.remove(&asid);
            self.roots.remove(&asid);
            self.locks.remove(&root);
            self.abandon(root);
        }
    }

    pub(super) fn invalidate(&mut self, thread: Thread, invalidation: Invalidation) {
        let tables = &self.tables;
        for (address, unclean) in self.unclean.iter_mut().filter(|(_, unclean)| unclean.thread == thread) {
            let level = tables.get(&frame_of(*address)).map_or(3, |table| table.level);
            let is_leaf = level == 3 || unclean.old & KIND != KIND;
            for ((scope, at), progress) in &mut unclean.left {
                if *progress == Progress::Visible && reaches(invalidation, *scope, *at, span(level), is_leaf) {
                    *progress = Progress::Told;
                }
            }
        }
        for (asid, released) in &mut self.released {
            let everything = matches!(invalidation, Invalidation::All) || invalidation == Invalidation::Space(*asid);
            if let Some(progress @ Progress::Visible) = released.progress.get_mut(&thread)
                && everything
            {
                *progress = Progress::Told;
            }
        }
    }
}

/// Whether an invalidation ends the use of a descriptor that translates so many bytes from an address.
fn reaches(invalidation: Invalidation, scope: Scope, at: u64, bytes: u64, is_leaf: bool) -> bool {
    // Those by address reach global entries, too, whatever ASID they name.
    let is_of = |asid| scope == Scope::Asid(asid) || scope == Scope::Global;
    // Of a table TLBs may hold something for every page below it, and for a block every page of it.
    let covers = |first: u64, pages: u64| first * FRAME <= at && at + bytes <= (first + pages) * FRAME;
    match invalidation {
        Invalidation::All => true,
        Invalidation::Space(asid) => scope == Scope::Asid(asid),
        Invalidation::Leaf(asid, page) => is_of(asid) && is_leaf && covers(page, 1),
        Invalidation::Page(asid, page) => is_of(asid) && covers(page, 1),
        Invalidation::Pages(asid, first, pages) => is_of(asid) && covers(first, pages),
    }
}
