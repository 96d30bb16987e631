//! Tests the driver of the PL011: bytes go out and come back through the device's own loopback, in order and whole, the
//! driver sleeps when nothing is to be done, and another one takes over where one has been killed.
//!
//! Where the only UART is the kernel's console there is nothing to drive, and that is claimed.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use graft_drivers::pl011::{Client, Ends, Running, Wiring, start};
use graft_lib::device_tree::{Device, find};
use graft_rt::archive::{Archive, FileError};
use graft_rt::console;
use graft_rt::device::Tree;
use graft_rt::process::{duplicate, sleep};
use graft_rt::ring::CAPACITY;
use graft_rt::test::{FreeFrames, Numbers, Report, touch_stack_and_heap, wait_until};
use graft_rt::{Arguments, Error, ExitStatus, Rights, claim, claim_eq, time};

graft_rt::program!(main);

/// Of the notification of the client's: the driver has ended.
const ENDED: u64 = 1 << 1;
const BYTES: usize = 40_000;
/// On their way at a time: a part of what the rings hold.
const ON_THEIR_WAY: usize = 3_000;

fn main(_arguments: Arguments) -> Result<i32, FileError> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    run(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn run(report: &Report) -> Result<(), FileError> {
    let tree = Tree::new()?;
    let uarts = find(tree.blob(), "arm,pl011");
    let kernels = uarts.first().map(|console| start(console, None, Wiring::Loopback).err());
    let refused = Some(Some(FileError::Call(Error::NotAllowed)));
    claim_eq!(report, kernels, refused, "the kernel's console");
    let Some(uart) = uarts.get(1) else {
        claim_eq!(report, uarts.len(), 1, "UARTs");
        report.done(format_args!("the only UART is the kernel's console"));
        return Ok(());
    };
    echoes(report, uart)?;
    idle(report, uart)?;
    killed(report, uart)?;
    anew(report, uart)
}

/// Text in which characters take one to four bytes.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut numbers = Numbers::new(1);
    while text.len() < bytes {
        text.push(numbers.choose(&['a', '\n', '\r', '\0', 'ü', 'ß', '€', '漢', '🦀', '\u{7f}']));
    }
    text.into_bytes()
}

fn soon() -> Duration {
    time::clock() + Duration::from_secs(20)
}

/// Sends bytes, and receives until as many have come back.
fn through(running: &mut Running, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut sent, mut back) = (0, Vec::with_capacity(bytes.len()));
    let mut piece = [0; 512];
    while back.len() < bytes.len() {
        let end = bytes.len().min(back.len() + ON_THEIR_WAY);
        sent += running.client.outgoing.put(&bytes[sent..end]);
        running.client.ask()?;
        let count = running.client.incoming.take(&mut piece);
        back.extend(&piece[..count]);
        if count == 0 && running.wait_until(soon())? & ENDED != 0 {
            return Err(Error::Gone);
        }
    }
    Ok(back)
}

fn end(report: &Report, running: Running) {
    claim_eq!(report, running.process.kill(9), Ok(()), "killed");
    claim_eq!(report, running.process.wait(), Ok(ExitStatus::Killed(9)), "the driver's end");
}

fn echoes(report: &Report, uart: &Device) -> Result<(), FileError> {
    let mut running = start(uart, None, Wiring::Loopback)?;
    let sent = text(BYTES);
    let back = through(&mut running, &sent)?;
    let difference = sent.iter().zip(&back).position(|(sent, back)| sent != back);
    claim_eq!(report, (difference, back.len()), (None, sent.len()), "what comes back");
    claim!(report, core::str::from_utf8(&back).is_ok(), "every character is whole");
    // As much as both rings hold, while nothing is taken out.
    let more = &text(2 * CAPACITY)[..2 * CAPACITY];
    let mut put = 0;
    let all_put = wait_until(|| {
        put += running.client.outgoing.put(&more[put..]);
        running.client.ask().is_ok() && put == more.len()
    });
    claim!(report, all_put, "both rings are filled: {put}");
    let (mut back, mut piece) = (Vec::<u8>::new(), [0; 700]);
    while back.len() < put {
        let count = running.client.incoming.take(&mut piece);
        back.extend(&piece[..count]);
        running.client.ask()?;
        if count == 0 {
            running.wait_until(soon())?;
        }
    }
    claim!(report, back == more[..put], "{put} bytes that have waited");
    end(report, running);
    report.done(format_args!("bytes go out and come back in order, and wait where there is no room"));
    Ok(())
}

fn idle(report: &Report, uart: &Device) -> Result<(), FileError> {
    let mut running = start(uart, None, Wiring::Loopback)?;
    through(&mut running, b"awake")?;
    sleep(Duration::from_millis(10));
    let before = running.process.info()?.processor_time;
    sleep(Duration::from_millis(100));
    claim_eq!(report, running.process.info()?.processor_time, before, "the time that an idle driver takes");
    let again = through(&mut running, b"again")?;
    claim_eq!(report, again[..], b"again"[..], "it wakes up");
    end(report, running);
    report.done(format_args!("a driver with nothing to do takes no time"));
    Ok(())
}

fn killed(report: &Report, uart: &Device) -> Result<(), FileError> {
    let sent = text(3_000);
    for round in 0..10 {
        let mut running = start(uart, None, Wiring::Loopback)?;
        running.bind_end(ENDED)?;
        let taken = start(uart, None, Wiring::Loopback).err();
        claim_eq!(report, taken, Some(FileError::Call(Error::NotAllowed)), "round {round}: a second driver");
        let back = through(&mut running, &sent)?;
        claim!(report, back == sent, "round {round}: what comes back");
        // In the middle of something.
        running.client.outgoing.put(&sent);
        running.client.ask()?;
        running.process.kill(9)?;
        while running.wait_until(soon())? & ENDED == 0 {}
        claim_eq!(report, running.process.wait(), Ok(ExitStatus::Killed(9)), "round {round}: the driver's end");
    }
    report.done(format_args!("a driver that is killed is told, and another one takes over"));
    Ok(())
}

/// Drivers with the same objects, one after the other, as root starts them.
fn anew(report: &Report, uart: &Device) -> Result<(), FileError> {
    let archive = Archive::open()?;
    let image = archive.file("pl011")?;
    let ends = Ends::new(uart, None, Wiring::Loopback)?;
    let mut client = {
        let [a, b, c, d] = ends.client().map(|handle| duplicate(handle, Rights::ALL));
        Client::of([a?, b?, c?, d?])?
    };
    let sent = text(3_000);
    let mut driver = ends.start(image, console::handle())?;
    for round in 0..20_u64 {
        client.outgoing.put(&sent);
        client.ask()?;
        // At another moment each time, with an interrupt that is not acknowledged among them.
        sleep(Duration::from_micros(50 * round));
        driver.kill(9)?;
        claim_eq!(report, driver.wait(), Ok(ExitStatus::Killed(9)), "round {round}: the driver's end");
        driver = ends.start(image, console::handle())?;
        let mut back = Vec::<u8>::new();
        let mark = [0xF0 | round as u8 & 7, 0xFF, round as u8, 0xFE];
        let mut put = 0;
        let arrives = wait_until(|| {
            let mut piece = [0; 512];
            put += client.outgoing.put(&mark[put..]);
            let count = client.incoming.take(&mut piece);
            back.extend(&piece[..count]);
            let _ = client.ask();
            back.ends_with(&mark)
        });
        claim!(report, arrives, "round {round}: what is sent after all of it comes back: {}", back.len());
    }
    driver.kill(9)?;
    driver.wait()?;
    report.done(format_args!("drivers that get the same objects go on one after the other"));
    Ok(())
}
