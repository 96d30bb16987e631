//! Interrupts of devices, on several cores: none is lost, whatever the driver is doing when it comes.

use crate::machine::{DEVICES, Machine, run};
use crate::program::{DATA, Program, SYSTEM};
use graft_abi::{Call, DMA_MAX, Error, ExitStatus, TRIGGER_EDGE, TRIGGER_LEVEL};
use graft_kernel::arch::interrupts::{LINES_MAX, lower, raise};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const SYSTEM_HANDLE: u64 = SYSTEM.0 as u64;
/// Handles, in the order in which the tests make them.
const INTERRUPT: u64 = 2;
const NOTIFICATION: u64 = 3;
const LINE: u64 = 2;
const ROUNDS: u64 = if cfg!(miri) { 20 } else { 3_000 };

/// A driver: has its interrupt, and answers it so many times.
fn driver(trigger: u64, rounds: u64, answered: &'static AtomicU64) -> Program {
    let mut program = Program::new();
    program.granted(Call::InterruptCreate, [SYSTEM_HANDLE, LINE, trigger, 0]);
    program.granted(Call::NotificationCreate, [0; 4]);
    program.granted(Call::NotificationBind, [NOTIFICATION, 6, INTERRUPT, 0]);
    let again = program.label();
    program.place(&again);
    program.call(Call::NotificationWait, [NOTIFICATION, 0, 0, 0]);
    program.claim(|user| user.x[0] == 0 && user.x[1] == 6);
    program.act(|_| {
        lower(LINE as u32);
        Ok(())
    });
    // The device may go on from here: the next one comes before the acknowledgement, after it, or in the wait.
    program.act(move |user| {
        user.x[25] = answered.fetch_add(1, Ordering::AcqRel) + 1;
        if user.x[25] % 3 == 0 {
            thread::yield_now();
        }
        Ok(())
    });
    program.granted(Call::InterruptAcknowledge, [INTERRUPT, 0, 0, 0]);
    program.jump_if(&again, move |user| user.x[25] < rounds);
    program.exit(0);
    program
}

fn none_is_lost(trigger: u64, answered: &'static AtomicU64) {
    let machine = Machine::take();
    let process = machine.spawn(driver(trigger, ROUNDS, answered));
    for round in 0..ROUNDS {
        raise(LINE as u32);
        machine.wait_until(|| answered.load(Ordering::Acquire) > round, "an interrupt is lost");
    }
    assert_eq!(machine.wait(&process), ExitStatus::Exited(0));
}

#[test]
fn no_level_is_lost_between_acknowledgement_and_wait() {
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    none_is_lost(TRIGGER_LEVEL, &ANSWERED);
}

#[test]
fn no_edge_is_lost_between_acknowledgement_and_wait() {
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    none_is_lost(TRIGGER_EDGE, &ANSWERED);
}

#[test]
fn a_line_is_masked_and_free_when_its_driver_lets_go_of_it() {
    // While the device moves its line all the time.
    let machine = Machine::take();
    static DONE: AtomicU64 = AtomicU64::new(0);
    let mut program = Program::new();
    program.granted(Call::NotificationCreate, [0; 4]);
    let again = program.label();
    program.place(&again);
    program.granted(Call::InterruptCreate, [SYSTEM_HANDLE, LINE, TRIGGER_EDGE, 0]);
    program.keep(19);
    program.refused(Call::InterruptCreate, [SYSTEM_HANDLE, LINE, TRIGGER_EDGE, 0], Error::NotAllowed);
    program.granted_with(Call::NotificationBind, |user| [2, 1, user.x[19], 0]);
    program.granted(Call::NotificationWait, [2, 0, 0, 0]);
    program.granted_with(Call::Close, |user| [user.x[19], 0, 0, 0]);
    // Told once at most: the line is masked from the first interrupt on.
    program.act(|user| {
        user.x[25] = DONE.fetch_add(1, Ordering::AcqRel) + 1;
        Ok(())
    });
    program.call(Call::NotificationWait, [2, 1, 0, 0]);
    program.claim(|user| user.x[0] == Error::TimedOut.to_register());
    program.jump_if(&again, |user| user.x[25] < ROUNDS / 10);
    program.exit(0);
    let process = machine.spawn(program);
    machine.wait_until(
        || {
            lower(LINE as u32);
            raise(LINE as u32);
            DONE.load(Ordering::Acquire) >= ROUNDS / 10
        },
        "a line is not free",
    );
    assert_eq!(machine.wait(&process), ExitStatus::Exited(0));
    lower(LINE as u32);
}

#[test]
fn what_is_no_line_and_no_device_is_refused() {
    let end = LINES_MAX as u64;
    let device = DEVICES[0];
    run(move |program| {
        for (line, error) in [(end, Error::NotFound), (1 << 32, Error::NotFound)] {
            program.refused(Call::InterruptCreate, [SYSTEM_HANDLE, line, TRIGGER_LEVEL, 0], error);
        }
        program.refused(Call::InterruptCreate, [SYSTEM_HANDLE, LINE, 0, 0], Error::BadArgument);
        for (address, bytes, error) in [
            (0, 4096, Error::NotAllowed),
            (device.start - 4096, 8192, Error::NotAllowed),
            (device.start, device.size() + 4096, Error::NotAllowed),
            (device.start, 0, Error::BadLength),
            (device.start + 8, 4096, Error::Unaligned),
            (u64::MAX - 4095, 4096, Error::BadLength),
        ] {
            program.refused(Call::DeviceCreate, [SYSTEM_HANDLE, address, bytes, 0], error);
        }
        program.refused(Call::DmaCreate, [SYSTEM_HANDLE, DMA_MAX as u64 + 4096, 0, 0], Error::BadLength);
        program.refused(Call::DeviceTree, [SYSTEM_HANDLE, 0, 0, 0], Error::NotFound);
    });
}

/// Nothing but the program itself reaches a device: a call with its address is refused, and a child has nothing there.
#[test]
fn registers_are_mapped_for_the_program_alone() {
    let device = DEVICES[0];
    run(move |program| {
        program.granted(Call::DeviceCreate, [SYSTEM_HANDLE, device.start, 4096, 0]);
        program.call(Call::MemoryAddress, [2, 0, 0, 0]);
        program.claim(move |user| user.x[0] == device.start);
        // Read and write.
        program.granted(Call::MapObject, [2, 0, 2, 0]);
        program.keep(19);
        program.call_with(Call::ProcessInfo, |user| [u32::MAX.into(), user.x[19], 0, 0]);
        program.expect_error(40, Error::BadAddress);
        program.call_with(Call::WaitOn, |user| [user.x[19], 0, 1, 0]);
        program.expect_error(41, Error::BadAddress);
        // Read and execute.
        program.call_with(Call::Protect, |user| [user.x[19], 4096, 3, 0]);
        program.expect_error(42, Error::NotAllowed);
        program.call_with(Call::Discard, |user| [user.x[19], 4096, 0, 0]);
        program.expect_error(43, Error::NotAllowed);
        program.child(ExitStatus::Exited(0), |child| {
            // Nothing is there, so that something can be put there.
            child.granted_with(Call::Map, |user| [user.x[19], 4096, 2, 0]);
        });
        program.granted_with(Call::Move, |user| [user.x[19], 4096, 0, 0]);
        program.keep(20);
        program.granted_with(Call::Unmap, |user| [user.x[20], 4096, 0, 0]);
    });
}

#[test]
fn memory_for_a_device_is_consecutive_zeroed_and_given_back_whole() {
    run(|program| {
        for _ in 0..3 {
            program.granted(Call::DmaCreate, [SYSTEM_HANDLE, 3 * 4096, 0, 0]);
            program.granted(Call::MemoryAddress, [2, 0, 0, 0]);
            // The same each time.
            program.act(|user| {
                let first = user.load(DATA)?;
                let now = user.x[0];
                user.x[25] = u64::from(first == 0 || first == now);
                user.store(DATA, now)
            });
            program.claim(|user| user.x[25] == 1);
            program.granted(Call::MapObject, [2, 0, 2, 0]);
            program.keep(19);
            program.act(|user| {
                let at = user.x[19] + 2 * 4096;
                user.x[25] = user.load(at)?;
                user.store(at, 7)
            });
            program.claim(|user| user.x[25] == 0);
            program.granted_with(Call::Unmap, |user| [user.x[19], 3 * 4096, 0, 0]);
            program.granted(Call::Close, [2, 0, 0, 0]);
        }
    });
}
