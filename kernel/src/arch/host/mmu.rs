//! Translation: each core has a TLB that keeps every entry it has ever made until that is invalidated.
//!
//! Real TLBs forget, and so hide what this one shows: an identifier that is used for another space without a flush, and
//! descriptors that have lost permission without an invalidation. An entry remembers under which root it was made; a
//! hit under another root means that two spaces share an identifier, and ends the test.
//!
//! A core holds the lock on its TLB from the lookup to the end of the access, so that an invalidation, which takes
//! every core's lock, waits for accesses that use an old translation, as `DSB ISH` does.

use super::memory::{PAGE, direct};
use super::{MAX_CORES, core_index};
use crate::arch::{Cause, Failure};
use graft_paging::{Access, Reach, VirtRange};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bits of an identifier that the machine says it has. A test may want fewer than there are: see
/// [`space::initialise`](crate::memory::space::initialise).
static ASID_BITS: AtomicU32 = AtomicU32::new(8);

/// What one core translates user addresses with.
struct Mmu {
    /// Physical address of the root, and the identifier; `None` between two spaces.
    current: Option<(u64, u16)>,
    /// By identifier and page number.
    tlb: Option<HashMap<(u16, u64), Entry>>,
}

/// A translation that is kept.
#[derive(Clone, Copy)]
struct Entry {
    frame: u64,
    rights: Rights,
    /// The root under which it was found.
    root: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Rights {
    read: bool,
    write: bool,
    execute: bool,
}

impl Rights {
    fn permit(self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write,
            Access::Execute => self.execute,
        }
    }
}

static MMUS: [Mutex<Mmu>; MAX_CORES] = [const { Mutex::new(Mmu { current: None, tlb: None }) }; MAX_CORES];

/// A core whose test has failed must not hide why by failing the others.
fn mmu(core: usize) -> MutexGuard<'static, Mmu> {
    MMUS[core].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bits in an address space identifier.
pub fn asid_bits() -> u32 {
    ASID_BITS.load(Ordering::Relaxed)
}

/// Translates user addresses through the table at physical address `root` from now on.
pub fn activate(root: u64, asid: u16) {
    mmu(core_index()).current = Some((root, asid));
}

/// No user address translates any more on this core.
pub fn deactivate() {
    mmu(core_index()).current = None;
}

/// Takes entries away, on every core.
pub(super) fn invalidate(gone: impl Fn(u16, u64) -> bool) {
    for core in 0..MAX_CORES {
        if let Some(tlb) = &mut mmu(core).tlb {
            tlb.retain(|&(asid, page), _| !gone(asid, page));
        }
    }
}

/// Takes entries of one space away. Walk caches do not exist here: each miss walks from the root.
pub(super) fn invalidate_range(asid: u16, range: VirtRange, _reach: Reach) {
    let pages = range.start() / PAGE..range.end() / PAGE;
    invalidate(|entry, page| entry == asid && pages.contains(&page));
}

/// Does something with the byte at a user address, as the program that runs on this core may.
pub(super) fn access<R>(address: u64, access: Access, act: impl FnOnce(*mut u8) -> R) -> Result<R, Failure> {
    let failure = Failure { address, access, cause: Cause::Descriptor };
    let mut mmu = mmu(core_index());
    let (root, asid) = mmu.current.expect("a program runs in a space");
    let tlb = mmu.tlb.get_or_insert_default();
    let page = address / PAGE;
    let entry = match tlb.get(&(asid, page)) {
        Some(&entry) => {
            assert_eq!(entry.root, root, "identifier {asid} has been used for another space without a flush");
            entry
        }
        None => {
            let entry = walk(root, address).ok_or(failure)?;
            tlb.insert((asid, page), entry);
            entry
        }
    };
    if !entry.rights.permit(access) {
        return Err(failure);
    }
    Ok(act(direct(entry.frame + address % PAGE)))
}

/// Reads the tables as the processor does (Arm ARM, "VMSAv8-64 translation table format descriptors"), written
/// independently of the tree's own format, so that one mistake does not hide in both.
fn walk(root: u64, address: u64) -> Option<Entry> {
    let mut table = root;
    let mut rights = Rights { read: true, write: true, execute: true };
    if address >> 48 != 0 {
        return None;
    }
    for level in 0..4 {
        let index = address >> (12 + 9 * (3 - level)) & 0x1FF;
        let slot = direct(table + index * 8).cast::<u64>();
        // SAFETY: a word of a table, which lies in memory and is accessed by atomics only.
        let raw = unsafe { AtomicU64::from_ptr(slot) }.load(Ordering::Relaxed);
        let bit = |number: u32| raw >> number & 1 == 1;
        if !bit(0) {
            return None;
        }
        assert!(bit(1), "neither table nor page at level {level}: {raw:#x}");
        table = raw & 0x0000_FFFF_FFFF_F000;
        if level < 3 {
            // APTable[1:0], UXNTable.
            rights.read &= !bit(61);
            rights.write &= !bit(61) && !bit(62);
            rights.execute &= !bit(60);
        } else {
            assert!(bit(10) && bit(11), "access flag or not-global bit is clear: {raw:#x}");
            rights.read &= bit(6);
            rights.write &= bit(6) && !bit(7);
            rights.execute &= bit(6) && !bit(54);
        }
    }
    Some(Entry { frame: table, rights, root })
}
