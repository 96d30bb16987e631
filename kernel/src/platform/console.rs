//! The kernel's writer: a PL011, written by polling, and a lock that keeps lines whole.
//!
//! ```text
//!   the kernel's alone ──[a program takes the registers: hand_over]──▶ shared ──[a panic: seize]──▶ the kernel's alone
//! ```
//!
//! When a driver has the registers the kernel still writes what it has to say, beside the driver. It writes a byte only
//! when it finds the transmit FIFO empty (PL011 TRM, revision r1p5, 3.3.3: `TXFE`), so that neither overruns the other:
//! a driver that has seen room (`TXFF` clear) finds it even if the kernel has put a byte in since, because the FIFO was
//! empty then. It touches no other register of the driver's before a panic, and does not wait for ever for a device
//! that a driver has switched off.
//!
//! Before a device tree has named the UART everything written is lost, except what a failing start
//! says through `panic::last_words`.

#[cfg(target_os = "none")]
use crate::arch::{
    kernel_map::MAP,
    memory::{self, PAGE},
};
use crate::platform::PhysRange;
use arm_pl011_uart::{DataBits, Interrupts, LineConfig, Parity, StopBits, Uart};
#[cfg(target_os = "none")]
use arm_pl011_uart::{PL011Registers, UniqueMmioPointer};
use core::fmt;
#[cfg(target_os = "none")]
use core::ptr::NonNull;
use graft_abi::Error;
use spin::Mutex;

static CONSOLE: Mutex<Option<Console>> = Mutex::new(None);

struct Console {
    uart: Uart<'static>,
    description: Description,
    holder: Holder,
}

/// Who has the registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The kernel alone.
    Kernel,
    /// A program, and the kernel to write reports.
    Driver,
}

/// How often the flags are read while nothing moves, for a UART that has no clock or has been switched off. At the
/// usual rate a byte takes 87 µs, in which they can be read a thousand times at most; a FIFO has 32.
const PATIENCE: u32 = 1 << 16;

/// Where a PL011 is, and what it needs to know of its board.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Physical address of its registers.
    pub address: u64,
    /// Frequency of its clock, in hertz.
    pub clock: u32,
}

/// Bits a second, 8 data bits, no parity, one stop bit.
const BAUD_RATE: u32 = 115_200;

/// Prepares the UART. The first one stays. Where there can be no device, there is still no console.
#[cfg(target_os = "none")]
pub fn prepare(description: Description) {
    let mut console = CONSOLE.lock();
    if console.is_some() {
        return;
    }
    let Ok(registers) = MAP.lock().map_device(description.address, size_of::<PL011Registers>() as u64) else { return };
    let pointer = NonNull::new(registers as *mut PL011Registers).expect("a device window is not null");
    // SAFETY: a device mapping that stays, of a PL011 that nothing else uses.
    let uart = Uart::new(unsafe { UniqueMmioPointer::new(pointer) });
    let mut new = Console { uart, description, holder: Holder::Kernel };
    // A character on its way out would be cut short. A UART without a clock never finishes.
    (0..PATIENCE).take_while(|_| new.uart.is_busy()).for_each(drop);
    new.enable();
    *console = Some(new);
}

/// Notes that a program gets the registers in a range, if the console's are there.
///
/// # Errors
/// [`Error::NotAllowed`] if a program has got them already.
pub fn hand_over(range: PhysRange) -> Result<(), Error> {
    let mut console = CONSOLE.lock();
    let Some(console) = console.as_mut() else { return Ok(()) };
    if !(range.start..range.end).contains(&console.description.address) {
        return Ok(());
    }
    match core::mem::replace(&mut console.holder, Holder::Driver) {
        Holder::Kernel => Ok(()),
        Holder::Driver => Err(Error::NotAllowed),
    }
}

/// Whether the registers at this physical address identify themselves as a PL011's (PL011 TRM,
/// `UARTPeriphID0` and `UARTPeriphID1`). Anything or nothing may be there, but a load must do no harm.
#[cfg(target_os = "none")]
pub fn is_pl011(address: u64) -> bool {
    const IDENTIFICATION: u64 = 0xFE0;
    const PART_NUMBER: u32 = 0x011;
    let Ok(registers) = MAP.lock().map_device(address, PAGE) else { return false };
    // SAFETY: the page is mapped, and if it has no such registers a load does no harm.
    let read = |offset| unsafe { memory::probe((registers + IDENTIFICATION + offset) as *const u32) };
    match (read(0), read(4)) {
        (Some(low), Some(high)) => (low & 0xFF) | (high & 0x0F) << 8 == PART_NUMBER,
        _ => false,
    }
}

/// Whether something at this physical address answers a load of a PL011's flag register.
#[cfg(target_os = "none")]
pub fn answers(address: u64) -> bool {
    const FLAGS: u64 = 0x18;
    let Ok(registers) = MAP.lock().map_device(address, PAGE) else { return false };
    // SAFETY: the page is mapped; the register, if it is one, does not change when it is read.
    unsafe { memory::probe((registers + FLAGS) as *const u32) }.is_some()
}

/// Whether there is a UART to write to.
pub fn is_ready() -> bool {
    CONSOLE.lock().is_some()
}

/// Writes text, waiting until the UART has taken it. One call is not interleaved with another core's.
pub fn write(bytes: &[u8]) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.write(bytes);
    }
}

/// What [`arch`](crate::arch) is given to write with.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
fn write_to_console(bytes: &[u8]) {
    write(bytes);
}

/// What [`arch`](crate::arch) is given to flush with.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
fn flush_console() {
    flush();
}

/// Waits until everything has left the UART.
pub fn flush() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        let has_left = |console: &Console| console.await_flags(|uart| !uart.is_busy());
        // As many times as there may be bytes in the FIFO.
        (0..32).take_while(|_| !has_left(console)).for_each(drop);
    }
}

/// Releases the lock in place of its holder, and takes the UART back from a driver. For a panic: the holder has stopped
/// or is this core.
///
/// # Safety
///
/// No other core goes on.
pub unsafe fn seize() {
    // SAFETY: the caller guarantees that no core goes on using what the lock protects.
    unsafe { CONSOLE.force_unlock() };
    if let Some(console) = CONSOLE.lock().as_mut()
        && core::mem::replace(&mut console.holder, Holder::Kernel) == Holder::Driver
    {
        // Whatever the driver was in the middle of.
        console.uart.set_interrupt_masks(Interrupts::empty());
        console.enable();
    }
}

impl Console {
    /// 8 bits at the usual rate.
    fn enable(&mut self) {
        let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
        // Fails only for a clock too slow for the rate; then firmware's setting stays.
        let _ = self.uart.enable(line, BAUD_RATE, self.description.clock);
    }

    /// Waits until the flags are as they should be; `false` if they do not become so.
    fn await_flags(&self, are_so: impl Fn(&Uart<'static>) -> bool) -> bool {
        (0..PATIENCE).any(|_| are_so(&self.uart))
    }

    /// Text ends its lines with a line feed; a terminal wants a carriage return before it.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // One that a driver has switched off takes nothing more.
            if (byte == b'\n' && !self.write_byte(b'\r')) || !self.write_byte(byte) {
                return;
            }
        }
    }

    /// Returns whether the UART has taken the byte.
    fn write_byte(&mut self, byte: u8) -> bool {
        match self.holder {
            Holder::Kernel => while self.uart.is_tx_fifo_full() {},
            Holder::Driver => {
                if !self.await_flags(Uart::is_tx_fifo_empty) {
                    return false;
                }
            }
        }
        self.uart.write_word(byte);
        true
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// Writes formatted text; what `println!` expands to.
pub fn print(arguments: fmt::Arguments) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        let _ = fmt::Write::write_fmt(console, arguments);
    }
}

/// Writes a formatted line to the console.
macro_rules! println {
    () => { $crate::platform::console::print(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::platform::console::print(format_args!("{}\n", format_args!($($argument)*))) };
}
