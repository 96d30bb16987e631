//! Faults that a supervisor answers, and what it sees and changes of the process that it supervises.

use crate::machine::{Machine, run};
use crate::program::{DATA, Label, Program};
use graft_abi::{Call, Error, ExitStatus, FaultAnswer, FaultKind, Handle, PAGE_SIZE, REGISTERS, Rights};

/// Handles, in the order in which the tests make them; the first is the system's.
pub const ENDPOINT: u64 = 2;
pub const CONNECTION: u64 = 3;
pub const REPLY: u64 = 4;
pub const START: u64 = 5;
pub const BADGE: u64 = 0xbad6e;
/// Where nothing is mapped.
const NOWHERE: u64 = 0x7000_0000;
/// Where the supervisor keeps registers.
pub const WORDS: u64 = DATA + 0x1000;
pub const FOREIGN: u64 = 0x123;
const PC: u64 = 32;

/// A program that supervises a child, whose handle is in `x19`, from before this does anything.
pub fn supervised(program: &mut Program, child: impl FnOnce(&mut Program)) {
    program.call(Call::EndpointCreate, [0; 4]);
    program.granted(Call::ConnectionCreate, [ENDPOINT, BADGE, 0, 0]);
    program.granted(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
    program.granted(Call::NotificationCreate, [0; 4]);
    program.claim(|user| user.x[0] == START);
    program.fork(3, |program| {
        program.call(Call::NotificationWait, [START, 0, 0, 0]);
        child(program);
        program.exit(0);
    });
    program.keep(19);
    program.call_with(Call::Supervise, |user| [user.x[19], CONNECTION, 0, 0]);
    program.claim(|user| user.x[0] == 0);
}

pub fn start(program: &mut Program) {
    program.call(Call::Notify, [START, 1, 0, 0]);
}

/// Receives a fault of this kind at this address.
pub fn receive(program: &mut Program, kind: FaultKind, address: u64) {
    program.call_with_message(Call::Receive, |user| {
        user.x[..8].copy_from_slice(&[REPLY, 0, 0, 0, 0, 0, 0, 0]);
        user.x[9] = 0;
    });
    program.claim(|user| user.x[0] == 0 && user.x[9] == BADGE && user.x[7] == 0);
    program.claim(move |user| user.x[1] == kind as u64 && user.x[2] == address);
}

pub fn answer(program: &mut Program, call: Call, answer: u64, value: impl Fn() -> u64 + Send + Sync + 'static) {
    program.call_with_message(call, move |user| {
        user.x[..8].copy_from_slice(&[REPLY, answer, value(), 0, 0, 0, 0, 0]);
        user.x[9] = 0;
    });
}

pub fn reply(program: &mut Program, with: FaultAnswer, value: u64) {
    answer(program, Call::Reply, with as u64, move || value);
    program.claim(|user| user.x[0] == 0);
}

/// Claims that the child ends so.
pub fn ends(program: &mut Program, status: ExitStatus) {
    program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
    program.claim(move |user| user.x[1] == status.to_register());
}

fn store_nowhere(program: &mut Program) {
    program.act(|user| {
        user.x[..3].copy_from_slice(&[11, 12, 13]);
        (user.x[20], user.x[21]) = (77, NOWHERE);
        Ok(())
    });
    program.act(|user| user.store(user.x[21], 4711));
}

#[test]
fn a_supervisor_sees_the_registers_of_a_fault_and_changes_them() {
    let place = std::sync::Arc::new(std::sync::OnceLock::<Label>::new());
    let elsewhere = place.clone();
    run(move |program| {
        supervised(program, |child| {
            store_nowhere(child);
            // With the address that the supervisor has put into a register, the same store succeeds.
            child.holds(DATA, 4711);
            child.claim(|user| user.x[20] == 78 && user.x[0] == 11);
            child.act(|user| {
                user.x[21] = NOWHERE;
                user.store(user.x[21], 0)
            });
            child.exit(40);
            let label = child.label();
            child.place(&label);
            place.set(label).ok().expect("it is placed once");
        });
        program.call(Call::FaultRegisters, [REPLY, WORDS, 0, 0]);
        program.claim(|user| user.x[0] == Error::NotFound.to_register());
        start(program);
        receive(program, FaultKind::Unmapped, NOWHERE);
        program.claim(|user| user.x[4..7] == [11, 12, 13]);
        program.act(|user| {
            user.x[22] = user.x[3];
            Ok(())
        });
        program.refused(Call::FaultRegisters, [CONNECTION, WORDS, 0, 0], Error::WrongObject);
        program.refused(Call::FaultRegisters, [REPLY, WORDS, 2, 0], Error::BadArgument);
        program.refused(Call::FaultRegisters, [REPLY, NOWHERE, 0, 0], Error::BadAddress);
        program.refused(Call::FaultRegisters, [REPLY, NOWHERE, 1, 0], Error::BadAddress);
        program.granted(Call::FaultRegisters, [REPLY, WORDS, 0, 0]);
        for (register, value) in [(0, 11), (1, 12), (2, 13), (20, 77), (21, NOWHERE)] {
            program.holds(WORDS + 8 * register, value);
        }
        program.load(28, WORDS + 8 * PC);
        program.claim(|user| user.x[28] == user.x[22]);
        program.store(WORDS + 8 * 20, 78);
        program.store(WORDS + 8 * 21, DATA);
        program.granted(Call::FaultRegisters, [REPLY, WORDS, 1, 0]);
        for word in 0..REGISTERS as u64 {
            program.store(WORDS + 8 * word, 0);
        }
        program.granted(Call::FaultRegisters, [REPLY, WORDS, 0, 0]);
        program.holds(WORDS + 8 * 20, 78);
        reply(program, FaultAnswer::GoOn, 0);
        receive(program, FaultKind::Unmapped, NOWHERE);
        answer(program, Call::Reply, FaultAnswer::GoOnAt as u64, move || elsewhere.get().expect("placed").address());
        ends(program, ExitStatus::Exited(0));
    });
}

#[test]
fn a_foreign_call_is_answered_with_a_value_or_made_by_the_supervisor() {
    run(|program| {
        supervised(program, |child| {
            for result in [55, 66, 9] {
                child.act(|user| {
                    (user.x[0], user.x[8]) = (9, FOREIGN);
                    Ok(())
                });
                child.foreign_call();
                child.claim(move |user| user.x[0] == result);
            }
        });
        start(program);
        receive(program, FaultKind::ForeignCall, FOREIGN);
        reply(program, FaultAnswer::Return, 55);
        receive(program, FaultKind::ForeignCall, FOREIGN);
        program.claim(|user| user.x[4] == 9);
        program.granted(Call::FaultRegisters, [REPLY, WORDS, 0, 0]);
        program.store(WORDS, 66);
        program.granted(Call::FaultRegisters, [REPLY, WORDS, 1, 0]);
        // Its answer, and the wait for the next fault.
        answer(program, Call::ReplyReceive, FaultAnswer::GoOn as u64, || 0);
        program.claim(|user| user.x[0] == 0 && user.x[1] == FaultKind::ForeignCall as u64 && user.x[2] == FOREIGN);
        reply(program, FaultAnswer::GoOn, 0);
        ends(program, ExitStatus::Exited(0));
    });
}

/// What a supervisor can do instead of having the thread go on: each ends the process as its fault would.
#[test]
fn a_fault_that_a_supervisor_does_not_answer_ends_the_process() {
    type Act = fn(&mut Program);
    let nothing: Act = |_| {};
    // What it does before the fault, and after it.
    let acts: [(&str, Act, Act); 6] = [
        ("says so", nothing, |program| {
            receive(program, FaultKind::Unmapped, NOWHERE);
            reply(program, FaultAnswer::End, 0);
        }),
        ("says what means nothing", nothing, |program| {
            receive(program, FaultKind::Unmapped, NOWHERE);
            answer(program, Call::Reply, 99, || 0);
        }),
        ("closes the reply", nothing, |program| {
            receive(program, FaultKind::Unmapped, NOWHERE);
            program.granted(Call::Close, [REPLY, 0, 0, 0]);
        }),
        ("has closed the endpoint", |program| program.granted(Call::Close, [ENDPOINT, 0, 0, 0]), nothing),
        ("closes the endpoint", nothing, |program| {
            program.call(Call::Sleep, [1_000_000, 0, 0, 0]);
            program.granted(Call::Close, [ENDPOINT, 0, 0, 0]);
        }),
        ("supervises no more", |program| program.granted_with(Call::Supervise, |user| [user.x[19], 0, 0, 0]), nothing),
    ];
    for (what, before, after) in acts {
        let result = Machine::take().run_with(|program| {
            supervised(program, |child| {
                // Or it would keep the endpoint open.
                child.granted(Call::Close, [ENDPOINT, 0, 0, 0]);
                store_nowhere(child);
            });
            before(program);
            start(program);
            after(program);
            ends(program, ExitStatus::Faulted(FaultKind::Unmapped));
        });
        assert_eq!(result, ExitStatus::Exited(0), "one that {what}");
    }
}

#[test]
fn it_takes_rights_to_supervise() {
    run(|program| {
        supervised(program, |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]));
        let without = Rights::ALL.0 & !Rights::SUPERVISE.0;
        program.call_with(Call::Duplicate, move |user| [user.x[19], (without & 0x5f).into(), 0, 0]);
        program.keep(20);
        for call in [Call::Supervise, Call::ProcessRead, Call::ProcessWrite] {
            program.call_with(call, |user| [user.x[20], 0, DATA, 8]);
            program.expect_error(10, Error::NoRight);
            program.refused(call, [99, 0, DATA, 8], Error::BadHandle);
            program.refused(call, [CONNECTION, 0, DATA, 8], Error::WrongObject);
        }
        program.call(Call::Duplicate, [CONNECTION, Rights::DUPLICATE.0.into(), 0, 0]);
        program.keep(21);
        program.call_with(Call::Supervise, |user| [user.x[19], user.x[21], 0, 0]);
        program.expect_error(11, Error::NoRight);
        program.call_with(Call::Supervise, |user| [user.x[19], ENDPOINT, 0, 0]);
        program.expect_error(12, Error::WrongObject);
        program.granted_with(Call::Kill, |user| [user.x[19], 3, 0, 0]);
        ends(program, ExitStatus::Killed(3));
    });
}

/// A pattern in which no two words of two pages are the same.
fn pattern(word: u64) -> u64 {
    word.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

#[test]
fn memory_is_copied_between_processes_up_to_the_end_of_a_page_of_the_destination() {
    const PAGE: u64 = PAGE_SIZE as u64;
    const THEIRS: u64 = DATA + 0x4000;
    const OURS: u64 = DATA + 0x8000;
    const RANGES: [(u64, u64, u64); 7] = [
        (0, 0, 3 * PAGE),
        (0x800, 0, 3 * PAGE),
        (0, 0x900, 3 * PAGE),
        (0xf00, 0x300, 3 * PAGE),
        (8, 16, 0x308),
        (0x10, 0x20, 512),
        (0, 0, 0),
    ];
    run(|program| {
        for word in 0..2 * PAGE / 8 {
            program.store(THEIRS + 8 * word, pattern(word));
        }
        supervised(program, |child| {
            child.holds(THEIRS + 0x300, 0);
            child.holds(THEIRS + 0x308, pattern(0x100));
            child.holds(THEIRS + 0x7f8, pattern(0x19e));
            child.holds(THEIRS + 0x800, 1);
        });
        for (from, to, bytes) in RANGES {
            for word in 0..2 * PAGE / 8 {
                program.act(move |user| user.store(OURS + 8 * word, 0));
            }
            let copied = bytes.min(PAGE - to);
            program.call_with(Call::ProcessRead, move |user| [user.x[19], THEIRS + from, OURS + to, bytes]);
            program.claim(move |user| user.x[0] == copied);
            program.act(move |user| {
                for word in 0..2 * PAGE / 8 {
                    let place = (8 * word).wrapping_sub(to);
                    let wanted = if place < copied { pattern((from + place) / 8) } else { 0 };
                    user.x[28] = user.load(OURS + 8 * word)?;
                    if user.x[28] != wanted {
                        user.x[27] = 1;
                        return Ok(());
                    }
                }
                user.x[27] = 0;
                Ok(())
            });
            program.claim(|user| user.x[27] == 0);
        }
        // What is there is overwritten where it is said and nowhere else.
        program.store(OURS + 0x100, 0);
        program.call_with(Call::ProcessWrite, |user| [user.x[19], THEIRS + 0x300, OURS + 0x100, 8]);
        program.claim(|user| user.x[0] == 8);
        for word in 0..0x9f {
            program.store(OURS + 8 * word, pattern(0x100 + word));
        }
        program.call_with(Call::ProcessWrite, |user| [user.x[19], THEIRS + 0x308, OURS, 8 * 0x9f]);
        program.claim(|user| user.x[0] == 8 * 0x9f);
        program.store(OURS, 1);
        program.call_with(Call::ProcessWrite, |user| [user.x[19], THEIRS + 0x800, OURS, 8]);
        for call in [Call::ProcessRead, Call::ProcessWrite] {
            for (theirs, ours) in [(NOWHERE, OURS), (THEIRS, NOWHERE)] {
                program.call_with(call, move |user| [user.x[19], theirs, ours, 8]);
                program.expect_error(13, Error::BadAddress);
            }
        }
        start(program);
        ends(program, ExitStatus::Exited(0));
    });
}

#[test]
fn a_process_reads_its_own_memory_as_it_reads_anothers() {
    run(|program| {
        program.store(DATA, 5);
        program.call(Call::ProcessRead, [Handle::SELF.0.into(), DATA, DATA + 8, 8]);
        program.claim(|user| user.x[0] == 8);
        program.holds(DATA + 8, 5);
    });
}
