//! GICv3 (Arm IHI 0069), through the crate `arm-gic`.
//!
//! Every interrupt goes to group 1 and, with affinity routing on, is taken and finished through system
//! registers. The crate writes `GICD_CTLR` with the bits of the secure view; in the non-secure view and
//! with a single security state the same positions mean affinity routing and group 1 as well. A GICv3
//! machine that is entered at EL3, without firmware to set up the secure side, is not supported: its
//! secure interrupts would have to be group 0, which arrives as FIQ.

use super::{
    cores::core_identifier,
    kernel_map::{KernelMapError, MAP},
};
use crate::arch::Trigger;
use aarch64_cpu::asm::barrier;
use arm_gic::UniqueMmioPointer;
use arm_gic::{
    IntId, InterruptGroup,
    gicv3::{
        GicCpuInterface, GicDistributor, GicRedistributorIterator, SgiTarget, SgiTargetGroup,
        registers::{Gicd, GicrSgi},
    },
};
use core::ptr::NonNull;
use spin::Mutex;

pub(super) struct GicV3 {
    distributor: Mutex<GicDistributor<'static>>,
    redistributors: Mutex<NonNull<GicrSgi>>,
}

// SAFETY: the registers are the same for all cores; the locks keep two cores from changing them at once.
unsafe impl Sync for GicV3 {}
// SAFETY: as above.
unsafe impl Send for GicV3 {}

impl GicV3 {
    /// The two blocks: physical address and length.
    pub(super) fn new(distributor: (u64, u64), redistributors: (u64, u64)) -> Result<Self, KernelMapError> {
        let mut map = MAP.lock();
        let distributor = map.map_device(distributor.0, distributor.1)?;
        let redistributors = map.map_device(redistributors.0, redistributors.1)?;
        let pointer = NonNull::new(distributor as *mut Gicd).expect("a device window is not null");
        // SAFETY: a device mapping that stays, of the registers that the device tree names, used only here.
        let registers = unsafe { UniqueMmioPointer::new(pointer) };
        Ok(GicV3 {
            distributor: Mutex::new(GicDistributor::new(registers)),
            redistributors: Mutex::new(
                NonNull::new(redistributors as *mut GicrSgi).expect("a device window is not null"),
            ),
        })
    }

    /// Shared interrupts: all off.
    pub(super) fn prepare_distributor(&self) {
        let mut distributor = self.distributor.lock();
        distributor.enable_all_interrupts(false);
        distributor.configure_default_settings();
    }

    /// This core's own interrupts: those listed on, all others off.
    pub(super) fn prepare_core(&self, enabled: &[u32]) {
        GicCpuInterface::enable_system_register_el1();
        barrier::isb(barrier::SY);
        let base = self.redistributors.lock();
        let identifier = core_identifier(super::core_index());
        // SAFETY: the window holds a redistributor for every core; the lock is held.
        let mut all = unsafe { GicRedistributorIterator::new(*base) }.expect("the redistributors are GICv3's or v4's");
        let mut own = all
            .find(|redistributor| redistributor.typer().core_mpidr() == identifier)
            .expect("every core has a redistributor");
        // An error says that the core was awake already.
        let _ = own.mark_core_awake();
        own.configure_default_settings();
        for &number in enabled {
            own.enable_interrupt(number_to_id(number), true).expect("the number is a core's own");
        }
        GicCpuInterface::set_priority_mask(0xFF);
        GicCpuInterface::enable_group1(true);
        barrier::isb(barrier::SY);
    }

    pub(super) fn enable_shared(&self, number: u32) {
        let mut distributor = self.distributor.lock();
        let id = number_to_id(number);
        let enabled =
            distributor.set_routing(id, Some(core_identifier(0))).and_then(|()| distributor.enable_interrupt(id, true));
        enabled.expect("the number is a shared interrupt's");
    }

    /// When this returns the interrupt is not forwarded any more (IHI 0069, `GICD_CTLR.RWP`).
    pub(super) fn disable_shared(&self, number: u32) {
        let mut distributor = self.distributor.lock();
        distributor.enable_interrupt(number_to_id(number), false).expect("the number is a shared interrupt's");
        distributor.wait_for_pending_write();
    }

    /// For an interrupt that is disabled.
    pub(super) fn set_trigger(&self, number: u32, trigger: Trigger) {
        let trigger = match trigger {
            Trigger::Edge => arm_gic::Trigger::Edge,
            Trigger::Level => arm_gic::Trigger::Level,
        };
        self.distributor.lock().set_trigger(number_to_id(number), trigger).expect("the number is a shared interrupt's");
    }

    /// One past the highest number of a shared interrupt.
    pub(super) fn end(&self) -> usize {
        (32 + self.distributor.lock().typer().num_spis() as usize).min(1020)
    }

    pub(super) fn acknowledge(&self) -> u32 {
        let id = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1);
        // The acknowledgement is complete before the handler touches the device (IHI 0069,
        // "Observability of the effects of accesses to the GIC registers").
        barrier::dsb(barrier::SY);
        id.map_or(IntId::SPECIAL_NONE, |id| id).into()
    }

    pub(super) fn finish(&self, token: u32) {
        // What the handler stored to the device has arrived before the interrupt can come again.
        barrier::dsb(barrier::SY);
        GicCpuInterface::end_interrupt(number_to_id(token), InterruptGroup::Group1);
        barrier::isb(barrier::SY);
    }

    pub(super) fn wake(&self, core: usize, number: u32) {
        let [affinity0, affinity1, affinity2, _, affinity3, ..] = core_identifier(core).to_le_bytes();
        let target = SgiTarget::List { affinity3, affinity2, affinity1, target_list: 1 << (affinity0 & 0xF) };
        GicCpuInterface::send_sgi(number_to_id(number), target, SgiTargetGroup::CurrentGroup1)
            .expect("the number is a software interrupt's");
        barrier::isb(barrier::SY);
    }
}

const fn number_to_id(number: u32) -> IntId {
    match number {
        0..16 => IntId::sgi(number),
        16..32 => IntId::ppi(number - 16),
        _ => IntId::spi(number - 32),
    }
}
