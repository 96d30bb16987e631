//! Which calls led here (AAPCS64, "The Frame Pointer"): each frame record holds the caller's frame pointer and the
//! return address.

use super::core_local::is_kernel_stack;
use core::arch::asm;

/// The frame record of the function that asks.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let frame: u64;
    // SAFETY: reads the frame pointer.
    unsafe { asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    frame
}

/// Calls `each` with the address of every call instruction that led to the frame record at `frame`, innermost first. A
/// record is believed only on a kernel stack and above the one before it.
pub fn backtrace(mut frame: u64, mut each: impl FnMut(u64)) {
    const DEEPEST: usize = 32;
    for _ in 0..DEEPEST {
        if !frame.is_multiple_of(16) || !is_kernel_stack(frame) {
            return;
        }
        // SAFETY: the address is aligned and on a mapped stack.
        let [caller, return_address] = unsafe { (frame as *const [u64; 2]).read() };
        if return_address == 0 {
            return;
        }
        // The call is the instruction before.
        each(return_address - 4);
        if caller <= frame {
            return;
        }
        frame = caller;
    }
}
