//! Processes and threads from beginning to end.

use crate::machine::{CORES, Machine};
use crate::program::{DATA, Program, SYSTEM};
use graft_abi::{Call, Error, ExitStatus, Handle, Rights};

const SELF: u64 = Handle::SELF.0 as u64;
const DEPTHS: [u64; 4] = [0, 3, 2, 1];

#[test]
fn a_program_ends_with_its_code() {
    let machine = Machine::take();
    for code in [0, 7] {
        let mut program = Program::new();
        program.exit(code);
        assert_eq!(machine.run(program), ExitStatus::Exited(code as i32));
    }
}

/// Parent and child write after the fork, and each reads its own; both read what neither has written.
#[test]
fn memory_is_copied_by_fork_at_every_depth() {
    let machine = Machine::take();
    for share in DEPTHS {
        let mut program = Program::new();
        program.act(|user| {
            user.store(DATA, 1)?;
            user.store(DATA + 8192, 5)
        });
        program.fork(share, |child| {
            for (code, value) in [(20, 1_u64), (21, 2)] {
                child.act(|user| {
                    user.x[20] = user.load(DATA)?;
                    user.x[21] = user.load(DATA + 8192)?;
                    user.store(DATA, 2)
                });
                child.expect(code, move |user| user.x[20] == value && user.x[21] == 5);
            }
            child.exit(0);
        });
        program.keep(19);
        program.act(|user| user.store(DATA, 3));
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.expect(10, |user| user.x[0] == 0 && user.x[1] == ExitStatus::Exited(0).to_register());
        program.act(|user| {
            user.x[20] = user.load(DATA)?;
            Ok(())
        });
        program.expect(11, |user| user.x[20] == 3);
        program.exit(0);
        assert_eq!(machine.run(program), ExitStatus::Exited(0), "--share {share}");
    }
}

/// The core that runs the parent has the page's translation, writable: it must go when the page is shared.
#[test]
fn a_write_after_fork_does_not_reach_the_child() {
    let machine = Machine::take();
    for share in DEPTHS {
        for _ in 0..20 {
            let mut program = Program::new();
            program.act(|user| user.store(DATA, 1));
            program.fork(share, |child| {
                child.call(Call::Yield, [0; 4]);
                child.act(|user| {
                    user.x[20] = user.load(DATA)?;
                    Ok(())
                });
                child.expect(20, |user| user.x[20] == 1);
                child.exit(0);
            });
            program.keep(19);
            program.act(|user| user.store(DATA, 2));
            program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
            program.expect(10, |user| user.x[1] == ExitStatus::Exited(0).to_register());
            program.exit(0);
            assert_eq!(machine.run(program), ExitStatus::Exited(0), "--share {share}");
        }
    }
}

#[test]
fn whatever_a_process_does_it_can_be_killed() {
    let machine = Machine::take();
    type Act = fn(&mut Program);
    let acts: [(&str, Act); 4] = [
        ("computes", |child| {
            let again = child.label();
            child.place(&again);
            child.jump(&again);
        }),
        ("sleeps", |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0])),
        ("gives way", |child| {
            let again = child.label();
            child.place(&again);
            child.call(Call::Yield, [0; 4]);
            child.jump(&again);
        }),
        ("waits", |child| {
            child.fork(3, |grandchild| {
                grandchild.call(Call::Sleep, [10_000_000, 0, 0, 0]);
                grandchild.exit(0);
            });
            child.keep(19);
            child.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
            let again = child.label();
            child.place(&again);
            child.jump(&again);
        }),
    ];
    for (what, act) in acts {
        for pause in [0, 1_000, 2_000_000] {
            let mut program = Program::new();
            program.fork(3, act);
            program.keep(19);
            program.call(Call::Sleep, [pause, 0, 0, 0]);
            program.call_with(Call::Kill, |user| [user.x[19], 9, 0, 0]);
            program.expect(10, |user| user.x[0] == 0);
            program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
            program.expect(11, |user| user.x[1] == ExitStatus::Killed(9).to_register());
            program.exit(0);
            assert_eq!(machine.run(program), ExitStatus::Exited(0), "one that {what}, after {pause} ns");
        }
    }
}

/// More of them than there are cores, and each gets on.
#[test]
fn programs_that_never_give_way_share_the_cores() {
    const SPINNERS: u64 = 7;
    const COUNTS: u64 = 0x5000_0000;
    let machine = Machine::take();
    let mut program = Program::new();
    program.call(Call::MemoryCreate, [0x1000, 0, 0, 0]);
    program.expect_success(10);
    program.call_with(Call::MapObject, |user| [user.x[0], COUNTS, 2, 0]);
    program.expect_success(11);
    for spinner in 0..SPINNERS {
        program.fork(3, |child| {
            let again = child.label();
            child.place(&again);
            child.act(move |user| {
                let count = user.load(COUNTS + spinner * 8)?;
                user.store(COUNTS + spinner * 8, count + 1)
            });
            child.jump(&again);
        });
        program.act(move |user| user.store(DATA + spinner * 8, user.x[0]));
    }
    let look = program.label();
    program.place(&look);
    program.call(Call::Sleep, [1_000_000, 0, 0, 0]);
    program.act(|user| {
        user.x[20] = 0;
        for spinner in 0..SPINNERS {
            user.x[20] += u64::from(user.load(COUNTS + spinner * 8)? > 100);
        }
        Ok(())
    });
    program.jump_if(&look, |user| user.x[20] != SPINNERS);
    for spinner in 0..SPINNERS {
        program.act(move |user| {
            user.x[19] = user.load(DATA + spinner * 8)?;
            Ok(())
        });
        program.call_with(Call::Kill, |user| [user.x[19], 1, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.expect(12, |user| user.x[1] == ExitStatus::Killed(1).to_register());
    }
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn threads_share_memory_and_are_joined_with_their_value() {
    let machine = Machine::take();
    let mut program = Program::new();
    let thread = program.label();
    for number in 0..3_u64 {
        let entry = thread.clone();
        let stack = DATA + 0x8000 + number * 0x1000;
        program.call_with(Call::ThreadCreate, move |_| [entry.address(), stack, number, DATA + number * 8]);
        program.expect_success(10);
        program.keep(19 + number as usize);
    }
    for number in 0..3_u64 {
        program.call_with(Call::ThreadJoin, move |user| [user.x[19 + number as usize], 0, 0, 0]);
        program.expect(11, move |user| user.x[0] == 0 && user.x[1] == 100 + number);
        program.act(move |user| {
            user.x[25] = user.load(DATA + number * 8)?;
            Ok(())
        });
        program.expect(12, move |user| user.x[25] == 1000 + number);
    }
    program.exit(0);
    program.place(&thread);
    program.act(|user| {
        user.x[19] = user.x[0];
        user.store(user.thread_pointer, 1000 + user.x[0])
    });
    program.call_with(Call::ThreadExit, |user| [100 + user.x[19], 0, 0, 0]);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn an_object_of_memory_is_one_for_parent_and_child() {
    let machine = Machine::take();
    let mut program = Program::new();
    program.call(Call::MemoryCreate, [0x4000, 0, 0, 0]);
    program.expect_success(10);
    program.keep(19);
    program.call_with(Call::MapObject, |user| [user.x[19], 0x5000_0000, 2, 0]);
    program.expect_success(11);
    program.fork(1, |child| {
        child.act(|user| user.store(0x5000_2000, 77));
        child.exit(0);
    });
    program.keep(20);
    program.call_with(Call::Wait, |user| [user.x[20], 0, 0, 0]);
    program.act(|user| {
        user.x[21] = user.load(0x5000_2000)?;
        Ok(())
    });
    program.expect(12, |user| user.x[21] == 77);
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn a_fault_without_an_answer_ends_the_process() {
    let machine = Machine::take();
    let mut program = Program::new();
    program.act(|user| user.store(0x7000_0000, 1));
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Faulted(graft_abi::FaultKind::Unmapped));
}

/// What the kernel stores may lie across two pages.
#[test]
fn a_child_has_its_parents_handles() {
    const RESULT: u64 = DATA + 4096 - 40;
    let machine = Machine::take();
    let mut program = Program::new();
    program.fork(3, |child| {
        child.call(Call::SystemInfo, [SYSTEM.0.into(), RESULT, 0, 0]);
        child.expect(20, |user| user.x[0] == 0);
        child.act(|user| {
            // `total_frames`, `cores`.
            (user.x[20], user.x[21]) = (user.load(RESULT)?, user.load(RESULT + 48)?);
            Ok(())
        });
        // A core may still be on its way.
        child.expect(21, |user| user.x[20] != 0 && (1..=CORES as u64).contains(&user.x[21]));
        child.exit(0);
    });
    program.keep(19);
    program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
    program.expect(10, |user| user.x[1] == ExitStatus::Exited(0).to_register());
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

/// A handle made of `SELF` has the rights that were asked for and no more, whichever process uses it.
#[test]
fn duplicating_oneself_gives_no_right_that_was_not_asked_for() {
    let machine = Machine::take();
    let mut program = Program::new();
    program.call(Call::Duplicate, [SELF, Rights::WAIT.0.into(), 0, 0]);
    program.expect_success(10);
    program.keep(19);
    program.call_with(Call::Duplicate, |user| [user.x[19], Rights::ALL.0.into(), 0, 0]);
    program.expect_error(11, Error::NoRight);
    program.call_with(Call::Fork, |user| [user.x[19], 3, 0, 0]);
    program.expect_error(12, Error::NoRight);
    program.call_with(Call::Kill, |user| [user.x[19], 1, 0, 0]);
    program.expect_error(13, Error::NoRight);
    program.call_with(Call::ProcessInfo, |user| [user.x[19], DATA, 0, 0]);
    program.expect_error(14, Error::NoRight);
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

/// More processes than there are identifiers, each with its own content at the same address. Meanwhile others live on,
/// and sleep most of the time: they lose their identifiers, while every core's TLB is full of what it has kept under
/// those.
#[test]
fn identifiers_run_out_and_no_process_meets_anothers_memory() {
    let machine = Machine::take();
    let (witnesses, count, looks) = if cfg!(miri) { (1, 3, 2) } else { (150, 300, 100) };
    let mut program = Program::new();
    program.act(move |user| {
        (user.x[20], user.x[22]) = (witnesses, count);
        Ok(())
    });
    let another = program.label();
    program.place(&another);
    program.fork(3, |witness| {
        let look = witness.label();
        // With one of its own that looks so many times, more live at once than there are identifiers: no end of another
        // process invalidates what is kept under theirs.
        witness.fork(3, |other| {
            let look = other.label();
            other.act(|user| {
                (user.x[20], user.x[22]) = (user.x[20] + 1_000, 0);
                user.store(DATA, user.x[20])
            });
            other.place(&look);
            other.call(Call::Sleep, [500_000, 0, 0, 0]);
            other.act(|user| {
                (user.x[21], user.x[22]) = (user.load(DATA)?, user.x[22] + 1);
                Ok(())
            });
            other.expect(22, |user| user.x[21] == user.x[20]);
            other.jump_if(&look, move |user| user.x[22] < looks);
            other.exit(0);
        });
        witness.act(|user| user.store(DATA, user.x[20]));
        witness.place(&look);
        witness.call(Call::Sleep, [500_000, 0, 0, 0]);
        witness.act(|user| {
            user.x[21] = user.load(DATA)?;
            Ok(())
        });
        witness.jump_if(&look, |user| user.x[21] == user.x[20]);
        witness.exit(21);
    });
    // Their handles, one behind the other.
    program.act(|user| user.store(DATA + 4096 + user.x[20] * 8, user.x[0]));
    program.act(|user| {
        user.x[20] -= 1;
        Ok(())
    });
    program.jump_if(&another, |user| user.x[20] != 0);
    let again = program.label();
    program.place(&again);
    program.fork(3, |child| {
        child.act(|user| user.store(DATA, user.x[22]));
        child.call(Call::Yield, [0; 4]);
        child.act(|user| {
            user.x[21] = user.load(DATA)?;
            Ok(())
        });
        child.expect(20, |user| user.x[21] == user.x[22]);
        child.exit(0);
    });
    program.keep(19);
    program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
    program.expect(10, |user| user.x[1] == ExitStatus::Exited(0).to_register());
    program.call_with(Call::Close, |user| [user.x[19], 0, 0, 0]);
    program.act(|user| {
        user.x[22] -= 1;
        Ok(())
    });
    program.jump_if(&again, |user| user.x[22] != 0);
    for witness in 1..=witnesses {
        program.act(move |user| {
            user.x[19] = user.load(DATA + 4096 + witness * 8)?;
            Ok(())
        });
        program.call_with(Call::Kill, |user| [user.x[19], 1, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.expect(11, |user| user.x[1] == ExitStatus::Killed(1).to_register());
    }
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}
