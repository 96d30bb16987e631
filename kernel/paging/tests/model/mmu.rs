//! The processors' own reading of a descriptor, written from the manuals' bit layouts.
//!
//! Deliberately not built on the crate's `Format`: otherwise one mistake could hide in both.

use graft_paging::{AArch64, Frame, X86_64};

/// What one step of a table walk finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The walk ends in a translation fault.
    Invalid,
    /// It goes on in another table, with the rights that the descriptor takes away.
    Table(Frame, Rights),
    /// It ends in a page.
    Page(Frame, Rights),
}

/// What user mode may do according to one descriptor, or to several together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rights {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
}

impl Rights {
    pub const ALL: Rights = Rights { read: true, write: true, execute: true };

    pub const NONE: Rights = Rights { read: false, write: false, execute: false };

    pub fn and(self, other: Rights) -> Rights {
        Rights {
            read: self.read && other.read,
            write: self.write && other.write,
            execute: self.execute && other.execute,
        }
    }
}

/// What one step of a walk of the kernel's map finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelStep {
    /// The walk ends in a translation fault.
    Invalid,
    /// It goes on in another table, which takes nothing away.
    Table(Frame),
    /// It ends in a page or a block.
    Leaf(KernelLeaf),
}

/// A page or block, as the processor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLeaf {
    /// Physical address.
    pub output: u64,
    pub user: Rights,
    pub kernel: Rights,
    /// Whether accesses are those to a device: in order, unmerged, never speculative.
    pub is_device: bool,
}

/// What the model needs of an architecture.
pub trait Architecture: graft_paging::Format {
    /// Reads a descriptor of a table of `level` (0 is the root).
    fn step(raw: u64, level: usize) -> Step;

    /// As [`step`](Architecture::step), of the kernel's own map.
    fn kernel_step(raw: u64, level: usize) -> KernelStep;

    /// Whether `new` is `old`, or `old` without write permission, at any level.
    fn loses_write_only(old: u64, new: u64) -> bool;

    /// The table that a descriptor above the last level leads to; pages differ from tables in a flag.
    fn table(raw: u64) -> Option<Frame>;

    /// Whether a store that is permitted in a shared table can change the descriptor: it lets writes through, or it is
    /// a reservation.
    fn may_change_while_shared(raw: u64) -> bool;

    /// Whether this maps the frame as a page that user mode cannot write.
    fn is_read_only_page_of(raw: u64, frame: Frame) -> bool {
        matches!(Self::step(raw, 3), Step::Page(found, rights) if found == frame && !rights.write)
    }

    /// Whether an invalidation of pages also empties the walk caches.
    const PAGE_INVALIDATION_REACHES_WALK_CACHES: bool;

    /// Whether a fault discards what was cached for its address.
    const FAULT_INVALIDATES: bool;
}

impl Architecture for AArch64 {
    // Arm ARM, "VMSAv8-64 translation table level -1, 0, 1, and 2 descriptor formats" and "level 3 descriptor format".
    fn step(raw: u64, level: usize) -> Step {
        let bit = |number: u32| raw >> number & 1 == 1;
        if !bit(0) {
            return Step::Invalid;
        }
        assert!(bit(1), "a block descriptor at level {level}, or a reserved encoding at level 3: {raw:#x}");
        let frame = Frame((raw & 0x0000_ffff_ffff_f000) / 4096);
        if level < 3 {
            // NSTable, APTable[1:0], UXNTable, PXNTable.
            let rights = Rights { read: !bit(61), write: !bit(62) && !bit(61), execute: !bit(60) };
            return Step::Table(frame, rights);
        }
        assert!(bit(10), "access flag clear: the first touch would fault: {raw:#x}");
        assert!(bit(11), "a global user page would be seen by every ASID: {raw:#x}");
        assert!(raw >> 8 & 3 == 3, "not inner shareable: {raw:#x}");
        assert!(bit(53), "the kernel could execute a user page: {raw:#x}");
        assert!(!bit(51), "dirty-bit management would let the hardware make it writable: {raw:#x}");
        Step::Page(frame, Rights { read: bit(6), write: bit(6) && !bit(7), execute: bit(6) && !bit(54) })
    }

    // Arm ARM, "Stage 1 data accesses using Direct permissions" and "Stage 1 instruction execution using Direct
    // permissions": AP[2:1] is 00 for reads and writes at EL1, 10 for reads there, x1 for EL0 as well; what EL0 can
    // write, EL1 never executes.
    fn kernel_step(raw: u64, level: usize) -> KernelStep {
        let bit = |number: u32| raw >> number & 1 == 1;
        let is_leaf = bit(1) == (level == 3);
        // At level 0 there is no block, and at level 3 the encoding without bit 1 is reserved.
        if !bit(0) || (is_leaf && level == 0) || (!bit(1) && level == 3) {
            return KernelStep::Invalid;
        }
        let output = raw & 0x0000_ffff_ffff_f000;
        if !is_leaf {
            assert_eq!(raw >> 59, 0, "a table of the kernel's takes something away: {raw:#x}");
            return KernelStep::Table(Frame(output / 4096));
        }
        assert_eq!(output % (4096 << (9 * (3 - level))), 0, "bits of a block's address are reserved: {raw:#x}");
        assert!(bit(10), "access flag clear: the first touch would fault: {raw:#x}");
        assert!(!bit(11), "the kernel's map is of one address space: {raw:#x}");
        assert!(!bit(51) && !bit(52), "dirty-bit management, or a contiguous bit that is not meant: {raw:#x}");
        let user = Rights { read: bit(6), write: bit(6) && !bit(7), execute: !bit(54) };
        let kernel = Rights { read: true, write: !bit(7), execute: !bit(53) && !user.write };
        let is_device = match raw >> 2 & 7 {
            // Attribute 0 of MAIR is Normal, and 1 is Device-nGnRE.
            0 => false,
            1 => true,
            other => panic!("memory attribute {other}: {raw:#x}"),
        };
        assert!(is_device || raw >> 8 & 3 == 3, "not inner shareable: {raw:#x}");
        KernelStep::Leaf(KernelLeaf { output, user, kernel, is_device })
    }

    fn loses_write_only(old: u64, new: u64) -> bool {
        old & 1 == 1 && [old, old | 1 << 62, old | 1 << 7].contains(&new)
    }

    // A page has the access flag, bit 10; a table of the tree does not.
    fn table(raw: u64) -> Option<Frame> {
        (raw & 1 == 1 && raw >> 10 & 1 == 0).then_some(Frame((raw & 0x0000_ffff_ffff_f000) / 4096))
    }

    fn may_change_while_shared(raw: u64) -> bool {
        let read_only = if raw >> 10 & 1 == 1 { 7 } else { 62 };
        if raw & 1 == 1 { raw >> read_only & 1 == 0 } else { raw != 0 }
    }

    const PAGE_INVALIDATION_REACHES_WALK_CACHES: bool = false;
    const FAULT_INVALIDATES: bool = false;
}

impl Architecture for X86_64 {
    // Intel SDM volume 3, tables "Format of a … Entry" of "4-Level Paging"; "Determination of Access Rights".
    fn step(raw: u64, level: usize) -> Step {
        let bit = |number: u32| raw >> number & 1 == 1;
        if !bit(0) {
            return Step::Invalid;
        }
        assert!(bit(5), "accessed flag clear: the processor would write into a table: {raw:#x}");
        let frame = Frame((raw & 0x000f_ffff_ffff_f000) / 4096);
        let rights = Rights { read: bit(2), write: bit(2) && bit(1), execute: bit(2) && !bit(63) };
        if level < 3 {
            assert!(!bit(7), "page size set at level {level}: {raw:#x}");
            return Step::Table(frame, rights);
        }
        assert!(bit(6), "dirty flag clear: the processor would write into a table: {raw:#x}");
        assert!(!bit(8), "a global user page: {raw:#x}");
        Step::Page(frame, rights)
    }

    // "Determination of Access Rights", with CR0.WP and EFER.NXE set: one clear U/S on the path makes it a supervisor
    // page.
    fn kernel_step(raw: u64, level: usize) -> KernelStep {
        let bit = |number: u32| raw >> number & 1 == 1;
        if !bit(0) {
            return KernelStep::Invalid;
        }
        assert!(bit(5), "accessed flag clear: the processor would write into a table: {raw:#x}");
        let output = raw & 0x000f_ffff_ffff_f000;
        if level < 3 && !bit(7) {
            assert!(bit(1) && !bit(63), "a table of the kernel's takes something away: {raw:#x}");
            return KernelStep::Table(Frame(output / 4096));
        }
        assert!(level > 0, "bit 7 is reserved at level 0: {raw:#x}");
        assert_eq!(output % (4096 << (9 * (3 - level))), 0, "bits of a large page's address are reserved: {raw:#x}");
        assert!(bit(6) && bit(8), "not dirty, or of one address space: {raw:#x}");
        let user = Rights { read: bit(2), write: bit(2) && bit(1), execute: bit(2) && !bit(63) };
        let kernel = Rights { read: true, write: bit(1), execute: !bit(63) };
        // PAT is bit 7 of a page and bit 12 of a large one: clear, so that PCD and PWT choose.
        assert!(level < 3 || !bit(7), "PAT is set: {raw:#x}");
        let is_device = match raw >> 3 & 3 {
            0 => false,
            3 => true,
            other => panic!("memory type {other}: {raw:#x}"),
        };
        KernelStep::Leaf(KernelLeaf { output, user, kernel, is_device })
    }

    fn loses_write_only(old: u64, new: u64) -> bool {
        old & 1 == 1 && [old, old & !2].contains(&new)
    }

    // A page has the dirty flag, bit 6; a table does not.
    fn table(raw: u64) -> Option<Frame> {
        (raw & 1 == 1 && raw >> 6 & 1 == 0).then_some(Frame((raw & 0x000f_ffff_ffff_f000) / 4096))
    }

    fn may_change_while_shared(raw: u64) -> bool {
        raw & 3 == 3 || (raw & 1 == 0 && raw != 0)
    }

    // "Operations that Invalidate TLBs and Paging-Structure Caches": INVLPG empties all paging-structure caches of the
    // PCID; a page fault invalidates what is cached for its address.
    const PAGE_INVALIDATION_REACHES_WALK_CACHES: bool = true;
    const FAULT_INVALIDATES: bool = true;
}
