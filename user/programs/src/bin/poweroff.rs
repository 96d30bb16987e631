//! Ends the machine: `poweroff [STATUS]`; in an emulator, that is its status.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::message::Message;
use graft_rt::{Arguments, Error, eprintln, names};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, Error> {
    let status = arguments.get(1).map_or(Ok(0), str::parse::<i32>);
    let (Ok(status), None) = (status, arguments.get(2)) else {
        eprintln!("usage: poweroff [STATUS]");
        return Ok(2);
    };
    let Ok(power) = names::find("power") else {
        eprintln!("poweroff: this program has no right to that");
        return Ok(1);
    };
    // No answer comes: root ends, and everything with it.
    power.call(Message::words([status as u32 as u64, 0, 0, 0, 0, 0]))?;
    Ok(1)
}
