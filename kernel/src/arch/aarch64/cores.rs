//! Starting the other cores.
//!
//! ```text
//! first core                          another core
//! offers it an index
//! PSCI CPU_ON, or spin table ───────► secondary_entry (boot/), MMU on, claims its index
//! waits for ONLINE                ◄── secondary_main: prepares itself, ONLINE += 1
//! goes on, starts the next …          waits for RELEASED
//! RELEASED, start::start()        ──► start::start_secondary()
//! ```
//!
//! One at a time, so that indices have no gaps: the index of a core that does not answer is offered to the next. Should
//! the silent one answer later, it finds that the offer is withdrawn, and parks (`boot/src/cores.rs`).

use super::{interrupts, memory, power, registers::prepare_core, timer};
use aarch64_cpu::{
    asm::{self, barrier},
    registers::{MPIDR_EL1, Readable},
};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use graft_boot::{AFFINITY_MASK, CORE_INDICES, Withdrawal};

/// Cores that have arrived in Rust code, the first one included.
static ONLINE: AtomicUsize = AtomicUsize::new(1);
static RELEASED: AtomicBool = AtomicBool::new(false);

/// How long a core may take from its start to its index, in nanoseconds, if the boot arguments say nothing else.
pub const PATIENCE: u64 = 1_000_000_000;

/// How the device tree says a core is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMethod {
    /// By firmware: PSCI.
    Firmware,
    /// It spins until this physical address, in the direct map, holds the address to jump to.
    SpinTable {
        /// `cpu-release-addr`.
        release: u64,
    },
}

/// The affinity fields of the core with this index, as in `MPIDR_EL1`.
pub(super) fn core_identifier(core: usize) -> u64 {
    CORE_INDICES.affinity(core)
}

/// Whether the calling core has this affinity.
pub fn is_this_core(identifier: u64) -> bool {
    MPIDR_EL1.get() & AFFINITY_MASK == identifier
}

/// Gives the first core its entry in the table.
pub(super) fn enter_first_core() {
    CORE_INDICES.enter(0, MPIDR_EL1.get());
}

/// Starts another core, the one with this affinity, and waits until it runs; whether it does. It has `patience`
/// nanoseconds.
///
/// # Panics
///
/// [`MAX_CORES`](graft_boot::MAX_CORES) run already.
pub fn start_core(identifier: u64, method: StartMethod, patience: u64) -> bool {
    let index = ONLINE.load(Ordering::Relaxed);
    CORE_INDICES.offer(index, identifier);
    // The other core reads the offer, the translation tables and everything else with its MMU on
    // and caches coherent; all it needs is that these stores are complete before it is woken.
    barrier::dsb(barrier::SY);
    let entry = memory::image_to_physical(graft_boot::secondary_entry_address());
    let asked = match method {
        StartMethod::Firmware => power::start_core(identifier, entry),
        StartMethod::SpinTable { release } => {
            let release = memory::direct(release).cast::<u64>();
            // SAFETY: the device tree reserves this word for this purpose, and it is in the direct map.
            unsafe {
                release.write_volatile(entry);
                // The spinning core has its caches off: it reads memory itself.
                memory::clean_to_memory(release.cast(), size_of::<u64>());
            }
            asm::sev();
            true
        }
    };
    let deadline = timer::now() + patience;
    let arrived = || ONLINE.load(Ordering::Acquire) > index;
    while asked && !arrived() && timer::now() < deadline {
        // An emulator that runs the cores in turns lets the other one run now.
        super::relax();
    }
    if !arrived() && CORE_INDICES.withdraw(index, identifier) == Withdrawal::Done {
        return false;
    }
    // It has the index, and will arrive in a few instructions.
    while !arrived() {
        super::relax();
    }
    true
}

/// How many cores run, the first one included.
pub fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// Lets the other cores go on from [`wait_for_first_core`].
pub fn release() {
    RELEASED.store(true, Ordering::Release);
    barrier::dsb(barrier::ISHST);
    asm::sev();
}

/// Prepares a core that has just arrived, and waits until the first has everything else ready.
pub fn wait_for_first_core(index: usize) {
    prepare_core(index);
    interrupts::prepare_core();
    ONLINE.fetch_add(1, Ordering::Release);
    while !RELEASED.load(Ordering::Acquire) {
        asm::wfe();
    }
}

/// No core goes on alone.
const NONE: usize = usize::MAX;

/// The core that goes on when all others have stopped.
static ALONE: AtomicUsize = AtomicUsize::new(NONE);

/// Stops every other core for good, as soon as it takes an interrupt.
pub fn stop_others() {
    ALONE.store(super::core_index(), Ordering::Release);
    interrupts::wake_others();
}

/// Stops this core for good.
pub fn stop() -> ! {
    loop {
        super::wait_for_interrupt();
    }
}

/// Stops this core for good if another has asked for that. Called when a core has been woken.
pub(super) fn stop_if_asked() {
    let alone = ALONE.load(Ordering::Acquire);
    if alone != NONE && alone != super::core_index() {
        stop();
    }
}
