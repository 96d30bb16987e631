//! The contract between the tree and a processor's descriptor format.

mod aarch64;
mod x86_64;

pub use aarch64::AArch64;
pub use x86_64::X86_64;

use crate::{Entry, Frame, Level};

/// A descriptor format: bits only, no policy.
///
/// # Laws
/// For every entry `e` that can stand at level `l`, with `raw = encode(e, l)`:
/// - `decode(raw, l) == e` (round trip), and `encode(Entry::Empty, l) == 0`;
/// - `is_present(raw)` exactly for tables and pages; `retire(raw)` is never present, is not 0, differs from
///   every encoded entry, and `restore(retire(raw)) == raw`;
/// - `write_protect(raw, l)` differs from `raw` in write permission only, does so for no
///   `Kind::Shared`-blind reason (the caller decides), and is idempotent;
/// - bits that neither the processor nor this trait gives a meaning survive `write_protect`,
///   `write_enable`, `retire` and `restore`.
pub trait Format: 'static {
    /// The architecture's name.
    const NAME: &'static str;

    /// Whether a live descriptor must be made invalid, and the TLBs told, before it leads to another
    /// frame (Arm: "Using break-before-make when updating translation table entries").
    const BREAK_BEFORE_MAKE: bool;

    /// The raw descriptor for an entry of a table of this level.
    fn encode(entry: Entry, level: Level) -> u64;

    /// What a raw descriptor in a table of this level means. Retired descriptors decode as empty.
    fn decode(raw: u64, level: Level) -> Entry;

    /// Whether the hardware would follow the descriptor.
    fn is_present(raw: u64) -> bool;

    /// The frame that a present or retired descriptor leads to.
    fn output(raw: u64) -> Frame;

    /// Whether a present page descriptor's frame counts its references.
    fn is_counted(raw: u64) -> bool;

    /// Whether a present table descriptor refuses stores below it.
    fn is_read_only_table(raw: u64) -> bool;

    /// A present descriptor without write permission: for a table, for the whole subtree.
    fn write_protect(raw: u64, level: Level) -> u64;

    /// A present descriptor with write permission. The caller knows that the page may be written.
    fn write_enable(raw: u64, level: Level) -> u64;

    /// A present descriptor made invalid that still says what it led to: it waits for the TLB
    /// invalidation after which its reference is dropped.
    fn retire(raw: u64) -> u64;

    /// Whether a descriptor has been retired.
    fn is_retired(raw: u64) -> bool;

    /// What a retired descriptor was.
    fn restore(raw: u64) -> u64;
}
