//! Every board with a BCM2711: Raspberry Pi 4 Model B, 400, Compute Module 4 (BCM2711 ARM Peripherals, chapter 2,
//! "Auxiliaries", and chapter 5, "General Purpose I/O").

use super::Board;
use crate::arch::{kernel_map::MAP, memory::probe};
use core::fmt::{self, Write};

pub(super) static BOARD: Board = Board {
    compatible: "brcm,bcm2711",
    // `init_uart_clock` of config.txt, at its default.
    console_clock: 48_000_000,
    usual_console: 0xFE20_1000,
    connect_console,
    say_elsewhere,
};

const AUXILIARIES: u64 = 0xFE21_5000;
const AUXILIARIES_BYTES: u64 = 0x80;

const GPIO: u64 = 0xFE20_0000;
const GPIO_BYTES: u64 = 0xF4;
/// Function select of GPIO 10 to 19, three bits each.
const FUNCTION_SELECT_1: u64 = 0x04;
/// Function select of GPIO 30 to 39.
const FUNCTION_SELECT_3: u64 = 0x0C;
/// Pull-up and pull-down of GPIO 0 to 15, two bits each.
const PULL_CONTROL_0: u64 = 0xE4;

/// Puts the PL011 on GPIO 14 and 15, the pins of the console cable.
///
/// Unless config.txt says `dtoverlay=disable-bt` they carry the mini UART, and the PL011 serves the
/// Bluetooth chip on GPIO 30 to 33: those become inputs, or the chip would be heard as well. The receiver
/// is pulled up, so that no cable is no input.
fn connect_console() {
    const INPUT: u32 = 0b000;
    const ALT0: u32 = 0b100;
    const PULL_UP: u32 = 0b01;
    let Ok(registers) = MAP.lock().map_device(GPIO, GPIO_BYTES) else { return };
    let modify = |register: u64, clear: u32, set: u32| {
        let pointer = (registers + register) as *mut u32;
        // SAFETY: a device mapping of the GPIO block, which nothing else uses.
        unsafe { pointer.write_volatile(pointer.read_volatile() & !clear | set) };
    };
    modify(FUNCTION_SELECT_3, 0xFFF, INPUT);
    modify(PULL_CONTROL_0, 0b11 << 28 | 0b11 << 30, PULL_UP << 30);
    modify(FUNCTION_SELECT_1, 0b111 << 12 | 0b111 << 15, ALT0 << 12 | ALT0 << 15);
}

/// Writes a line to the mini UART, if the firmware has switched it on; with its rate, and on the pins that it has.
fn say_elsewhere(line: fmt::Arguments) {
    const ENABLES: u64 = 0x04;
    const MINI_UART: u32 = 1;
    let Ok(registers) = MAP.lock().map_device(AUXILIARIES, AUXILIARIES_BYTES) else { return };
    // SAFETY: the page is mapped, and reading which auxiliaries are on does no harm.
    let enables = unsafe { probe((registers + ENABLES) as *const u32) };
    if enables.is_some_and(|enables| enables & MINI_UART != 0) {
        let mut uart = MiniUart { registers };
        let _ = writeln!(uart, "\r{line}\r");
        uart.wait_for(MiniUart::IDLE);
    }
}

struct MiniUart {
    registers: u64,
}

impl MiniUart {
    /// `AUX_MU_IO_REG` and `AUX_MU_LSR_REG`.
    const DATA: u64 = 0x40;
    const STATUS: u64 = 0x54;
    /// Bits of the latter: there is room for a byte; everything has left.
    const ROOM: u32 = 1 << 5;
    const IDLE: u32 = 1 << 6;

    /// Waits for a bit of the status, though not for ever: a UART that nothing clocks never has room.
    fn wait_for(&self, bit: u32) {
        const PATIENCE: u32 = 1 << 20;
        let status = (self.registers + MiniUart::STATUS) as *const u32;
        // SAFETY: a device mapping of the auxiliaries, which nothing else uses.
        (0..PATIENCE).take_while(|_| unsafe { status.read_volatile() } & bit == 0).for_each(drop);
    }
}

impl Write for MiniUart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.wait_for(MiniUart::ROOM);
            let data = (self.registers + MiniUart::DATA) as *mut u32;
            // SAFETY: as above.
            unsafe { data.write_volatile(byte.into()) };
        }
        Ok(())
    }
}
