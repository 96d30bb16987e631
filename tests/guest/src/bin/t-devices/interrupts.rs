//! Interrupts: told once, masked until they are acknowledged, and never lost.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use graft_rt::device::{Interrupt, Trigger};
use graft_rt::notification::Notification;
use graft_rt::test::{Report, Steps, wait_until};
use graft_rt::thread::{self, Cores};
use graft_rt::{Error, ExitStatus, Process, Share, claim, claim_eq, process};

use crate::alarm::Alarm;
use crate::{a_moment, soon};

const ROUNDS: u32 = 200;
/// What the interrupt sets.
const BITS: u64 = 1 << 63 | 2;
/// What ends a driver.
const STOP: u64 = 1 << 5;

pub fn run(report: &Report, alarm: &Alarm) -> Result<(), Error> {
    level(report, alarm)?;
    edges(report, alarm)?;
    rounds(report, alarm)?;
    urgent(report, alarm)?;
    ends(report, alarm)?;
    Ok(())
}

fn bound(alarm: &Alarm, trigger: Trigger) -> Result<(Interrupt, Notification), Error> {
    let (interrupt, notification) = (alarm.interrupt(trigger)?, Notification::new()?);
    notification.bind_interrupt(BITS, &interrupt)?;
    Ok((interrupt, notification))
}

fn level(report: &Report, alarm: &Alarm) -> Result<(), Error> {
    let (interrupt, notification) = bound(alarm, Trigger::Level)?;
    a_moment();
    claim_eq!(report, notification.take(), Ok(0), "a line that is low");
    claim_eq!(report, interrupt.acknowledge(), Err(Error::NotFound), "acknowledged before it came");
    alarm.raise();
    claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "the interrupt");
    a_moment();
    claim_eq!(report, notification.take(), Ok(0), "once, though the line is high");
    claim_eq!(report, interrupt.acknowledge(), Ok(()), "acknowledged while the line is high");
    claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "it comes again at once");
    alarm.lower();
    claim_eq!(report, interrupt.acknowledge(), Ok(()), "acknowledged when the line is low");
    claim_eq!(report, interrupt.acknowledge(), Err(Error::NotFound), "acknowledged twice");
    a_moment();
    claim_eq!(report, notification.take(), Ok(0), "a line that is low again");
    drop(interrupt);
    // Before there is an object: told when it is bound.
    alarm.raise();
    let (interrupt, notification) = bound(alarm, Trigger::Level)?;
    claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "what was there before");
    let other = Notification::new()?;
    other.bind_interrupt(4, &interrupt)?;
    interrupt.acknowledge()?;
    claim_eq!(report, other.wait_until(soon()), Ok(4), "another binding");
    claim_eq!(report, notification.take(), Ok(0), "in place of the first");
    alarm.lower();
    report.done(format_args!("a level is told once, and again when it is acknowledged and still there"));
    Ok(())
}

fn edges(report: &Report, alarm: &Alarm) -> Result<(), Error> {
    let (interrupt, notification) = bound(alarm, Trigger::Edge)?;
    a_moment();
    // One that was latched when nothing was bound would be told now.
    let stale = notification.take()?;
    if stale != 0 {
        interrupt.acknowledge()?;
    }
    alarm.raise();
    claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "an edge");
    interrupt.acknowledge()?;
    a_moment();
    claim_eq!(report, notification.take(), Ok(0), "a line that stays high has no second edge");
    alarm.lower();
    alarm.raise();
    claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "the next edge");
    alarm.lower();
    alarm.raise();
    a_moment();
    claim_eq!(report, notification.take(), Ok(0), "an edge that comes before the acknowledgement");
    interrupt.acknowledge()?;
    claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "that edge, which is not lost");
    alarm.lower();
    interrupt.acknowledge()?;
    report.done(format_args!("each edge is told, the one between interrupt and acknowledgement, too"));
    Ok(())
}

/// A driver's loop: whether the next one comes before the acknowledgement, between it and the wait, or in the wait.
fn rounds(report: &Report, alarm: &Alarm) -> Result<(), Error> {
    for trigger in [Trigger::Level, Trigger::Edge] {
        let (interrupt, notification) = bound(alarm, trigger)?;
        let told = Notification::new()?;
        thread::scope(|scope| {
            let driver = scope.spawn(|| {
                while notification.wait_until(soon())? != STOP {
                    alarm.lower();
                    told.notify(1)?;
                    interrupt.acknowledge()?;
                }
                Ok::<_, Error>(())
            })?;
            for round in 0..ROUNDS {
                match round % 3 {
                    0 => a_moment(),
                    1 => thread::yield_now(),
                    _ => {}
                }
                alarm.ring();
                told.wait_until(soon())?;
            }
            // After its last acknowledgement.
            a_moment();
            notification.notify(STOP)?;
            claim_eq!(report, driver.join()?, Ok(()), "{trigger:?}: the driver");
            Ok::<_, Error>(())
        })?;
    }
    report.done(format_args!("none of {ROUNDS} is lost, between acknowledgement and wait or elsewhere"));
    Ok(())
}

/// A more urgent thread that waits for the interrupt runs at once, though the other one makes no call.
fn urgent(report: &Report, alarm: &Alarm) -> Result<(), Error> {
    let (interrupt, notification) = bound(alarm, Trigger::Level)?;
    let (ready, ran) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::schedule(8, Cores::Some(1))?;
    thread::scope(|scope| {
        let driver = scope.spawn(|| {
            thread::schedule(12, Cores::Some(1))?;
            ready.store(true, Ordering::Relaxed);
            notification.wait_until(soon())?;
            ran.store(true, Ordering::Relaxed);
            alarm.lower();
            interrupt.acknowledge()
        })?;
        driver.schedule(12, Cores::Some(1))?;
        claim!(report, wait_until(|| ready.load(Ordering::Relaxed)), "the driver waits");
        process::sleep(Duration::from_millis(2));
        alarm.raise();
        // Nothing but loads of a device's register: it is the interrupt that lets the driver run.
        let loads = (0..50_000_000).take_while(|_| alarm.is_high()).count();
        claim!(report, ran.load(Ordering::Relaxed), "the driver has not run after {loads} loads");
        driver.join()?
    })?;
    thread::schedule(16, Cores::All)?;
    report.done(format_args!("an interrupt lets a more urgent driver run at once"));
    Ok(())
}

/// The line is masked, and free, when the last handle goes.
fn ends(report: &Report, alarm: &Alarm) -> Result<(), Error> {
    let (interrupt, notification) = bound(alarm, Trigger::Level)?;
    claim_eq!(report, alarm.interrupt(Trigger::Level).err(), Some(Error::NotAllowed), "a line that has an object");
    let second = process::duplicate(interrupt.handle(), graft_rt::Rights::READ)?;
    drop(interrupt);
    claim_eq!(report, alarm.interrupt(Trigger::Level).err(), Some(Error::NotAllowed), "while there is another handle");
    process::close(second)?;
    alarm.raise();
    a_moment();
    claim_eq!(report, notification.take(), Ok(0), "a dropped interrupt that was bound");
    drop(notification);
    for killed in [false, true] {
        let steps = Steps::new()?;
        let child = Process::fork_into(Share::default(), || {
            // It has no mapping of the registers, and needs none for this.
            let Ok((interrupt, notification)) = bound(alarm, Trigger::Level) else { return 1 };
            let told = notification.wait_until(soon());
            steps.reach(1);
            if killed {
                // It holds the line, which is high and not acknowledged, until it is ended.
                let _ = notification.wait();
            }
            drop(interrupt);
            i32::from(told != Ok(BITS))
        })?;
        claim!(report, steps.wait(1), "the child has been told");
        if killed {
            child.kill(7)?;
        }
        let expected = if killed { ExitStatus::Killed(7) } else { ExitStatus::Exited(0) };
        claim_eq!(report, child.wait(), Ok(expected), "the child that had the line");
        let (_interrupt, notification) = bound(alarm, Trigger::Level)?;
        claim_eq!(report, notification.wait_until(soon()), Ok(BITS), "the line is free, and still high");
    }
    alarm.lower();
    report.done(format_args!("a line is masked and free when its driver drops it or is killed"));
    Ok(())
}
