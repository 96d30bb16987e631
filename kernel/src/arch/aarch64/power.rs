//! Off: the emulator's exit with a code, firmware's switch, or a core that sleeps for good.

use crate::arch::given;
use qemu_exit::QEMUExit;
use smccc::{Hvc, Smc, psci};
use spin::Once;

/// How the firmware is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// `hvc`.
    Hypervisor,
    /// `smc`.
    SecureMonitor,
}

static CONDUIT: Once<Conduit> = Once::new();

/// Says that the machine has PSCI, and how to reach it. Without, no call is ever made: `smc` on a
/// machine whose EL3 is empty does not return.
pub fn set_conduit(conduit: Conduit) {
    CONDUIT.call_once(|| conduit);
}

/// Leaves the emulator with this exit code (its low eight bits). On a machine that has none, switches it
/// off if firmware can; if not, says that it may be switched off, and sleeps.
pub fn exit(code: i32) -> ! {
    given::flush_console();
    qemu_exit::AArch64::new().exit(code as u32)
}

/// Where `exit` goes on when no emulator answers its semihosting call: `fault.rs` leads here.
pub(super) fn stop_without_emulator() -> ! {
    given::write_to_console(b"The machine may be switched off now.\n");
    given::flush_console();
    match CONDUIT.get() {
        Some(Conduit::Hypervisor) => drop(psci::system_off::<Hvc>()),
        Some(Conduit::SecureMonitor) => drop(psci::system_off::<Smc>()),
        None => {}
    }
    loop {
        aarch64_cpu::asm::wfi();
    }
}

/// Starts the machine anew, if its firmware can; returns if not.
pub fn reset() {
    given::flush_console();
    match CONDUIT.get() {
        Some(Conduit::Hypervisor) => drop(psci::system_reset::<Hvc>()),
        Some(Conduit::SecureMonitor) => drop(psci::system_reset::<Smc>()),
        None => {}
    }
}

/// Asks firmware to start the core with this affinity at physical address `entry`.
pub(super) fn start_core(affinity: u64, entry: u64) -> bool {
    match CONDUIT.get() {
        Some(Conduit::Hypervisor) => psci::cpu_on::<Hvc>(affinity, entry, 0).is_ok(),
        Some(Conduit::SecureMonitor) => psci::cpu_on::<Smc>(affinity, entry, 0).is_ok(),
        None => false,
    }
}
