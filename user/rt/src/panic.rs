//! What a program prints when it panics.

use core::panic::PanicInfo;

/// What a program that panicked exits with, as a Rust program on any system does.
const PANIC_CODE: i32 = 101;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::eprintln!("{}: {info}", crate::arguments().next().unwrap_or("program"));
    crate::process::exit(PANIC_CODE)
}
