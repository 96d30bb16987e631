//! Memory that a device reads and writes by itself.

use alloc::vec::Vec;

use graft_lib::device_tree::Device;
use graft_rt::abi::{Call, PAGE_SIZE};
use graft_rt::device::{Dma, Registers, address};
use graft_rt::memory::Shared;
use graft_rt::test::{FreeFrames, Report, claim_success, wait_until};
use graft_rt::{Error, Handle, Permissions, Process, Region, Share, claim, claim_eq};

use crate::alarm::Alarm;
use crate::refusals::raw;

pub fn run<'a>(report: &Report, alarm: &Alarm, devices: &impl Fn(&str) -> Vec<Device<'a>>) -> Result<(), Error> {
    shape(report)?;
    sharing(report)?;
    if let Some(device) = devices("qemu,fw-cfg-mmio").first() {
        configuration(report, device)?;
    } else {
        mailbox(report, alarm);
    }
    report.done(format_args!("memory for devices is zeroed, consecutive, and what a device reads and writes"));
    Ok(())
}

fn store(region: &Region, offset: usize, bytes: &[u8]) {
    bytes.iter().enumerate().for_each(|(index, &byte)| region.write(offset + index, byte));
}

fn load<const N: usize>(region: &Region, offset: usize) -> [u8; N] {
    core::array::from_fn(|index| region.read(offset + index))
}

fn shape(report: &Report) -> Result<(), Error> {
    for pages in [1, 2, 3, 8, 100, Dma::MAX / PAGE_SIZE] {
        let memory = Dma::new(pages * PAGE_SIZE)?;
        claim_eq!(report, memory.region().first_difference(|_| 0), None, "{pages} pages of zeroes");
        let alignment = (pages.next_power_of_two() * PAGE_SIZE) as u64;
        claim!(report, memory.address().is_multiple_of(alignment), "{pages} pages at {:#x}", memory.address());
        claim_eq!(report, address(memory.memory()), Ok(memory.address()), "the address");
        memory.region().fill(|page| page as u8 | 1);
        let first = memory.address();
        drop(memory);
        let again = Dma::new(pages * PAGE_SIZE)?;
        claim_eq!(report, again.address(), first, "{pages} pages that were given back are there again");
        claim_eq!(report, again.region().first_difference(|_| 0), None, "and zeroes again");
    }
    Ok(())
}

fn sharing(report: &Report) -> Result<(), Error> {
    let frames = FreeFrames::now();
    let memory = Dma::new(4 * PAGE_SIZE)?;
    let child = Process::fork_into(Share::L1, || {
        memory.region().write(PAGE_SIZE, 7);
        0
    })?;
    claim_success(report, &child, format_args!("a child that writes"));
    drop(child);
    claim_eq!(report, memory.region().read(PAGE_SIZE), 7, "what the child has written");
    let all = 0..4 * PAGE_SIZE;
    let region = memory.region();
    claim_eq!(report, region.protect(all.clone(), Permissions::ReadExecute), Err(Error::NotAllowed), "made executable");
    claim_eq!(report, region.discard(all), Err(Error::NotAllowed), "discarded");
    let second = memory.memory().map(Permissions::ReadWrite)?;
    drop(memory);
    // One mapping is left, and no handle.
    claim_eq!(report, second.read(PAGE_SIZE), 7, "for as long as there is a mapping");
    drop(second);
    frames.claim_same(report, format_args!("after a mapping that has outlived the handle"));
    let ordinary = Shared::new(PAGE_SIZE)?;
    claim_eq!(report, address(&ordinary), Err(Error::NotAllowed), "the address of ordinary memory");
    for (bytes, error) in [
        (0, Error::BadLength),
        (1, Error::Unaligned),
        ((Dma::MAX + PAGE_SIZE) as u64, Error::BadLength),
        (u64::MAX - 4095, Error::BadLength),
    ] {
        claim_eq!(report, raw(Call::DmaCreate, [Handle::SYSTEM.0.into(), bytes, 0]), Err(error), "{bytes:#x} bytes");
    }
    Ok(())
}

/// QEMU's firmware configuration (its specification, "Guest-side DMA Interface"): all numbers are big-endian.
fn configuration(report: &Report, device: &Device) -> Result<(), Error> {
    const READ: u32 = 1 << 1;
    const SELECT: u32 = 1 << 3;
    const SIGNATURE: u32 = 0;
    let registers = Registers::new(device.registers[0].address, device.registers[0].bytes)?;
    let memory = Dma::new(2 * PAGE_SIZE)?;
    // The answer lies across the two pages.
    let answer = PAGE_SIZE - 2;
    store(memory.region(), 0, &(SIGNATURE << 16 | SELECT | READ).to_be_bytes());
    store(memory.region(), 4, &4_u32.to_be_bytes());
    store(memory.region(), 8, &(memory.address() + answer as u64).to_be_bytes());
    if device.is_coherent {
        memory.publish();
    } else {
        memory.clean_and_invalidate();
    }
    let command = memory.address();
    registers.write(16, ((command >> 32) as u32).to_be());
    registers.write(20, (command as u32).to_be());
    claim!(report, wait_until(|| load(memory.region(), 0) == [0; 4]), "the device carries the command out");
    claim_eq!(report, load(memory.region(), answer), *b"QEMU", "what it has stored");
    Ok(())
}

/// The firmware's mailbox: the board's revision.
fn mailbox(report: &Report, alarm: &Alarm) {
    const DONE: u32 = 1 << 31;
    claim!(report, alarm.reaches_its_memory(), "the firmware reaches the memory");
    alarm.raise();
    alarm.lower();
    let [_, state, .., revision, _] = alarm.answer().unwrap_or_default();
    claim_eq!(report, state, DONE, "what the firmware says of the request");
    // Bits 12 to 15: the processor, 3 for a BCM2711.
    claim_eq!(report, revision >> 12 & 0xF, 3, "the revision {revision:#x}");
}
