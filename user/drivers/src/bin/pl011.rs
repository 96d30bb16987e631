//! The driver of a PL011: bytes between two rings and a UART, moved when an interrupt or the client says so.
//!
//! `pl011 OFFSET BYTES INTEGER FRACTION [loopback]`: where in their page the registers are, and the rate's divisors, or
//! zeroes. See `graft_drivers::pl011` for the handles.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
mod driver {
    use graft_drivers::pl011::{ASKED, INTERRUPTED, SERVED, Uart, Wiring, handle};
    use graft_rt::device::{Interrupt, Registers};
    use graft_rt::memory::Shared;
    use graft_rt::notification::Notification;
    use graft_rt::ring::{Consumer, Producer};
    use graft_rt::{Arguments, Error};

    graft_rt::program!(main);

    fn main(mut arguments: Arguments) -> Result<i32, Error> {
        let mut number = |index| arguments.nth(index).and_then(|number| number.parse::<u32>().ok());
        let (Some(offset), Some(bytes)) = (number(1), number(0)) else { return Err(Error::BadArgument) };
        let (Some(integer), Some(fraction)) = (number(0), number(0)) else { return Err(Error::BadArgument) };
        let wiring = if arguments.next() == Some("loopback") { Wiring::Loopback } else { Wiring::Pins };
        let rate = (integer != 0).then_some((integer, fraction));

        let registers = Registers::of(&Shared::from_handle(handle::REGISTERS), offset as usize, bytes as usize)?;
        let interrupt = Interrupt::from_handle(handle::INTERRUPT);
        let (told, tells) = (Notification::from_handle(handle::TOLD), Notification::from_handle(handle::TELLS));
        let mut outgoing = Consumer::new(&Shared::from_handle(handle::OUTGOING))?;
        let mut incoming = Producer::new(&Shared::from_handle(handle::INCOMING))?;
        let mut uart = Uart::new(registers, rate, wiring);
        told.bind_interrupt(INTERRUPTED, &interrupt)?;
        // One that the driver before has not acknowledged: what it was for is seen to below.
        acknowledge(&interrupt)?;
        // What the client has asked for before there was a driver, and what the one before has not come to tell it.
        told.notify(ASKED)?;
        tells.notify(SERVED)?;
        loop {
            let bits = told.wait()?;
            if uart.serve(&mut outgoing, &mut incoming) {
                tells.notify(SERVED)?;
            }
            if bits & INTERRUPTED != 0 {
                acknowledge(&interrupt)?;
            }
        }
    }

    /// The bit may be one that the driver before was told, and the interrupt acknowledged since.
    fn acknowledge(interrupt: &Interrupt) -> Result<(), Error> {
        match interrupt.acknowledge() {
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// On a host there is no device to drive.
#[cfg(not(target_os = "none"))]
fn main() {}
