//! Tells the date: the PL031 of a machine that has one, a counter of seconds that goes on while the machine is off.
//!
//! Whatever it is asked, it answers `[1, seconds since 1970, 0, 0, 0, 0]`, or zeroes where there is no such clock.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_lib::device_tree::find;
use graft_rt::device::{Registers, Tree};
use graft_rt::message::{Endpoint, Message};
use graft_rt::{Arguments, Error, Handle, grants, process};

graft_rt::program!(main);

/// The data register, seconds (ARM DDI 0224, "RTCDR").
const DATA: usize = 0;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let endpoint = Endpoint::from_handle(grants::handle("serve").ok_or(Error::BadHandle)?);
    let registers = registers();
    // It keeps the registers alone: the right to devices is the right to everything.
    process::close(Handle::SYSTEM)?;
    let receiver = endpoint.receiver()?;
    let mut received = receiver.receive()?;
    loop {
        // A handle that comes with the question is closed.
        received.message.into_words();
        let words = match &registers {
            Some(registers) => [1, registers.read(DATA).into(), 0, 0, 0, 0],
            None => [0; 6],
        };
        received = receiver.answer_receive(Message::words(words))?;
    }
}

/// The clock's registers, if there is one that can be had.
fn registers() -> Option<Registers> {
    let tree = Tree::new().ok()?;
    let registers = find(tree.blob(), "arm,pl031").first()?.registers.first().copied()?;
    Registers::new(registers.address, registers.bytes).ok()
}
