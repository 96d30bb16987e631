//! Messages: calls, answers, handles on their way, and ends in the middle of all that.

use crate::machine::Machine;
use crate::program::{DATA, Label, Program};
use graft_abi::{Call, Error, ExitStatus, Handle, ProcessState, Rights};
use graft_kernel::arch::processor::User;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Handles, in the order in which every test makes them; the first is the system's.
const ENDPOINT: u64 = 2;
const CONNECTION: u64 = 3;
const REPLY: u64 = 4;
const BADGE: u64 = 0xbad6e;

/// A program that has an endpoint, a connection to it and a reply.
fn with_endpoint() -> Program {
    let mut program = Program::new();
    program.call(Call::EndpointCreate, [0; 4]);
    program.expect(90, |user| user.x[0] == ENDPOINT);
    program.call(Call::ConnectionCreate, [ENDPOINT, BADGE, 0, 0]);
    program.expect(91, |user| user.x[0] == CONNECTION);
    program.call(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
    program.expect(92, |user| user.x[0] == REPLY);
    program
}

/// A call that carries a message.
fn send(
    program: &mut Program,
    call: Call,
    to: u64,
    words: [u64; 6],
    handle: impl Fn(&User) -> u64 + Send + Sync + 'static,
    deadline: u64,
) {
    program.call_with_message(call, move |user| {
        let handle = handle(user);
        user.x[0] = to;
        user.x[1..7].copy_from_slice(&words);
        (user.x[7], user.x[9]) = (handle, deadline);
    });
}

fn receive(program: &mut Program, deadline: u64) {
    send(program, Call::Receive, REPLY, [0; 6], |_| 0, deadline);
}

/// The words of the last message.
fn words(user: &User) -> [u64; 6] {
    [user.x[1], user.x[2], user.x[3], user.x[4], user.x[5], user.x[6]]
}

/// Waits for the child whose handle is in `x19`, and expects this end.
fn expect_end(program: &mut Program, code: u64, status: ExitStatus) {
    program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
    program.expect(code, move |user| user.x[1] == status.to_register());
}

/// Answers `count` calls, with the sum of its words in each place.
fn serve(program: &mut Program, count: u64) {
    let again: Label = program.label();
    let done = program.label();
    program.act(|user| {
        user.x[25] = 0;
        Ok(())
    });
    receive(program, 0);
    program.place(&again);
    program.expect(80, |user| user.x[0] == 0 && user.x[9] == BADGE);
    program.act(|user| {
        user.x[25] += 1;
        user.x[26] = words(user).iter().sum();
        Ok(())
    });
    program.jump_if(&done, move |user| user.x[25] == count);
    program.call_with_message(Call::ReplyReceive, |user| {
        let sum = user.x[26];
        user.x[0] = REPLY;
        user.x[1..7].copy_from_slice(&[sum; 6]);
        (user.x[7], user.x[9]) = (0, 0);
    });
    program.jump(&again);
    program.place(&done);
    program.call_with_message(Call::Reply, |user| {
        let sum = user.x[26];
        user.x[0] = REPLY;
        user.x[1..7].copy_from_slice(&[sum; 6]);
        user.x[7] = 0;
    });
    program.expect(81, |user| user.x[0] == 0);
}

#[test]
fn every_call_is_answered_with_its_own_answer() {
    const CALLS: u64 = if cfg!(miri) { 3 } else { 200 };
    const CLIENTS: u64 = 3;
    let machine = Machine::take();
    let mut program = with_endpoint();
    for client in 0..CLIENTS {
        program.fork(3, |child| {
            child.act(|user| {
                user.x[24] = 0;
                Ok(())
            });
            let again = child.label();
            child.place(&again);
            child.call_with_message(Call::Call, move |user| {
                let n = user.x[24] + client * 1_000_000;
                user.x[0] = CONNECTION;
                user.x[1..7].copy_from_slice(&[n, n + 1, n + 2, n + 3, n + 4, n + 5]);
                (user.x[7], user.x[9]) = (0, 0);
            });
            child.expect(20, move |user| {
                let n = user.x[24] + client * 1_000_000;
                user.x[0] == 0 && words(user) == [6 * n + 15; 6] && user.x[7] == 0
            });
            child.act(|user| {
                user.x[24] += 1;
                Ok(())
            });
            child.jump_if(&again, |user| user.x[24] < CALLS);
            child.exit(0);
        });
        program.act(move |user| user.store(DATA + client * 8, user.x[0]));
    }
    serve(&mut program, CALLS * CLIENTS);
    for client in 0..CLIENTS {
        program.act(move |user| {
            user.x[19] = user.load(DATA + client * 8)?;
            Ok(())
        });
        expect_end(&mut program, 10, ExitStatus::Exited(0));
    }
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn a_call_that_only_its_own_caller_could_receive_is_refused() {
    let machine = Machine::take();
    let mut program = with_endpoint();
    let refused = |user: &User| user.x[0] == Error::WouldDeadlock.to_register();
    let call = |program: &mut Program, to, deadline| send(program, Call::Call, to, [3; 6], |_| 0, deadline);
    // One that calls itself.
    call(&mut program, CONNECTION, 0);
    program.expect(10, refused);
    call(&mut program, CONNECTION, 1);
    program.expect_error(11, Error::TimedOut);
    // Two that call each other, the second one while it has the first one's call; three likewise.
    const SECOND: u64 = 5;
    const THIRD: u64 = 7;
    for endpoint in [SECOND, THIRD] {
        program.call(Call::EndpointCreate, [0; 4]);
        program.call(Call::ConnectionCreate, [endpoint, BADGE, 0, 0]);
        program.expect(12, move |user| user.x[0] == endpoint + 1);
    }
    let serve_one = |child: &mut Program, endpoint: u64, then: &dyn Fn(&mut Program)| {
        child.call(Call::ReplyCreate, [endpoint, 0, 0, 0]);
        child.expect(20, |user| user.x[0] == REPLY);
        receive(child, 0);
        child.expect(21, |user| user.x[0] == 0 && user.x[1] == 3);
        then(child);
        send(child, Call::Reply, REPLY, [4; 6], |_| 0, 0);
        child.expect(22, |user| user.x[0] == 0);
        child.exit(0);
    };
    program.fork(3, |child| {
        serve_one(child, SECOND, &|child| {
            call(child, CONNECTION, 0);
            child.expect(23, refused);
            call(child, SECOND + 1, 0);
            child.expect(24, refused);
        });
    });
    program.keep(19);
    call(&mut program, SECOND + 1, 0);
    program.expect(13, |user| user.x[0] == 0 && user.x[1] == 4);
    expect_end(&mut program, 14, ExitStatus::Exited(0));
    program.fork(3, |child| {
        serve_one(child, SECOND, &|child| {
            call(child, THIRD + 1, 0);
            child.expect(25, |user| user.x[0] == 0 && user.x[1] == 4);
        });
    });
    program.keep(19);
    program.fork(3, |child| {
        serve_one(child, THIRD, &|child| {
            for (code, to) in [(26, CONNECTION), (27, SECOND + 1)] {
                call(child, to, 0);
                child.expect(code, refused);
            }
        });
    });
    program.keep(20);
    call(&mut program, SECOND + 1, 0);
    program.expect(15, |user| user.x[0] == 0 && user.x[1] == 4);
    expect_end(&mut program, 16, ExitStatus::Exited(0));
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn a_call_that_another_process_can_receive_is_no_circle() {
    const READY: u64 = 5;
    let machine = Machine::take();
    let mut program = with_endpoint();
    program.call(Call::NotificationCreate, [0; 4]);
    program.expect(9, |user| user.x[0] == READY);
    program.fork(3, |child| {
        child.call(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
        child.expect(20, |user| user.x[0] == REPLY);
        child.call(Call::Notify, [READY, 1, 0, 0]);
        // So that the call stands in line first.
        child.call(Call::Sleep, [20_000_000, 0, 0, 0]);
        receive(child, 0);
        child.expect(21, |user| user.x[0] == 0);
        send(child, Call::Reply, REPLY, [4; 6], |_| 0, 0);
        child.exit(0);
    });
    program.keep(19);
    // Until the child has its reply, the caller alone could receive. The call of the maker of the last reply is looked at.
    program.call(Call::NotificationWait, [READY, 0, 0, 0]);
    program.call(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
    program.expect_success(12);
    send(&mut program, Call::Call, CONNECTION, [3; 6], |_| 0, 0);
    program.expect(10, |user| user.x[0] == 0 && user.x[1] == 4);
    expect_end(&mut program, 11, ExitStatus::Exited(0));
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn a_handle_moves_with_a_message_and_is_in_one_table_only() {
    let machine = Machine::take();
    let mut program = with_endpoint();
    program.fork(3, |child| {
        child.call(Call::MemoryCreate, [0x1000, 0, 0, 0]);
        child.expect_success(20);
        child.keep(20);
        child.call_with(Call::MapObject, |user| [user.x[20], 0x5000_0000, 2, 0]);
        child.act(|user| user.store(0x5000_0000, 4711));
        send(child, Call::Call, CONNECTION, [1, 0, 0, 0, 0, 0], |user| user.x[20], 0);
        // It is gone here, and has come back under some number of its own.
        child.expect(21, |user| user.x[0] == 0 && user.x[7] != 0);
        child.act(|user| {
            user.x[21] = user.x[7];
            Ok(())
        });
        child.call_with(Call::MapObject, |user| [user.x[21], 0x6000_0000, 2, 0]);
        child.expect_success(22);
        child.act(|user| {
            user.x[22] = user.load(0x6000_0000)?;
            Ok(())
        });
        child.expect(23, |user| user.x[22] == 4712);
        child.call_with(Call::Close, |user| [user.x[21], 0, 0, 0]);
        child.expect_success(24);
        child.call_with(Call::Close, |user| [user.x[20], 0, 0, 0]);
        child.expect(25, |user| user.x[20] == user.x[21] || user.x[0] == Error::BadHandle.to_register());
        child.exit(0);
    });
    program.keep(19);
    receive(&mut program, 0);
    program.expect(10, |user| user.x[0] == 0 && user.x[1] == 1 && user.x[7] != 0);
    program.act(|user| {
        user.x[20] = user.x[7];
        Ok(())
    });
    program.call_with(Call::MapObject, |user| [user.x[20], 0x5000_0000, 2, 0]);
    program.expect_success(11);
    program.act(|user| {
        let value = user.load(0x5000_0000)?;
        user.store(0x5000_0000, value + 1)
    });
    send(&mut program, Call::Reply, REPLY, [0; 6], |user| user.x[20], 0);
    program.expect(12, |user| user.x[0] == 0);
    program.call_with(Call::Close, |user| [user.x[20], 0, 0, 0]);
    program.expect_error(13, Error::BadHandle);
    expect_end(&mut program, 14, ExitStatus::Exited(0));
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

/// However long another core of the receiver's uses its table.
#[test]
fn a_handle_waits_for_the_receivers_table() {
    static MAY_CALL: AtomicBool = AtomicBool::new(false);
    let machine = Machine::take();
    let mut program = with_endpoint();
    program.fork(3, |child| {
        child.call(Call::MemoryCreate, [0x1000, 0, 0, 0]);
        child.keep(20);
        let again = child.label();
        child.place(&again);
        child.call(Call::Yield, [0; 4]);
        child.jump_if(&again, |_| !MAY_CALL.load(Ordering::Acquire));
        send(child, Call::Call, CONNECTION, [1, 0, 0, 0, 0, 0], |user| user.x[20], 0);
        child.expect(21, |user| user.x[0] == 0);
        child.exit(0);
    });
    program.keep(19);
    receive(&mut program, 0);
    program.expect(10, |user| user.x[0] == 0 && user.x[1] == 1 && user.x[7] != 0);
    send(&mut program, Call::Reply, REPLY, [0; 6], |_| 0, 0);
    expect_end(&mut program, 11, ExitStatus::Exited(0));
    program.exit(0);
    let server = machine.spawn(program);
    machine.wait_until(|| server.info().state == ProcessState::Blocked as u32, "the server does not wait");
    let table = server.handles.lock();
    MAY_CALL.store(true, Ordering::Release);
    thread::sleep(Duration::from_millis(100));
    drop(table);
    assert_eq!(machine.wait(&server), ExitStatus::Exited(0));
}

#[test]
fn what_is_refused_changes_nothing() {
    let machine = Machine::take();
    let mut program = with_endpoint();
    let soon = 1;
    for (code, call, handle, message_handle, error) in [
        (10, Call::Call, 99, 0, Error::BadHandle),
        (11, Call::Call, ENDPOINT, 0, Error::WrongObject),
        (12, Call::Call, REPLY, 0, Error::WrongObject),
        (13, Call::Call, CONNECTION, 99, Error::BadHandle),
        (14, Call::Call, CONNECTION, u64::MAX, Error::BadHandle),
        (15, Call::Call, CONNECTION, Handle::SELF.0.into(), Error::BadHandle),
        (16, Call::Call, CONNECTION, 0, Error::TimedOut),
        (17, Call::Receive, REPLY, 0, Error::TimedOut),
        (18, Call::Receive, CONNECTION, 0, Error::WrongObject),
        (19, Call::Reply, REPLY, 0, Error::NotFound),
        (20, Call::ReplyReceive, REPLY, 0, Error::NotFound),
        (21, Call::Send, CONNECTION, 0, Error::NotReady),
        (22, Call::Send, CONNECTION, 99, Error::BadHandle),
    ] {
        send(&mut program, call, handle, [1, 2, 3, 4, 5, 6], move |_| message_handle, soon);
        program.expect_error(code, error);
    }
    // A connection is no right to receive, and no right to make others.
    program.call(Call::ConnectionCreate, [CONNECTION, 1, 0, 0]);
    program.expect_error(30, Error::WrongObject);
    program.call(Call::Duplicate, [ENDPOINT, Rights::DUPLICATE.0.into(), 0, 0]);
    program.keep(19);
    program.call_with(Call::ReplyCreate, |user| [user.x[19], 0, 0, 0]);
    program.expect_error(31, Error::NoRight);
    program.call_with(Call::ConnectionCreate, |user| [user.x[19], 0, 0, 0]);
    program.expect_error(32, Error::NoRight);
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

/// What a server can do instead of answering.
#[test]
fn a_call_that_will_never_be_answered_ends_with_an_error() {
    type Act = fn(&mut Program);
    let acts: [(&str, Act); 7] = [
        ("closes its endpoint first", |server| {
            server.call(Call::Close, [ENDPOINT, 0, 0, 0]);
            server.call(Call::Sleep, [1_000_000, 0, 0, 0]);
        }),
        ("closes its endpoint later", |server| {
            server.call(Call::Sleep, [1_000_000, 0, 0, 0]);
            server.call(Call::Close, [ENDPOINT, 0, 0, 0]);
        }),
        ("ends before it receives", |server| {
            server.call(Call::Sleep, [500_000, 0, 0, 0]);
            server.exit(0);
        }),
        ("ends after it has received", |server| {
            receive(server, 0);
            server.exit(0);
        }),
        ("closes the reply", |server| {
            receive(server, 0);
            server.call(Call::Close, [REPLY, 0, 0, 0]);
            server.call(Call::Sleep, [1_000_000, 0, 0, 0]);
        }),
        ("receives anew", |server| {
            receive(server, 0);
            receive(server, 1);
        }),
        ("faults", |server| {
            receive(server, 0);
            server.act(|user| user.store(0x7000_0000, 1));
        }),
    ];
    let machine = Machine::take();
    for (what, act) in acts {
        let mut program = Program::new();
        // The server is a child, so that only it has the endpoint.
        program.call(Call::EndpointCreate, [0; 4]);
        program.call(Call::ConnectionCreate, [ENDPOINT, BADGE, 0, 0]);
        program.fork(3, |server| {
            server.call(Call::Close, [CONNECTION, 0, 0, 0]);
            server.call(Call::Yield, [0; 4]);
            server.call(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
            server.act(|user| {
                user.x[20] = user.x[0];
                Ok(())
            });
            server.call_with(Call::Duplicate, |user| [user.x[20], u32::MAX.into(), 0, 0]);
            server.expect(61, |user| user.x[20] == CONNECTION && user.x[0] == REPLY);
            server.call_with(Call::Close, |user| [user.x[20], 0, 0, 0]);
            act(server);
            server.exit(0);
        });
        program.keep(19);
        program.call(Call::Close, [ENDPOINT, 0, 0, 0]);
        send(&mut program, Call::Call, CONNECTION, [1, 2, 3, 4, 5, 6], |_| 0, 0);
        program.expect_error(10, Error::Gone);
        send(&mut program, Call::Call, CONNECTION, [1, 2, 3, 4, 5, 6], |_| 0, 1_000_000_000_000_000);
        program.expect_error(11, Error::Gone);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.expect(12, |user| user.x[1] != ExitStatus::Exited(61).to_register());
        program.exit(0);
        assert_eq!(machine.run(program), ExitStatus::Exited(0), "a server that {what}");
    }
}

/// A caller that ends, or whose deadline comes, in line and after its call has been taken.
#[test]
fn a_server_outlives_its_callers() {
    let machine = Machine::take();
    for pause in [0, 100_000, 1_000_000] {
        for kill in [false, true] {
            let mut program = with_endpoint();
            program.fork(3, move |child| {
                if kill {
                    send(child, Call::Call, CONNECTION, [7; 6], |_| 0, 0);
                } else {
                    child.call(Call::Clock, [0; 4]);
                    child.call_with_message(Call::Call, |user| {
                        user.x[9] = user.x[0] + 300_000;
                        user.x[0] = CONNECTION;
                        user.x[7] = 0;
                    });
                    child.expect_error(20, Error::TimedOut);
                }
                child.exit(0);
            });
            program.keep(19);
            program.call(Call::Sleep, [pause, 0, 0, 0]);
            program.call(Call::Clock, [0; 4]);
            program.call_with_message(Call::Receive, |user| {
                user.x[9] = user.x[0] + 200_000;
                user.x[0] = REPLY;
            });
            // The call may have ended before. Whether or not it has: the server is well.
            program.expect(10, |user| user.x[0] == 0 || user.x[0] == Error::TimedOut.to_register());
            if kill {
                program.call_with(Call::Kill, |user| [user.x[19], 9, 0, 0]);
                expect_end(&mut program, 11, ExitStatus::Killed(9));
            } else {
                expect_end(&mut program, 11, ExitStatus::Exited(0));
            }
            send(&mut program, Call::Reply, REPLY, [0; 6], |_| 0, 0);
            program
                .expect(12, |user| [Error::Gone, Error::NotFound].iter().any(|error| user.x[0] == error.to_register()));
            program.exit(0);
            assert_eq!(machine.run(program), ExitStatus::Exited(0), "{pause} ns, killed: {kill}");
        }
    }
}

#[test]
fn a_message_without_an_answer_says_whether_it_arrived() {
    let machine = Machine::take();
    let mut program = with_endpoint();
    program.fork(3, |child| {
        let again = child.label();
        child.place(&again);
        send(child, Call::Send, CONNECTION, [5, 6, 7, 8, 9, 10], |_| 0, 0);
        child.jump_if(&again, |user| user.x[0] == Error::NotReady.to_register());
        child.expect(20, |user| user.x[0] == 0);
        child.exit(0);
    });
    program.keep(19);
    receive(&mut program, 0);
    program.expect(10, |user| user.x[0] == 0 && words(user) == [5, 6, 7, 8, 9, 10] && user.x[9] == BADGE);
    send(&mut program, Call::Reply, REPLY, [0; 6], |_| 0, 0);
    program.expect_error(11, Error::NotFound);
    expect_end(&mut program, 12, ExitStatus::Exited(0));
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

/// Deadlines that come at the moment at which a message does, on both sides and on every core.
#[test]
fn a_deadline_ends_no_wait_but_its_own() {
    const ROUNDS: u64 = if cfg!(miri) { 3 } else { 6_000 };
    let machine = Machine::take();
    let mut program = with_endpoint();
    for number in 0..6_u64 {
        program.fork(3, |child| {
            if number % 2 == 0 {
                child.call(Call::ReplyCreate, [ENDPOINT, 0, 0, 0]);
                child.expect(19, |user| user.x[0] == REPLY);
            }
            child.act(|user| {
                user.x[24] = 0;
                Ok(())
            });
            let again = child.label();
            child.place(&again);
            child.call(Call::Clock, [0; 4]);
            child.call_with_message(if number % 2 == 0 { Call::Receive } else { Call::Call }, move |user| {
                user.x[9] = user.x[0] + 1 + (user.x[24] * 7 + number * 13) % 60 * 1_000;
                user.x[0] = if number % 2 == 0 { REPLY } else { CONNECTION };
                user.x[7] = 0;
            });
            // A call that is taken is never answered here: it is given up, or it comes too late.
            child.expect(20, |user| {
                let errors = [Error::TimedOut, Error::Gone];
                user.x[0] == 0 || errors.iter().any(|error| user.x[0] == error.to_register())
            });
            // No deadline of a call that is over shortens a sleep.
            child.call(Call::Clock, [0; 4]);
            child.keep(20);
            child.call(Call::Sleep, [20_000, 0, 0, 0]);
            child.call(Call::Clock, [0; 4]);
            child.expect(21, |user| user.x[0] - user.x[20] >= 20_000);
            child.act(|user| {
                user.x[24] += 1;
                Ok(())
            });
            child.jump_if(&again, |user| user.x[24] < ROUNDS);
            child.exit(0);
        });
        program.act(move |user| user.store(DATA + number * 8, user.x[0]));
    }
    for number in 0..6 {
        program.act(move |user| {
            user.x[19] = user.load(DATA + number * 8)?;
            Ok(())
        });
        expect_end(&mut program, 10, ExitStatus::Exited(0));
    }
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

/// A caller that is gone leaves its server to receive, and to nothing else.
#[test]
fn an_answer_that_comes_too_late_is_followed_by_a_receive() {
    let machine = Machine::take();
    let mut program = with_endpoint();
    program.fork(3, |child| {
        send(child, Call::Call, CONNECTION, [1; 6], |_| 0, 0);
        child.exit(20);
    });
    program.keep(19);
    receive(&mut program, 0);
    program.expect(10, |user| user.x[0] == 0);
    program.call_with(Call::Kill, |user| [user.x[19], 9, 0, 0]);
    expect_end(&mut program, 11, ExitStatus::Killed(9));
    program.call(Call::Clock, [0; 4]);
    program.call_with_message(Call::ReplyReceive, |user| {
        user.x[9] = user.x[0] + 2_000_000;
        user.x[0] = REPLY;
        user.x[7] = 0;
    });
    program.expect_error(12, Error::TimedOut);
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}
