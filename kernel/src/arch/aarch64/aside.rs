//! Calls that are rarely made, from a way whose instructions are counted.

use core::arch::{asm, global_asm};

/// Calls a function as if it changed no register but its result's. So what calls it need not keep its values out of
/// the registers that any other call may change, and saves none on the way on which this one is not made.
///
/// # Safety
/// As the function's with these arguments.
#[inline(always)]
pub unsafe fn aside<T>(
    function: unsafe extern "C" fn(*const T, u64) -> *const (),
    subject: *const T,
    argument: u64,
) -> *const () {
    let result: *const ();
    // SAFETY: the routine calls the function, and changes these registers alone.
    unsafe {
        asm!("bl call_aside", inlateout("x0") subject => result, inlateout("x1") argument => _,
            inlateout("x16") function => _, lateout("x17") _, lateout("x30") _);
    }
    result
}

global_asm!(
    ".section .text.aside, \"ax\"",
    ".global call_aside",
    "call_aside:",
    "stp x29, x30, [sp, #-144]!",
    "mov x29, sp",
    "stp x2, x3, [sp, #16]",
    "stp x4, x5, [sp, #32]",
    "stp x6, x7, [sp, #48]",
    "stp x8, x9, [sp, #64]",
    "stp x10, x11, [sp, #80]",
    "stp x12, x13, [sp, #96]",
    "stp x14, x15, [sp, #112]",
    "str x18, [sp, #128]",
    "blr x16",
    "ldp x2, x3, [sp, #16]",
    "ldp x4, x5, [sp, #32]",
    "ldp x6, x7, [sp, #48]",
    "ldp x8, x9, [sp, #64]",
    "ldp x10, x11, [sp, #80]",
    "ldp x12, x13, [sp, #96]",
    "ldp x14, x15, [sp, #112]",
    "ldr x18, [sp, #128]",
    "ldp x29, x30, [sp], #144",
    "ret",
);
