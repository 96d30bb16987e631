//! The UART PL011 (PrimeCell UART TRM, revision r1p5, chapter 3): its registers, and how its program is started.
//!
//! ```text
//!   client                          driver                         device
//!   outgoing ring ──▶ notify  ──▶   as much as the FIFO takes ──▶
//!   incoming ring ◀── notify  ◀──   as much as the ring takes ◀──  interrupt: received, or room for more
//! ```
//!
//! Neither side polls: a driver whose outgoing ring is not empty has the device interrupt it when there is room, and
//! one whose incoming ring is full does not have it interrupt for what is received until the client has made room.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_lib::device_tree::Device;
use graft_rt::abi::PAGE_SIZE;
use graft_rt::archive::{Archive, FileError};
use graft_rt::device::{Interrupt, Registers, Trigger, device};
use graft_rt::memory::Shared;
use graft_rt::notification::Notification;
use graft_rt::ring::{Consumer, Producer, memory};
use graft_rt::{Error, Handle, Process};

/// Where registers are read and written.
pub trait Port {
    /// Reads the register at this offset.
    fn read(&self, register: usize) -> u32;
    /// Writes the register at this offset.
    fn write(&self, register: usize, value: u32);
}

impl Port for Registers {
    fn read(&self, register: usize) -> u32 {
        Registers::read(self, register)
    }

    fn write(&self, register: usize, value: u32) {
        Registers::write(self, register, value);
    }
}

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const INTEGER_DIVISOR: usize = 0x24;
const FRACTIONAL_DIVISOR: usize = 0x28;
const LINE_CONTROL: usize = 0x2C;
const CONTROL: usize = 0x30;
const FIFO_LEVELS: usize = 0x34;
const INTERRUPT_MASK: usize = 0x38;
const INTERRUPT_CLEAR: usize = 0x44;

/// Of `DATA`: what came with the byte was no byte (overrun, break, parity, framing).
const BROKEN: u32 = 0xF << 8;
/// Of `FLAGS`.
const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
const BUSY: u32 = 1 << 3;
/// Of `LINE_CONTROL`: FIFOs, 8 bits.
const FIFOS: u32 = 1 << 4;
const EIGHT_BITS: u32 = 0b11 << 5;
/// Of `CONTROL`.
const ENABLE: u32 = 1;
const LOOPBACK: u32 = 1 << 7;
const TRANSMIT: u32 = 1 << 8;
const RECEIVE: u32 = 1 << 9;
/// Of the interrupt registers: received, room to transmit, received and then nothing for a while.
const RECEIVED: u32 = 1 << 4;
const ROOM: u32 = 1 << 5;
const TIMEOUT: u32 = 1 << 6;

/// Bytes that go out before what has come in is looked at: no more than the smallest FIFO that the device is made with
/// holds, so that in loopback none is lost.
const TURN: usize = 16;
/// Most bytes that the device has received and not handed out.
const FIFO: usize = 32;
/// How often the driver looks whether the last byte of an earlier owner's has left: a UART without a clock is always
/// busy.
const PATIENCE: u32 = 1 << 16;

/// What the outgoing bytes reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// The pins.
    Pins,
    /// The device's own receiver.
    Loopback,
}

/// A UART in use.
#[derive(Debug)]
pub struct Uart<P> {
    port: P,
    mask: u32,
}

/// Integer and fractional divisor (TRM 3.3.6) for a rate in bits a second, with a clock in hertz; `None` if there are
/// none.
pub const fn divisors(clock: u32, rate: u32) -> Option<(u32, u32)> {
    if rate == 0 {
        return None;
    }
    // In 64ths, rounded.
    let divisor = (clock as u64 * 4 + rate as u64 / 2) / rate as u64;
    let (integer, fraction) = (divisor / 64, divisor % 64);
    if integer == 0 || integer > 0xFFFF || (integer == 0xFFFF && fraction > 0) {
        return None;
    }
    Some((integer as u32, fraction as u32))
}

impl<P: Port> Uart<P> {
    /// Takes a UART over: 8 bits, no parity, at this rate or, without one, at the rate that it has.
    pub fn new(port: P, rate: Option<(u32, u32)>, wiring: Wiring) -> Uart<P> {
        (0..PATIENCE).take_while(|_| port.read(FLAGS) & BUSY != 0).for_each(drop);
        port.write(CONTROL, 0);
        port.write(INTERRUPT_MASK, 0);
        port.write(INTERRUPT_CLEAR, 0x7FF);
        if wiring == Wiring::Loopback {
            // What an earlier owner has sent itself is none of this one's. What has come from outside is.
            (0..FIFO).take_while(|_| port.read(FLAGS) & RECEIVE_EMPTY == 0).for_each(|_| _ = port.read(DATA));
        }
        if let Some((integer, fraction)) = rate {
            port.write(INTEGER_DIVISOR, integer);
            port.write(FRACTIONAL_DIVISOR, fraction);
        }
        // After the divisors: it is this write that takes them over.
        port.write(LINE_CONTROL, EIGHT_BITS | FIFOS);
        // Interrupts at an eighth: early for what comes, late for what goes.
        port.write(FIFO_LEVELS, 0);
        let loopback = if wiring == Wiring::Loopback { LOOPBACK } else { 0 };
        port.write(CONTROL, ENABLE | TRANSMIT | RECEIVE | loopback);
        let mut uart = Uart { port, mask: 0 };
        uart.interrupt_for(RECEIVED | TIMEOUT);
        uart
    }

    fn interrupt_for(&mut self, mask: u32) {
        if self.mask != mask {
            self.mask = mask;
            self.port.write(INTERRUPT_MASK, mask);
        }
    }

    /// Moves bytes both ways until nothing moves, and has the device interrupt for what is left to be done. Returns
    /// whether something has moved.
    pub fn serve(&mut self, outgoing: &mut impl Outgoing, incoming: &mut impl Incoming) -> bool {
        // First: what happens from here on interrupts again.
        self.port.write(INTERRUPT_CLEAR, RECEIVED | ROOM | TIMEOUT);
        let mut moved = false;
        loop {
            // In loopback what goes out must find room where it comes back.
            let sent = (0..TURN.min(incoming.room())).take_while(|_| self.send(outgoing)).count();
            let received = core::iter::from_fn(|| (incoming.room() > 0).then(|| self.receive(incoming)));
            let received = received.take_while(|&received| received).count();
            moved |= sent + received > 0;
            if sent + received == 0 {
                break;
            }
        }
        let for_received = if incoming.room() > 0 { RECEIVED | TIMEOUT } else { 0 };
        let for_room = if outgoing.is_empty() || incoming.room() == 0 { 0 } else { ROOM };
        self.interrupt_for(for_received | for_room);
        moved
    }

    fn send(&self, outgoing: &mut impl Outgoing) -> bool {
        if self.port.read(FLAGS) & TRANSMIT_FULL != 0 {
            return false;
        }
        let Some(byte) = outgoing.next() else { return false };
        self.port.write(DATA, byte.into());
        true
    }

    /// A byte that came broken is left out.
    fn receive(&self, incoming: &mut impl Incoming) -> bool {
        if self.port.read(FLAGS) & RECEIVE_EMPTY != 0 {
            return false;
        }
        let data = self.port.read(DATA);
        if data & BROKEN == 0 {
            incoming.put(data as u8);
        }
        true
    }
}

/// Where bytes come from that go out.
pub trait Outgoing {
    /// Whether there is none.
    fn is_empty(&self) -> bool;
    /// The next.
    fn next(&mut self) -> Option<u8>;
}

/// Where bytes go that have come in.
pub trait Incoming {
    /// How many there is room for.
    fn room(&self) -> usize;
    /// One more.
    fn put(&mut self, byte: u8);
}

impl Outgoing for Consumer {
    fn is_empty(&self) -> bool {
        Consumer::is_empty(self)
    }

    fn next(&mut self) -> Option<u8> {
        let mut byte = [0];
        (self.take(&mut byte) == 1).then_some(byte[0])
    }
}

impl Incoming for Producer {
    fn room(&self) -> usize {
        Producer::room(self)
    }

    fn put(&mut self, byte: u8) {
        Producer::put(self, &[byte]);
    }
}

/// The handles that the driver is started with, in this order, as 1, 2, 3 ...
pub mod handle {
    use graft_rt::Handle;

    /// For a complaint.
    pub const CONSOLE: Handle = Handle(1);
    /// Pages of registers.
    pub const REGISTERS: Handle = Handle(2);
    /// The interrupt.
    pub const INTERRUPT: Handle = Handle(3);
    /// What the driver waits for.
    pub const TOLD: Handle = Handle(4);
    /// What the client waits for.
    pub const TELLS: Handle = Handle(5);
    /// The ring of what goes out.
    pub const OUTGOING: Handle = Handle(6);
    /// The ring of what has come in.
    pub const INCOMING: Handle = Handle(7);
}

/// Of the driver's notification: the interrupt.
pub const INTERRUPTED: u64 = 1;
/// Of the driver's notification: the client has put bytes in or taken some out.
pub const ASKED: u64 = 2;
/// Of the client's: the driver has.
pub const SERVED: u64 = 1;

/// What a driver and its client are given. It is made once for a device; each driver that is started gets the same, and
/// goes on where the one before has stopped.
#[derive(Debug)]
pub struct Ends {
    pages: Shared,
    interrupt: Interrupt,
    told: Notification,
    tells: Notification,
    outgoing: Shared,
    incoming: Shared,
    arguments: Vec<String>,
}

impl Ends {
    /// Those for a device of the tree. The rate stays what it is, or is the divisors' given.
    ///
    /// # Errors
    /// As [`device`] and [`Interrupt::new`]: [`Error::NotAllowed`] for a UART that has a driver.
    pub fn new(device_node: &Device<'_>, rate: Option<(u32, u32)>, wiring: Wiring) -> Result<Ends, Error> {
        let registers = device_node.registers.first().ok_or(Error::NotFound)?;
        let line = device_node.interrupts.first().ok_or(Error::NotFound)?;
        let page = PAGE_SIZE as u64;
        let offset = registers.address % page;
        let trigger = if line.edge { Trigger::Edge } else { Trigger::Level };
        // First: this is what another driver would have, and the kernel gives the registers of its console away but
        // once.
        let interrupt = Interrupt::new(line.number, trigger)?;
        let pages = device(registers.address - offset, (offset + registers.bytes).next_multiple_of(page))?;
        let (integer, fraction) = rate.unwrap_or((0, 0));
        let numbers = [offset, registers.bytes, integer.into(), fraction.into()].map(|number| format!("{number}"));
        let mut arguments = Vec::from([String::from("pl011")]);
        arguments.extend(numbers);
        if wiring == Wiring::Loopback {
            arguments.push("loopback".into());
        }
        let (told, tells) = (Notification::new()?, Notification::new()?);
        let (outgoing, incoming) = (memory()?, memory()?);
        Ok(Ends { pages, interrupt, told, tells, outgoing, incoming, arguments })
    }

    /// Starts a driver, with the device's handles alone and somewhere to complain to.
    ///
    /// # Errors
    /// As [`Process::spawn_image`].
    pub fn start(&self, image: &[u8], console: Handle) -> Result<Process, Error> {
        let handles = [
            console,
            self.pages.handle(),
            self.interrupt.handle(),
            self.told.handle(),
            self.tells.handle(),
            self.outgoing.handle(),
            self.incoming.handle(),
        ];
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Process::spawn_image(image, &arguments, &handles)
    }

    /// The handles that the client needs, in the order in which [`Client::of`] expects them.
    pub fn client(&self) -> [Handle; 4] {
        [self.told.handle(), self.tells.handle(), self.outgoing.handle(), self.incoming.handle()]
    }
}

/// A driver from the side of its client.
#[derive(Debug)]
pub struct Client {
    /// What goes out.
    pub outgoing: Producer,
    /// What has come in.
    pub incoming: Consumer,
    told: Notification,
    /// Tells this side that the driver has [`SERVED`] it. The client may have other bits set.
    pub tells: Notification,
}

impl Client {
    /// The client's side, of the handles that [`Ends::client`] has named.
    ///
    /// # Errors
    /// As [`Producer::new`].
    pub fn of([told, tells, outgoing, incoming]: [Handle; 4]) -> Result<Client, Error> {
        Ok(Client {
            outgoing: Producer::new(&Shared::from_handle(outgoing))?,
            incoming: Consumer::new(&Shared::from_handle(incoming))?,
            told: Notification::from_handle(told),
            tells: Notification::from_handle(tells),
        })
    }

    /// Has the driver see to what has been put in or taken out.
    ///
    /// # Errors
    /// As [`Notification::notify`].
    pub fn ask(&self) -> Result<(), Error> {
        self.told.notify(ASKED)
    }
}

/// A driver that runs, from the side of the one that has started it.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub process: Process,
    /// The other side.
    pub client: Client,
}

/// Starts the driver for a device of the tree.
///
/// # Errors
/// As [`Ends::new`] and [`Ends::start`].
pub fn start(device_node: &Device<'_>, rate: Option<(u32, u32)>, wiring: Wiring) -> Result<Running, FileError> {
    let ends = Ends::new(device_node, rate, wiring)?;
    let process = ends.start(Archive::open()?.file("pl011")?, graft_rt::console::handle())?;
    let Ends { told, tells, outgoing, incoming, .. } = ends;
    let handles = [told.into_handle(), tells.into_handle(), outgoing.into_handle(), incoming.into_handle()];
    Ok(Running { process, client: Client::of(handles)? })
}

impl Running {
    /// Waits until the driver has put bytes in or taken some out, or has ended, if that has been bound to other bits.
    ///
    /// # Errors
    /// As [`Notification::wait_until`].
    pub fn wait_until(&self, deadline: core::time::Duration) -> Result<u64, Error> {
        self.client.tells.wait_until(deadline)
    }

    /// Has these bits come from [`wait_until`](Self::wait_until) when the driver ends.
    ///
    /// # Errors
    /// As [`Notification::bind_end`].
    pub fn bind_end(&self, bits: u64) -> Result<(), Error> {
        self.client.tells.bind_end(bits, self.process.handle())
    }
}

#[cfg(test)]
mod tests;
