//! Raspberry Pi 4 Model B (BCM2711 ARM Peripherals, chapter 5, "General Purpose I/O").

use super::Board;
use crate::arch::kernel_map::MAP;

pub(super) static BOARD: Board = Board {
    compatible: "raspberrypi,4-model-b",
    // `init_uart_clock` of config.txt, at its default.
    console_clock: 48_000_000,
    usual_console: 0xFE20_1000,
    connect_console,
};

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
    let registers = MAP.lock().map_device(GPIO, GPIO_BYTES);
    let modify = |register: u64, clear: u32, set: u32| {
        let pointer = (registers + register) as *mut u32;
        // SAFETY: a device mapping of the GPIO block, which nothing else uses.
        unsafe { pointer.write_volatile(pointer.read_volatile() & !clear | set) };
    };
    modify(FUNCTION_SELECT_3, 0xFFF, INPUT);
    modify(PULL_CONTROL_0, 0b11 << 28 | 0b11 << 30, PULL_UP << 30);
    modify(FUNCTION_SELECT_1, 0b111 << 12 | 0b111 << 15, ALT0 << 12 | ALT0 << 15);
}
