//! What calls about memory, handles and threads answer, and what they refuse.

use crate::machine::{Machine, run};
use crate::program::{DATA, Program};
use graft_abi::{
    CONSOLE_MAX, Call, Error, ExitStatus, FORK_GUARANTEED, FaultKind, Handle, MAP_BASE, MAP_NO_INHERIT, Permissions,
    Rights, STACK_GUARD, STACK_SIZE, STACK_TOP, USER_END, USER_START,
};
use graft_kernel::arch::floating_point;

const SELF: u64 = Handle::SELF.0 as u64;
const PAGE: u64 = 4096;
/// Where nothing is mapped.
const FREE: u64 = 0x6000_0000;
const ELSEWHERE: u64 = 0x6800_0000;
const NONE: u64 = Permissions::None as u64;
const READ: u64 = Permissions::Read as u64;
const WRITE: u64 = Permissions::ReadWrite as u64;
const EXECUTE: u64 = Permissions::ReadExecute as u64;
const END: u64 = USER_END as u64;
const START: u64 = USER_START as u64;

fn faulted(kind: FaultKind) -> ExitStatus {
    ExitStatus::Faulted(kind)
}

#[test]
fn a_range_is_checked_before_it_is_mapped() {
    run(|program| {
        for (address, bytes, permissions, flags, error) in [
            (FREE + 1, PAGE, WRITE, 0, Error::Unaligned),
            (FREE, PAGE + 1, WRITE, 0, Error::Unaligned),
            (FREE, 0, WRITE, 0, Error::BadLength),
            (0, 0, WRITE, 0, Error::BadLength),
            (FREE, END + PAGE, WRITE, 0, Error::BadLength),
            (FREE, END, WRITE, 0, Error::BadAddress),
            (0, END, WRITE, 0, Error::AddressesExhausted),
            (START - PAGE, PAGE, WRITE, 0, Error::BadAddress),
            (START - 2 * PAGE, PAGE, WRITE, 0, Error::BadAddress),
            (END - PAGE, 2 * PAGE, WRITE, 0, Error::BadAddress),
            (FREE, PAGE, 9, 0, Error::BadArgument),
            (FREE, PAGE, WRITE, 2, Error::BadArgument),
            (FREE, PAGE, EXECUTE, MAP_NO_INHERIT, Error::NotAllowed),
            (DATA, PAGE, WRITE, 0, Error::Occupied),
        ] {
            program.refused(Call::Map, [address, bytes, permissions, flags], error);
        }
        for (address, permissions, flags) in [
            (START, WRITE, 0),
            (END - PAGE, WRITE, 0),
            (FREE, EXECUTE, 0),
            (FREE + PAGE, WRITE, MAP_NO_INHERIT),
            (FREE + 2 * PAGE, READ, 0),
            (FREE + 3 * PAGE, NONE, 0),
        ] {
            program.call(Call::Map, [address, PAGE, permissions, flags]);
            program.claim(move |user| user.x[..2] == [address, 0]);
        }
        program.refused(Call::Protect, [ELSEWHERE, PAGE, READ, 0], Error::NotMapped);
        program.refused(Call::Protect, [DATA, PAGE, 9, 0], Error::BadArgument);
        program.refused(Call::Unmap, [DATA + 8, PAGE, 0, 0], Error::Unaligned);
        program.refused(Call::Discard, [DATA, 0, 0, 0], Error::BadLength);
        program.refused(Call::Move, [DATA, PAGE, DATA + PAGE, 0], Error::Occupied);
    });
}

#[test]
fn what_a_call_has_done_to_a_range_is_what_accesses_find() {
    run(|program| {
        program.granted(Call::Map, [FREE, 4 * PAGE, WRITE, 0]);
        program.touch(FREE, 4, 50);
        program.granted(Call::Protect, [FREE, PAGE, READ, 0]);
        program.holds(FREE, 50);
        program.child(faulted(FaultKind::WriteDenied), |child| child.store(FREE, 1));
        program.granted(Call::Protect, [FREE, PAGE, NONE, 0]);
        program.child(faulted(FaultKind::ReadDenied), |child| child.load(20, FREE));
        program.granted(Call::Protect, [FREE, PAGE, WRITE, 0]);
        program.touched(FREE, 4, 50);
        program.granted(Call::Discard, [FREE + PAGE, PAGE, 0, 0]);
        program.holds(FREE + PAGE, 0);
        program.holds(FREE + 2 * PAGE, 52);
        program.call(Call::Move, [FREE + 2 * PAGE, 2 * PAGE, ELSEWHERE, 0]);
        program.claim(|user| user.x[..2] == [ELSEWHERE, 0]);
        program.touched(ELSEWHERE, 2, 52);
        program.child(faulted(FaultKind::Unmapped), |child| child.load(20, FREE + 2 * PAGE));
        program.call(Call::Move, [ELSEWHERE, PAGE, 0, 0]);
        program.claim(|user| user.x[0] >= MAP_BASE as u64 && user.x[1] == 0);
        program.act(|user| {
            user.x[20] = user.load(user.x[0])?;
            Ok(())
        });
        program.claim(|user| user.x[20] == 52);
        program.granted(Call::Unmap, [FREE, PAGE, 0, 0]);
        program.child(faulted(FaultKind::Unmapped), |child| child.load(20, FREE));
        program.granted(Call::Map, [FREE, PAGE, WRITE, 0]);
        program.holds(FREE, 0);
    });
}

#[test]
fn room_is_found_where_nothing_is() {
    run(|program| {
        program.granted(Call::Map, [0, 2 * PAGE, WRITE, 0]);
        program.claim(|user| user.x[0] == MAP_BASE as u64);
        program.granted(Call::Map, [0, PAGE, WRITE, 0]);
        program.claim(|user| user.x[0] == MAP_BASE as u64 + 2 * PAGE);
        program.granted(Call::Unmap, [MAP_BASE as u64, PAGE, 0, 0]);
        program.granted(Call::Map, [0, PAGE, WRITE, 0]);
        program.claim(|user| user.x[0] == MAP_BASE as u64);
    });
}

#[test]
fn a_child_gets_no_memory_that_is_not_to_be_inherited() {
    run(|program| {
        program.granted(Call::Map, [FREE, PAGE, WRITE, MAP_NO_INHERIT]);
        program.granted(Call::Map, [FREE + PAGE, PAGE, WRITE, 0]);
        program.touch(FREE, 2, 7);
        program.child(faulted(FaultKind::Unmapped), |child| {
            child.holds(FREE + PAGE, 8);
            child.load(20, FREE);
        });
        program.touched(FREE, 2, 7);
    });
}

#[test]
fn a_fault_is_called_by_what_it_is() {
    const GUARD: u64 = STACK_GUARD as u64;
    let stack = (STACK_TOP - STACK_SIZE) as u64;
    run(|program| {
        program.child(faulted(FaultKind::StackOverflow), move |child| child.store(stack - 8, 1));
        program.child(faulted(FaultKind::StackOverflow), move |child| child.store(stack - GUARD, 1));
        program.child(faulted(FaultKind::Unmapped), move |child| child.store(stack - GUARD - 8, 1));
        program.child(faulted(FaultKind::Unmapped), |child| child.store(8, 1));
        program.child(ExitStatus::Exited(0), move |child| child.store(stack, 1));
        program.child(faulted(FaultKind::KernelAddress), |child| child.store(u64::MAX - 7, 1));
        program.child(faulted(FaultKind::KernelAddress), |child| child.store(1 << 63, 1));
        program.child(faulted(FaultKind::Unmapped), |child| child.store((1 << 63) - 8, 1));
        program.child(faulted(FaultKind::Unmapped), |child| child.store(1 << 48, 1));
        program.child(faulted(FaultKind::Unaligned), |child| child.store(DATA + 4, 1));
        program.child(faulted(FaultKind::ExecuteDenied), |child| {
            let data = child.label();
            child.jump(&data);
            child.place_at(&data, DATA);
        });
    });
}

#[test]
fn rights_to_a_memory_object_are_what_its_handle_carries() {
    run(|program| {
        program.granted(Call::MemoryCreate, [3 * PAGE, 0, 0, 0]);
        program.keep(19);
        program.call_with(Call::Duplicate, |user| [user.x[19], Rights::READ.0.into(), 0, 0]);
        program.keep(20);
        program.call_with(Call::MapObject, |user| [user.x[20], FREE, WRITE, 0]);
        program.claim(|user| user.x[0] == Error::NoRight.to_register());
        for permissions in [EXECUTE, NONE] {
            program.call_with(Call::MapObject, move |user| [user.x[19], FREE, permissions, 0]);
            program.claim(|user| user.x[0] == Error::NotAllowed.to_register());
        }
        program.call_with(Call::MapObject, |user| [user.x[20], FREE, READ, 0]);
        program.claim(|user| user.x[..2] == [FREE, 3 * PAGE]);
        program.call_with(Call::MapObject, |user| [user.x[19], ELSEWHERE, WRITE, 0]);
        program.claim(|user| user.x[..2] == [ELSEWHERE, 3 * PAGE]);
        program.touch(ELSEWHERE, 3, 90);
        program.touched(FREE, 3, 90);
        program.child(faulted(FaultKind::WriteDenied), |child| child.store(FREE, 1));
        program.refused(Call::MapObject, [SELF, FREE, READ, 0], Error::BadHandle);
        program.refused(Call::MemoryCreate, [0, 0, 0, 0], Error::BadLength);
        program.refused(Call::MemoryCreate, [1, 0, 0, 0], Error::Unaligned);
        program.refused(Call::MemoryCreate, [1 << 40, 0, 0, 0], Error::OutOfMemory);
    });
}

/// More pages than one piece allocates, maps, copies or frees.
#[test]
fn what_goes_in_pieces_ends_as_if_it_had_been_one() {
    const PAGES: u64 = 1_100;
    run(|program| {
        program.granted(Call::MemoryCreate, [PAGES * PAGE, 0, 0, 0]);
        program.keep(19);
        program.call_with(Call::MapObject, |user| [user.x[19], FREE, WRITE, 0]);
        program.claim(|user| user.x[..2] == [FREE, PAGES * PAGE]);
        program.touch(FREE, PAGES, 5);
        program.touched(FREE, PAGES, 5);
        program.granted(Call::Unmap, [FREE, PAGES * PAGE, 0, 0]);
        program.granted(Call::Map, [FREE, PAGES * PAGE, WRITE, 0]);
        program.touch(FREE, PAGES, 100);
        program.call(Call::Fork, [SELF, 0, 0, 0]);
        let parent = program.label();
        program.jump_if(&parent, |user| user.x[0] != 0);
        program.keep_second(21);
        program.call(Call::Identify, [0; 4]);
        program.claim(|user| user.x[0] == user.x[21]);
        program.touched(FREE, PAGES, 100);
        program.touch(FREE, PAGES, 300);
        program.exit(4);
        program.place(&parent);
        program.keep(20);
        program.keep_second(21);
        program.act(|user| {
            user.x[0] = user.x[20];
            Ok(())
        });
        program.ends(ExitStatus::Exited(4));
        program.touched(FREE, PAGES, 100);
        program.granted(Call::Protect, [FREE, PAGES * PAGE, READ, 0]);
        program.touched(FREE, PAGES, 100);
        program.granted(Call::Protect, [FREE, PAGES * PAGE, EXECUTE, 0]);
        program.child(faulted(FaultKind::WriteDenied), |child| child.store(FREE + (PAGES - 1) * PAGE, 1));
        program.granted(Call::Protect, [FREE, PAGES * PAGE, WRITE, 0]);
        program.call(Call::Move, [FREE, PAGES * PAGE, ELSEWHERE + PAGE, 0]);
        program.claim(|user| user.x[..2] == [ELSEWHERE + PAGE, 0]);
        program.touched(ELSEWHERE + PAGE, PAGES, 100);
        program.granted(Call::Discard, [ELSEWHERE + PAGE, PAGES * PAGE, 0, 0]);
        program.holds(ELSEWHERE + PAGE, 0);
        program.holds(ELSEWHERE + PAGES * PAGE, 0);
    });
}

#[test]
fn no_thread_waits_for_itself() {
    run(|program| {
        program.refused(Call::Wait, [SELF, 0, 0, 0], Error::NotAllowed);
        program.refused(Call::Wait, [77, 0, 0, 0], Error::BadHandle);
        program.refused(Call::Wait, [1, 0, 0, 0], Error::WrongObject);
        program.refused(Call::Wait, [1 << 32 | SELF, 0, 0, 0], Error::BadHandle);
        program.granted(Call::Duplicate, [SELF, Rights::WAIT.0.into(), 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[0], 0, 0, 0]);
        program.claim(|user| user.x[0] == Error::NotAllowed.to_register());
        let thread = program.label();
        let entry = thread.clone();
        let over = program.label();
        program.granted_with(Call::ThreadCreate, move |_| [entry.address(), DATA + 0x8000, 0, 0]);
        program.keep(19);
        program.act(|user| user.store(DATA, user.x[19]));
        program.call_with(Call::ThreadJoin, |user| [user.x[19], 0, 0, 0]);
        program.claim(|user| user.x[..2] == [0, Error::NotAllowed.to_register()]);
        program.jump(&over);
        program.place(&thread);
        let wait = program.label();
        program.place(&wait);
        program.load(20, DATA);
        program.jump_if(&wait, |user| user.x[20] == 0);
        program.call_with(Call::ThreadJoin, |user| [user.x[20], 0, 0, 0]);
        program.call_with(Call::ThreadExit, |user| [user.x[0], 0, 0, 0]);
        program.place(&over);
    });
}

#[test]
fn a_thread_begins_where_a_program_can_be() {
    let ended = Machine::take().run_with(|program| {
        let (entry, stack) = (program.base(), DATA + 0x8000);
        for (entry, stack, error) in [
            (entry + 2, stack, Error::Unaligned),
            (entry, stack + 8, Error::Unaligned),
            (START - 4, stack, Error::BadAddress),
            (entry, START, Error::BadAddress),
            (END, stack, Error::BadAddress),
            (entry, END + 16, Error::BadAddress),
        ] {
            program.refused(Call::ThreadCreate, [entry, stack, 0, 0], error);
        }
        program.granted(Call::ThreadCreate, [END - 4, END, 0, 0]);
    });
    // The last one can begin: at once, or not before its process has ended.
    assert!(matches!(ended, ExitStatus::Exited(0) | ExitStatus::Faulted(FaultKind::Unmapped)), "{ended:?}");
}

#[test]
fn arguments_of_a_fork_are_checked() {
    run(|program| {
        program.refused(Call::Fork, [SELF, 7, 0, 0], Error::BadArgument);
        program.refused(Call::Fork, [SELF, 3, 2, 0], Error::BadArgument);
        program.refused(Call::Fork, [77, 3, 0, 0], Error::BadHandle);
        program.refused(Call::Fork, [1, 3, 0, 0], Error::WrongObject);
        program.refused(Call::Snapshot, [SELF, 7, 0, 0], Error::BadArgument);
        program.refused(Call::Snapshot, [SELF, 3, 1, 0], Error::BadArgument);
        program.granted(Call::Snapshot, [SELF, 3, 0, 0]);
        program.keep(19);
        program.call_with(Call::Fork, |user| [user.x[19], 3, FORK_GUARANTEED, 0]);
        program.claim(|user| user.x[0] == Error::BadArgument.to_register());
        program.call_with(Call::Restore, |user| [SELF, user.x[19], 0, 0]);
        program.claim(|user| user.x[0] == Error::BadArgument.to_register());
        program.fork(3, |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]));
        program.keep(20);
        program.call_with(Call::Fork, |user| [user.x[20], 3, 0, 0]);
        program.claim(|user| user.x[0] == Error::NotAllowed.to_register());
        program.call_with(Call::Kill, |user| [user.x[20], 1, 0, 0]);
    });
}

#[test]
fn each_thread_has_its_own_floating_point() {
    run(|program| {
        let set = |program: &mut Program, value| program.calculate(move |_| floating_point::set_registers(value));
        let holds = |program: &mut Program, value| {
            program.calculate(|user| user.x[25] = floating_point::registers());
            program.claim(move |user| user.x[25] == value);
        };
        // A thread that has used none finds zero, whatever another has left.
        holds(program, 0);
        set(program, 11);
        program.fork(3, |child| {
            for _ in 0..20 {
                child.call(Call::Yield, [0; 4]);
                child.calculate(|user| user.x[25] = floating_point::registers());
                child.claim(|user| user.x[25] == 11);
            }
            child.calculate(|_| floating_point::set_registers(12));
            child.call(Call::Sleep, [1_000_000, 0, 0, 0]);
            child.calculate(|user| user.x[25] = floating_point::registers());
            child.claim(|user| user.x[25] == 12);
            child.exit(0);
        });
        program.keep(20);
        let thread = program.label();
        let entry = thread.clone();
        program.granted_with(Call::ThreadCreate, move |_| [entry.address(), DATA + 0x8000, 0, 0]);
        program.keep(19);
        for _ in 0..20 {
            program.call(Call::Yield, [0; 4]);
            holds(program, 11);
        }
        program.call(Call::Sleep, [1_000_000, 0, 0, 0]);
        holds(program, 11);
        program.call_with(Call::ThreadJoin, |user| [user.x[19], 0, 0, 0]);
        program.claim(|user| user.x[..2] == [0, 0]);
        program.act(|user| {
            user.x[0] = user.x[20];
            Ok(())
        });
        program.ends(ExitStatus::Exited(0));
        holds(program, 11);
        program.exit(0);
        program.place(&thread);
        for _ in 0..20 {
            program.calculate(|user| user.x[21] |= floating_point::registers());
            program.call(Call::Yield, [0; 4]);
        }
        program.call_with(Call::ThreadExit, |user| [user.x[21], 0, 0, 0]);
    });
}

/// A fetch that is permitted finds what was stored: there is no instruction at these addresses, and the fault of a
/// program that gets there is not one of its page.
#[test]
fn what_a_program_has_written_can_be_fetched_as_soon_as_it_may_be_executed() {
    const PAGES: u64 = 700;
    let executes = |program: &mut Program, address: u64| {
        program.child(faulted(FaultKind::Undefined), |child| {
            let there = child.label();
            child.place_at(&there, address);
            child.jump(&there);
        });
    };
    run(|program| {
        program.granted(Call::Map, [FREE, PAGES * PAGE, WRITE, 0]);
        for (first, pages) in [(0, 1), (3, 5), (8, PAGES - 9)] {
            let start = FREE + first * PAGE;
            program.touch(start, pages, 1);
            program.granted(Call::Protect, [start, pages * PAGE, EXECUTE, 0]);
            for page in [0, pages / 2, pages - 1] {
                executes(program, start + page * PAGE);
            }
        }
        // Memory that has not been touched is the page of zeroes.
        program.granted(Call::Map, [ELSEWHERE, PAGE, EXECUTE, 0]);
        executes(program, ELSEWHERE);
        // Written again by the same program, in the same frame.
        program.granted(Call::Protect, [FREE, PAGE, WRITE, 0]);
        program.touch(FREE, 1, 9);
        program.granted(Call::Protect, [FREE, PAGE, EXECUTE, 0]);
        executes(program, FREE);
    });
}

#[test]
fn a_console_takes_so_many_bytes() {
    const CONSOLE: u64 = 2;
    let machine = Machine::take();
    let mut program = Program::new();
    for (length, written) in [(0, 0), (5, 5), (CONSOLE_MAX as u64, CONSOLE_MAX as u64), (9_999, CONSOLE_MAX as u64)] {
        program.call(Call::ConsoleWrite, [CONSOLE, DATA, length, 0]);
        program.claim(move |user| user.x[0] == written);
    }
    program.refused(Call::ConsoleWrite, [CONSOLE, 8, 5, 0], Error::BadAddress);
    program.exit(0);
    let process = machine.spawn_at_console(program);
    assert_eq!(machine.wait(&process), ExitStatus::Exited(0));
}
