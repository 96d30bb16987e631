//! What differs between boards and no device tree says. Nothing outside of this folder knows an address
//! or a clock of a particular board.

mod bcm2711;
mod virt;

use crate::arch::memory;
use crate::platform::{console, device_tree::DeviceTree};
use core::fmt;

/// A board that this kernel runs on.
pub struct Board {
    /// Entry of the root node's `compatible` by which it is recognised.
    pub compatible: &'static str,
    /// Clock of the console's PL011, in hertz, as firmware leaves it.
    console_clock: u32,
    /// Where the PL011 is, for when there is no device tree to ask.
    usual_console: u64,
    /// Makes the PL011 reach the outside.
    connect_console: fn(),
    /// Writes a line to every other UART that is ready for one.
    say_elsewhere: fn(fmt::Arguments),
}

static BOARDS: [&Board; 2] = [&virt::BOARD, &bcm2711::BOARD];

/// Machines with the kernel below this address are taken for boards with a BCM2711, whose memory begins at 0; others
/// for QEMU's virt, whose memory begins here.
const LOAD_LIMIT: u64 = 0x4000_0000;

/// For the very first sign of life, in boot/entry.s: the limit above, then the console's data register
/// below it and from it on.
#[unsafe(no_mangle)]
static EARLY_CONSOLES: [u64; 3] = [LOAD_LIMIT, bcm2711::BOARD.usual_console, virt::BOARD.usual_console];

impl Board {
    /// The board that the tree is for.
    pub fn recognise(tree: &DeviceTree) -> Option<&'static Board> {
        BOARDS.into_iter().find(|board| tree.is_compatible(board.compatible))
    }

    /// Prepares the console at this physical address.
    pub fn prepare_console(&self, address: u64) {
        (self.connect_console)();
        console::prepare(console::Description { address, clock: self.console_clock });
    }
    /// The board that this machine probably is, for when there is no usable device tree. A PL011 that identifies itself
    /// decides, otherwise the place that a loader has given to the kernel.
    ///
    /// If something else is at these addresses, that is read instead, with loads that may fault: reading memory does no
    /// harm, and the registers that identify a PL011 do not change when they are read.
    fn likely() -> Option<&'static Board> {
        let by_itself = BOARDS.into_iter().find(|board| console::is_pl011(board.usual_console));
        let by_place = || {
            let board = if memory::image().start < LOAD_LIMIT { &bcm2711::BOARD } else { &virt::BOARD };
            console::answers(board.usual_console).then_some(board)
        };
        by_itself.or_else(by_place)
    }
}

/// Prepares the console where one of the known boards has it, for when no device tree names it.
pub fn prepare_likely_console() {
    if let Some(board) = Board::likely() {
        board.prepare_console(board.usual_console);
    }
}

/// Writes a line to every UART of the likely board, for when no device tree names them; the console is prepared then.
pub fn say_everywhere(line: fmt::Arguments) {
    if let Some(board) = Board::likely() {
        // First: the console may take the pins from the other one.
        (board.say_elsewhere)(line);
        board.prepare_console(board.usual_console);
        console::print(format_args!("\r{line}\n"));
    }
}
