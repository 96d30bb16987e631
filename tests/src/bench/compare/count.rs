//! What is counted.

use std::ops::{AddAssign, Index, IndexMut};

/// What an operation of the tree makes the memory and the processors do. First what the tree does by itself, the same
/// for every machine and number of cores, then what depends on those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A word of a table is read by the tree. Not what the hardware's walk reads.
    Load,
    /// A word of a table is written.
    Store,
    /// A reference count is raised or lowered: one atomic read-modify-write.
    Atomic,
    /// A reference count is read.
    Check,
    /// A byte of a page is copied. Tables are copied by loads and stores.
    Copied,
    /// A byte is filled with zeroes, in a page or in a table.
    Zeroed,
    /// A frame is taken for a table.
    Table,
    /// A frame is taken for a page.
    Page,
    /// A program takes a fault.
    Fault,
    /// A table is split to answer one.
    Split,
    /// A descriptor that walks can reach is made to point to another frame.
    Redirected,
    /// It is invalid in between: break-before-make.
    Break,
    /// An invalidation of one page, in the last level alone: `TLBI VALE1IS`.
    OneLeaf,
    /// An invalidation of one page and of what leads to it: `TLBI VAE1IS`, `INVLPG`.
    OnePage,
    /// An invalidation of a range: `TLBI RVAE1IS`.
    Range,
    /// An invalidation of an address space: `TLBI ASIDE1IS`, `INVPCID` of a single context.
    Space,
    /// A barrier that belongs to an invalidation or a publication: `DSB ISHST`, `DSB ISH`, `ISB`.
    Barrier,
    /// An interrupt to another core, so that it invalidates, too.
    Interrupt,
    /// An invalidation that such a core executes.
    Remote,
    /// A core comes back to an address space that was invalidated meanwhile, and invalidates all of it now.
    Late,
}

impl Event {
    /// Every one with its name in the CSV, in the order of declaration.
    pub const ALL: [(Event, &'static str); 20] = [
        (Event::Load, "loads"),
        (Event::Store, "stores"),
        (Event::Atomic, "atomics"),
        (Event::Check, "checks"),
        (Event::Copied, "bytes_copied"),
        (Event::Zeroed, "bytes_zeroed"),
        (Event::Table, "tables"),
        (Event::Page, "pages"),
        (Event::Fault, "faults"),
        (Event::Split, "splits"),
        (Event::Redirected, "redirected"),
        (Event::Break, "breaks"),
        (Event::OneLeaf, "invalidate_leaf"),
        (Event::OnePage, "invalidate_page"),
        (Event::Range, "invalidate_range"),
        (Event::Space, "invalidate_space"),
        (Event::Barrier, "barriers"),
        (Event::Interrupt, "interrupts"),
        (Event::Remote, "remote_invalidations"),
        (Event::Late, "late_invalidations"),
    ];

    /// Whether the tree does it, on any machine.
    pub fn is_the_trees(self) -> bool {
        self < Event::Break
    }
}

/// How often each happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Event::ALL.len()]);

impl Index<Event> for Counts {
    type Output = u64;

    fn index(&self, event: Event) -> &u64 {
        &self.0[event as usize]
    }
}

impl IndexMut<Event> for Counts {
    fn index_mut(&mut self, event: Event) -> &mut u64 {
        &mut self.0[event as usize]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_place_and_a_name_of_its_own() {
        let mut names = Vec::new();
        for (place, (event, name)) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, place);
            assert!(!names.contains(&name));
            names.push(name);
        }
    }
}
