//! Notifications and waits on a word, on several cores: no wake-up is lost, and no bit comes twice.

use crate::machine::{Machine, run};
use crate::program::{DATA, Program};
use graft_abi::{Call, Error, ExitStatus, Handle};
use graft_kernel::arch::processor::User;

/// Handles, in the order in which the tests make them; the first is the system's.
const THERE: u64 = 2;
const BACK: u64 = 3;
const TURNS: u64 = if cfg!(miri) { 10 } else { 300 };
const TIMED_OUT: fn(&User) -> bool = |user| user.x[0] == Error::TimedOut.to_register();

/// Waits until the bits of turn `x25` come, with deadlines that are over at any moment; then takes the next turn.
fn wait_for_turn(program: &mut Program, notification: u64, code: u64) {
    let again = program.label();
    program.place(&again);
    program.call(Call::Clock, [0; 4]);
    program.act(|user| {
        user.x[26] = user.x[0] + 500 + user.x[25] * 7919 % 60_000;
        Ok(())
    });
    program.call_with(Call::NotificationWait, move |user| [notification, user.x[26], 0, 0]);
    program.jump_if(&again, TIMED_OUT);
    program.expect(code, |user| user.x[0] == 0 && user.x[1] == user.x[25]);
}

fn notify_turn(program: &mut Program, notification: u64, code: u64) {
    program.call_with(Call::Notify, move |user| [notification, user.x[25], 0, 0]);
    program.expect_success(code);
}

fn next_turn(user: &mut User) {
    user.x[25] += 1;
}

#[test]
fn each_bit_arrives_once_whatever_deadlines_do() {
    run(|program| {
        for _ in 0..2 {
            program.call(Call::NotificationCreate, [0; 4]);
        }
        program.act(|user| {
            user.x[25] = 1;
            Ok(())
        });
        program.fork(3, |child| {
            let again = child.label();
            child.place(&again);
            wait_for_turn(child, THERE, 50);
            notify_turn(child, BACK, 51);
            child.act(|user| {
                next_turn(user);
                Ok(())
            });
            child.jump_if(&again, |user| user.x[25] <= TURNS);
            child.exit(0);
        });
        program.keep(19);
        let again = program.label();
        program.place(&again);
        notify_turn(program, THERE, 60);
        wait_for_turn(program, BACK, 61);
        program.act(|user| {
            next_turn(user);
            Ok(())
        });
        program.jump_if(&again, |user| user.x[25] <= TURNS);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.expect(62, |user| user.x[1] == ExitStatus::Exited(0).to_register());
    });
}

#[test]
fn a_thread_that_waits_on_a_word_is_woken_by_the_one_that_changes_it() {
    // Two threads pass a word on: each waits until it is its own number, and then stores the other's.
    let machine = Machine::take();
    let mut program = Program::new();
    let (start, other) = (program.label(), program.label());
    program.jump(&start);
    program.place(&other);
    let entry = other.address();
    pass_word(&mut program, 1, 2);
    program.call(Call::ThreadExit, [0; 4]);
    program.place(&start);
    program.act(|user| user.store(DATA, 0));
    program.call_with(Call::ThreadCreate, move |_| [entry, DATA + 0x8000, 0, 0]);
    program.keep(19);
    program.act(|user| user.store(DATA, 1));
    program.call(Call::Wake, [DATA, 0, 0, 0]);
    pass_word(&mut program, 2, 1);
    program.call_with(Call::ThreadJoin, |user| [user.x[19], 0, 0, 0]);
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

fn pass_word(program: &mut Program, own: u64, others: u64) {
    program.act(|user| {
        user.x[25] = 0;
        Ok(())
    });
    let (again, look) = (program.label(), program.label());
    let mine = program.label();
    program.place(&again);
    program.place(&look);
    program.act(|user| {
        user.x[24] = user.load(DATA)?;
        Ok(())
    });
    program.jump_if(&mine, move |user| user.x[24] == own);
    program.call_with(Call::WaitOn, |user| [DATA, user.x[24], 0, 0]);
    program.expect(70, |user| user.x[0] == 0 || user.x[0] == Error::NotReady.to_register());
    program.jump(&look);
    program.place(&mine);
    program.act(move |user| {
        next_turn(user);
        user.store(DATA, others)
    });
    program.call(Call::Wake, [DATA, 0, 0, 0]);
    program.jump_if(&again, |user| user.x[25] < TURNS);
}

#[test]
fn an_end_sets_its_bits_once() {
    run(|program| {
        program.call(Call::NotificationCreate, [0; 4]);
        program.fork(3, |child| {
            child.call(Call::Yield, [0; 4]);
            child.exit(0);
        });
        program.keep(19);
        program.call_with(Call::NotificationBind, |user| [THERE, 5, user.x[19], 0]);
        program.expect_success(10);
        program.call(Call::NotificationWait, [THERE, 0, 0, 0]);
        program.expect(11, |user| user.x[0] == 0 && user.x[1] == 5);
        program.call_with(Call::NotificationBind, |user| [THERE, 8, user.x[19], 0]);
        program.call(Call::NotificationWait, [THERE, 0, 0, 0]);
        program.expect(12, |user| user.x[1] == 8);
        program.call(Call::NotificationWait, [THERE, 1, 0, 0]);
        program.expect_error(13, Error::TimedOut);
        program.call_with(Call::NotificationBind, |_| [THERE, 1, Handle::NONE.0.into(), 0]);
        program.expect_error(14, Error::BadHandle);
    });
}

#[test]
fn a_wake_wakes_a_thread_that_waits_on_that_word() {
    run(|program| {
        let (start, entry) = (program.label(), program.label());
        program.jump(&start);
        program.place(&entry);
        program.call(Call::WaitOn, [DATA, 0, 0, 0]);
        program.claim(|user| user.x[0] == 0);
        program.call(Call::ThreadExit, [3, 0, 0, 0]);
        program.place(&start);
        program.granted_with(Call::ThreadCreate, move |_| [entry.address(), DATA + 0x8000, 0, 0]);
        program.keep(19);
        let again = program.label();
        program.place(&again);
        program.call(Call::Wake, [DATA + 8, 0, 0, 0]);
        program.claim(|user| user.x[0] == 0);
        program.call(Call::Sleep, [10_000, 0, 0, 0]);
        program.call(Call::Wake, [DATA, 0, 0, 0]);
        program.jump_if(&again, |user| user.x[0] == 0);
        program.claim(|user| user.x[0] == 1);
        program.call_with(Call::ThreadJoin, |user| [user.x[19], 0, 0, 0]);
        program.claim(|user| user.x[0] == 0 && user.x[1] == 3);
    });
}

/// Before it is bound, and after that.
#[test]
fn a_call_that_comes_in_line_at_an_endpoint_sets_its_bits() {
    run(|program| {
        program.granted(Call::NotificationCreate, [0; 4]);
        program.granted(Call::EndpointCreate, [0; 4]);
        program.granted(Call::ConnectionCreate, [THERE + 1, 0, 0, 0]);
        program.granted(Call::NotificationBind, [THERE, 1, THERE + 1, 0]);
        program.call(Call::NotificationWait, [THERE, 1, 0, 0]);
        program.expect_error(10, Error::TimedOut);
        program.fork(3, |child| {
            child.call_with_message(Call::Call, |user| {
                user.x[..8].copy_from_slice(&[THERE + 2, 0, 0, 0, 0, 0, 0, 0]);
                user.x[9] = 0;
            });
        });
        program.keep(19);
        program.call(Call::NotificationWait, [THERE, 0, 0, 0]);
        program.claim(|user| user.x[0] == 0 && user.x[1] == 1);
        program.granted(Call::NotificationBind, [THERE, 6, THERE + 1, 0]);
        program.call(Call::NotificationWait, [THERE, 0, 0, 0]);
        program.claim(|user| user.x[0] == 0 && user.x[1] == 6);
        program.granted_with(Call::Kill, |user| [user.x[19], 1, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.claim(|user| user.x[1] == ExitStatus::Killed(1).to_register());
    });
}
