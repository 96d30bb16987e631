//! What a call lends its server, and how long the server has it.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use graft_rt::message::{Endpoint, Message};
use graft_rt::process::sleep;
use graft_rt::test::{Report, wait_until};
use graft_rt::{Error, claim, claim_eq, process, thread, time};

use crate::{A_WHILE, Counter, FIRST, HIGH, LOW, MIDDLE, OWN, on_first, spin};

/// A server of the lowest priority works for an urgent caller while a thread between the two would run for ever.
pub(crate) fn servers(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(0)?;
    let (middle, afterwards) = (Counter::new(), Counter::new());
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            thread::schedule(LOW, FIRST)?;
            let receiver = endpoint.receiver()?;
            ready.store(true, Ordering::Relaxed);
            receiver.receive()?;
            spin(A_WHILE);
            receiver.reply_receive(Message::words([7; 6]))?;
            // Its own priority again, once it has answered.
            receiver.reply(Message::default())?;
            afterwards.run();
            Ok::<_, Error>(())
        })?;
        while !ready.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(1));
        on_first(scope, MIDDLE, || middle.run())?;
        middle.wait_for_more();
        let before = middle.now();
        let answer = connection.call_until(Message::default(), time::clock() + Duration::from_secs(60));
        claim_eq!(report, answer, Ok(Message::words([7; 6])), "a call past a thread that never gives way");
        claim_eq!(report, middle.now(), before, "that thread while the server works for a more urgent one");
        let answer = connection.call_until(Message::default(), time::clock() + Duration::from_secs(60));
        claim_eq!(report, answer, Ok(Message::default()), "another call");
        sleep(A_WHILE);
        claim_eq!(report, afterwards.now(), 0, "the server after its answer, with its own priority");
        middle.stop();
        afterwards.wait_for_more();
        afterwards.stop();
        claim_eq!(report, server.join()?, Ok(()), "the server");
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("a server works as urgently as its caller, and no longer than that"));
    Ok(())
}

/// What a caller has lent goes when it waits no longer, and when the reply is closed.
pub(crate) fn gone(report: &Report) -> Result<(), Error> {
    for closes in [false, true] {
        let endpoint = Endpoint::new()?;
        let connection = endpoint.connect(0)?;
        let (middle, afterwards, is_late) = (Counter::new(), Counter::new(), AtomicBool::new(false));
        thread::scope(|scope| {
            let (middle, afterwards, endpoint, is_late) = (&middle, &afterwards, &endpoint, &is_late);
            on_first(scope, LOW, move || {
                let Ok(receiver) = endpoint.receiver() else { return };
                let _ = receiver.receive();
                while !is_late.load(Ordering::SeqCst) {}
                if closes {
                    drop(receiver);
                } else {
                    let _ = receiver.reply(Message::default());
                }
                afterwards.run();
            })?;
            let short = time::clock() + Duration::from_millis(10);
            let answer = connection.call_until(Message::default(), short);
            claim_eq!(report, answer, Err(Error::TimedOut), "a call whose server takes its time");
            is_late.store(true, Ordering::SeqCst);
            on_first(scope, MIDDLE, || middle.run())?;
            middle.wait_for_more();
            let before = afterwards.now();
            sleep(A_WHILE);
            middle.wait_for_more();
            claim_eq!(report, afterwards.now(), before, "the server, with its own priority (closes: {closes})");
            middle.stop();
            afterwards.wait_for_more();
            afterwards.stop();
            Ok::<_, Error>(())
        })?;
    }
    report.done(format_args!("a server keeps no priority of a caller that waits no longer"));
    Ok(())
}

/// A server that has answered waits with its own priority, whoever called.
pub(crate) fn answered(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let receiver = endpoint.receiver()?;
    let has_run = AtomicBool::new(false);
    thread::scope(|scope| {
        on_first(scope, LOW, || {
            let _ = receiver.receive();
            let _ = receiver.reply_receive(Message::default());
            has_run.store(true, Ordering::SeqCst);
        })?;
        thread::schedule(HIGH, FIRST)?;
        sleep(Duration::from_millis(5));
        connection.call(Message::default())?;
        thread::schedule(MIDDLE, FIRST)?;
        claim!(report, connection.send(Message::default()).is_ok(), "a server that has answered waits");
        process::yield_now();
        claim!(report, !has_run.load(Ordering::SeqCst), "a server that has answered has kept its caller's priority");
        thread::schedule(OWN, FIRST)
    })?;
    report.done(format_args!("with its answer a server gives the caller's priority back"));
    Ok(())
}

/// A call that another thread answers than the one that has received it lends that one nothing any more.
pub(crate) fn handed_on(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let (first, second) = (endpoint.receiver()?, endpoint.receiver()?);
    let (received, answered, has_run) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        on_first(scope, LOW, || {
            let _ = first.receive();
            received.store(true, Ordering::SeqCst);
            let _ = second.receive();
            has_run.store(true, Ordering::SeqCst);
        })?;
        on_first(scope, HIGH, || {
            claim!(report, wait_until(|| received.load(Ordering::SeqCst)), "a call is received");
            answered.store(first.reply(Message::default()).is_ok(), Ordering::SeqCst);
        })?;
        thread::schedule(MIDDLE, FIRST)?;
        connection.call(Message::default())?;
        claim!(report, answered.load(Ordering::SeqCst), "an answer by another thread");
        claim!(report, wait_until(|| connection.send(Message::default()).is_ok()), "a receiver waits");
        process::yield_now();
        claim!(report, !has_run.load(Ordering::SeqCst), "a server that waits again has kept a caller's priority");
        thread::schedule(OWN, FIRST)
    })?;
    report.done(format_args!("a reply that another thread answers takes the caller's priority with it"));
    Ok(())
}

/// A server that is more urgent than its caller makes a thread ready that has to take turns with that caller.
pub(crate) fn turns_after_a_call(report: &Report) -> Result<(), Error> {
    let (endpoint, other) = (Endpoint::new()?, Endpoint::new()?);
    let (connection, to_other) = (endpoint.connect(0)?, other.connect(0)?);
    let had_its_turn = AtomicBool::new(false);
    thread::scope(|scope| {
        on_first(scope, HIGH, || {
            let received = other.receiver().and_then(|receiver| receiver.receive());
            had_its_turn.store(received.is_ok(), Ordering::Relaxed);
        })?;
        scope.spawn(|| {
            let receiver = endpoint.receiver()?;
            receiver.receive()?;
            while to_other.send(Message::default()) == Err(Error::NotReady) {
                sleep(Duration::from_millis(1));
            }
            receiver.reply_receive(Message::default())?;
            receiver.reply(Message::default())
        })?;
        sleep(Duration::from_millis(5));
        thread::schedule(HIGH, FIRST)?;
        connection.call(Message::default())?;
        // Without a call, so that only the timer can end it.
        while !had_its_turn.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
        connection.call(Message::default())?;
        thread::schedule(OWN, FIRST)
    })?;
    report.done(format_args!("a thread that became ready during a call takes turns with the caller"));
    Ok(())
}
