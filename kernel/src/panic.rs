//! The end: a bug in the kernel, with registers and a symbolised backtrace, and a start that failed.

use crate::{
    arch::{self, FaultFrame, kernel_map, power},
    platform::{board, console},
};
use core::{
    fmt,
    panic::PanicInfo,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Exit code of a kernel that found a bug in itself.
const EXIT_PANIC: i32 = 101;
/// Exit code of a kernel that cannot start.
const EXIT_REFUSED: i32 = 1;

const NOBODY: usize = usize::MAX;

/// The core that reports. Others that fail meanwhile stop.
static REPORTER: AtomicUsize = AtomicUsize::new(NOBODY);

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    begin();
    println!("\nkernel panic on core {}: {}", arch::core_index(), info.message());
    if let Some(location) = info.location() {
        println!("  at {location}");
    }
    backtrace(arch::frame_pointer());
    power::exit(EXIT_PANIC)
}

/// Reports an exception that the kernel caused itself.
#[unsafe(no_mangle)]
fn report_fault(frame: &FaultFrame, cause: &dyn fmt::Display) -> ! {
    begin();
    println!("\nkernel fault on core {}: {cause}\n{frame}", arch::core_index());
    print_location(frame.program_counter());
    backtrace(frame.frame_pointer());
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
        let _ = fmt::write(&mut Debugger, format_args!("graft: {reason}\n"));
    }
    power::exit(EXIT_REFUSED)
}

struct Debugger;

impl fmt::Write for Debugger {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        arch::write_to_debugger(text.as_bytes());
        Ok(())
    }
}

/// Takes the console for this core, or stops it: a second report would only hide the first.
fn begin() {
    let this = arch::core_index();
    match REPORTER.compare_exchange(NOBODY, this, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            arch::stop_others();
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
        Err(_) => arch::stop(),
    }
}

fn backtrace(frame: u64) {
    println!("backtrace:");
    arch::backtrace(frame, print_location);
}

fn print_location(address: u64) {
    match arch::symbol(address) {
        Some((name, offset)) => println!("  {address:#x}  {name}+{offset:#x}"),
        None => println!("  {address:#x}"),
    }
}
