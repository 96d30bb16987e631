//! The interrupt controller, GICv2 or GICv3, as the rest of the kernel sees it.
//!
//! Each core has its timer and one software interrupt to wake it; devices interrupt the first core. Their lines are the
//! shared interrupts, counted from 0 as the device tree does.

use super::{MAX_CORES, core_index, cores, gicv2::GicV2, gicv3::GicV3, kernel_map::KernelMapError};
use crate::arch::Trigger;
use spin::Once;

/// The virtual timer's interrupt: PPI 11, the same on every machine that follows the Base System
/// Architecture, and on both boards.
const TIMER: u32 = 27;
/// The software interrupt that wakes a core.
const WAKEUP: u32 = 0;
/// The first shared interrupt.
const SHARED: u32 = 32;
/// Numbers from here on mean that nothing is pending.
const SPECIAL: u32 = 1020;

static CONTROLLER: Once<Controller> = Once::new();

enum Controller {
    V2(GicV2),
    V3(GicV3),
}

/// Where the device tree says the controller is: physical address and length of its register blocks.
#[derive(Clone, Copy, Debug)]
pub enum Description {
    /// Distributor and CPU interface.
    V2 {
        /// Physical address and bytes.
        distributor: (u64, u64),
        /// Physical address and bytes.
        cpu_interface: (u64, u64),
    },
    /// Distributor and redistributors.
    V3 {
        /// Physical address and bytes.
        distributor: (u64, u64),
        /// Physical address and bytes.
        redistributors: (u64, u64),
    },
}

/// Who interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This core's timer.
    Timer,
    /// Another core has interrupted this one.
    Wakeup,
    /// A device, by its line.
    Line(u32),
}

/// Most lines that any controller has.
pub const LINES_MAX: usize = (SPECIAL - SHARED) as usize;

/// An interrupt that this core has taken and must [`finish`].
#[derive(Debug)]
#[must_use = "an interrupt that is not finished blocks all others"]
pub struct Interrupt {
    /// Who interrupts.
    pub source: Source,
    /// The value by which the controller knows the interrupt when it is finished.
    token: u32,
}

/// Prepares the controller and, as [`prepare_core`] does, the first core's part of it.
///
/// # Errors
///
/// Its registers cannot be mapped where the device tree says that they are.
pub fn prepare(description: Description) -> Result<(), KernelMapError> {
    let controller = CONTROLLER.try_call_once(|| match description {
        Description::V2 { distributor, cpu_interface } => GicV2::new(distributor, cpu_interface).map(Controller::V2),
        Description::V3 { distributor, redistributors } => GicV3::new(distributor, redistributors).map(Controller::V3),
    })?;
    match controller {
        Controller::V2(gic) => gic.prepare_distributor(),
        Controller::V3(gic) => gic.prepare_distributor(),
    }
    prepare_core();
    Ok(())
}

/// Prepares this core's part: timer and wake-up enabled.
pub fn prepare_core() {
    match controller() {
        Controller::V2(gic) => gic.prepare_core(&[WAKEUP, TIMER]),
        Controller::V3(gic) => gic.prepare_core(&[WAKEUP, TIMER]),
    }
}

/// How many lines there are.
pub fn lines() -> u32 {
    let end = match controller() {
        Controller::V2(gic) => gic.end(),
        Controller::V3(gic) => gic.end(),
    };
    end as u32 - SHARED
}

/// Says what of a line, which is masked, is an interrupt.
pub fn set_trigger(line: u32, trigger: Trigger) {
    match controller() {
        Controller::V2(gic) => gic.set_trigger(SHARED + line, trigger),
        Controller::V3(gic) => gic.set_trigger(SHARED + line, trigger),
    }
}

/// Keeps a line's interrupts from coming. They become pending nevertheless: "Disabling an interrupt only disables the
/// forwarding of the interrupt from the Distributor to any CPU interface. It does not prevent the interrupt from
/// changing state, for example becoming pending" (IHI 0048, 4.3.5; for GICv3 IHI 0069, 4.7.3, "Effect of disabling
/// interrupts").
pub fn mask(line: u32) {
    match controller() {
        Controller::V2(gic) => gic.disable_shared(SHARED + line),
        Controller::V3(gic) => gic.disable_shared(SHARED + line),
    }
}

/// Lets a line's interrupts come to the first core, one that is pending at once.
pub fn unmask(line: u32) {
    // What a driver has stored to its device has arrived: otherwise it would be interrupted for what it has just seen
    // to.
    aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::SY);
    match controller() {
        Controller::V2(gic) => gic.enable_shared(SHARED + line),
        Controller::V3(gic) => gic.enable_shared(SHARED + line),
    }
}

/// Takes the most urgent pending interrupt, if there is one.
pub fn acknowledge() -> Option<Interrupt> {
    let token = match controller() {
        Controller::V2(gic) => gic.acknowledge(),
        Controller::V3(gic) => gic.acknowledge(),
    };
    // GICv2 puts the sender of a software interrupt above the number.
    let source = match token & 0x3FF {
        number if number >= SPECIAL => return None,
        TIMER => Source::Timer,
        WAKEUP => {
            cores::stop_if_asked();
            Source::Wakeup
        }
        number => Source::Line(number - SHARED),
    };
    Some(Interrupt { source, token })
}

/// Lets the next interrupt come.
pub fn finish(interrupt: Interrupt) {
    match controller() {
        Controller::V2(gic) => gic.finish(interrupt.token),
        Controller::V3(gic) => gic.finish(interrupt.token),
    }
}

/// Interrupts another core. Stores made before are visible to it when it has taken the interrupt.
pub fn wake(core: usize) {
    debug_assert!(core < MAX_CORES);
    // The software interrupt must not overtake them (Arm ARM, "Data Synchronization Barrier").
    aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::ISHST);
    match controller() {
        Controller::V2(gic) => gic.wake(core, WAKEUP),
        Controller::V3(gic) => gic.wake(core, WAKEUP),
    }
}

/// Interrupts every other core that runs, as far as the controller is ready for it.
pub(super) fn wake_others() {
    if CONTROLLER.is_completed() {
        (0..cores::online()).filter(|&core| core != core_index()).for_each(wake);
    }
}

fn controller() -> &'static Controller {
    CONTROLLER.get().expect("the interrupt controller is prepared before it is used")
}
