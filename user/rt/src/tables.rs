//! The descriptors of a process's translation tables, as the kernel reports them.

use alloc::vec::Vec;
use core::ops::Range;

use graft_abi::{Call, EntryKind, EntryRecord, Error, Handle, TablesRequest, USER_END};

use crate::call::call;

/// Records fetched by one call.
const BATCH: usize = 64;

/// Every descriptor from `start` to `end` down to the level `deepest`, in the order of addresses,
/// a table before what is below it.
pub fn entries(process: Handle, start: usize, end: usize, deepest: u32) -> Result<Vec<EntryRecord>, Error> {
    let mut all = Vec::new();
    let mut records = [EntryRecord::default(); BATCH];
    let mut request = TablesRequest {
        cursor: start as u64,
        end: end as u64,
        deepest,
        padding: 0,
        records: records.as_mut_ptr().addr() as u64,
        capacity: BATCH as u64,
    };
    while request.cursor & !0xf < request.end {
        // SAFETY: the kernel stores at most `BATCH` records and the cursor, into variables that
        // nothing else refers to during the call.
        let answer = unsafe { call(Call::Tables, [process.0.into(), (&raw mut request).addr() as u64]) }?;
        // SAFETY: as above; the kernel has written through the address that was taken from it.
        let records = unsafe { core::slice::from_raw_parts((&raw const records).cast::<EntryRecord>(), BATCH) };
        all.extend_from_slice(&records[..(answer.x0 as usize).min(BATCH)]);
    }
    Ok(all)
}

/// What is mapped or reserved in a range of the caller's own memory: its descriptors, except those that lead to tables.
pub fn mapped(range: Range<usize>) -> Result<impl Iterator<Item = EntryRecord>, Error> {
    let records = entries(Handle::SELF, range.start, range.end, graft_abi::ENTRY_ANY_LEVEL)?;
    Ok(records.into_iter().filter(|record| record.kind != EntryKind::Table as u8))
}

/// Every descriptor of the process.
pub fn all_entries(process: Handle) -> Result<Vec<EntryRecord>, Error> {
    entries(process, 0, USER_END, graft_abi::ENTRY_ANY_LEVEL)
}
