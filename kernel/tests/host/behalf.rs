//! Calls that a supervisor makes in the place of a stopped thread.

use crate::faults::{
    BADGE, CONNECTION, ENDPOINT, FOREIGN, REPLY, START, WORDS, ends, receive, reply, start, supervised,
};
use crate::machine::{Machine, run};
use crate::program::{DATA, Label, Program};
use core::mem::offset_of;
use graft_abi::{Call, Error, ExitStatus, FaultAnswer, FaultKind, Handle, PAGE_SIZE, Permissions, SpawnRequest};
use graft_kernel::arch::floating_point;

const PAGE: u64 = PAGE_SIZE as u64;
/// Where nothing is mapped at first.
const FREE: u64 = 0x5000_0000;
const ELSEWHERE: u64 = 0x6000_0000;
const KERNEL: u64 = 0xffff_0000_0000_0000;
const SELF: u64 = Handle::SELF.0 as u64;
const READ: u64 = Permissions::Read as u64;
const WRITE: u64 = Permissions::ReadWrite as u64;
/// Pages whose change takes many pieces.
const MANY: u64 = 3000;

/// Makes a call in the place of the thread whose fault is kept in [`REPLY`].
fn behalf(program: &mut Program, call: Call, [x0, x1, x2, x3]: [u64; 4]) {
    behalf_of(program, REPLY, call as u64, [x0, x1, x2, x3]);
}

fn behalf_of(program: &mut Program, reply: u64, call: u64, [x0, x1, x2, x3]: [u64; 4]) {
    program.act(move |user| {
        [user.x[4], user.x[5]] = [x2, x3];
        Ok(())
    });
    program.call(Call::OnBehalf, [reply, call, x0, x1]);
}

fn granted(program: &mut Program, call: Call, arguments: [u64; 4]) {
    behalf(program, call, arguments);
    program.claim(|user| (user.x[0] as i64) >= 0);
}

fn refused(program: &mut Program, call: Call, arguments: [u64; 4], error: Error) {
    behalf(program, call, arguments);
    program.claim(move |user| user.x[0] == error.to_register());
}

fn stop(program: &mut Program) {
    program.act(|user| {
        user.x[8] = FOREIGN;
        Ok(())
    });
    program.foreign_call();
}

/// A process whose memory changes in many pieces, and that stands still then.
fn large(program: &mut Program) {
    supervised(program, |child| {
        stop(child);
        child.touch(FREE, MANY, 1);
        stop(child);
    });
    start(program);
    receive_stop(program);
    granted(program, Call::Map, [FREE, MANY * PAGE, WRITE, 0]);
    reply(program, FaultAnswer::Return, 0);
    receive_stop(program);
}

fn receive_stop(program: &mut Program) {
    receive(program, FaultKind::ForeignCall, FOREIGN);
}

#[test]
fn a_supervisor_changes_the_memory_of_a_stopped_process_as_that_would() {
    run(|program| {
        supervised(program, |child| {
            stop(child);
            child.touch(FREE, 4, 7);
            stop(child);
            child.touched(ELSEWHERE, 2, 7);
            child.holds(FREE + 2 * PAGE, 9);
            child.holds(FREE + 3 * PAGE, 0);
            child.store(FREE + 4 * PAGE, 5);
            stop(child);
            child.store(ELSEWHERE, 1);
        });
        program.granted(Call::MemoryCreate, [PAGE, 0, 0, 0]);
        program.keep(20);
        program.call_with(Call::MapObject, |user| [user.x[20], FREE, WRITE, 0]);
        start(program);
        receive_stop(program);
        behalf(program, Call::Map, [FREE, 4 * PAGE, WRITE, 0]);
        program.claim(|user| user.x[0] == FREE);
        reply(program, FaultAnswer::Return, 0);
        receive_stop(program);
        behalf(program, Call::Move, [FREE, 2 * PAGE, ELSEWHERE, 0]);
        program.claim(|user| user.x[0] == ELSEWHERE);
        granted(program, Call::Discard, [FREE + 3 * PAGE, PAGE, 0, 0]);
        program.act(|user| {
            user.x[4] = WRITE;
            Ok(())
        });
        program.call_with(Call::OnBehalf, |user| [REPLY, Call::MapObject as u64, user.x[20], FREE + 4 * PAGE]);
        program.claim(|user| user.x[0] == FREE + 4 * PAGE && user.x[1] == PAGE);
        reply(program, FaultAnswer::Return, 0);
        receive_stop(program);
        // The same memory in both, and what is only the child's is not the supervisor's.
        program.holds(FREE, 5);
        granted(program, Call::Protect, [ELSEWHERE, PAGE, READ, 0]);
        reply(program, FaultAnswer::Return, 0);
        receive(program, FaultKind::WriteDenied, ELSEWHERE);
        granted(program, Call::Unmap, [ELSEWHERE, PAGE, 0, 0]);
        reply(program, FaultAnswer::GoOn, 0);
        receive(program, FaultKind::Unmapped, ELSEWHERE);
        // Where the kernel finds room.
        granted(program, Call::Map, [0, PAGE, WRITE, 0]);
        granted(program, Call::Map, [ELSEWHERE, PAGE, WRITE, 0]);
        reply(program, FaultAnswer::GoOn, 0);
        ends(program, ExitStatus::Exited(0));
    });
}

#[test]
fn a_call_for_a_stopped_thread_is_refused_as_its_own_would_be() {
    run(|program| {
        supervised(program, stop);
        refused(program, Call::Map, [FREE, PAGE, WRITE, 0], Error::NotFound);
        start(program);
        receive_stop(program);
        for (call, arguments, error) in [
            (Call::Map, [FREE, 0, WRITE, 0], Error::BadLength),
            (Call::Map, [FREE + 8, PAGE, WRITE, 0], Error::Unaligned),
            (Call::Map, [KERNEL, PAGE, WRITE, 0], Error::BadAddress),
            (Call::Map, [0_u64.wrapping_sub(PAGE), 2 * PAGE, WRITE, 0], Error::BadAddress),
            (Call::Map, [FREE, u64::MAX - PAGE + 1, WRITE, 0], Error::BadLength),
            (Call::Map, [DATA, PAGE, WRITE, 0], Error::Occupied),
            (Call::Map, [FREE, PAGE, 9, 0], Error::BadArgument),
            (Call::Map, [FREE, PAGE, WRITE, 2], Error::BadArgument),
            (Call::Unmap, [FREE, 0, 0, 0], Error::BadLength),
            (Call::Unmap, [KERNEL, PAGE, 0, 0], Error::BadAddress),
            (Call::Protect, [FREE, PAGE, READ, 0], Error::NotMapped),
            (Call::Protect, [DATA, PAGE, 4, 0], Error::BadArgument),
            (Call::Discard, [KERNEL, PAGE, 0, 0], Error::BadAddress),
            (Call::Move, [DATA, PAGE, DATA, 0], Error::Occupied),
            (Call::MapObject, [99, FREE, READ, 0], Error::BadHandle),
            (Call::MapObject, [ENDPOINT, FREE, READ, 0], Error::WrongObject),
            (Call::MapObject, [SELF, FREE, READ, 0], Error::BadHandle),
            (Call::ThreadCreate, [KERNEL, DATA, 0, 0], Error::BadAddress),
            (Call::ThreadCreate, [DATA + 2, DATA, 0, 0], Error::Unaligned),
            (Call::ThreadCreate, [DATA, KERNEL, 0, 0], Error::BadAddress),
            (Call::Fork, [SELF, 9, 0, 0], Error::BadArgument),
            (Call::Fork, [SELF, 3, 2, 0], Error::BadArgument),
            (Call::Fork, [CHILD, 3, 0, 0], Error::BadArgument),
            (Call::Fork, [SELF, 3, 0, ENDPOINT], Error::WrongObject),
            (Call::Fork, [SELF, 3, 0, 1 << 32 | CONNECTION], Error::BadHandle),
            (Call::Fork, [SELF, 3, 0, 99], Error::BadHandle),
            (Call::Snapshot, [SELF, 9, 0, 0], Error::BadArgument),
            (Call::Snapshot, [SELF, 3, 1, 0], Error::BadArgument),
            (Call::Snapshot, [CHILD, 3, 0, 0], Error::BadArgument),
            (Call::Restore, [SELF, 99, 0, 0], Error::BadHandle),
            (Call::Restore, [SELF, CHILD, 0, 0], Error::WrongObject),
            (Call::Restore, [CHILD, CHILD, 0, 0], Error::BadArgument),
            (Call::Exit, [0; 4], Error::BadArgument),
            (Call::OnBehalf, [REPLY, Call::Map as u64, FREE, PAGE], Error::BadArgument),
        ] {
            refused(program, call, arguments, error);
        }
        for number in [u64::MAX, 1 << 32 | Call::Map as u64] {
            behalf_of(program, REPLY, number, [FREE, PAGE, WRITE, 0]);
            program.expect_error(20, Error::BadArgument);
        }
        for (handle, error) in
            [(99, Error::BadHandle), (CONNECTION, Error::WrongObject), (1 << 32 | REPLY, Error::BadHandle)]
        {
            behalf_of(program, handle, Call::Map as u64, [FREE, PAGE, WRITE, 0]);
            program.expect_error(21, error);
        }
        program.call(Call::Duplicate, [REPLY, graft_abi::Rights::READ.0.into(), 0, 0]);
        program.keep(20);
        program.act(|user| {
            [user.x[4], user.x[5]] = [WRITE, 0];
            Ok(())
        });
        program.call_with(Call::OnBehalf, |user| [user.x[20], Call::Map as u64, FREE, PAGE]);
        program.expect_error(22, Error::NoRight);
        reply(program, FaultAnswer::Return, 0);
        refused(program, Call::Map, [FREE, PAGE, WRITE, 0], Error::NotFound);
        ends(program, ExitStatus::Exited(0));
    });
}

/// The process is ended in the middle of a change, again and again.
#[test]
fn a_process_that_is_killed_while_its_supervisor_changes_it_ends() {
    run(|program| {
        large(program);
        // Another thread of the supervisor's.
        let (other, over) = (program.label(), program.label());
        program.call(Call::NotificationCreate, [0; 4]);
        program.keep(21);
        let thread = other.clone();
        program.call_with(Call::ThreadCreate, move |user| [thread.address(), DATA + 0xf000, user.x[21], user.x[19]]);
        program.claim(|user| (user.x[0] as i64) > 0);
        program.call_with(Call::Notify, |user| [user.x[21], 1, 0, 0]);
        let again = program.label();
        program.place(&again);
        behalf(program, Call::Protect, [FREE, MANY * PAGE, READ, 0]);
        program.jump_if(&again, |user| user.x[0] == 0);
        program.claim(|user| user.x[0] == Error::NotFound.to_register());
        ends(program, ExitStatus::Killed(4));
        program.jump(&over);
        program.place(&other);
        program.act(|user| {
            // Its argument; the thread pointer is not to be read here: handles are numbers.
            user.x[19] = user.x[0];
            Ok(())
        });
        program.call_with(Call::NotificationWait, |user| [user.x[19], 0, 0, 0]);
        program.call(Call::Kill, [CHILD, 4, 0, 0]);
        program.call(Call::ThreadExit, [0; 4]);
        program.place(&over);
    });
}

/// The handle of the supervised child in these programs.
const CHILD: u64 = 6;

/// The supervisor is ended in the middle of a change; what it had taken goes on with another's answer.
#[test]
fn a_supervisor_that_is_killed_in_the_middle_of_a_change_leaves_the_process_to_others() {
    for _ in 0..6 {
        let result = Machine::take().run_with(|program| {
            large(program);
            program.call(Call::NotificationCreate, [0; 4]);
            program.keep(21);
            // A second supervisor, which gets the reply by a message.
            program.granted(Call::EndpointCreate, [0; 4]);
            program.keep(22);
            program.call_with(Call::ConnectionCreate, |user| [user.x[22], 0, 0, 0]);
            program.keep(23);
            program.fork(3, |second| {
                second.call_with(Call::ReplyCreate, |user| [user.x[22], 0, 0, 0]);
                second.keep(24);
                second.call_with_message(Call::Receive, |user| {
                    user.x[0] = user.x[24];
                    user.x[1..8].fill(0);
                    user.x[9] = 0;
                });
                second.act(|user| {
                    user.x[25] = user.x[7];
                    Ok(())
                });
                second.call_with(Call::Notify, |user| [user.x[21], 1, 0, 0]);
                let again = second.label();
                second.place(&again);
                second.act(|user| {
                    [user.x[4], user.x[5]] = [READ, 0];
                    Ok(())
                });
                second.call_with(Call::OnBehalf, |user| [user.x[25], Call::Protect as u64, FREE, MANY * PAGE]);
                second.jump(&again);
            });
            program.keep(26);
            program.call(Call::Duplicate, [REPLY, u32::MAX.into(), 0, 0]);
            program.keep(20);
            let sent = program.label();
            program.place(&sent);
            program.call_with_message(Call::Send, |user| {
                (user.x[0], user.x[7], user.x[9]) = (user.x[23], user.x[20], 0);
            });
            program.jump_if(&sent, |user| user.x[0] == Error::NotReady.to_register());
            program.claim(|user| user.x[0] == 0);
            program.call_with(Call::NotificationWait, |user| [user.x[21], 0, 0, 0]);
            program.call(Call::Yield, [0; 4]);
            program.granted_with(Call::Kill, |user| [user.x[26], 3, 0, 0]);
            // Its claim on the memory has gone with it.
            granted(program, Call::Unmap, [FREE, MANY * PAGE, 0, 0]);
            granted(program, Call::Map, [FREE, PAGE, WRITE, 0]);
            reply(program, FaultAnswer::Return, 0);
            ends(program, ExitStatus::Exited(0));
        });
        assert_eq!(result, ExitStatus::Exited(0));
    }
}

/// Two threads of the supervisor's act for the same thread, and a third answers it meanwhile.
#[test]
fn what_others_do_with_the_reply_waits_for_what_is_under_way() {
    run(|program| {
        large(program);
        let (other, over) = (program.label(), program.label());
        for stack in [0xe000, 0xf000] {
            let thread = other.clone();
            program.call_with(Call::ThreadCreate, move |_| [thread.address(), DATA + stack, 0, 0]);
            program.claim(|user| (user.x[0] as i64) > 0);
            program.act(move |user| {
                user.x[19 + (stack >> 12) as usize - 0xc] = user.x[0];
                Ok(())
            });
        }
        for _ in 0..10 {
            granted(program, Call::Protect, [FREE, MANY * PAGE, WRITE, 0]);
        }
        // They have gone on to the end, whichever of the three came first each time.
        for register in [21, 22] {
            program.call_with(Call::ThreadJoin, move |user| [user.x[register], 0, 0, 0]);
            program.claim(|user| user.x[0] == 0 && user.x[1] == 0);
        }
        reply(program, FaultAnswer::Return, 0);
        program.call(Call::Wait, [CHILD, 0, 0, 0]);
        program.claim(|user| user.x[1] == ExitStatus::Exited(0).to_register());
        program.jump(&over);
        program.place(&other);
        for _ in 0..10 {
            behalf(program, Call::Protect, [FREE, MANY * PAGE, READ, 0]);
            let fine = program.label();
            program.jump_if(&fine, |user| user.x[0] == 0);
            program.call(Call::ThreadExit, [1, 0, 0, 0]);
            program.place(&fine);
            program.call(Call::FaultRegisters, [REPLY, DATA + 0x2000, 0, 0]);
            let fine = program.label();
            program.jump_if(&fine, |user| user.x[0] == 0);
            program.call(Call::ThreadExit, [2, 0, 0, 0]);
            program.place(&fine);
        }
        program.call(Call::ThreadExit, [0; 4]);
        program.place(&over);
    });
}

/// A copy of a process that is made in pieces, while the process or the supervisor is killed.
#[test]
fn a_fork_for_a_stopped_thread_is_given_up_when_the_process_is_killed() {
    for call in [Call::Fork, Call::Snapshot] {
        run(move |program| {
            large(program);
            let (other, over) = (program.label(), program.label());
            program.call(Call::NotificationCreate, [0; 4]);
            program.keep(21);
            let thread = other.clone();
            program.call_with(Call::ThreadCreate, move |user| [thread.address(), DATA + 0xf000, user.x[21], 0]);
            program.claim(|user| (user.x[0] as i64) > 0);
            program.call_with(Call::Notify, |user| [user.x[21], 1, 0, 0]);
            let again = program.label();
            program.place(&again);
            // Without sharing: every table is copied.
            behalf(program, call, [SELF, 0, 0, 0]);
            let refused = program.label();
            program.jump_if(&refused, |user| (user.x[0] as i64) < 0);
            program.keep(20);
            program.call_with(Call::Kill, |user| [user.x[20], 0, 0, 0]);
            program.call_with(Call::Close, |user| [user.x[20], 0, 0, 0]);
            program.jump(&again);
            program.place(&refused);
            program.claim(|user| user.x[0] == Error::NotFound.to_register());
            ends(program, ExitStatus::Killed(4));
            program.jump(&over);
            program.place(&other);
            program.act(|user| {
                user.x[19] = user.x[0];
                Ok(())
            });
            program.call_with(Call::NotificationWait, |user| [user.x[19], 0, 0, 0]);
            program.call(Call::Kill, [CHILD, 4, 0, 0]);
            program.call(Call::ThreadExit, [0; 4]);
            program.place(&over);
        });
    }
}

#[test]
fn a_child_that_a_supervisor_makes_has_the_registers_and_the_handles_of_its_parent() {
    for share in [0, 1, 2, 3] {
        run(move |program| {
            supervised(program, |child| {
                child.calculate(|user| {
                    user.x[20] = 1234;
                    floating_point::set_registers(9);
                });
                child.store(DATA, 5);
                stop(child);
                let parent = child.label();
                child.jump_if(&parent, |user| user.x[20] == 1234);
                // The child of this one's own, by the value in a register that its supervisor has set.
                child.claim(|user| user.x[20] == 4321 && user.x[0] == FOREIGN);
                child.calculate(|user| user.x[21] = floating_point::registers());
                child.claim(|user| user.x[21] == 9);
                child.holds(DATA, 5);
                child.store(DATA, 6);
                child.granted(Call::Notify, [START, 2, 0, 0]);
                stop(child);
                child.exit(44);
                child.place(&parent);
                child.holds(DATA, 5);
                child.claim(|user| user.x[0] == 55);
            });
            program.granted(Call::ConnectionCreate, [ENDPOINT, BADGE + 1, 0, 0]);
            program.keep(23);
            start(program);
            receive_stop(program);
            program.granted(Call::FaultRegisters, [REPLY, WORDS, 0, 0]);
            program.load(24, WORDS);
            for (register, value) in [(0, FOREIGN), (20, 4321)] {
                program.store(WORDS + 8 * register, value);
            }
            program.granted(Call::FaultRegisters, [REPLY, WORDS, 1, 0]);
            program.act(move |user| {
                [user.x[4], user.x[5]] = [0, user.x[23]];
                Ok(())
            });
            program.call_with(Call::OnBehalf, move |_| [REPLY, Call::Fork as u64, SELF, share]);
            program.claim(|user| (user.x[0] as i64) > 0 && user.x[1] > 1);
            program.keep(25);
            program.store(WORDS + 8 * 20, 1234);
            program.granted(Call::FaultRegisters, [REPLY, WORDS, 1, 0]);
            program.call(Call::NotificationWait, [START, 0, 0, 0]);
            program.claim(|user| user.x[1] == 2);
            reply(program, FaultAnswer::Return, 55);
            ends(program, ExitStatus::Exited(0));
            program.call_with_message(Call::Receive, |user| {
                user.x[..8].copy_from_slice(&[REPLY, 0, 0, 0, 0, 0, 0, 0]);
                user.x[9] = 0;
            });
            program.claim(|user| user.x[0] == 0 && user.x[9] == BADGE + 1 && user.x[2] == FOREIGN);
            reply(program, FaultAnswer::Return, 0);
            program.call_with(Call::Wait, |user| [user.x[25], 0, 0, 0]);
            program.claim(|user| user.x[1] == ExitStatus::Exited(44).to_register());
        });
    }
}

#[test]
fn a_stopped_process_goes_back_to_a_snapshot_and_has_one_thread_then() {
    for share in [0, 3] {
        run(move |program| {
            supervised(program, |child| {
                stop(child);
                child.touch(FREE, MANY, 1);
                child.act(|user| {
                    user.x[20] = 1;
                    Ok(())
                });
                stop(child);
                // Comes here twice.
                child.touched(FREE, MANY, 1);
                child.claim(|user| user.x[20] == 1);
                child.touch(FREE, MANY, 7);
                child.act(|user| {
                    user.x[20] = 2;
                    Ok(())
                });
                stop(child);
                child.touched(FREE, MANY, 7);
            });
            start(program);
            receive_stop(program);
            granted(program, Call::Map, [FREE, MANY * PAGE, WRITE, 0]);
            reply(program, FaultAnswer::Return, 0);
            receive_stop(program);
            granted(program, Call::Snapshot, [SELF, share, 0, 0]);
            program.keep(24);
            for _ in 0..3 {
                reply(program, FaultAnswer::Return, 0);
                receive_stop(program);
                program.act(|user| {
                    [user.x[4], user.x[5]] = [0, 0];
                    Ok(())
                });
                program.call_with(Call::OnBehalf, |user| [REPLY, Call::Restore as u64, SELF, user.x[24]]);
                program.claim(|user| user.x[0] == 0);
            }
            reply(program, FaultAnswer::Return, 0);
            receive_stop(program);
            reply(program, FaultAnswer::Return, 0);
            ends(program, ExitStatus::Exited(0));
        });
    }
}

/// Each of two stopped threads is acted for by a thread of the supervisor's, at once.
#[test]
fn a_thread_that_a_supervisor_makes_is_stopped_by_itself() {
    let place = std::sync::Arc::new(std::sync::OnceLock::new());
    let entry = place.clone();
    run(move |program| {
        supervised(program, |child| {
            let second = child.label();
            let over = child.label();
            stop(child);
            child.holds(FREE, 8);
            child.jump(&over);
            child.place(&second);
            child.claim(|user| user.x[0] == 41 && user.x[20] == 0);
            stop(child);
            child.store(FREE, 8);
            child.call(Call::ThreadExit, [7, 0, 0, 0]);
            child.place(&over);
            place.set(second).ok().expect("it is placed once");
        });
        program.granted(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
        program.keep(24);
        start(program);
        receive_stop(program);
        let entry = entry.clone();
        program.act(|user| {
            [user.x[4], user.x[5]] = [41, 0];
            Ok(())
        });
        program.call_with(Call::OnBehalf, move |_| {
            let entry = entry.get().map_or(0, |label: &Label| label.address());
            [REPLY, Call::ThreadCreate as u64, entry, DATA + 0x8000]
        });
        program.claim(|user| (user.x[0] as i64) > 0);
        program.keep(25);
        program.call_with_message(Call::Receive, |user| {
            let reply = user.x[24];
            user.x[..8].copy_from_slice(&[reply, 0, 0, 0, 0, 0, 0, 0]);
            user.x[9] = 0;
        });
        program.claim(|user| user.x[1] == FaultKind::ForeignCall as u64 && user.x[4] == 41);
        // With two threads there is no way back.
        granted(program, Call::Snapshot, [SELF, 3, 0, 0]);
        program.keep(26);
        program.act(|user| {
            [user.x[4], user.x[5]] = [0, 0];
            Ok(())
        });
        program.call_with(Call::OnBehalf, |user| [REPLY, Call::Restore as u64, SELF, user.x[26]]);
        program.expect_error(30, Error::NotAllowed);
        granted(program, Call::Map, [FREE, PAGE, WRITE, 0]);
        program.call_with_message(Call::Reply, |user| {
            let reply = user.x[24];
            user.x[..8].copy_from_slice(&[reply, FaultAnswer::Return as u64, 0, 0, 0, 0, 0, 0]);
            user.x[9] = 0;
        });
        program.call_with(Call::ThreadJoin, |user| [user.x[25], 0, 0, 0]);
        program.claim(|user| user.x[0] == 0 && user.x[1] == 7);
        reply(program, FaultAnswer::Return, 0);
        ends(program, ExitStatus::Exited(0));
    });
}

#[test]
fn a_process_without_segments_stands_still_at_its_first_instruction() {
    const REQUEST: u64 = DATA + 0x3000;
    let place = |field: usize| REQUEST + field as u64;
    run(|program| {
        program.granted(Call::EndpointCreate, [0; 4]);
        program.granted(Call::ConnectionCreate, [ENDPOINT, BADGE, 0, 0]);
        program.granted(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
        program.store(place(offset_of!(SpawnRequest, entry)), FREE);
        program.store(place(offset_of!(SpawnRequest, stack)), ELSEWHERE);
        for (connection, error) in [(99, Error::BadHandle), (ENDPOINT, Error::WrongObject), (SELF, Error::BadHandle)] {
            program.store(place(offset_of!(SpawnRequest, handle_count)), connection << 32);
            program.refused(Call::Spawn, [REQUEST, 0, 0, 0], error);
        }
        program.store(place(offset_of!(SpawnRequest, handle_count)), CONNECTION << 32);
        program.granted(Call::Spawn, [REQUEST, 0, 0, 0]);
        program.keep(19);
        receive(program, FaultKind::Unmapped, FREE);
        program.claim(|user| user.x[3] == FREE && user.x[4..7] == [0; 3]);
        // It has nothing, and a page that cannot be executed is not enough.
        program.call_with(Call::ProcessRead, |user| [user.x[19], FREE, DATA, 8]);
        program.expect_error(40, Error::BadAddress);
        granted(program, Call::Map, [FREE, PAGE, READ, 0]);
        reply(program, FaultAnswer::GoOn, 0);
        receive(program, FaultKind::ExecuteDenied, FREE);
        reply(program, FaultAnswer::End, 0);
        ends(program, ExitStatus::Faulted(FaultKind::ExecuteDenied));
    });
}
