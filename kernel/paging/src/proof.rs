//! What `make prove` proves: the format's functions and the charge's, each as one function of plain numbers.
//!
//! Compiled with `--cfg prove` and nowhere else. The prover (`tests/src/judges/prove.rs`) reads what the compiler made
//! of these functions, so that the proof is about the code itself. No function here may decide anything: an adapter
//! only takes a value apart or puts one together.
#![expect(missing_docs, reason = "each function is named after the one that it calls")]

use crate::commit::Commit;
use crate::gate::Frames;
use crate::memory::Counts;
use crate::sync::AtomicU32;
use crate::{
    AddressSpace, Descriptor, Entry, Format, Frame, Inherit, KernelEntry, Kind, Leaf, Level, Mapping, Memory, Page,
    Permissions, Purpose, Reservation, Table, TableCounts, VirtAddr, commit, gate,
};

fn level(number: u8) -> Level {
    match number & 3 {
        0 => Level::ROOT,
        1 => Level::ROOT.below(),
        2 => Level::LAST.above(),
        _ => Level::LAST,
    }
}

fn permissions(number: u8) -> Permissions {
    match number & 3 {
        0 => Permissions::None,
        1 => Permissions::Read,
        2 => Permissions::ReadWrite,
        _ => Permissions::ReadExecute,
    }
}

fn kind(number: u8) -> Kind {
    match number {
        0 => Kind::Private,
        1 => Kind::Shared,
        2 => Kind::NoInherit,
        3 => Kind::Zero,
        4 => Kind::Foreign,
        _ => Kind::Device,
    }
}

fn mapping(number: u8) -> Mapping {
    match number & 3 {
        0 => Mapping::ReadOnly,
        1 => Mapping::ReadWrite,
        2 => Mapping::ReadExecute,
        _ => Mapping::Device,
    }
}

fn inherit(no: bool) -> Inherit {
    if no { Inherit::No } else { Inherit::Yes }
}

/// An address whose descriptors stand at a different index in the table of each level, and three of these indices.
const ADDRESS: u64 = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12;
const ROOT: usize = 1;
const FIRST: usize = 2;
const SECOND: usize = 3;

/// One memory with one table's counts and, for a walk, one descriptor for each level.
#[derive(Clone)]
struct Known<'a> {
    counts: &'a TableCounts,
    descriptors: [u64; Level::COUNT],
    references: &'a AtomicU32,
}

#[expect(unsafe_code, reason = "implementing it is a promise")]
// SAFETY: nothing runs on it; what the proofs call reads counts and descriptors.
unsafe impl Memory for Known<'_> {
    fn allocate(&self, _: Purpose) -> Option<Frame> {
        None
    }

    unsafe fn free(&self, _: Frame, _: Purpose) {}

    unsafe fn load(&self, _: Frame, index: usize) -> u64 {
        let [root, first, second, last] = self.descriptors;
        match index {
            ROOT => root,
            FIRST => first,
            SECOND => second,
            _ => last,
        }
    }

    unsafe fn store(&self, _: Frame, _: usize, _: u64) {}

    unsafe fn references(&self, _: Frame) -> &AtomicU32 {
        self.references
    }

    unsafe fn counts(&self, _: Frame) -> &TableCounts {
        self.counts
    }

    unsafe fn zero(&self, _: Frame) {}

    unsafe fn copy(&self, _: Frame, _: Frame) {}

    fn zero_page(&self) -> Frame {
        Frame(0)
    }

    fn is_same(&self, _: &Self) -> bool {
        true
    }

    fn invalidate_all(&self) {}
}

/// With a memory in which every table has these counts.
fn with_counts<R>(tables: u32, pages: u32, descriptors: [u64; 4], then: impl FnOnce(&Frames<Known<'_>>) -> R) -> R {
    let (counts, references) = (TableCounts::default(), AtomicU32::new(1));
    counts.set(Counts { tables: tables.into(), pages: pages.into(), ..Counts::ZERO });
    then(&Frames::new(Known { counts: &counts, descriptors, references: &references }))
}

/// The functions of one format.
macro_rules! format {
    ($module:ident, $format:ty) => {
        pub mod $module {
            use super::*;
            type F = $format;

            #[inline(never)]
            pub extern "C" fn encode_empty(at: u8) -> u64 {
                F::encode(Entry::Empty, level(at))
            }
            #[inline(never)]
            pub extern "C" fn encode_reserved(allowed: u8, kept: bool, at: u8) -> u64 {
                let reservation = Reservation { permissions: permissions(allowed), inherit: inherit(kept) };
                F::encode(Entry::Reserved(reservation), level(at))
            }
            #[inline(never)]
            pub extern "C" fn encode_table(frame: u64, read_only: bool, at: u8) -> u64 {
                F::encode(Entry::Table(Table { frame: Frame(frame), read_only }), level(at))
            }
            #[inline(never)]
            pub extern "C" fn encode_page(frame: u64, allowed: u8, of: u8, writable: bool) -> u64 {
                let page = Page { frame: Frame(frame), permissions: permissions(allowed), kind: kind(of), writable };
                F::encode(Entry::Page(page), Level::LAST)
            }
            #[inline(never)]
            pub extern "C" fn decode_variant(raw: u64, at: u8) -> u8 {
                match F::decode(raw, level(at)) {
                    Entry::Empty => 0,
                    Entry::Reserved(_) => 1,
                    Entry::Table(_) => 2,
                    Entry::Page(_) => 3,
                }
            }
            #[inline(never)]
            pub extern "C" fn decode_frame(raw: u64, at: u8) -> u64 {
                match F::decode(raw, level(at)) {
                    Entry::Empty | Entry::Reserved(_) => 0,
                    Entry::Table(table) => table.frame.0,
                    Entry::Page(page) => page.frame.0,
                }
            }
            #[inline(never)]
            pub extern "C" fn decode_permissions(raw: u64, at: u8) -> u8 {
                let permissions = match F::decode(raw, level(at)) {
                    Entry::Empty | Entry::Table(_) => return 255,
                    Entry::Reserved(reservation) => reservation.permissions,
                    Entry::Page(page) => page.permissions,
                };
                match permissions {
                    Permissions::None => 0,
                    Permissions::Read => 1,
                    Permissions::ReadWrite => 2,
                    Permissions::ReadExecute => 3,
                }
            }
            #[inline(never)]
            pub extern "C" fn decode_kind(raw: u64, at: u8) -> u8 {
                match F::decode(raw, level(at)) {
                    Entry::Page(page) => match page.kind {
                        Kind::Private => 0,
                        Kind::Shared => 1,
                        Kind::NoInherit => 2,
                        Kind::Zero => 3,
                        Kind::Foreign => 4,
                        Kind::Device => 5,
                    },
                    _ => 255,
                }
            }
            /// Whether the entry itself lets stores through: a page that is writable, a table that is not read-only.
            #[inline(never)]
            pub extern "C" fn decode_writable(raw: u64, at: u8) -> bool {
                match F::decode(raw, level(at)) {
                    Entry::Empty | Entry::Reserved(_) => false,
                    Entry::Table(table) => !table.read_only,
                    Entry::Page(page) => page.writable,
                }
            }
            #[inline(never)]
            pub extern "C" fn decode_kept(raw: u64, at: u8) -> bool {
                match F::decode(raw, level(at)) {
                    Entry::Reserved(reservation) => reservation.inherit == Inherit::No,
                    _ => false,
                }
            }
            #[inline(never)]
            pub extern "C" fn is_present(raw: u64) -> bool {
                F::is_present(raw)
            }
            #[inline(never)]
            pub extern "C" fn is_retired(raw: u64) -> bool {
                F::is_retired(raw)
            }
            #[inline(never)]
            pub extern "C" fn is_counted(raw: u64) -> bool {
                F::is_counted(raw)
            }
            #[inline(never)]
            pub extern "C" fn is_read_only_table(raw: u64) -> bool {
                F::is_read_only_table(raw)
            }
            #[inline(never)]
            pub extern "C" fn output(raw: u64) -> u64 {
                F::output(raw).0
            }
            #[inline(never)]
            pub extern "C" fn write_protect(raw: u64, at: u8) -> u64 {
                F::write_protect(raw, level(at))
            }
            #[inline(never)]
            pub extern "C" fn write_enable(raw: u64, at: u8) -> u64 {
                F::write_enable(raw, level(at))
            }
            #[inline(never)]
            pub extern "C" fn retire(raw: u64) -> u64 {
                F::retire(raw)
            }
            #[inline(never)]
            pub extern "C" fn restore(raw: u64) -> u64 {
                F::restore(raw)
            }
            #[inline(never)]
            pub extern "C" fn protected(_: u8) -> u64 {
                F::PROTECTED
            }
            #[inline(never)]
            pub extern "C" fn both(a: u64, b: u64) -> u64 {
                F::both(a, b)
            }
            #[inline(never)]
            pub extern "C" fn encode_kernel_table(frame: u64, at: u8) -> u64 {
                F::encode_kernel(KernelEntry::Table(Frame(frame)), level(at))
            }
            #[inline(never)]
            pub extern "C" fn encode_kernel_leaf(frame: u64, as_what: u8, at: u8) -> u64 {
                let leaf = Leaf { frame: Frame(frame), mapping: mapping(as_what) };
                F::encode_kernel(KernelEntry::Leaf(leaf), level(at))
            }
            #[inline(never)]
            pub extern "C" fn decode_kernel_variant(raw: u64, at: u8) -> u8 {
                match F::decode_kernel(raw, level(at)) {
                    KernelEntry::Empty => 0,
                    KernelEntry::Table(_) => 1,
                    KernelEntry::Leaf(_) => 2,
                }
            }
            #[inline(never)]
            pub extern "C" fn decode_kernel_frame(raw: u64, at: u8) -> u64 {
                match F::decode_kernel(raw, level(at)) {
                    KernelEntry::Empty => 0,
                    KernelEntry::Table(frame) => frame.0,
                    KernelEntry::Leaf(leaf) => leaf.frame.0,
                }
            }
            #[inline(never)]
            pub extern "C" fn decode_kernel_mapping(raw: u64, at: u8) -> u8 {
                match F::decode_kernel(raw, level(at)) {
                    KernelEntry::Empty | KernelEntry::Table(_) => 255,
                    KernelEntry::Leaf(leaf) => leaf.mapping as u8,
                }
            }
            /// Where a walk through these four descriptors ends, as the tree sees it: 0 nowhere, 1 in a page, 2 in a
            /// page that a store reaches without a fault.
            #[inline(never)]
            pub extern "C" fn walk(root: u64, first: u64, second: u64, last: u64) -> u8 {
                with_counts(0, 0, [root, first, second, last], |memory| {
                    let space = AddressSpace::<F, _>::with_root(
                        memory.clone(),
                        gate::Exclusive::root(Frame(0)),
                        Commit::Undecided,
                    );
                    // Nothing is to be destroyed: there is no tree.
                    let space = core::mem::ManuallyDrop::new(space);
                    match VirtAddr::new(ADDRESS).and_then(|address| space.translate(address)) {
                        None => 0,
                        Some(found) => 1 + found.writable_now as u8,
                    }
                })
            }
            /// What a reference in this descriptor counts for, where the table that it leads to has these counts.
            #[inline(never)]
            pub extern "C" fn frames_behind(raw: u64, at: u8, tables: u32, pages: u32) -> u64 {
                with_counts(tables, pages, [0; 4], |memory| {
                    commit::frames_behind::<F>(memory, Descriptor::from_raw(raw), level(at))
                })
            }
            /// What this descriptor adds to the tables counted above it.
            #[inline(never)]
            pub extern "C" fn weight_tables(raw: u64, at: u8, tables: u32, pages: u32) -> u64 {
                with_counts(tables, pages, [0; 4], |memory| {
                    gate::weight::<F>(memory, Descriptor::from_raw(raw), level(at)).tables as u64
                })
            }
            /// What this descriptor adds to the pages counted above it.
            #[inline(never)]
            pub extern "C" fn weight_pages(raw: u64, at: u8, tables: u32, pages: u32) -> u64 {
                with_counts(tables, pages, [0; 4], |memory| {
                    gate::weight::<F>(memory, Descriptor::from_raw(raw), level(at)).pages as u64
                })
            }
            /// Whether this descriptor keeps its table from being shared.
            #[inline(never)]
            pub extern "C" fn is_unshareable(raw: u64, at: u8) -> bool {
                F::decode(raw, level(at)).is_unshareable()
            }
        }
    };
}

format!(aarch64, crate::AArch64);
format!(x86_64, crate::X86_64);
