//! Tables of a kernel's map, and a core that walks them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use graft_paging::{Frame, KernelMemory, Level, Mapping, OutOfMemory};

use super::PAGE;
use crate::mmu::{Architecture, KernelLeaf, KernelStep, Rights};

/// Physical addresses of tables: no test maps any of them.
const TABLES: u64 = 1 << 35;

/// Tables, and one core that walks them.
pub(super) struct Machine {
    pub(super) root: Level,
    pub(super) largest_leaf: Level,
    pub(super) tables: Vec<[u64; 512]>,
    pub(super) most: usize,
    pub(super) reserved: u64,
    /// Whether walkers may not have seen the last store yet.
    pub(super) is_unseen: Cell<bool>,
    /// The translations that the core has kept, by virtual page.
    pub(super) tlb: RefCell<BTreeMap<u64, KernelLeaf>>,
}

impl Machine {
    pub(super) fn new(root: Level, most: usize) -> Machine {
        Machine {
            root,
            largest_leaf: Level::ROOT.below(),
            tables: vec![[0; 512]],
            most,
            reserved: 0,
            is_unseen: Cell::new(false),
            tlb: RefCell::default(),
        }
    }
}

#[expect(unsafe_code, reason = "implementing it is a promise")]
// SAFETY: each table is a vector's element for good, and the processor is a loop of this file.
unsafe impl KernelMemory for Machine {
    fn root(&self) -> (Frame, Level) {
        (Frame::containing(TABLES), self.root)
    }

    fn largest_leaf(&self) -> Level {
        self.largest_leaf
    }

    fn reserve(&mut self, tables: u64) -> Result<(), OutOfMemory> {
        assert_eq!(self.reserved, 0, "more tables were reserved than it took");
        if self.tables.len() as u64 + tables > self.most as u64 {
            return Err(OutOfMemory);
        }
        self.reserved = tables;
        Ok(())
    }

    fn allocate(&mut self) -> Frame {
        self.reserved = self.reserved.checked_sub(1).expect("a table that was not reserved");
        self.tables.push([0; 512]);
        Frame::containing(TABLES + (self.tables.len() as u64 - 1) * PAGE)
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        self.tables[number(table)][index]
    }

    unsafe fn store(&mut self, table: Frame, index: usize, raw: u64) {
        let old = &mut self.tables[number(table)][index];
        assert!(*old == 0 || raw == 0, "{old:#x} becomes {raw:#x} without a break");
        *old = raw;
        self.is_unseen.set(true);
    }

    fn publish(&self) {
        self.is_unseen.set(false);
    }

    fn invalidate(&self, address: u64, bytes: u64) {
        self.publish();
        self.tlb.borrow_mut().retain(|&page, _| page < address || page - address >= bytes);
    }
}

pub(super) fn number(table: Frame) -> usize {
    ((table.address() - TABLES) / PAGE) as usize
}

/// What the kernel may do with a leaf. User mode may do nothing with it, and no leaf is writable and executable.
pub(super) fn mapping(leaf: KernelLeaf) -> Mapping {
    assert_eq!(leaf.user, Rights::NONE, "user mode may access the kernel's memory: {leaf:x?}");
    let read = Rights { read: true, ..Rights::NONE };
    match (leaf.kernel, leaf.is_device) {
        (rights, false) if rights == read => Mapping::ReadOnly,
        (rights, false) if rights == Rights { write: true, ..read } => Mapping::ReadWrite,
        (rights, false) if rights == Rights { execute: true, ..read } => Mapping::ReadExecute,
        (rights, true) if rights == Rights { write: true, ..read } => Mapping::Device,
        _ => panic!("no mapping: {leaf:x?}"),
    }
}

pub(super) fn walk<F: Architecture>(machine: &Machine, address: u64) -> Option<KernelLeaf> {
    let (mut table, mut level) = (0, machine.root.number());
    loop {
        let span = PAGE << (9 * (3 - level));
        match F::kernel_step(machine.tables[table][(address / span % 512) as usize], level) {
            KernelStep::Invalid => return None,
            KernelStep::Table(frame) => (table, level) = (number(frame), level + 1),
            KernelStep::Leaf(leaf) => return Some(KernelLeaf { output: leaf.output + address % span, ..leaf }),
        }
    }
}
