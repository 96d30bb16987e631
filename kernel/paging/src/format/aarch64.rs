//! VMSAv8-64 descriptors, 4 KiB granule, 48-bit output (Arm ARM, "VMSAv8-64 translation table format descriptors").
//!
//! ```text
//!        63  62 61  60    59  58..55  54   53      47..12     11 10 9..8 7..6 5 4..2  1 0
//! table   .  APTable UXN  PXN ignored  .    .   next table     .  .   .    .  .   .   1 1
//! page    .   .  .   .     .  software UXN PXN    output       nG AF  SH   AP NS Attr 1 1
//! block   .   .  .   .     .     .     UXN PXN    output       nG AF  SH   AP NS Attr 0 1   the kernel's, levels 1, 2
//! invalid  reservation or retired descriptor: every bit but 0 is ours                  . 0
//! ```
//!
//! `APTable[1]` (bit 62) removes write permission from everything below ("Hierarchical control of
//! data access permissions"); `AP[2]` (bit 7) from one page. Needs `TCR_EL1.HPD0 = 0`.

use super::{Format, kind_bits, kind_of, reservation_bits, reservation_of};
use crate::{Entry, Frame, KernelEntry, Kind, Leaf, Level, Mapping, Page, Permissions, Table};

const VALID: u64 = 1 << 0;
/// Table at levels 0–2, page at level 3. If it is clear, the descriptor is a block's, which the kernel's map uses and
/// the tree does not.
const TABLE_OR_PAGE: u64 = 1 << 1;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
const AP_TABLE_READ_ONLY: u64 = 1 << 62;

/// `MAIR_EL1` attribute 0: Normal, inner and outer write-back. See [`AArch64::MAIR`].
const ATTRIBUTE_NORMAL: u64 = 0 << 2;
/// `MAIR_EL1` attribute 1: Device-nGnRE.
const ATTRIBUTE_DEVICE: u64 = 1 << 2;
const ATTRIBUTE: u64 = 0b111 << 2;
const AP_USER: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
/// Set in advance: the Cortex-A72 has no hardware access flag, and a fault to set it would be waste.
const ACCESS_FLAG: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const EXECUTE_NEVER: u64 = 1 << 54;

// Software bits 58–55 of a page descriptor.
const MAY_WRITE: u64 = 1 << 55;
const KIND_SHIFT: u32 = 56;
const COUNTED: u64 = 1 << 58;

// An invalid descriptor with bit 1 set is a retired one; with bit 2 set and bit 1 clear, a reservation.
const RESERVED: u64 = 1 << 2;
const RESERVATION_SHIFT: u32 = 3;

/// The AArch64 format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AArch64 {}

impl AArch64 {
    /// What `MAIR_EL1` must hold: attribute 0 Normal write-back read/write-allocate (0xff),
    /// attribute 1 Device-nGnRE (0x04).
    pub const MAIR: u64 = 0x04ff;

    /// [`encode_kernel`](Format::encode_kernel) as a constant: for a boot path that makes its tables in assembly.
    #[inline(always)]
    pub const fn kernel_descriptor(entry: KernelEntry, level: Level) -> u64 {
        let Leaf { frame, mapping } = match entry {
            KernelEntry::Empty => return 0,
            KernelEntry::Table(table) => return table.address() | TABLE_OR_PAGE | VALID,
            KernelEntry::Leaf(leaf) => leaf,
        };
        let page = if level.number() == Level::LAST.number() { TABLE_OR_PAGE } else { 0 };
        let mapping = match mapping {
            Mapping::ReadOnly => AP_READ_ONLY | PRIVILEGED_EXECUTE_NEVER | ATTRIBUTE_NORMAL,
            Mapping::ReadWrite => PRIVILEGED_EXECUTE_NEVER | ATTRIBUTE_NORMAL,
            Mapping::ReadExecute => AP_READ_ONLY | ATTRIBUTE_NORMAL,
            Mapping::Device => PRIVILEGED_EXECUTE_NEVER | ATTRIBUTE_DEVICE,
        };
        // `nG` is clear: the entry is valid in every address space.
        frame.address() | mapping | EXECUTE_NEVER | INNER_SHAREABLE | ACCESS_FLAG | page | VALID
    }
}

impl Format for AArch64 {
    const NAME: &'static str = "AArch64";
    const BREAK_BEFORE_MAKE: bool = true;
    /// The kernel has a root of its own, in `TTBR1_EL1`.
    const USER_ENTRIES: usize = crate::ENTRIES;
    /// Blocks of 1 GiB. At level 0 the 4 KiB granule has blocks with 52-bit addresses only.
    const LARGEST_LEAF: Level = Level::ROOT.below();
    /// Bit 52, for the 4 KiB granule (Arm ARM, "The Contiguous bit").
    const CONTIGUOUS: usize = 16;
    const PHYSICAL_BITS: u32 = 48;

    #[inline(always)]
    fn encode(entry: Entry, level: Level) -> u64 {
        match entry {
            Entry::Empty => 0,
            Entry::Reserved(reservation) => RESERVED | reservation_bits(reservation) << RESERVATION_SHIFT,
            Entry::Table(table) => {
                debug_assert!(level != Level::LAST);
                let read_only = if table.read_only { AP_TABLE_READ_ONLY } else { 0 };
                table.frame.address() | read_only | TABLE_OR_PAGE | VALID
            }
            Entry::Page(page) => {
                debug_assert!(level == Level::LAST);
                let permissions = match page.permissions {
                    Permissions::None => EXECUTE_NEVER,
                    Permissions::Read => AP_USER | EXECUTE_NEVER,
                    Permissions::ReadWrite => AP_USER | EXECUTE_NEVER | MAY_WRITE,
                    Permissions::ReadExecute => AP_USER,
                };
                let kind = kind_bits(page.kind) << KIND_SHIFT;
                let read_only = if page.writable { 0 } else { AP_READ_ONLY };
                let memory = if page.kind == Kind::Device { ATTRIBUTE_DEVICE } else { ATTRIBUTE_NORMAL };
                let common =
                    INNER_SHAREABLE | ACCESS_FLAG | NOT_GLOBAL | PRIVILEGED_EXECUTE_NEVER | TABLE_OR_PAGE | VALID;
                page.frame.address() | permissions | kind | read_only | memory | common
            }
        }
    }

    #[inline(always)]
    fn decode(raw: u64, level: Level) -> Entry {
        if raw & VALID == 0 {
            if raw & (RESERVED | TABLE_OR_PAGE) != RESERVED {
                return Entry::Empty;
            }
            return Entry::Reserved(reservation_of(raw >> RESERVATION_SHIFT));
        }
        let frame = Self::output(raw);
        if level != Level::LAST {
            return Entry::Table(Table { frame, read_only: Self::is_read_only_table(raw) });
        }
        let permissions = if raw & AP_USER == 0 {
            Permissions::None
        } else if raw & EXECUTE_NEVER == 0 {
            Permissions::ReadExecute
        } else if raw & MAY_WRITE != 0 {
            Permissions::ReadWrite
        } else {
            Permissions::Read
        };
        let kind = kind_of(raw >> KIND_SHIFT);
        Entry::Page(Page { frame, permissions, kind, writable: raw & AP_READ_ONLY == 0 })
    }

    #[inline(always)]
    fn is_present(raw: u64) -> bool {
        raw & VALID != 0
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
        raw & AP_TABLE_READ_ONLY != 0
    }

    #[inline(always)]
    fn write_protect(raw: u64, level: Level) -> u64 {
        raw | if level == Level::LAST { AP_READ_ONLY } else { AP_TABLE_READ_ONLY }
    }

    const PROTECTED: u64 = !0;

    #[inline(always)]
    fn both(a: u64, b: u64) -> u64 {
        a & b
    }

    #[inline(always)]
    fn write_enable(raw: u64, level: Level) -> u64 {
        raw & !if level == Level::LAST { AP_READ_ONLY } else { AP_TABLE_READ_ONLY }
    }

    #[inline(always)]
    fn retire(raw: u64) -> u64 {
        raw & !VALID
    }

    #[inline(always)]
    fn is_retired(raw: u64) -> bool {
        raw & (VALID | TABLE_OR_PAGE) == TABLE_OR_PAGE
    }

    #[inline(always)]
    fn restore(raw: u64) -> u64 {
        raw | VALID
    }

    #[inline(always)]
    fn encode_kernel(entry: KernelEntry, level: Level) -> u64 {
        AArch64::kernel_descriptor(entry, level)
    }

    #[inline(always)]
    fn decode_kernel(raw: u64, level: Level) -> KernelEntry {
        let is_table = raw & TABLE_OR_PAGE != 0 && level != Level::LAST;
        let is_leaf = (raw & TABLE_OR_PAGE != 0) == (level == Level::LAST) && level >= Self::LARGEST_LEAF;
        if raw & VALID == 0 || !(is_table || is_leaf) {
            return KernelEntry::Empty;
        }
        if is_table {
            return KernelEntry::Table(Self::output(raw));
        }
        let mapping = if raw & ATTRIBUTE == ATTRIBUTE_DEVICE {
            Mapping::Device
        } else if raw & PRIVILEGED_EXECUTE_NEVER == 0 {
            Mapping::ReadExecute
        } else if raw & AP_READ_ONLY != 0 {
            Mapping::ReadOnly
        } else {
            Mapping::ReadWrite
        };
        KernelEntry::Leaf(Leaf { frame: level.first_frame(Self::output(raw)), mapping })
    }
}
