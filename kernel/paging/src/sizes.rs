//! How much of its memory a space has for itself: what only a walk can tell.
//!
//! A frame that `n` descriptors lead to belongs to each of their tables by one part in `n`, and a table's parts belong
//! in the same way to those who share the table. So the proportional sizes of all spaces add up to the frames in use,
//! whatever is shared at which level:
//!
//! ```text
//!   parent ─┐                ┌─▶ page, 2 references        parent and child: 1/2 x 1/2 of the page each
//!           ├─▶ table, 2 ────┤                             other:            1/2 of it
//!   child  ─┘                └─▶ ...
//!   other  ───▶ table, 1 ──────▶ the same page
//! ```

use core::ops::{AddAssign, ControlFlow};

use crate::{AddressSpace, Entry, Format, Level, Memory, Place, Visit};

/// Sizes of a space, or of a part of it, in frames: pages that are counted, and the tables below the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Pages that no other space reaches.
    pub private_pages: u64,
    /// Pages that others reach, too.
    pub shared_pages: u64,
    /// Tables that no other space reaches.
    pub private_tables: u64,
    /// Tables that others reach, too.
    pub shared_tables: u64,
    /// This space's part of all of these, in units of one frame divided by 2^[`PART_BITS`](Sizes::PART_BITS), rounded
    /// down frame by frame.
    pub parts: u64,
}

impl Sizes {
    /// log2 of the parts of one frame.
    pub const PART_BITS: u32 = 24;

    /// This space's part, in bytes, rounded down.
    pub const fn proportional_bytes(&self) -> u64 {
        self.parts >> (Sizes::PART_BITS - crate::PAGE_BITS)
    }

    fn add<F: Format>(&mut self, visit: &Visit<F>) {
        let (private, shared) = match visit.entry {
            Entry::Table(_) => (&mut self.private_tables, &mut self.shared_tables),
            Entry::Page(page) if page.kind.is_counted() => (&mut self.private_pages, &mut self.shared_pages),
            _ => return,
        };
        let sharers = visit.paths.saturating_mul(visit.references.into()).max(1);
        *if sharers == 1 { private } else { shared } += 1;
        self.parts += (1 << Sizes::PART_BITS) / sharers;
    }
}

/// Sizes of the part of a space that one look has covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialSizes {
    /// What was found.
    pub sizes: Sizes,
    /// Where the next look begins, if this was not all.
    pub next: Option<Place>,
}

/// Descriptors, empty ones included, that are looked at in one go.
const LOOKS: u32 = 600;

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Sizes) {
        self.private_pages += other.private_pages;
        self.shared_pages += other.shared_pages;
        self.private_tables += other.private_tables;
        self.shared_tables += other.shared_tables;
        self.parts += other.parts;
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Sizes of the first `most` descriptors from a place on, or of fewer where these are far apart. A walk: its time
    /// grows with what is mapped, which is why it can be taken in steps. Others may come and go between them.
    pub fn sizes(&self, from: Place, most: usize) -> PartialSizes {
        let (mut sizes, mut seen) = (Sizes::default(), 0);
        let next = self.visit_some(from, 1 << crate::ADDRESS_BITS, Level::LAST, LOOKS, |visit| {
            if seen == most {
                return ControlFlow::Break(visit.place());
            }
            seen += 1;
            sizes.add(&visit);
            ControlFlow::Continue(())
        });
        PartialSizes { sizes, next: next.break_value() }
    }
}
