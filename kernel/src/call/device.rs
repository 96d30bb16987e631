//! Calls of drivers: interrupts, device registers, memory for devices, and what the device tree says.

#![forbid(unsafe_code)]

use super::outcome::{Next, Outcome, answer, handle, outcome};
use crate::arch::{Context, PhysRange, Trigger, power};
use crate::object::interrupt::Interrupt;
use crate::object::memory::MemoryObject;
use crate::object::process::Process;
use crate::object::system::System;
use crate::object::thread::Thread;
use crate::sched::work::Task;
use graft_abi::{Call, DMA_MAX, Error, Handle, PAGE_SIZE, Rights, TRIGGER_EDGE, TRIGGER_LEVEL};
use graft_paging::Progress;

const INTERRUPT_RIGHTS: Rights = Rights::READ.or(Rights::DUPLICATE);
const DEVICE_RIGHTS: Rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE);
const TREE_RIGHTS: Rights = Rights::READ.or(Rights::DUPLICATE);

fn check_right(process: &Process, system: Handle) -> Result<(), Error> {
    process.object::<System>(system, Rights::DEVICES).map(drop)
}

/// `interrupt_create`.
fn create_interrupt(process: &Process, system: Handle, line: u64, trigger: u64) -> Result<u64, Error> {
    check_right(process, system)?;
    let trigger = match trigger {
        TRIGGER_EDGE => Trigger::Edge,
        TRIGGER_LEVEL => Trigger::Level,
        _ => return Err(Error::BadArgument),
    };
    let interrupt = Interrupt::new(u32::try_from(line).map_err(|_| Error::NotFound)?, trigger)?;
    let handle = process.handles.lock().insert(interrupt.erase(), INTERRUPT_RIGHTS);
    Ok(handle?.0.into())
}

/// `device_create`.
fn create_device(process: &Process, system: Handle, address: u64, bytes: u64) -> Result<u64, Error> {
    check_right(process, system)?;
    let range = PhysRange { start: address, end: end(address, bytes)? };
    let handle = process.handles.lock().insert(MemoryObject::device(range)?.erase(), DEVICE_RIGHTS);
    Ok(handle?.0.into())
}

/// Where a range of whole pages ends.
fn end(address: u64, bytes: u64) -> Result<u64, Error> {
    if !address.is_multiple_of(PAGE_SIZE as u64) || !bytes.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Error::Unaligned);
    }
    if bytes == 0 {
        return Err(Error::BadLength);
    }
    address.checked_add(bytes).ok_or(Error::BadLength)
}

/// `dma_create`.
fn create_dma(thread: &Thread, system: Handle, bytes: u64) -> Result<Outcome, Error> {
    check_right(&thread.process, system)?;
    end(0, bytes)?;
    if bytes > DMA_MAX as u64 {
        return Err(Error::BadLength);
    }
    let mut making = MemoryObject::consecutive(bytes)?;
    Ok(match making.step()? {
        Progress::Done => Outcome::Done((making.finish(&thread.process.handles)?, 0)),
        Progress::More => {
            thread.work.give(Some(Task::Create(making)));
            Outcome::Begun
        }
    })
}

/// `device_tree`.
fn device_tree(process: &Process, system: Handle) -> Result<u64, Error> {
    check_right(process, system)?;
    let tree = MemoryObject::device_tree()?;
    let handle = process.handles.lock().insert(tree.erase(), TREE_RIGHTS);
    Ok(handle?.0.into())
}

/// One of these calls. Not inlined: others would have to save the registers that it needs.
#[inline(never)]
pub(super) fn carry_out(thread: &Thread, registers: &mut Context) -> Next {
    let [x0, x1, x2, ..] = registers.arguments();
    let (process, object) = (&thread.process, handle(x0));
    let result = match Call::from_number(registers.call_number()) {
        Some(Call::InterruptCreate) => create_interrupt(process, object, x1, x2),
        Some(Call::InterruptAcknowledge) => {
            process.object::<Interrupt>(object, Rights::READ).and_then(|interrupt| interrupt.acknowledge()).map(|()| 0)
        }
        Some(Call::DeviceCreate) => create_device(process, object, x1, x2),
        Some(Call::DmaCreate) => {
            let result = create_dma(thread, object, x1);
            return outcome(thread, registers, result);
        }
        Some(Call::MemoryAddress) => {
            process.object::<MemoryObject>(object, Rights::READ).and_then(|memory| memory.address())
        }
        Some(Call::DeviceTree) => device_tree(process, object),
        Some(Call::Reset) => check_right(process, object).and_then(|()| {
            power::reset();
            Err(Error::NotFound)
        }),
        _ => Err(Error::BadCall),
    };
    answer(registers, result)
}
