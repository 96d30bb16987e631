//! Waits: `sleep SECONDS`, a decimal number.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::time::Duration;

use graft_rt::{Arguments, eprintln, process};

graft_rt::program!(main);

fn main(arguments: Arguments) -> i32 {
    let duration = arguments.get(1).and_then(|text| text.parse().ok()).map(Duration::try_from_secs_f64);
    match (duration, arguments.get(2)) {
        (Some(Ok(duration)), None) => {
            process::sleep(duration);
            0
        }
        _ => {
            eprintln!("usage: sleep SECONDS");
            2
        }
    }
}
