//! Many threads that wait for one thing, and threads on chosen cores.

use crate::machine::{CORES, Machine, run};
use crate::program::{DATA, Label, Program};
use graft_abi::{Call, Error, ExitStatus, Handle, PRIORITIES, PRIORITY_DEFAULT, Rights};
use graft_kernel::arch;

/// More than are woken at once.
const CROWD: u64 = if cfg!(miri) { 4 } else { 40 };
/// Where the handles of threads are kept.
const HANDLES: u64 = DATA + 0x800;
const STACK: u64 = DATA + 0x8000;
const OWN: u64 = Handle::SELF.0 as u64;

/// What further threads do, and where that is. A thread's argument is in its `x0`.
fn threads(program: &mut Program, body: impl FnOnce(&mut Program)) -> Label {
    let (start, entry) = (program.label(), program.label());
    program.jump(&start);
    program.place(&entry);
    program.keep(19);
    body(program);
    program.call(Call::ThreadExit, [7, 0, 0, 0]);
    program.place(&start);
    entry
}

/// Begins a thread, whose handle is kept at a place.
fn begin(program: &mut Program, entry: &Label, argument_in: usize, place: u64) {
    let entry = entry.clone();
    program.granted_with(Call::ThreadCreate, move |user| [entry.address(), STACK, user.x[argument_in], 0]);
    program.act(move |user| user.store(HANDLES + 8 * place, user.x[0]));
}

/// Claims that each of them ends with its value.
fn joined(program: &mut Program, threads: u64) {
    for place in 0..threads {
        program.load(20, HANDLES + 8 * place);
        program.call_with(Call::ThreadJoin, |user| [user.x[20], 0, 0, 0]);
        program.claim(|user| user.x[0] == 0 && user.x[1] == 7);
        program.granted_with(Call::Close, |user| [user.x[20], 0, 0, 0]);
    }
}

#[test]
fn all_threads_that_wait_for_the_end_of_a_process_have_it() {
    run(|program| {
        let entry = threads(program, |thread| {
            thread.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
            thread.claim(|user| user.x[0] == 0 && user.x[1] == ExitStatus::Killed(5).to_register());
        });
        program.fork(3, |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]));
        program.keep(21);
        (0..CROWD).for_each(|place| begin(program, &entry, 21, place));
        program.call(Call::Sleep, [2_000_000, 0, 0, 0]);
        program.granted_with(Call::Kill, |user| [user.x[21], 5, 0, 0]);
        joined(program, CROWD);
    });
}

#[test]
fn all_threads_that_wait_for_the_end_of_a_thread_have_it() {
    run(|program| {
        program.granted(Call::NotificationCreate, [0; 4]);
        program.keep(22);
        let first = threads(program, |thread| {
            thread.call_with(Call::NotificationWait, |user| [user.x[19], 0, 0, 0]);
        });
        begin(program, &first, 22, 0);
        program.load(21, HANDLES);
        let entry = threads(program, |thread| {
            thread.call_with(Call::ThreadJoin, |user| [user.x[19], 0, 0, 0]);
            thread.claim(|user| user.x[0] == 0 && user.x[1] == 7);
        });
        (1..=CROWD).for_each(|place| begin(program, &entry, 21, place));
        program.call(Call::Sleep, [2_000_000, 0, 0, 0]);
        program.granted_with(Call::Notify, |user| [user.x[22], 1, 0, 0]);
        joined(program, CROWD + 1);
    });
}

#[test]
fn all_threads_that_call_at_an_endpoint_learn_that_it_is_gone() {
    run(|program| {
        program.granted(Call::EndpointCreate, [0; 4]);
        program.keep(21);
        program.granted_with(Call::ConnectionCreate, |user| [user.x[21], 1, 0, 0]);
        program.keep(22);
        let entry = threads(program, |thread| {
            thread.call_with_message(Call::Call, |user| {
                user.x[0] = user.x[19];
                user.x[1..8].fill(0);
                user.x[9] = 0;
            });
            thread.claim(|user| user.x[0] == Error::Gone.to_register());
        });
        (0..CROWD).for_each(|place| begin(program, &entry, 22, place));
        program.call(Call::Sleep, [2_000_000, 0, 0, 0]);
        program.granted_with(Call::Close, |user| [user.x[21], 0, 0, 0]);
        joined(program, CROWD);
    });
}

/// A process whose threads wait for everything that there is, many for each.
#[test]
fn a_process_ends_whatever_its_threads_wait_for() {
    for pause in [0, 100_000, 2_000_000] {
        let result = Machine::take().run_with(|program| {
            program.fork(3, |child| {
                let acts: [fn(&mut Program); 6] = [
                    |thread| thread.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]),
                    |thread| thread.call(Call::WaitOn, [DATA, 0, 0, 0]),
                    |thread| thread.call(Call::WaitOn, [DATA, 0, u64::MAX / 2, 0]),
                    |thread| {
                        thread.call(Call::NotificationCreate, [0; 4]);
                        thread.call_with(Call::NotificationWait, |user| [user.x[0], 0, 0, 0]);
                    },
                    |thread| {
                        thread.fork(3, |grandchild| {
                            grandchild.call(Call::Sleep, [4_000_000, 0, 0, 0]);
                            grandchild.exit(0);
                        });
                        thread.call_with(Call::Wait, |user| [user.x[0], 0, 0, 0]);
                        thread.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]);
                    },
                    // The first thread that was made.
                    |thread| {
                        thread.load(20, HANDLES);
                        thread.call_with(Call::ThreadJoin, |user| [user.x[20], 0, 0, 0]);
                    },
                ];
                for (number, act) in acts.into_iter().enumerate() {
                    let entry = threads(child, act);
                    (0..6).for_each(|place| begin(child, &entry, 20, number as u64 * 6 + place));
                }
                child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]);
            });
            program.keep(21);
            program.call(Call::Sleep, [pause, 0, 0, 0]);
            program.granted_with(Call::Kill, |user| [user.x[21], 6, 0, 0]);
            program.call_with(Call::Wait, |user| [user.x[21], 0, 0, 0]);
            program.claim(|user| user.x[1] == ExitStatus::Killed(6).to_register());
        });
        assert_eq!(result, ExitStatus::Exited(0), "after {pause} ns");
    }
}

/// What the threads wait for goes on, whatever becomes of their process.
#[test]
fn a_process_ends_without_what_its_threads_wait_for() {
    run(|program| {
        program.fork(3, |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]));
        program.keep(22);
        program.fork(3, |child| {
            let entry = threads(child, |thread| thread.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]));
            (0..12).for_each(|place| begin(child, &entry, 22, place));
            child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]);
        });
        program.keep(21);
        program.call(Call::Sleep, [2_000_000, 0, 0, 0]);
        program.granted_with(Call::Kill, |user| [user.x[21], 6, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[21], 0, 0, 0]);
        program.claim(|user| user.x[1] == ExitStatus::Killed(6).to_register());
        program.granted_with(Call::Kill, |user| [user.x[22], 7, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[22], 0, 0, 0]);
        program.claim(|user| user.x[1] == ExitStatus::Killed(7).to_register());
    });
}

#[test]
fn a_thread_runs_on_the_cores_that_it_was_given() {
    run(|program| {
        for core in (0..CORES).chain([2, 0]) {
            program.granted(Call::Schedule, [OWN, PRIORITY_DEFAULT.into(), 1 << core, 0]);
            // Whatever else it does, that is where.
            program.call(Call::Yield, [0; 4]);
            program.claim(move |_| arch::core_index() == core);
            program.call(Call::Sleep, [1_000, 0, 0, 0]);
            program.claim(move |_| arch::core_index() == core);
        }
        program.granted(Call::Schedule, [OWN, PRIORITY_DEFAULT.into(), 0b110, 0]);
        program.call(Call::Yield, [0; 4]);
        program.claim(|_| arch::core_index() == 1 || arch::core_index() == 2);
        // Another thread, from the next time on that it begins to run.
        let entry = threads(program, |thread| {
            let again = thread.label();
            thread.place(&again);
            thread.act(|user| user.store(DATA, arch::core_index() as u64 + 1));
            thread.call(Call::Yield, [0; 4]);
            thread.load(20, DATA + 8);
            thread.jump_if(&again, |user| user.x[20] == 0);
        });
        begin(program, &entry, 20, 0);
        program.load(21, HANDLES);
        for core in [3, 1, 0_u64] {
            program.granted_with(Call::Schedule, move |user| [user.x[21], PRIORITY_DEFAULT.into(), 1 << core, 0]);
            let again = program.label();
            program.place(&again);
            program.call(Call::Sleep, [10_000, 0, 0, 0]);
            program.load(20, DATA);
            program.jump_if(&again, move |user| user.x[20] != core + 1);
        }
        program.store(DATA + 8, 1);
        joined(program, 1);
    });
}

#[test]
fn a_program_gives_no_priority_above_its_limit() {
    let machine = Machine::take();
    let mut program = Program::new();
    let limit = u64::from(PRIORITY_DEFAULT);
    program.refused(Call::Schedule, [OWN, limit + 1, 0, 0], Error::NotAllowed);
    program.granted(Call::Schedule, [OWN, limit, 0, 0]);
    program.granted(Call::Schedule, [OWN, 0, 0, 0]);
    program.granted(Call::Schedule, [OWN, limit, 0, 0]);
    program.exit(0);
    let process = machine.spawn_limited(program);
    assert_eq!(machine.wait(&process), ExitStatus::Exited(0));
}

#[test]
fn what_a_schedule_asks_for_is_checked() {
    let priority = u64::from(PRIORITY_DEFAULT);
    run(|program| {
        program.refused(Call::Schedule, [OWN, PRIORITIES as u64, 0, 0], Error::BadArgument);
        program.refused(Call::Schedule, [OWN, 256 + priority, 0, 0], Error::BadArgument);
        program.refused(Call::Schedule, [OWN, priority, 1 << CORES, 0], Error::BadArgument);
        program.refused(Call::Schedule, [OWN, priority, 1 << 32, 0], Error::BadArgument);
        program.refused(Call::Schedule, [99, priority, 0, 0], Error::BadHandle);
        program.granted(Call::Schedule, [OWN, PRIORITIES as u64 - 1, 1 | 1 << CORES, 0]);
        program.claim(|user| user.x[0] == 0);
        program.granted(Call::Schedule, [OWN, priority, 0, 0]);
        let entry = threads(program, |_| {});
        begin(program, &entry, 20, 0);
        program.load(21, HANDLES);
        program.call_with(Call::Duplicate, |user| [user.x[21], Rights::WAIT.0.into(), 0, 0]);
        program.keep(22);
        program.call_with(Call::Schedule, move |user| [user.x[22], priority, 0, 0]);
        program.expect_error(10, Error::NoRight);
        joined(program, 1);
    });
}

#[test]
fn a_more_urgent_thread_runs_before_the_one_that_wakes_it_goes_on_and_no_other_does() {
    for (priority, runs) in [(PRIORITY_DEFAULT + 1, 1), (PRIORITY_DEFAULT - 1, 0)] {
        run(|program| {
            program.granted(Call::NotificationCreate, [0; 4]);
            program.keep(22);
            program.granted(Call::Schedule, [OWN, PRIORITY_DEFAULT.into(), 1, 0]);
            let entry = threads(program, move |thread| {
                thread.granted(Call::Schedule, [OWN, priority.into(), 1, 0]);
                thread.act(|user| user.store(DATA + 8, 1));
                thread.call_with(Call::NotificationWait, |user| [user.x[19], 0, 0, 0]);
                thread.claim(|user| user.x[0] == 0 && user.x[1] == 4);
                thread.act(|user| user.store(DATA, 1));
            });
            begin(program, &entry, 22, 0);
            // It waits when it has said that it is about to: on this core it goes first until then.
            let again = program.label();
            program.place(&again);
            program.call(Call::Sleep, [1_000, 0, 0, 0]);
            program.load(20, DATA + 8);
            program.jump_if(&again, |user| user.x[20] == 0);
            program.call(Call::Sleep, [1_000_000, 0, 0, 0]);
            program.granted_with(Call::Notify, |user| [user.x[22], 0, 0, 0]);
            program.holds(DATA, 0);
            program.granted_with(Call::Notify, |user| [user.x[22], 4, 0, 0]);
            program.holds(DATA, runs);
            joined(program, 1);
        });
    }
}
