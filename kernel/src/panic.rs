//! The end: a bug in the kernel, with registers and a symbolised backtrace, and a start that failed.

use crate::{
    arch::{self, FaultFrame, interrupts, kernel_map, power, semihosting},
    platform::{board, console},
    symbols,
};
use core::{
    arch::asm,
    fmt,
    panic::PanicInfo,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Exit code of a kernel that found a bug in itself.
const EXIT_PANIC: i32 = 101;
/// Exit code of a kernel that cannot start.
const EXIT_REFUSED: i32 = 1;

const NOBODY: usize = usize::MAX;

/// The core that reports. Others that fail meanwhile keep quiet.
static REPORTER: AtomicUsize = AtomicUsize::new(NOBODY);

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    begin();
    println!("\nkernel panic on core {}: {}", arch::core_index(), info.message());
    if let Some(location) = info.location() {
        println!("  at {location}");
    }
    let frame: u64;
    // SAFETY: reads the frame pointer.
    unsafe { asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    backtrace(frame);
    power::exit(EXIT_PANIC)
}

/// Reports an exception that the kernel caused itself.
pub fn fault(frame: &FaultFrame, cause: &dyn fmt::Display) -> ! {
    begin();
    println!("\nkernel fault on core {}: {cause}", arch::core_index());
    println!("  pc {:#018x}  sp {:#018x}  pstate {:#x}", frame.pc, frame.sp, frame.pstate);
    for (row, registers) in frame.x.chunks(4).enumerate() {
        console::print(format_args!(" "));
        for (column, value) in registers.iter().enumerate() {
            console::print(format_args!(" x{:<2} {value:016x}", row * 4 + column));
        }
        println!();
    }
    print_location(frame.pc);
    backtrace(frame.x[29]);
    power::exit(EXIT_PANIC)
}

/// Ends a start that cannot succeed, with one line that says why.
///
/// If no device tree has led to a UART, the line goes to every one that the likely board has; if that has none, an
/// emulator or debugger may still hear it.
pub fn last_words(reason: &dyn fmt::Display) -> ! {
    if console::is_ready() {
        println!("\rgraft: {reason}");
    } else {
        board::say_everywhere(format_args!("graft: {reason}"));
    }
    if !console::is_ready() {
        let _ = fmt::write(&mut Semihosting, format_args!("graft: {reason}\n"));
    }
    power::exit(EXIT_REFUSED)
}

struct Semihosting;

impl fmt::Write for Semihosting {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        semihosting::write(text.as_bytes());
        Ok(())
    }
}

/// Takes the console for this core, or stops it: a second report would only hide the first.
fn begin() {
    let this = arch::core_index();
    match REPORTER.compare_exchange(NOBODY, this, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            interrupts::wake_others();
            // SAFETY: the holder is this core, which will not go on with it, or another in the middle
            // of a line, which at worst mixes with the report.
            unsafe { console::seize() };
            if !console::is_ready() {
                // SAFETY: only this core runs while there is no console yet.
                unsafe { kernel_map::seize() };
                board::prepare_likely_console();
            }
        }
        // The report itself failed: leave with what has been said.
        Err(reporter) if reporter == this => power::exit(EXIT_PANIC),
        Err(_) => stop(),
    }
}

/// Stops this core for good if another has found a bug. Called when a core has been woken.
pub fn stop_if_reported() {
    if REPORTER.load(Ordering::Acquire) != NOBODY {
        stop();
    }
}

fn stop() -> ! {
    loop {
        arch::wait_for_interrupt();
    }
}

/// Follows the frame records (AAPCS64, "The Frame Pointer"): each holds the caller's frame pointer and
/// the return address. A record is believed only on a kernel stack and above the one before it.
fn backtrace(mut frame: u64) {
    const DEEPEST: usize = 32;
    println!("backtrace:");
    for _ in 0..DEEPEST {
        if !frame.is_multiple_of(16) || !arch::is_kernel_stack(frame) {
            return;
        }
        // SAFETY: the address is aligned and on a mapped stack.
        let [caller, return_address] = unsafe { (frame as *const [u64; 2]).read() };
        if return_address == 0 {
            return;
        }
        // The call is the instruction before.
        print_location(return_address - 4);
        if caller <= frame {
            return;
        }
        frame = caller;
    }
}

fn print_location(address: u64) {
    match symbols::find(address) {
        Some((name, offset)) => println!("  {address:#x}  {name}+{offset:#x}"),
        None => println!("  {address:#x}"),
    }
}
