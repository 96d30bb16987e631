//! What differs between boards and no device tree says. Nothing outside of this folder knows an address
//! or a clock of a particular board.

mod raspberry_pi_4;
mod virt;

use crate::platform::{console, device_tree::DeviceTree};

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
}

static BOARDS: [&Board; 2] = [&virt::BOARD, &raspberry_pi_4::BOARD];

/// Machines with memory below this address are taken for a Raspberry Pi 4, whose memory begins at 0;
/// others for QEMU's virt, whose memory begins here.
const LOAD_LIMIT: u64 = 0x4000_0000;

/// For the very first sign of life, in boot/entry.s: the limit above, then the console's data register
/// below it and from it on.
#[unsafe(no_mangle)]
static EARLY_CONSOLES: [u64; 3] = [LOAD_LIMIT, raspberry_pi_4::BOARD.usual_console, virt::BOARD.usual_console];

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
}

/// Prepares the console where one of the known boards has it, if a PL011 answers there: for when there is
/// no device tree to tell.
pub fn prepare_likely_console() {
    if let Some(board) = BOARDS.into_iter().find(|board| console::is_pl011(board.usual_console)) {
        board.prepare_console(board.usual_console);
    }
}
