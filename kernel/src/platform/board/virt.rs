//! QEMU's `virt` machine.

use super::Board;

pub(super) static BOARD: Board = Board {
    compatible: "linux,dummy-virt",
    console_clock: 24_000_000,
    usual_console: 0x0900_0000,
    connect_console: || {},
    say_elsewhere: |_| {},
};
