//! Says how long the machine has been running: `uptime`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::{Arguments, Error, println, process, system, time};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<(), Error> {
    let seconds = time::clock().as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    // This program is none of them.
    let processes =
        system::processes().filter(|other| other.as_ref().is_ok_and(|other| other.identifier() != process::identify()));
    println!("up {days} days {hours:02}:{minutes:02}:{:02}, {} processes", seconds % 60, processes.count());
    Ok(())
}
