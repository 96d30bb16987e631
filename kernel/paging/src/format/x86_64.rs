//! x86_64 paging-structure entries, 4-level paging, 4 KiB pages (Intel SDM volume 3, "4-Level Paging and 5-Level
//! Paging").
//!
//! ```text
//!        63  62..52   51..12    11 10 9  8 7 6 5 4 3 2  1  0
//! table   XD ignored  next table .  . .  . 0 . A . . US RW 1
//! page    XD software output     .  . .  G 0 D A C W US RW 1
//! large   XD ignored  output     .  . .  G 1 D A C W US RW 1     levels 1 and 2, the kernel's only; bit 12 is PAT
//! invalid  reservation or retired entry: every bit but 0 is ours   0
//! ```
//!
//! A store is allowed where R/W (bit 1) is set at *every* level, so clearing it in a table entry takes
//! write permission from everything below: what `APTable` does on Armv8. Accessed and dirty flags are set
//! in advance, so that the processor never writes into a shared table on its own.

use super::{Format, kind_bits, kind_of, reservation_bits, reservation_of};
use crate::{Entry, Frame, KernelEntry, Kind, Leaf, Level, Mapping, Page, Permissions, Table};

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// PWT and PCD together choose the uncacheable type with the PAT's reset value.
const UNCACHEABLE: u64 = 1 << 3 | 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// Marks a large page, at levels 1 and 2. At level 3 the bit is PAT.
const PAGE_SIZE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const EXECUTE_DISABLE: u64 = 1 << 63;

// Bits 58–52 are ignored by the processor at every level (62–59 are too, while CR4.PKE is clear).
const MAY_WRITE: u64 = 1 << 52;
const KIND_SHIFT: u32 = 53;
const COUNTED: u64 = 1 << 55;
/// Marks an entry that was retired; only ever together with a clear PRESENT bit.
const RETIRED: u64 = 1 << 56;
const RESERVED: u64 = 1 << 57;

const RESERVATION_SHIFT: u32 = 3;

/// The x86_64 format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum X86_64 {}

impl Format for X86_64 {
    const NAME: &'static str = "x86_64";
    const BREAK_BEFORE_MAKE: bool = false;
    /// One root serves both halves of the canonical addresses.
    const USER_ENTRIES: usize = crate::ENTRIES / 2;
    /// Pages of 1 GiB, which not every processor has: `CPUID.80000001H:EDX.Page1GB`.
    const LARGEST_LEAF: Level = Level::ROOT.below();
    const CONTIGUOUS: usize = 1;
    const PHYSICAL_BITS: u32 = 52;

    #[inline(always)]
    fn encode(entry: Entry, level: Level) -> u64 {
        match entry {
            Entry::Empty => 0,
            Entry::Reserved(reservation) => RESERVED | reservation_bits(reservation) << RESERVATION_SHIFT,
            Entry::Table(table) => {
                debug_assert!(level != Level::LAST);
                let write = if table.read_only { 0 } else { WRITE };
                table.frame.address() | write | USER | ACCESSED | PRESENT
            }
            Entry::Page(page) => {
                debug_assert!(level == Level::LAST);
                let permissions = match page.permissions {
                    Permissions::None => EXECUTE_DISABLE,
                    Permissions::Read => USER | EXECUTE_DISABLE,
                    Permissions::ReadWrite => USER | EXECUTE_DISABLE | MAY_WRITE,
                    Permissions::ReadExecute => USER,
                };
                let kind = kind_bits(page.kind) << KIND_SHIFT;
                let write = if page.writable { WRITE } else { 0 };
                let memory = if page.kind == Kind::Device { UNCACHEABLE } else { 0 };
                page.frame.address() | permissions | kind | write | memory | ACCESSED | DIRTY | PRESENT
            }
        }
    }

    #[inline(always)]
    fn decode(raw: u64, level: Level) -> Entry {
        if raw & PRESENT == 0 {
            if raw & (RESERVED | RETIRED) != RESERVED {
                return Entry::Empty;
            }
            return Entry::Reserved(reservation_of(raw >> RESERVATION_SHIFT));
        }
        let frame = Self::output(raw);
        if level != Level::LAST {
            return Entry::Table(Table { frame, read_only: Self::is_read_only_table(raw) });
        }
        let permissions = if raw & USER == 0 {
            Permissions::None
        } else if raw & EXECUTE_DISABLE == 0 {
            Permissions::ReadExecute
        } else if raw & MAY_WRITE != 0 {
            Permissions::ReadWrite
        } else {
            Permissions::Read
        };
        let kind = kind_of(raw >> KIND_SHIFT);
        Entry::Page(Page { frame, permissions, kind, writable: raw & WRITE != 0 })
    }

    #[inline(always)]
    fn is_present(raw: u64) -> bool {
        raw & PRESENT != 0
    }

    #[inline(always)]
    fn output(raw: u64) -> Frame {
        Frame::containing(raw & ADDRESS)
    }

    #[inline(always)]
    fn is_counted(raw: u64) -> bool {
        raw & COUNTED != 0
    }

    #[inline(always)]
    fn is_read_only_table(raw: u64) -> bool {
        raw & WRITE == 0
    }

    #[inline(always)]
    fn write_protect(raw: u64, _level: Level) -> u64 {
        raw & !WRITE
    }

    const PROTECTED: u64 = 0;

    #[inline(always)]
    fn both(a: u64, b: u64) -> u64 {
        a | b
    }

    #[inline(always)]
    fn write_enable(raw: u64, _level: Level) -> u64 {
        raw | WRITE
    }

    #[inline(always)]
    fn retire(raw: u64) -> u64 {
        raw & !PRESENT | RETIRED
    }

    #[inline(always)]
    fn is_retired(raw: u64) -> bool {
        raw & (PRESENT | RETIRED) == RETIRED
    }

    #[inline(always)]
    fn restore(raw: u64) -> u64 {
        raw & !RETIRED | PRESENT
    }

    #[inline(always)]
    fn encode_kernel(entry: KernelEntry, level: Level) -> u64 {
        let Leaf { frame, mapping } = match entry {
            KernelEntry::Empty => return 0,
            KernelEntry::Table(table) => return table.address() | WRITE | ACCESSED | PRESENT,
            KernelEntry::Leaf(leaf) => leaf,
        };
        let size = if level == Level::LAST { 0 } else { PAGE_SIZE };
        let mapping = match mapping {
            Mapping::ReadOnly => EXECUTE_DISABLE,
            Mapping::ReadWrite => EXECUTE_DISABLE | WRITE,
            Mapping::ReadExecute => 0,
            Mapping::Device => EXECUTE_DISABLE | WRITE | UNCACHEABLE,
        };
        frame.address() | mapping | GLOBAL | size | DIRTY | ACCESSED | PRESENT
    }

    #[inline(always)]
    fn decode_kernel(raw: u64, level: Level) -> KernelEntry {
        if raw & PRESENT == 0 || (raw & PAGE_SIZE != 0 && level < Self::LARGEST_LEAF) {
            return KernelEntry::Empty;
        }
        if level != Level::LAST && raw & PAGE_SIZE == 0 {
            return KernelEntry::Table(Self::output(raw));
        }
        let mapping = if raw & UNCACHEABLE == UNCACHEABLE {
            Mapping::Device
        } else if raw & EXECUTE_DISABLE == 0 {
            Mapping::ReadExecute
        } else if raw & WRITE == 0 {
            Mapping::ReadOnly
        } else {
            Mapping::ReadWrite
        };
        KernelEntry::Leaf(Leaf { frame: level.first_frame(Self::output(raw)), mapping })
    }
}
