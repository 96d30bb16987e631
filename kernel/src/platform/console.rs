//! The console: a PL011, written by polling, and a lock that keeps lines whole.
//!
//! Before a device tree has named the UART everything written is lost, except what a failing start
//! says through `panic::last_words`.

#[cfg(target_os = "none")]
use crate::arch::{
    kernel_map::MAP,
    memory::{self, PAGE},
};
#[cfg(target_os = "none")]
use arm_pl011_uart::{DataBits, LineConfig, PL011Registers, Parity, StopBits, UniqueMmioPointer};
use arm_pl011_uart::{Interrupts, Uart};
use core::fmt;
#[cfg(target_os = "none")]
use core::ptr::NonNull;
use spin::Mutex;

static CONSOLE: Mutex<Option<Console>> = Mutex::new(None);

struct Console {
    uart: Uart<'static>,
}

/// Most bytes that the UART has received and not yet handed out (PL011 TRM, "Receive FIFO", revision r1p5).
pub const FIFO: usize = 32;

/// Where a PL011 is, and what it needs to know of its board.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Physical address of its registers.
    pub address: u64,
    /// Frequency of its clock, in hertz.
    pub clock: u32,
}

#[cfg(target_os = "none")]
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
    let mut uart = Uart::new(unsafe { UniqueMmioPointer::new(pointer) });
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    // A character on its way out would be cut short. A UART without a clock never finishes.
    const PATIENCE: u32 = 1 << 16;
    (0..PATIENCE).take_while(|_| uart.is_busy()).for_each(drop);
    // Fails only for a clock too slow for the rate; then firmware's setting stays.
    let _ = uart.enable(line, BAUD_RATE, description.clock);
    *console = Some(Console { uart });
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
        while console.uart.is_busy() {}
    }
}

/// The next received byte, if there is one. Bytes received with an error are dropped.
pub fn read_byte() -> Option<u8> {
    let mut console = CONSOLE.lock();
    let uart = &mut console.as_mut()?.uart;
    (0..FIFO).find_map(|_| uart.read_word().ok()).flatten()
}

/// Interrupts whenever something has been received, until [`read_byte`] has answered `None`.
pub fn enable_receive_interrupt() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
    }
}

/// Releases the lock in place of its holder. For a panic: the holder has stopped or is this core.
///
/// # Safety
///
/// No other core goes on.
pub unsafe fn seize() {
    // SAFETY: the caller guarantees that no core goes on using what the lock protects.
    unsafe { CONSOLE.force_unlock() };
}

impl Console {
    /// Text ends its lines with a line feed; a terminal wants a carriage return before it.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.write_byte(b'\r');
            }
            self.write_byte(byte);
        }
    }

    fn write_byte(&mut self, byte: u8) {
        while self.uart.is_tx_fifo_full() {}
        self.uart.write_word(byte);
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
