//! GICv2 (Arm IHI 0048, "GIC Architecture Specification, version 2").
//!
//! The crate `arm-gic`, which drives our GICv3, is not used for version 2: its `setup` tells the two
//! security views apart by `GICD_TYPER.SecurityExtn`, which the non-secure view shows as well, and
//! then enables group 1 by a bit that this view does not have; its `set_interrupt_priority` zeroes the
//! priorities of three neighbours; and its methods want `&mut`, so every software interrupt would take
//! a lock.
//!
//! # One code for three views
//!
//! Without the Security Extensions (QEMU's virt) and in the secure view (when we came from EL3) bit 0
//! of `GICD_CTLR` and `GICC_CTLR` enables group 0, to which every interrupt belongs after the stores
//! to `GICD_IGROUPR` below. In the non-secure view (the Pi, whose firmware has moved every interrupt
//! to group 1) the same bit enables group 1, and the stores to `GICD_IGROUPR` are ignored. In each
//! view the plain `GICC_IAR` and `GICC_EOIR` serve the group in question, as an IRQ (`FIQEn` is 0).

use super::{
    core_index,
    kernel_map::{KernelMapError, MAP},
};
use crate::arch::Trigger;
use aarch64_cpu::asm::barrier;
use core::sync::atomic::{AtomicU8, Ordering};
use graft_boot::MAX_CORES;
use spin::Mutex;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, ReadWrite, WriteOnly},
};

register_structs! {
    /// Table 4-1, "Distributor register map".
    Distributor {
        (0x000 => control: ReadWrite<u32>),
        (0x004 => kind: ReadOnly<u32>),
        (0x008 => _reserved0),
        (0x080 => group: [ReadWrite<u32>; 32]),
        (0x100 => set_enable: [ReadWrite<u32>; 32]),
        (0x180 => clear_enable: [ReadWrite<u32>; 32]),
        (0x200 => _reserved1),
        (0x400 => priority: [ReadWrite<u8>; 1024]),
        (0x800 => targets: [ReadWrite<u8>; 1024]),
        (0xC00 => configuration: [ReadWrite<u32>; 64]),
        (0xD00 => _reserved2),
        (0xF00 => software_interrupt: WriteOnly<u32>),
        (0xF04 => @END),
    },
    /// Table 4-2, "CPU interface register map".
    CpuInterface {
        (0x00 => control: ReadWrite<u32>),
        (0x04 => priority_mask: ReadWrite<u32>),
        (0x08 => _reserved0),
        (0x0C => acknowledge: ReadOnly<u32>),
        (0x10 => end: WriteOnly<u32>),
        (0x14 => @END),
    }
}

/// More urgent than any mask we set, less urgent than secure interrupts.
const PRIORITY: u8 = 0xA0;

pub(super) struct GicV2 {
    distributor: &'static Distributor,
    cpu_interface: &'static CpuInterface,
    /// The bit by which the distributor knows each core, which need not follow the core's index.
    target: [AtomicU8; MAX_CORES],
    /// Held by the core that changes a part of a word.
    changing: Mutex<()>,
}

// SAFETY: the registers are the same for all cores or banked; every access is a single load or store, or made with
// `changing` held.
unsafe impl Sync for GicV2 {}
// SAFETY: as above.
unsafe impl Send for GicV2 {}

impl GicV2 {
    /// The two blocks: physical address and length.
    pub(super) fn new(distributor: (u64, u64), cpu_interface: (u64, u64)) -> Result<Self, KernelMapError> {
        let mut map = MAP.lock();
        let distributor = map.map_device(distributor.0, distributor.1)?;
        let cpu_interface = map.map_device(cpu_interface.0, cpu_interface.1)?;
        // SAFETY: both are device mappings that stay, of the registers that the device tree names.
        unsafe {
            Ok(GicV2 {
                distributor: &*(distributor as *const Distributor),
                cpu_interface: &*(cpu_interface as *const CpuInterface),
                target: [const { AtomicU8::new(0) }; MAX_CORES],
                changing: Mutex::new(()),
            })
        }
    }

    /// Shared interrupts: all off, all for this core.
    pub(super) fn prepare_distributor(&self) {
        let distributor = self.distributor;
        distributor.control.set(0);
        let end = self.end();
        let this_core = self.own_target();
        for word in 1..end.div_ceil(32) {
            distributor.clear_enable[word].set(u32::MAX);
            distributor.group[word].set(0);
        }
        for number in 32..end {
            distributor.priority[number].set(PRIORITY);
            distributor.targets[number].set(this_core);
        }
        distributor.control.set(1);
    }

    /// This core's own interrupts: those listed on, all others off.
    pub(super) fn prepare_core(&self, enabled: &[u32]) {
        let distributor = self.distributor;
        self.target[core_index()].store(self.own_target(), Ordering::Relaxed);
        distributor.clear_enable[0].set(u32::MAX);
        distributor.group[0].set(0);
        for &number in enabled {
            distributor.priority[number as usize].set(PRIORITY);
            distributor.set_enable[0].set(1 << number);
        }
        self.cpu_interface.priority_mask.set(0xFF);
        self.cpu_interface.control.set(1);
        barrier::dsb(barrier::SY);
    }

    /// One past the highest number of an interrupt: ITLinesNumber words of 32, the first of which is each core's own.
    pub(super) fn end(&self) -> usize {
        (((self.distributor.kind.get() as usize & 0x1F) + 1) * 32).min(1020)
    }

    pub(super) fn enable_shared(&self, number: u32) {
        self.distributor.set_enable[number as usize / 32].set(1 << (number % 32));
    }

    /// Other interrupts are not affected: a clear bit changes nothing (4.3.6, "Interrupt Clear-Enable Registers").
    pub(super) fn disable_shared(&self, number: u32) {
        self.distributor.clear_enable[number as usize / 32].set(1 << (number % 32));
    }

    /// For an interrupt that is disabled (4.3.13, "Interrupt Configuration Registers").
    pub(super) fn set_trigger(&self, number: u32, trigger: Trigger) {
        let word = &self.distributor.configuration[number as usize / 16];
        let edge = 0b10 << (number % 16 * 2);
        let _changing = self.changing.lock();
        match trigger {
            Trigger::Edge => word.set(word.get() | edge),
            Trigger::Level => word.set(word.get() & !edge),
        }
    }

    pub(super) fn acknowledge(&self) -> u32 {
        self.cpu_interface.acknowledge.get()
    }

    pub(super) fn finish(&self, token: u32) {
        // What the handler stored to the device has arrived before the interrupt can come again.
        barrier::dsb(barrier::SY);
        self.cpu_interface.end.set(token);
    }

    pub(super) fn wake(&self, core: usize, number: u32) {
        let target = u32::from(self.target[core].load(Ordering::Relaxed));
        self.distributor.software_interrupt.set(target << 16 | number);
    }

    /// The targets registers of a core's own interrupts are read-only and name the core that reads;
    /// with a single core they read as zero.
    fn own_target(&self) -> u8 {
        match self.distributor.targets[0].get() {
            0 => 1,
            target => target,
        }
    }
}
