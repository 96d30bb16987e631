//! Words with the emulator or debugger, if there is one (Arm, "Semihosting for AArch32 and AArch64").
//!
//! Without one, the instruction is undefined; `fault.rs` then answers the call with -1.

use core::arch::asm;

/// `hlt #0xF000`.
pub(super) const INSTRUCTION: u32 = 0xD45E_0000;
/// `SYS_EXIT`.
pub(super) const EXIT: u64 = 0x18;
/// `SYS_WRITEC`.
const WRITE_CHARACTER: u64 = 0x03;

/// Writes to the debug console. For what must be said before any UART is known.
pub fn write(bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: the call reads the one byte that x1 points to and changes x0 only.
        unsafe {
            asm!("hlt #0xF000", inout("x0") WRITE_CHARACTER => _, in("x1") byte, options(nostack, readonly));
        }
    }
}
