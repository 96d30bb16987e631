//! Which user space a core translates through.

use std::cell::Cell;
use std::thread_local;

thread_local! {
    static ROOT: Cell<Option<(u64, u16)>> = const { Cell::new(None) };
}

/// Bits in an address space identifier.
pub fn asid_bits() -> u32 {
    8
}

/// Translates user addresses through the table at physical address `root` from now on.
pub fn activate(root: u64, asid: u16) {
    ROOT.set(Some((root, asid)));
}

/// No user address translates any more on this core.
pub fn deactivate() {
    ROOT.set(None);
}
