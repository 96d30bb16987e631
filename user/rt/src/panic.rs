//! What a program prints when it panics.

use core::panic::PanicInfo;

/// What a program that panicked exits with, as a Rust program on any system does.
const PANIC_CODE: i32 = 101;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::eprintln!("{}: {info}", crate::arguments().next().unwrap_or("program"));
    // One that panics has not done what it was asked for, and its supervisor knows a moment when all was well.
    if crate::grants::has("heal") {
        fault();
    }
    crate::process::exit(PANIC_CODE)
}

/// Executes an instruction that there is not.
fn fault() {
    // SAFETY: it ends the program, or its supervisor sends it elsewhere.
    unsafe { core::arch::asm!("udf #1", options(nomem, nostack)) };
}
