//! The tree on a host's memory: what its operations cost, what they tell the TLBs, and what they do when threads run for real.
//!
//! The model (`tests/model`) says whether contents are right. It cannot say that something was shared which might as well have been
//! copied, or flushed once too often: that is said here. `make miri` runs these tests under Miri, which watches every access to a page.

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

mod addresses;
mod bits;
mod books;
mod commit;
mod costs;
mod inheritance;
mod memory;
mod pieces;
mod races;
mod sizes;
mod storm;
mod threads;
mod tours;
