//! Which device registers programs may be given.

use crate::platform::PhysRange;
use crate::platform::device_tree::{DeviceTree, Keeper};
use crate::platform::memory_map::whole_pages;
use heapless::Vec;
use spin::Once;

/// Most ranges that are handed out. The Raspberry Pi's tree has about a hundred.
const RANGES: usize = 512;
/// Most ranges that are not: memory, and what the kernel uses.
const KEPT: usize = 96;

static DEVICES: Once<Vec<PhysRange, RANGES>> = Once::new();

/// The pages of every range of registers in the tree that hold neither memory nor registers of the kernel's devices.
/// What is too much for the lists is not handed out.
pub fn find(tree: &DeviceTree) -> &'static [PhysRange] {
    let mut kept: Vec<PhysRange, KEPT> = Vec::new();
    let mut complete = true;
    let mut keep = |range| complete &= kept.push(whole_pages(range)).is_ok();
    tree.for_each_memory(&mut keep);
    tree.for_each_reservation(|range, _| keep(range));
    tree.for_each_register_block(|range, keeper| {
        if keeper == Keeper::Kernel {
            keep(range);
        }
    });
    let mut found: Vec<PhysRange, RANGES> = Vec::new();
    tree.for_each_register_block(|range, _| {
        let pages = whole_pages(range);
        if complete && !kept.iter().any(|kept| kept.start < pages.end && pages.start < kept.end) {
            let _ = found.push(pages);
        }
    });
    DEVICES.call_once(|| found)
}
