//! What is refused, and to whom.

use alloc::vec::Vec;

use graft_lib::device_tree::Device;
use graft_rt::abi::{Call, PAGE_SIZE, TRIGGER_EDGE, TRIGGER_LEVEL};
use graft_rt::call;
use graft_rt::device::{Dma, Interrupt, Trigger, device};
use graft_rt::notification::Notification;
use graft_rt::test::Report;
use graft_rt::{Error, Handle, Permissions, Rights, claim_eq, process};

use crate::alarm::Alarm;

/// A call as it is.
#[expect(unsafe_code, reason = "none of the calls that are made here has a wrapper for such arguments")]
pub fn raw(call: Call, [x0, x1, x2]: [u64; 3]) -> Result<u64, Error> {
    // SAFETY: the calls of these tests that store anything are given addresses of device registers, and refused.
    unsafe { call::raw(call as u64, [x0, x1, x2, 0, 0, 0]) }.result().map(|answer| answer.x0)
}

/// Does something with a handle to the system that has no more than these rights.
pub fn with_system<R>(rights: Rights, act: impl FnOnce(u64) -> Result<R, Error>) -> Result<R, Error> {
    let system = process::duplicate(Handle::SYSTEM, rights)?;
    let result = act(system.0.into());
    process::close(system)?;
    result
}

pub fn run<'a>(
    report: &Report,
    alarm: &Alarm,
    node: &Device,
    devices: &impl Fn(&str) -> Vec<Device<'a>>,
) -> Result<(), Error> {
    rights(report, alarm, node)?;
    lines(report, alarm, devices);
    ranges(report, node, devices)?;
    report.done(format_args!("what is not a device's, or not there, or not permitted, is refused"));
    Ok(())
}

fn rights(report: &Report, alarm: &Alarm, node: &Device) -> Result<(), Error> {
    let page = PAGE_SIZE as u64;
    let at = node.registers[0].address & !(page - 1);
    for (call, arguments) in [
        (Call::InterruptCreate, [alarm.line.into(), TRIGGER_LEVEL]),
        (Call::DeviceCreate, [at, page]),
        (Call::DmaCreate, [page, 0]),
        (Call::DeviceTree, [0, 0]),
    ] {
        let [x1, x2] = arguments;
        let rights = Rights::INSPECT.or(Rights::DUPLICATE);
        let refused = with_system(rights, |system| raw(call, [system, x1, x2]));
        claim_eq!(report, refused, Err(Error::NoRight), "{call:?} without the right");
        claim_eq!(report, raw(call, [0, x1, x2]), Err(Error::BadHandle), "{call:?} of nothing");
        let console = Handle::CONSOLE.0.into();
        claim_eq!(report, raw(call, [console, x1, x2]), Err(Error::WrongObject), "{call:?} of the console");
    }
    let notification = Notification::new()?;
    let handle = u64::from(notification.handle().0);
    claim_eq!(report, raw(Call::InterruptAcknowledge, [handle, 0, 0]), Err(Error::WrongObject), "another object");
    claim_eq!(
        report,
        raw(Call::MemoryAddress, [handle, 0, 0]),
        Err(Error::WrongObject),
        "the address of another object"
    );
    claim_eq!(report, raw(Call::MemoryAddress, [999, 0, 0]), Err(Error::BadHandle), "the address of nothing");
    let interrupt = alarm.interrupt(Trigger::Level)?;
    let blind = process::duplicate(interrupt.handle(), Rights::DUPLICATE)?;
    let refused = raw(Call::InterruptAcknowledge, [blind.0.into(), 0, 0]);
    claim_eq!(report, refused, Err(Error::NoRight), "acknowledged without the right to read");
    let refused = notification.bind_interrupt(1, &Interrupt::from_handle(blind));
    claim_eq!(report, refused, Err(Error::NoRight), "bound without it");
    claim_eq!(report, interrupt.acknowledge(), Err(Error::NotFound), "acknowledged before it was bound");
    let memory = Dma::new(PAGE_SIZE)?;
    let write_only = memory.memory().duplicate(Rights::WRITE)?;
    let refused = raw(Call::MemoryAddress, [write_only.handle().0.into(), 0, 0]);
    claim_eq!(report, refused, Err(Error::NoRight), "the address without the right to read");
    Ok(())
}

fn lines<'a>(report: &Report, alarm: &Alarm, devices: &impl Fn(&str) -> Vec<Device<'a>>) {
    let create = |line: u64, trigger: u64| raw(Call::InterruptCreate, [Handle::SYSTEM.0.into(), line, trigger]);
    for line in [988, 1020, 1 << 20, u32::MAX.into(), 1 << 32, u64::MAX] {
        claim_eq!(report, create(line, TRIGGER_LEVEL), Err(Error::NotFound), "line {line}");
    }
    for trigger in [0, 2, 3, 5, 8, 1 << 32 | TRIGGER_EDGE, u64::MAX] {
        claim_eq!(report, create(alarm.line.into(), trigger), Err(Error::BadArgument), "trigger {trigger}");
    }
    // The first is the console.
    for console in devices("arm,pl011").into_iter().take(1) {
        let line = console.interrupts[0].number;
        claim_eq!(report, create(line.into(), TRIGGER_LEVEL), Err(Error::NotAllowed), "the console's line {line}");
    }
    let handle = alarm.interrupt(Trigger::Level).map(|interrupt| interrupt.handle());
    claim_eq!(report, handle.is_ok(), true, "after all of these the line is free");
}

fn ranges<'a>(report: &Report, node: &Device, devices: &impl Fn(&str) -> Vec<Device<'a>>) -> Result<(), Error> {
    let page = PAGE_SIZE as u64;
    let at = node.registers[0].address & !(page - 1);
    let mut refused = Vec::from([
        (at, 0, Error::BadLength),
        (at, page + 1, Error::Unaligned),
        (at + 4, page, Error::Unaligned),
        (at, page - 1, Error::Unaligned),
        (at, u64::MAX - (page - 1), Error::BadLength),
        (u64::MAX - (page - 1), page, Error::BadLength),
        (u64::MAX - (2 * page - 1), page, Error::NotAllowed),
        (0u64.wrapping_sub(at) & !(page - 1), at, Error::BadLength),
        // More than the device has.
        (at, 1 << 36, Error::NotAllowed),
        (at, 1 << 47, Error::NotAllowed),
        (1 << 44, page, Error::NotAllowed),
    ]);
    let memory = Dma::new(PAGE_SIZE)?;
    refused.push((memory.address(), page, Error::NotAllowed));
    for kernels in ["arm,pl011", "arm,gic-400", "arm,cortex-a15-gic", "arm,gic-v3"] {
        for device in devices(kernels).into_iter().take(1) {
            for registers in &device.registers {
                refused.push((registers.address & !(page - 1), page, Error::NotAllowed));
            }
        }
    }
    for (address, bytes, error) in refused {
        let what = format_args!("{bytes:#x} bytes at {address:#x}");
        report.claim(device(address, bytes).err() == Some(error), what);
    }
    let after = device(at, page)?;
    claim_eq!(report, after.map(Permissions::None).err(), Some(Error::NotAllowed), "mapped without a permission");
    Ok(())
}
