//! Notifications, and waiting on a word of memory.

use super::{Outcome, end_if_some, is_over};
use crate::arch::Context;
use crate::memory::user_copy;
use crate::object::Ref;
use crate::object::end::Ends;
use crate::object::endpoint::{Connection, Endpoint};
use crate::object::interrupt::Interrupt;
use crate::object::notification::{Binding, Notification};
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::object::wait::Wait;
use crate::sched;
use graft_abi::{Error, Handle, Rights, THREADS_MAX};

/// `notify`.
pub fn notify(thread: &Thread, registers: &mut Context, handle: Handle, bits: u64) -> Result<Outcome, Error> {
    let set = |notification: &Ref<Notification>| notification.set(bits);
    let waiter = thread.process.with_object(handle, Rights::WRITE, set)?;
    registers.set_result(0);
    match waiter {
        Some(waiter) if sched::is_more_urgent(&waiter) => Ok(Outcome::GiveWayTo(waiter)),
        Some(waiter) => {
            sched::make_ready(waiter);
            Ok(Outcome::Goes)
        }
        None => Ok(Outcome::Goes),
    }
}

/// `notification_wait`.
pub fn wait(thread: &Thread, registers: &mut Context, handle: Handle, deadline: u64) -> Result<Outcome, Error> {
    let notification = thread.process.object::<Notification>(handle, Rights::READ)?;
    let taken = notification.take_or(|waiters| {
        if is_over(deadline) {
            return Err(Error::TimedOut);
        }
        Ok(sched::block_until(waiters, Wait::in_object(notification.clone()), deadline))
    });
    match taken {
        Ok(bits) => {
            registers.set_results([0, bits]);
            Ok(Outcome::Goes)
        }
        Err(Ok(ended)) => {
            end_if_some(ended);
            Ok(Outcome::Blocked)
        }
        Err(Err(error)) => Err(error),
    }
}

/// `notification_bind`.
pub fn bind(process: &Process, notification: Handle, bits: u64, source: Handle) -> Result<u64, Error> {
    let notification = process.object::<Notification>(notification, Rights::WRITE)?;
    let binding = Binding { notification, bits };
    let (source, rights) = {
        let handles = process.handles.lock();
        let (source, rights) = handles.get(source, Rights::NONE)?;
        (source.clone(), rights)
    };
    let need = |right| if rights.contains(right) { Ok(()) } else { Err(Error::NoRight) };
    if let Some(endpoint) = source.as_kind::<Endpoint>() {
        need(Rights::READ)?;
        endpoint.bind(binding);
    } else if let Some(interrupt) = source.as_kind::<Interrupt>() {
        need(Rights::READ)?;
        interrupt.bind(binding);
    } else if let Some(connection) = source.as_kind::<Connection>() {
        need(Rights::WRITE)?;
        connection.bind(binding);
    } else if let Some(thread) = source.as_kind::<Thread>() {
        need(Rights::WAIT)?;
        thread.end().bind(binding)?;
    } else {
        let process = source.as_kind::<Process>().ok_or(Error::WrongObject)?;
        need(Rights::WAIT)?;
        process.end().bind(binding)?;
    }
    Ok(0)
}

/// `wait_on`: blocks while a word of memory is what it is expected to be.
pub fn wait_on(
    thread: &Thread,
    registers: &mut Context,
    address: u64,
    expected: u64,
    deadline: u64,
) -> Result<Outcome, Error> {
    if !address.is_multiple_of(4) {
        return Err(Error::Unaligned);
    }
    let process = &thread.process;
    let mut aside = process.aside.lock();
    // Under the lock: a thread that changes the word and then wakes is seen, or sees this one.
    let word: u32 = user_copy::read(&**process, address)?;
    if u64::from(word) != expected {
        return Err(Error::NotReady);
    }
    if is_over(deadline) {
        return Err(Error::TimedOut);
    }
    registers.set_results([0, address]);
    let wait = Wait::in_part(process.clone(), |process| &process.aside);
    let ended = sched::block_until(&mut aside.on_words, wait, deadline);
    drop(aside);
    end_if_some(ended);
    Ok(Outcome::Blocked)
}

/// `wake`: wakes a thread of the process that waits on a word of memory. Returns how many it has been, 1 or 0.
pub fn wake(process: &Process, address: u64) -> Result<u64, Error> {
    let mut aside = process.aside.lock();
    let is_its = |waiter: &Thread| if sched::waits_on(waiter, address) { sched::unblock(waiter) } else { None };
    let Some((waiter, _)) = aside.on_words.take_first(THREADS_MAX, is_its) else { return Ok(0) };
    drop(aside);
    sched::make_ready(waiter);
    Ok(1)
}
