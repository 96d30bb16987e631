//! A device whose line the test can make high and low.

use graft_lib::device_tree::Device;
use graft_rt::Error;
use graft_rt::abi::PAGE_SIZE;
use graft_rt::device::{Dma, Interrupt, Registers, Trigger};
use graft_rt::test::wait_until;

/// A PL031's registers (PrimeCell Real Time Clock TRM, r1p3, chapter 3): seconds, those at which it rings, whether that
/// reaches the line, whether it does now, and what ends it.
mod clock {
    pub const SECONDS: usize = 0x00;
    pub const MATCH: usize = 0x04;
    pub const ENABLE: usize = 0x10;
    pub const STATUS: usize = 0x18;
    pub const CLEAR: usize = 0x1C;
}

/// The registers of the mailbox between firmware and processor ("Mailboxes" of the firmware's documentation): messages
/// from there, how many there are, whether one moves the line, and messages to there.
mod mailbox {
    pub const READ: usize = 0x00;
    pub const STATUS: usize = 0x18;
    pub const ENABLE: usize = 0x1C;
    pub const WRITE: usize = 0x20;
    pub const WRITE_STATUS: usize = 0x38;
    pub const EMPTY: u32 = 1 << 30;
    pub const FULL: u32 = 1 << 31;
}

/// A message to the firmware: which board is this?
const REQUEST: [u32; 7] = [28, 0, 0x0001_0002, 4, 0, 0, 0];
/// The firmware's channel for such questions.
const PROPERTIES: u32 = 8;
/// Memory as the firmware's processor has it, past its caches.
const BUS: u32 = 0xC000_0000;

/// The device, and the line that it moves.
pub struct Alarm {
    pub registers: Registers,
    /// Where in their page they are.
    pub in_page: usize,
    pub line: u32,
    model: Model,
}

/// What it is.
enum Model {
    /// A clock, which rings when its seconds match.
    Clock,
    /// A mailbox, which has an answer for each question; and the place for both.
    Mailbox(Dma),
}

impl Alarm {
    /// Names of the devices that this can be, as the device tree has them.
    pub const NAMES: [&str; 2] = ["arm,pl031", "brcm,bcm2835-mbox"];

    /// The device, with its line low.
    pub fn new(name: &str, device: &Device) -> Result<Alarm, Error> {
        let registers = Registers::new(device.registers[0].address, device.registers[0].bytes)?;
        let line = device.interrupts[0].number;
        let model = if name == Alarm::NAMES[0] {
            registers.write(clock::ENABLE, 1);
            Model::Clock
        } else {
            registers.write(mailbox::ENABLE, 1);
            Model::Mailbox(Dma::new(PAGE_SIZE)?)
        };
        let in_page = device.registers[0].address as usize % PAGE_SIZE;
        let alarm = Alarm { registers, in_page, line, model };
        alarm.lower();
        Ok(alarm)
    }

    /// The interrupt of its line.
    pub fn interrupt(&self, trigger: Trigger) -> Result<Interrupt, Error> {
        Interrupt::new(self.line, trigger)
    }

    /// Makes the line high, where nothing makes it low at once.
    pub fn raise(&self) {
        self.ring();
        wait_until(|| self.is_high());
    }

    /// Makes the line high now or in a moment.
    pub fn ring(&self) {
        match &self.model {
            // At once, unless the seconds have just moved on.
            Model::Clock => loop {
                let now = self.registers.read(clock::SECONDS);
                self.registers.write(clock::MATCH, now);
                if self.registers.read(clock::SECONDS) == now {
                    return;
                }
            },
            Model::Mailbox(memory) => {
                for (index, byte) in REQUEST.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
                    memory.region().write(index, byte);
                }
                memory.clean_and_invalidate();
                wait_until(|| self.registers.read(mailbox::WRITE_STATUS) & mailbox::FULL == 0);
                self.registers.write(mailbox::WRITE, memory.address() as u32 | BUS | PROPERTIES);
            }
        }
    }

    /// Makes the line low.
    pub fn lower(&self) {
        match self.model {
            Model::Clock => self.registers.write(clock::CLEAR, 1),
            Model::Mailbox(_) => {
                while self.is_high() {
                    self.registers.read(mailbox::READ);
                }
            }
        }
    }

    /// Whether the line is high.
    pub fn is_high(&self) -> bool {
        self.status_says_high(self.registers.read(STATUS))
    }

    /// Whether what [`STATUS`] is says so.
    pub fn status_says_high(&self, status: u32) -> bool {
        match self.model {
            Model::Clock => status & 1 != 0,
            Model::Mailbox(_) => status & mailbox::EMPTY == 0,
        }
    }

    /// The answer to the last question, if there has been one.
    pub fn answer(&self) -> Option<[u32; 7]> {
        let Model::Mailbox(memory) = &self.model else { return None };
        memory.clean_and_invalidate();
        let word =
            |index: usize| u32::from_le_bytes(core::array::from_fn(|byte| memory.region().read(4 * index + byte)));
        Some(core::array::from_fn(word))
    }

    /// Whether the device can reach the memory that it has been given.
    pub fn reaches_its_memory(&self) -> bool {
        match &self.model {
            Model::Clock => true,
            Model::Mailbox(memory) => memory.address() < 1 << 30,
        }
    }
}

/// A register that can be read at any time, of either.
pub const STATUS: usize = clock::STATUS;
const _: () = assert!(STATUS == mailbox::STATUS);
