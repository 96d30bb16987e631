//! The contract between the tree and a processor's descriptor format.

mod aarch64;
mod x86_64;

pub use aarch64::AArch64;
pub use x86_64::X86_64;

use crate::{Entry, Frame, Inherit, KernelEntry, Kind, Level, Permissions, Reservation};

/// A descriptor format: bits only, no policy.
///
/// # Laws
/// For every entry `e` that can stand at level `l`, with `raw = encode(e, l)`:
/// - `decode(raw, l) == e` (round trip), and `encode(Entry::Empty, l) == 0`;
/// - `is_present(raw)` exactly for tables and pages; `retire(raw)` is never present, is not 0, differs from
///   every encoded entry, and `restore(retire(raw)) == raw`;
/// - `write_protect(raw, l)` takes write permission from a present descriptor and changes nothing else; it is
///   idempotent, and `write_enable` undoes it;
/// - `both(a, b)` is write-protected exactly if `a` and `b` are, and `both(PROTECTED, a)` exactly if `a` is;
/// - `is_present(a & b)` exactly if `a` and `b` are present, and so with `is_counted`: loops ask it of many descriptors
///   at once;
/// - bits that neither the processor nor this trait gives a meaning survive `write_protect`,
///   `write_enable`, `retire` and `restore`.
///
/// And for every entry `e` of the kernel's that can stand at level `l`: `decode_kernel(encode_kernel(e, l), l) == e`,
/// and `encode_kernel(KernelEntry::Empty, l) == 0`.
pub trait Format: Copy + Eq + core::hash::Hash + core::fmt::Debug + 'static {
    /// The architecture's name.
    const NAME: &'static str;

    /// Whether a live descriptor must be made invalid, and the TLBs told, before it leads to another
    /// frame (Arm: "Using break-before-make when updating translation table entries").
    const BREAK_BEFORE_MAKE: bool;

    /// Entries of a root that are the user's, from the first on. The others are the kernel's: the tree neither reads
    /// nor counts, shares or frees what they lead to; see [`set_kernel_entry`](crate::AddressSpace::set_kernel_entry).
    const USER_ENTRIES: usize;

    /// The highest level whose entries can be leaves. Leaves above [`Level::LAST`] are blocks (Arm), large pages
    /// (Intel).
    const LARGEST_LEAF: Level;

    /// How many adjacent leaves of one level a TLB can keep as one entry, if each of them says so (Arm: the contiguous
    /// bit) and the first is at a multiple of their common size, virtually and physically. 1 where there is no such
    /// bit.
    const CONTIGUOUS: usize;

    /// Bits of a physical address for which descriptors have room.
    const PHYSICAL_BITS: u32;

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

    /// Stands for "write-protected" in [`both`](Format::both), at every level.
    const PROTECTED: u64;

    /// A word that [`write_protect`](Format::write_protect) changes if and only if it changes one of two descriptors.
    /// It has no other meaning. One instruction, for loops that ask whether any of many descriptors was writable.
    fn both(a: u64, b: u64) -> u64;

    /// A present descriptor with write permission. The caller knows that the page may be written.
    fn write_enable(raw: u64, level: Level) -> u64;

    /// A present descriptor made invalid that still says what it led to: it waits for the TLB
    /// invalidation after which its reference is dropped.
    fn retire(raw: u64) -> u64;

    /// Whether a descriptor has been retired.
    fn is_retired(raw: u64) -> bool;

    /// What a retired descriptor was.
    fn restore(raw: u64) -> u64;

    /// The raw descriptor for an entry of a table of this level in the kernel's own map: out of reach for user mode,
    /// the same in every address space, and never writable and executable at once. The frame of a leaf is a multiple of
    /// its size.
    fn encode_kernel(entry: KernelEntry, level: Level) -> u64;

    /// What a raw descriptor in a table of this level of the kernel's own map means.
    fn decode_kernel(raw: u64, level: Level) -> KernelEntry;
}

/// What software keeps in a page descriptor beside the permissions: three adjacent bits, the highest of them set for
/// kinds whose frames are counted. The format says where they are.
const fn kind_bits(kind: Kind) -> u64 {
    match kind {
        Kind::Zero => 0b000,
        Kind::Foreign => 0b001,
        Kind::Device => 0b010,
        Kind::Private => 0b100,
        Kind::Shared => 0b101,
        Kind::NoInherit => 0b110,
    }
}

/// The kind in the lowest three bits.
#[inline(always)]
const fn kind_of(bits: u64) -> Kind {
    match bits & 0b111 {
        0b000 => Kind::Zero,
        0b001 => Kind::Foreign,
        0b010 | 0b011 => Kind::Device,
        0b100 => Kind::Private,
        0b101 => Kind::Shared,
        _ => Kind::NoInherit,
    }
}

/// A reservation in three bits of an invalid descriptor: bit 0 keeps it from a child, bits 2 and 1 are its permissions.
const fn reservation_bits(reservation: Reservation) -> u64 {
    matches!(reservation.inherit, Inherit::No) as u64 | (reservation.permissions as u64) << 1
}

/// The reservation in the lowest three bits.
#[inline(always)]
const fn reservation_of(bits: u64) -> Reservation {
    let permissions = match bits >> 1 & 3 {
        0 => Permissions::None,
        1 => Permissions::Read,
        2 => Permissions::ReadWrite,
        _ => Permissions::ReadExecute,
    };
    Reservation { permissions, inherit: if bits & 1 == 1 { Inherit::No } else { Inherit::Yes } }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Leaf, Mapping, Page, Table};
    use std::vec::Vec;

    const PERMISSIONS: [Permissions; 4] =
        [Permissions::None, Permissions::Read, Permissions::ReadWrite, Permissions::ReadExecute];
    const KINDS: [Kind; 6] = [Kind::Private, Kind::Shared, Kind::NoInherit, Kind::Zero, Kind::Foreign, Kind::Device];
    const FRAMES: [Frame; 3] = [Frame(0), Frame(0x8_1234), Frame((1 << 36) - 1)];

    /// Every entry that can stand at a level.
    pub(crate) fn entries(level: Level) -> Vec<Entry> {
        let mut all = Vec::from([Entry::Empty]);
        for permissions in PERMISSIONS {
            for inherit in [Inherit::Yes, Inherit::No] {
                all.push(Entry::Reserved(Reservation { permissions, inherit }));
            }
        }
        for frame in FRAMES {
            if level != Level::LAST {
                all.extend([false, true].map(|read_only| Entry::Table(Table { frame, read_only })));
                continue;
            }
            for permissions in PERMISSIONS {
                for kind in KINDS {
                    all.push(Entry::Page(Page { frame, permissions, kind, writable: false }));
                    if permissions == Permissions::ReadWrite {
                        all.push(Entry::Page(Page { frame, permissions, kind, writable: true }));
                    }
                }
            }
        }
        all
    }

    pub(crate) fn levels() -> impl Iterator<Item = Level> {
        (0..4).filter_map(Level::new)
    }

    /// Bits of present descriptors that neither the tree nor the hardware's walk gives a meaning.
    const SPARE: [(&str, u64); 2] = [("AArch64", 1 << 2 | 1 << 59), ("x86_64", 1 << 57 | 1 << 58)];

    fn spare<F: Format>() -> u64 {
        SPARE.iter().find(|(name, _)| *name == F::NAME).map(|(_, bits)| *bits).expect("a format of this crate")
    }

    /// For [`is_present`](Format::is_present) and [`is_counted`](Format::is_counted), of every two descriptors.
    fn one_bit_tells<F: Format>(what: fn(u64) -> bool) {
        for level in levels() {
            let raws: Vec<u64> = entries(level).into_iter().map(|entry| F::encode(entry, level)).collect();
            for (a, b) in raws.iter().flat_map(|a| raws.iter().map(move |b| (a, b))) {
                assert_eq!(what(a & b), what(*a) && what(*b), "{} {a:#x} {b:#x} at {level:?}", F::NAME);
            }
        }
    }

    fn laws<F: Format>() {
        one_bit_tells::<F>(F::is_present);
        one_bit_tells::<F>(F::is_counted);
        for level in levels() {
            let mut seen = Vec::new();
            for entry in entries(level) {
                let raw = F::encode(entry, level);
                assert_eq!(F::decode(raw, level), entry, "{} {raw:#x} at {level:?}", F::NAME);
                assert!(!seen.contains(&raw), "two entries encode as {raw:#x}");
                seen.push(raw);
                let (frame, counted) = match entry {
                    Entry::Empty => {
                        assert_eq!(raw, 0);
                        continue;
                    }
                    Entry::Reserved(_) => {
                        assert!(!F::is_present(raw) && !F::is_retired(raw));
                        continue;
                    }
                    Entry::Table(table) => {
                        assert_eq!(F::is_read_only_table(raw), table.read_only);
                        (table.frame, None)
                    }
                    Entry::Page(page) => (page.frame, Some(page.kind.is_counted())),
                };
                assert!(F::is_present(raw) && !F::is_retired(raw));
                assert_eq!(F::output(raw), frame);
                if let Some(counted) = counted {
                    assert_eq!(F::is_counted(raw), counted);
                }
                let retired = F::retire(raw);
                assert!(F::is_retired(retired) && !F::is_present(retired) && retired != 0);
                assert_eq!(F::decode(retired, level), Entry::Empty);
                assert_eq!(F::output(retired), frame);
                assert_eq!(F::restore(retired), raw);

                let protected = F::write_protect(raw, level);
                assert_eq!(F::write_protect(protected, level), protected);
                let expected = match entry {
                    Entry::Table(table) => Entry::Table(Table { read_only: true, ..table }),
                    Entry::Page(page) => Entry::Page(Page { writable: false, ..page }),
                    other => other,
                };
                assert_eq!(F::decode(protected, level), expected);
                let is_protected = |raw: u64| F::write_protect(raw, level) == raw;
                assert!(is_protected(F::PROTECTED));
                assert_eq!(is_protected(F::both(F::PROTECTED, raw)), is_protected(raw));
                assert_eq!(is_protected(F::both(raw, protected)), is_protected(raw));
                assert_eq!(is_protected(F::both(protected, raw)), is_protected(raw));

                let writable = match entry {
                    Entry::Table(table) => !table.read_only,
                    Entry::Page(page) => page.writable,
                    _ => false,
                };
                if writable {
                    assert_eq!(F::write_enable(protected, level), raw);
                }

                let spare = spare::<F>();
                for changed in [F::write_protect(raw | spare, level), F::write_enable(raw | spare, level)] {
                    assert_eq!(changed & spare, spare, "{}: an ignored bit was lost", F::NAME);
                }
                assert_eq!(F::restore(F::retire(raw | spare)), raw | spare);
            }
        }
    }

    /// Every entry of the kernel's map that can stand at a level.
    fn kernel_entries<F: Format>(level: Level) -> Vec<KernelEntry> {
        let mut all = Vec::from([KernelEntry::Empty]);
        for frame in FRAMES {
            if level != Level::LAST {
                all.push(KernelEntry::Table(frame));
            }
            let mappings = [Mapping::ReadOnly, Mapping::ReadWrite, Mapping::ReadExecute, Mapping::Device];
            for mapping in mappings.into_iter().filter(|_| level >= F::LARGEST_LEAF) {
                all.push(KernelEntry::Leaf(Leaf { frame: level.first_frame(frame), mapping }));
            }
        }
        all
    }

    fn kernel_laws<F: Format>() {
        for level in levels() {
            for entry in kernel_entries::<F>(level) {
                let raw = F::encode_kernel(entry, level);
                assert_eq!(F::decode_kernel(raw, level), entry, "{} {raw:#x} at {level:?}", F::NAME);
                assert_eq!(F::is_present(raw), entry != KernelEntry::Empty);
                assert_eq!(raw == 0, entry == KernelEntry::Empty);
            }
        }
    }

    #[test]
    fn aarch64_keeps_the_laws() {
        laws::<AArch64>();
        kernel_laws::<AArch64>();
    }

    #[test]
    fn x86_64_keeps_the_laws() {
        laws::<X86_64>();
        kernel_laws::<X86_64>();
    }
}
