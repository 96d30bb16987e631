//! Tests what drivers are made of: interrupts of a real device, its registers, memory that a device reads and writes by
//! itself, and what the device tree says. On virt the device is the PL031 clock, and fw_cfg accesses memory; on the
//! Raspberry Pi the firmware's mailbox does both.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod alarm;
mod dma;
mod interrupts;
mod refusals;
mod registers;

use alloc::vec::Vec;

use alarm::Alarm;
use graft_lib::device_tree::{Device, find};
use graft_rt::device::Tree;
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap};
use graft_rt::{Arguments, Error, Permissions, Rights, claim, claim_eq, process};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    run(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn run(report: &Report) -> Result<(), Error> {
    let tree = Tree::new()?;
    let devices = |name: &str| find(tree.blob(), name);
    let found = Alarm::NAMES.into_iter().find_map(|name| Some((name, devices(name).into_iter().next()?)));
    let Some((name, device)) = found else {
        report.claim(false, format_args!("the device tree has neither of the devices that this program knows"));
        return Ok(());
    };
    what_the_tree_says(report, &tree, &device)?;
    let alarm = Alarm::new(name, &device)?;
    interrupts::run(report, &alarm)?;
    registers::run(report, &alarm, &device)?;
    dma::run(report, &alarm, &devices)?;
    refusals::run(report, &alarm, &device, &devices)
}

fn what_the_tree_says(report: &Report, tree: &Tree, device: &Device) -> Result<(), Error> {
    let size = tree.blob().get(4..8).map_or(0, |size| size.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)));
    claim!(report, size > 40 && size <= tree.blob().len(), "the blob of {size} bytes is all there");
    claim!(report, tree.blob()[size..].iter().all(|&byte| byte == 0), "nothing but zeroes follows it");
    claim!(report, !device.interrupts.is_empty() && device.registers.len() == 1, "{device:?}");
    // Another object, with the same content.
    let again = Tree::new()?;
    claim!(report, again.blob() == tree.blob(), "the tree is the same each time");
    let names: Vec<&str> = find(tree.blob(), "arm,pl011").iter().map(|device| device.name).collect();
    claim!(report, !names.is_empty(), "the console is one of these UARTs: {names:?}");
    claim_eq!(report, raw_device_tree(Rights::INSPECT), Err(Error::NoRight), "the tree without the right");
    report.done(format_args!("the device tree is there as data, and says what a driver needs"));
    Ok(())
}

fn raw_device_tree(rights: Rights) -> Result<(), Error> {
    refusals::with_system(rights, |system| {
        let tree = refusals::raw(graft_rt::abi::Call::DeviceTree, [system, 0, 0])?;
        let tree = graft_rt::memory::Shared::from_handle(graft_rt::Handle(tree as u32));
        tree.map(Permissions::Read).map(drop)
    })
}

/// Waits that end by themselves.
fn soon() -> core::time::Duration {
    graft_rt::time::clock() + core::time::Duration::from_secs(20)
}

/// A moment in which an interrupt that came would be seen.
fn a_moment() {
    process::sleep(core::time::Duration::from_millis(3));
}
