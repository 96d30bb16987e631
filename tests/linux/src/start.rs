//! The first instruction, and the panic handler.

use core::arch::global_asm;
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use crate::call::{Call, power_off};

// Only the first process measures. Any other one was started to see how long that takes, and ends at once.
global_asm!(
    ".global _start",
    "_start:",
    "mov     x8, {getpid}",
    "svc     #0",
    "cmp     x0, #1",
    "b.ne    1f",
    "mov     x0, sp",
    "b       {begin}",
    "1:",
    "mov     x0, xzr",
    "mov     x8, {exit}",
    "svc     #0",
    getpid = const Call::Getpid as usize,
    exit = const Call::Exit as usize,
    begin = sym begin,
);

/// Begins with the stack as Linux leaves it: the number of arguments, then their addresses, the program's name first.
///
/// # Safety
///
/// `stack` is what the stack pointer was at the first instruction.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the caller's contract; Linux ends the list with a null pointer and each argument with a zero byte.
    let name = unsafe {
        match *stack.add(2) as *const c_char {
            argument if argument.is_null() => c"linux",
            argument => CStr::from_ptr(argument),
        }
    };
    crate::main(name.to_str().unwrap_or("linux"))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::say(format_args!("linux-bench: {info}"));
    power_off()
}
