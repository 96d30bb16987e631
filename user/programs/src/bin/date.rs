//! Prints the date and the time, in universal time: `date`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_lib::calendar::Date;
use graft_rt::message::Message;
use graft_rt::{Arguments, Error, eprintln, names, println};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let clock = match names::find("clock") {
        Ok(clock) => clock,
        Err(error) => {
            eprintln!("date: clock: {error}");
            return Ok(1);
        }
    };
    match clock.call(Message::default())?.into_words() {
        [1, seconds, ..] => println!("{}", Date::from_seconds(seconds)),
        _ => {
            eprintln!("date: this machine has no clock that goes on while it is off");
            return Ok(1);
        }
    }
    Ok(0)
}
