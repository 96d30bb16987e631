//! What the raw 64 bits of a descriptor say: AArch64, 4 KiB granule.
//!
//! Arm ARM, "VMSAv8-64 descriptor formats": table descriptors carry hierarchical attributes in
//! bits 63–59, page descriptors their own in bits 54 and 7–6.

/// Bits 47–12: the address of the next table, or of the page.
pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// Whether the processor walks through this descriptor at all.
pub const fn is_valid(descriptor: u64) -> bool {
    descriptor & 1 != 0
}

/// The frame number of what the descriptor leads to.
pub const fn frame(descriptor: u64) -> u64 {
    (descriptor & ADDRESS) >> 12
}

/// `APTable` of a table descriptor, bits 62–61.
pub const fn ap_table(descriptor: u64) -> u64 {
    descriptor >> 61 & 0b11
}

/// Whether a table descriptor write-protects everything below it: `APTable[1]`.
pub const fn takes_write(descriptor: u64) -> bool {
    ap_table(descriptor) & 0b10 != 0
}

/// `AP[2:1]` of a page descriptor, bits 7–6.
pub const fn ap(descriptor: u64) -> u64 {
    descriptor >> 6 & 0b11
}

/// Whether a page descriptor, by itself, lets a program write: `AP[2:1]` is 01.
pub const fn lets_write(descriptor: u64) -> bool {
    ap(descriptor) == 0b01
}

/// `UXN` of a page descriptor, bit 54: a program may not execute from the page.
pub const fn unprivileged_execute_never(descriptor: u64) -> bool {
    descriptor >> 54 & 1 != 0
}
