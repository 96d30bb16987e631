//! The bits of every kind of descriptor, written out by number from the manuals.

use graft_paging::{
    AArch64, Entry, Format, Frame, Inherit, KernelEntry, Kind, Leaf, Level, Mapping, Page, Permissions, Reservation,
    Table, X86_64,
};

const FRAME: Frame = Frame(0x1_2345);
const ADDRESS: u64 = 0x1234_5000;
const PERMISSIONS: [Permissions; 4] =
    [Permissions::None, Permissions::Read, Permissions::ReadWrite, Permissions::ReadExecute];
const KINDS: [Kind; 6] = [Kind::Private, Kind::Shared, Kind::NoInherit, Kind::Zero, Kind::Foreign, Kind::Device];

fn bits(numbers: &[u32]) -> u64 {
    numbers.iter().fold(0, |raw, number| raw | 1 << number)
}

fn table(read_only: bool) -> Entry {
    Entry::Table(Table { frame: FRAME, read_only })
}

/// Compares every page descriptor with the sum of the bits for its parts.
fn pages<F: Format>(common: &[u32], permissions: [&[u32]; 4], kinds: [&[u32]; 6], store: [u32; 2]) {
    for (permission, bits_of_permission) in PERMISSIONS.into_iter().zip(permissions) {
        for (kind, bits_of_kind) in KINDS.into_iter().zip(kinds) {
            for writable in [false, true] {
                let entry = Entry::Page(Page { frame: FRAME, permissions: permission, kind, writable });
                let [allowed, refused] = store.map(|bit| if bit == 64 { 0 } else { 1 << bit });
                let store = if writable { allowed } else { refused };
                let expected = ADDRESS + bits(common) + bits(bits_of_permission) + bits(bits_of_kind) + store;
                assert_eq!(F::encode(entry, Level::LAST), expected, "{entry:?}");
                assert_eq!(F::decode(expected, Level::LAST), entry);
            }
        }
    }
}

/// Arm ARM, "VMSAv8-64 translation table level 3 descriptor format": nG 11, AF 10, SH 9:8, AP 7:6, AttrIndx 4:2, PXN
/// 53, UXN 54.
#[test]
fn aarch64_pages_have_the_manuals_bits() {
    pages::<AArch64>(
        &[0, 1, 8, 9, 10, 11, 53],
        [&[54], &[6, 54], &[6, 54, 55], &[6]],
        [&[58], &[58, 56], &[58, 57], &[], &[56], &[57, 2]],
        [64, 7],
    );
    assert_eq!(AArch64::MAIR, 0x04ff);
}

/// Arm ARM, "VMSAv8-64 table descriptor format": APTable 62:61.
#[test]
fn aarch64_tables_have_the_manuals_bits() {
    for level in [0, 1, 2].map(|number| Level::new(number).unwrap()) {
        assert_eq!(AArch64::encode(table(false), level), ADDRESS + bits(&[0, 1]));
        assert_eq!(AArch64::encode(table(true), level), ADDRESS + bits(&[0, 1, 62]));
    }
}

/// Intel SDM volume 3, "Format of a Page-Table Entry that Maps a 4-KByte Page": R/W 1, U/S 2, PWT 3, PCD 4, A 5, D 6,
/// XD 63.
#[test]
fn x86_64_pages_have_the_manuals_bits() {
    pages::<X86_64>(
        &[0, 5, 6],
        [&[63], &[2, 63], &[2, 63, 52], &[2]],
        [&[55], &[55, 53], &[55, 54], &[], &[53], &[54, 3, 4]],
        [1, 64],
    );
}

#[test]
fn x86_64_tables_have_the_manuals_bits() {
    for level in [0, 1, 2].map(|number| Level::new(number).unwrap()) {
        assert_eq!(X86_64::encode(table(false), level), ADDRESS + bits(&[0, 1, 2, 5]));
        assert_eq!(X86_64::encode(table(true), level), ADDRESS + bits(&[0, 2, 5]));
    }
}

/// Invalid for the hardware at every level, with any value in the other bits.
#[test]
fn reservations_leave_bit_0_clear() {
    for (number, permissions) in (0..).zip(PERMISSIONS) {
        for (inherit, kept) in [(Inherit::Yes, 0), (Inherit::No, 1 << 3)] {
            let entry = Entry::Reserved(Reservation { permissions, inherit });
            assert_eq!(AArch64::encode(entry, Level::ROOT), 1 << 2 | kept | number << 4);
            assert_eq!(X86_64::encode(entry, Level::ROOT), 1 << 57 | kept | number << 4);
        }
    }
}

/// Compares the kernel's descriptors, at levels 1 to 3, with the sum of the bits for their parts.
fn kernel_leaves<F: Format>(common: &[u32], sizes: [&[u32]; 3], mappings: [&[u32]; 4]) {
    let all = [Mapping::ReadOnly, Mapping::ReadWrite, Mapping::ReadExecute, Mapping::Device];
    for (level, bits_of_size) in (1..).zip(sizes) {
        for (mapping, bits_of_mapping) in all.into_iter().zip(mappings) {
            let level = Level::new(level).unwrap();
            let entry = KernelEntry::Leaf(Leaf { frame: Frame::containing(5 << 30), mapping });
            let expected = (5 << 30) + bits(common) + bits(bits_of_size) + bits(bits_of_mapping);
            assert_eq!(F::encode_kernel(entry, level), expected, "{entry:?} at {level:?}");
            assert_eq!(F::decode_kernel(expected, level), entry);
            // Bit 12 of a block is no address: it is reserved (Arm), or PAT (Intel).
            if level != Level::LAST {
                assert_eq!(F::decode_kernel(expected + bits(&[12]), level), entry);
            }
        }
    }
    assert_eq!(F::decode_kernel(bits(common) + bits(sizes[0]), Level::ROOT), KernelEntry::Empty, "a leaf of 512 GiB");
}

/// Arm ARM, "VMSAv8-64 block and page descriptor formats": bit 1 tells a page, at level 3, from a block. AP 7:6 is 0b00
/// for reading and writing at EL1 alone, 0b10 for reading; PXN 53, UXN 54; nG 11 is clear.
#[test]
fn aarch64_leaves_of_the_kernel_have_the_manuals_bits() {
    kernel_leaves::<AArch64>(&[0, 8, 9, 10, 54], [&[], &[], &[1]], [&[7, 53], &[53], &[7], &[53, 2]]);
    let table = AArch64::encode_kernel(KernelEntry::Table(FRAME), Level::ROOT);
    assert_eq!(table, ADDRESS + bits(&[0, 1]));
    // Neither a page nor a table.
    assert_eq!(AArch64::decode_kernel(ADDRESS + 1, Level::LAST), KernelEntry::Empty);
    assert_eq!((AArch64::CONTIGUOUS, AArch64::PHYSICAL_BITS), (16, 48));
}

/// Intel SDM volume 3, "Format of a Page-Directory Entry that Maps a 2-MByte Page": PS 7, G 8; U/S 2 is clear.
#[test]
fn x86_64_leaves_of_the_kernel_have_the_manuals_bits() {
    kernel_leaves::<X86_64>(&[0, 5, 6, 8], [&[7], &[7], &[]], [&[63], &[63, 1], &[], &[63, 1, 3, 4]]);
    let table = X86_64::encode_kernel(KernelEntry::Table(FRAME), Level::ROOT);
    assert_eq!(table, ADDRESS + bits(&[0, 1, 5]));
    assert_eq!((X86_64::CONTIGUOUS, X86_64::PHYSICAL_BITS), (1, 52));
}
