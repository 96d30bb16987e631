//! Starts the machine anew.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::message::Message;
use graft_rt::{Arguments, Error, eprintln, names};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, Error> {
    if arguments.get(1).is_some() {
        eprintln!("usage: reboot");
        return Ok(2);
    }
    let Ok(power) = names::find("power") else {
        eprintln!("reboot: this program has no right to that");
        return Ok(1);
    };
    let [answer, ..] = power.call(Message::words([0, 1, 0, 0, 0, 0]))?.into_words();
    match Error::from_register(answer) {
        Err(Error::NotFound) => eprintln!("reboot: this machine has no firmware and no watchdog that could do it"),
        Err(error) => eprintln!("reboot: {error}"),
        Ok(_) => {}
    }
    Ok(1)
}
