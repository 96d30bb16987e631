//! Records of two small processes for the tests, as a kernel would report them.

use graft_abi::{EntryKind, EntryRecord, Permissions};

/// The first page of the region whose table is called A.
pub(crate) const A: u64 = 0x2_0000_0000;
/// The first page of the region whose table is called B.
pub(crate) const B: u64 = A + (2 << 20);
/// The frame of B's first page.
pub(crate) const PAGE_B: u64 = 0x50010;

const AP_TABLE_READ_ONLY: u64 = 1 << 62;
const READ_WRITE: u64 = 0b01 << 6;
const READ_ONLY: u64 = 0b11 << 6;
const NO_EXECUTE: u64 = 1 << 54 | 1 << 53;

/// A table descriptor.
pub(crate) fn table(level: u8, address: u64, holder: u64, target: u64, references: u32, writable: bool) -> EntryRecord {
    EntryRecord {
        address,
        descriptor: target << 12 | 0b11 | if references > 1 { AP_TABLE_READ_ONLY } else { 0 },
        table: holder << 12,
        references,
        level,
        kind: EntryKind::Table as u8,
        permissions: Permissions::ReadWrite as u8,
        writable_now: writable.into(),
        pages_below: 3,
        tables_below: 0,
    }
}

/// The descriptor of a data page.
pub(crate) fn page(address: u64, holder: u64, target: u64, references: u32, bit: bool, writable: bool) -> EntryRecord {
    EntryRecord {
        address,
        descriptor: target << 12 | 0b11 | 1 << 10 | NO_EXECUTE | if bit { READ_WRITE } else { READ_ONLY },
        table: holder << 12,
        references,
        level: 3,
        kind: EntryKind::Page as u8,
        permissions: Permissions::ReadWrite as u8,
        writable_now: writable.into(),
        pages_below: 0,
        tables_below: 0,
    }
}

/// The program's one page of text, below its own tables.
fn program(level_1: u64, level_2: u64) -> Vec<EntryRecord> {
    let text = EntryRecord {
        descriptor: 0x50020 << 12 | 0b11 | 1 << 10 | READ_ONLY | 1 << 53,
        permissions: Permissions::ReadExecute as u8,
        ..page(0x40_0000, 0x40020, 0x50020, 1, false, false)
    };
    vec![table(1, 0, level_1, level_2, 1, true), table(2, 0x40_0000, level_2, 0x40020, 2, false), text]
}

fn process(base: u64, data: Vec<EntryRecord>) -> Vec<EntryRecord> {
    let mut records = vec![table(0, 0, base, base + 1, 1, true)];
    records.extend(program(base + 1, base + 2));
    records.push(table(1, A, base + 1, base + 3, 1, true));
    records.extend(data);
    records
}

fn shared(base: u64) -> Vec<EntryRecord> {
    let mut data = vec![table(2, A, base + 3, 0x40010, 2, false)];
    data.extend((0..3).map(|index| page(A + index * 4096, 0x40010, 0x50000 + index, 1, true, false)));
    data.push(table(2, B, base + 3, 0x40011, 2, false));
    data.extend((0..2).map(|index| page(B + index * 4096, 0x40011, PAGE_B + index, 1, true, false)));
    data
}

/// Right after a fork that shares level-3 tables.
pub(crate) fn after_fork() -> (Vec<EntryRecord>, Vec<EntryRecord>) {
    (process(0x40000, shared(0x40000)), process(0x41000, shared(0x41000)))
}

/// After the child has written to the first page of A.
pub(crate) fn after_child_write() -> (Vec<EntryRecord>, Vec<EntryRecord>) {
    let side = |base: u64, own: u64, first: EntryRecord, lag: bool| {
        let mut data = shared(base);
        data[0] = table(2, A, base + 3, own, 1, !lag);
        if lag {
            data[0].descriptor |= AP_TABLE_READ_ONLY;
        }
        data[1] = first;
        for index in 1..3 {
            data[1 + index] = page(A + index as u64 * 4096, own, 0x50000 + index as u64, 2, false, false);
        }
        process(base, data)
    };
    (
        side(0x40000, 0x40010, page(A, 0x40010, 0x50000, 1, false, false), true),
        side(0x41000, 0x41010, page(A, 0x41010, 0x51000, 1, true, true), false),
    )
}

/// Right after a fork that shares level-1 tables.
pub(crate) fn after_deep_fork() -> (Vec<EntryRecord>, Vec<EntryRecord>) {
    let side = |base: u64| {
        let mut records = process(0x42000, shared(0x42000));
        records[0] = table(0, 0, base, 0x42001, 2, false);
        for record in &mut records[1..] {
            // What is private below a shared table has one reference and its own bits open.
            if record.kind == EntryKind::Table as u8 {
                record.references = 1;
                record.descriptor &= !AP_TABLE_READ_ONLY;
            }
            record.writable_now = 0;
        }
        records
    };
    (side(0x40000), side(0x41000))
}
