//! The tree on a host's memory: what its operations cost, what they tell the TLBs, and what they do when threads run
//! for real.
//!
//! The model (`tests/model`) says whether contents are right. It cannot say whether a table was shared rather than
//! copied, or whether a flush was unnecessary: these tests do. `make miri` runs these tests under Miri, which watches
//! every access to a page.

/// A test of both formats.
macro_rules! cases {
    ($($(#[$doc:meta])* fn $name:ident<$format:ident>() $body:block)*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            fn case<$format: graft_paging::Format>() $body
            case::<graft_paging::AArch64>();
            case::<graft_paging::X86_64>();
        }
    )* };
}

/// The functions of `Memory` that a wrapper passes on to the memory inside: all but those for allocating and for
/// commitments.
macro_rules! forward_memory {
    ($field:tt) => {
        unsafe fn free(&self, frame: Frame, purpose: Purpose) {
            // SAFETY: the caller's promise, here and below.
            unsafe { self.$field.free(frame, purpose) };
        }

        unsafe fn load(&self, table: Frame, index: usize) -> u64 {
            // SAFETY: as above.
            unsafe { self.$field.load(table, index) }
        }

        unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
            // SAFETY: as above.
            unsafe { self.$field.store(table, index, raw) };
        }

        unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
            // SAFETY: as above.
            unsafe { self.$field.references(frame) }
        }

        unsafe fn counts(&self, table: Frame) -> &TableCounts {
            // SAFETY: as above.
            unsafe { self.$field.counts(table) }
        }

        unsafe fn zero(&self, frame: Frame) {
            // SAFETY: as above.
            unsafe { self.$field.zero(frame) };
        }

        unsafe fn copy(&self, from: Frame, to: Frame) {
            // SAFETY: as above.
            unsafe { self.$field.copy(from, to) };
        }

        fn zero_page(&self) -> Frame {
            self.$field.zero_page()
        }

        fn is_same(&self, other: &Self) -> bool {
            self.$field.is_same(&other.$field)
        }

        fn invalidate_all(&self) {
            self.$field.invalidate_all();
        }
    };
}

mod addresses;
mod bits;
#[cfg(all(feature = "commit", feature = "snapshot"))]
mod books;
#[cfg(all(feature = "commit", feature = "snapshot"))]
mod commit;
mod costs;
#[cfg(all(feature = "commit", feature = "snapshot"))]
mod halves;
#[cfg(feature = "snapshot")]
mod inheritance;
#[cfg_attr(not(all(feature = "commit", feature = "snapshot")), allow(dead_code, reason = "for tests of the features"))]
mod memory;
#[cfg(feature = "commit")]
mod pieces;
mod races;
mod sizes;
#[cfg(all(feature = "commit", feature = "snapshot"))]
mod storm;
mod threads;
mod tours;
