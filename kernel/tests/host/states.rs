//! Snapshots, guarantees, and programs that are loaded: by one that spawns them, or in its own place.

use crate::machine::{Machine, run};
use crate::program::{DATA, DATA_SIZE, Program, arguments_address, words};
use graft_abi::{
    ARGUMENTS_MAX, Call, Error, ExitStatus, FORK_GUARANTEED, FaultKind, Handle, ProcessInfo, Rights, STACK_SIZE,
    STACK_TOP, Segment, Text, USER_END,
};
use graft_kernel::arch::floating_point;
use std::mem::offset_of;

const SELF: u64 = Handle::SELF.0 as u64;
const PAGE: u64 = 4096;
const FREE: u64 = 0x6000_0000;
const WRITE: u64 = 2;
const DEPTHS: [u64; 4] = [0, 3, 2, 1];
/// Where a program keeps the file of another, and what `spawn` is asked.
const IMAGE: u64 = 0x7000_0000;
const ARGUMENTS: u64 = DATA + 0x2000 - 24;
const HANDLES: u64 = DATA + 0x4000;
const REQUEST: u64 = DATA + 0x5000;
/// Across the end of a page.
const SEGMENTS: u64 = DATA + 0x6000 - 104;

/// Takes a snapshot, changes memory, goes back several times: 0 in `x1` is the snapshot, other values are returns.
fn go_back(program: &mut Program, share: u64, pages: u64) {
    program.touch(FREE, pages, 100);
    program.calculate(|_| floating_point::set_registers(7));
    program.call(Call::Snapshot, [SELF, share, 0, 0]);
    program.keep(19);
    program.keep_second(20);
    program.claim(|user| (user.x[19] as i64) > 0);
    program.touched(FREE, pages, 100);
    program.calculate(|user| user.x[25] = floating_point::registers());
    program.claim(|user| user.x[25] == 7);
    program.touch(FREE, pages, 200);
    program.calculate(|_| floating_point::set_registers(8));
    program.granted(Call::Map, [FREE + pages * PAGE, PAGE, WRITE, 0]);
    let over = program.label();
    program.jump_if(&over, |user| user.x[20] == 3);
    program.call_with(Call::Restore, |user| [SELF, user.x[19], user.x[20] + 1, 0]);
    program.exit(99);
    program.place(&over);
    program.touched(FREE, pages, 200);
    program.call_with(Call::Close, |user| [user.x[19], 0, 0, 0]);
    program.granted(Call::Unmap, [FREE + pages * PAGE, PAGE, 0, 0]);
}

#[test]
fn a_restore_brings_memory_and_registers_back_at_every_depth() {
    run(|program| {
        program.granted(Call::Map, [FREE, 40 * PAGE, WRITE, 0]);
        for share in DEPTHS {
            go_back(program, share, 40);
        }
    });
}

/// So much that fork, snapshot and restore go in pieces.
#[test]
fn a_restore_in_pieces_brings_as_much_back() {
    run(|program| {
        program.granted(Call::Map, [FREE, 1_200 * PAGE, WRITE, 0]);
        go_back(program, 0, 1_200);
    });
}

/// The child of a snapshot has the snapshot's memory, not what its maker has stored since.
#[test]
fn a_process_out_of_a_snapshot_goes_on_where_it_was_taken() {
    for (share, pages) in [(3, 20), (0, 20), (0, 1_200)] {
        run(|program| {
            program.granted(Call::Map, [FREE, pages * PAGE, WRITE, 0]);
            program.touch(FREE, pages, 100);
            program.granted(Call::Duplicate, [SELF, 0, 0, 0]);
            program.call(Call::Identify, [0; 4]);
            program.keep(22);
            program.call(Call::Snapshot, [SELF, share, 0, 0]);
            program.keep(19);
            program.keep_second(20);
            program.call(Call::Identify, [0; 4]);
            let maker = program.label();
            program.jump_if(&maker, |user| user.x[0] == user.x[22]);
            // `x0` is 0 and `x1` the child's number, as after a fork.
            program.claim(|user| user.x[19] == 0 && user.x[20] == user.x[0]);
            program.touched(FREE, pages, 100);
            program.exit(6);
            program.place(&maker);
            program.touch(FREE, pages, 300);
            for _ in 0..2 {
                program.call_with(Call::Fork, move |user| [user.x[19], share, 0, 0]);
                program.claim(|user| user.x[1] > user.x[22]);
                program.ends(ExitStatus::Exited(6));
            }
            program.touched(FREE, pages, 300);
        });
    }
}

#[test]
fn a_guaranteed_fork_pays_in_advance_and_gets_it_back() {
    for pages in [30, 1_200] {
        run(move |program| {
            program.granted(Call::Map, [FREE, pages * PAGE, WRITE, 0]);
            program.touch(FREE, pages, 1);
            let share = if pages == 30 { 3 } else { 0 };
            // `committed_frames`.
            let committed = |program: &mut Program| {
                program.granted(Call::SystemInfo, [1, DATA + 0x800, 0, 0]);
                program.load(23, DATA + 0x800 + 40);
            };
            committed(program);
            program.claim(|user| user.x[23] == 0);
            let parent = program.label();
            program.call(Call::Fork, [SELF, share, FORK_GUARANTEED, 0]);
            program.jump_if(&parent, |user| user.x[0] != 0);
            program.touch(FREE, pages, 500);
            program.touched(FREE, pages, 500);
            program.exit(2);
            program.place(&parent);
            program.keep(19);
            committed(program);
            program.touch(FREE, pages, 900);
            program.act(|user| {
                user.x[0] = user.x[19];
                Ok(())
            });
            program.ends(ExitStatus::Exited(2));
            program.touched(FREE, pages, 900);
            committed(program);
            program.claim(|user| user.x[23] == 0);
            // More than there is, for a copy of what there is.
            program.granted(Call::Map, [IMAGE, 9_000 * PAGE, WRITE, 0]);
            program.touch(IMAGE, 9_000, 1);
            program.refused(Call::Fork, [SELF, 3, FORK_GUARANTEED, 0], Error::OutOfMemory);
            program.granted(Call::Unmap, [IMAGE, 9_000 * PAGE, 0, 0]);
            program.child(ExitStatus::Exited(0), |child| child.touched(FREE, pages, 900));
        });
    }
}

/// A program that checks what it begins with, and that is several pages long.
fn guest(name: &'static str, arguments: &'static [u8]) -> Program {
    let mut guest = Program::new();
    guest.data = (0..11 * PAGE + 100).map(|index| (index * 7 + index / PAGE) as u8).collect();
    let expected = guest.data.clone();
    // The arguments, just below the top of the stack.
    guest.claim(move |user| {
        user.x[1] == arguments.len() as u64
            && user.x[0] == STACK_TOP as u64 - (arguments.len() as u64).next_multiple_of(16)
            && *user.sp == user.x[0]
    });
    guest.act(move |user| {
        let mut wrong = 0;
        for (index, word) in arguments.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            wrong += u64::from(user.load(user.x[0] + 8 * index as u64)? != u64::from_le_bytes(bytes));
        }
        for (index, word) in expected.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            wrong += u64::from(user.load(DATA + 8 * index as u64)? != word);
        }
        user.x[20] = wrong;
        Ok(())
    });
    guest.claim(|user| user.x[20] == 0);
    guest.holds(DATA + 12 * PAGE, 0);
    guest.granted(Call::ProcessInfo, [SELF, DATA, 0, 0]);
    let mut bytes = [0; 32];
    let shown = name.len().min(31);
    bytes[..shown].copy_from_slice(&name.as_bytes()[..shown]);
    for (index, word) in bytes.chunks(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        guest.holds(DATA + (offset_of!(ProcessInfo, name) + 8 * index) as u64, word);
    }
    guest
}

/// What a program is asked for, and its bytes.
struct File {
    segments: [Segment; 3],
    entry: u64,
    data: Vec<u8>,
}

impl File {
    /// Of a program whose bytes will be at [`IMAGE`].
    fn of(guest: Program, arguments: &[u8]) -> File {
        let arguments = Text { address: ARGUMENTS, length: arguments.len() as u64 };
        let file = File { segments: guest.segments(IMAGE, arguments), entry: guest.base(), data: guest.data.clone() };
        guest.put();
        file
    }
}

/// Stores a program's bytes, arguments and a request.
fn ask(program: &mut Program, file: &File, arguments: &[u8], handles: u64) {
    program.store_bytes(IMAGE, &file.data);
    program.store_bytes(ARGUMENTS, arguments);
    for (index, segment) in file.segments.iter().enumerate() {
        for (field, word) in words(segment).into_iter().enumerate() {
            program.store(SEGMENTS + 8 * (6 * index + field) as u64, word);
        }
    }
    let address = arguments_address(arguments.len() as u64);
    let mut name = [0; 32];
    let shown = arguments.iter().take_while(|&&byte| byte != 0);
    name[..31].iter_mut().zip(shown).for_each(|(place, &byte)| *place = byte);
    let fields = [SEGMENTS, 3, file.entry, address, address, arguments.len() as u64, HANDLES, handles];
    let name = name.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    for (index, field) in fields.into_iter().chain(name).enumerate() {
        program.store(REQUEST + 8 * index as u64, field);
    }
}

const SHORT: &[u8] = b"guest\0first\0second argument\0";
/// Longer than a name is kept.
const LONG: &[u8] = b"a-program-with-a-name-longer-than-thirty-one\0\0x\0";

#[test]
fn a_spawned_program_has_its_file_arguments_and_handles() {
    let machine = Machine::take();
    for (name, arguments) in [("guest", SHORT), ("a-program-with-a-name-longer-than-thirty-one", LONG)] {
        let mut guest = guest(name, arguments);
        // More handles than are passed on in one piece; the second leads to the parent.
        guest.granted(Call::SystemInfo, [1, DATA, 0, 0]);
        guest.granted(Call::ProcessInfo, [2, DATA, 0, 0]);
        guest.granted(Call::SystemInfo, [60, DATA, 0, 0]);
        guest.refused(Call::SystemInfo, [61, DATA, 0, 0], Error::BadHandle);
        guest.exit(17);
        let file = File::of(guest, arguments);
        let mut program = Program::new();
        program.granted(Call::Map, [IMAGE, 0x20000, WRITE, 0]);
        ask(&mut program, &file, arguments, 60);
        for index in 0..60_u64 {
            let handle = if index == 1 { SELF as u32 } else { 1 };
            program.act(move |user| user.store_bytes(HANDLES + 4 * index, &handle.to_le_bytes()));
        }
        program.granted(Call::Spawn, [REQUEST, 0, 0, 0]);
        program.claim(|user| user.x[1] > 1);
        program.ends(ExitStatus::Exited(17));
        program.exit(0);
        assert_eq!(machine.run(program), ExitStatus::Exited(0), "{name}");
    }
}

#[test]
fn a_program_takes_anothers_place_with_its_handles_and_number() {
    let machine = Machine::take();
    let mut guest = guest("guest", SHORT);
    guest.granted(Call::SystemInfo, [1, DATA, 0, 0]);
    guest.calculate(|user| user.x[20] = floating_point::registers());
    guest.claim(|user| user.x[20] == 0);
    guest.child(ExitStatus::Faulted(FaultKind::Unmapped), |child| child.load(20, FREE));
    guest.exit(18);
    let file = File::of(guest, SHORT);
    let mut program = Program::new();
    program.granted(Call::Map, [IMAGE, 0x20000, WRITE, 0]);
    program.granted(Call::Map, [FREE, PAGE, WRITE, 0]);
    program.touch(FREE, 1, 1);
    program.calculate(|_| floating_point::set_registers(5));
    ask(&mut program, &file, SHORT, 0);
    program.call(Call::Exec, [REQUEST, 0, 0, 0]);
    program.exit(1);
    assert_eq!(machine.run(program), ExitStatus::Exited(18));
}

#[test]
fn a_refused_launch_leaves_the_caller_as_it_was() {
    let machine = Machine::take();
    let guest = guest("guest", SHORT);
    let file = File::of(guest, SHORT);
    for call in [Call::Spawn, Call::Exec] {
        let mut program = Program::new();
        program.granted(Call::Map, [IMAGE, 0x20000, WRITE, 0]);
        ask(&mut program, &file, SHORT, 0);
        const STACK: u64 = (STACK_TOP - STACK_SIZE) as u64;
        // Of the request, and of its second and third segment.
        let [request, second, third] = [REQUEST, SEGMENTS + 48, SEGMENTS + 96];
        for (at, field, value, error) in [
            (request, 0, FREE, Error::BadAddress),
            (request, 0, u64::MAX - 40, Error::BadAddress),
            (request, 1, u64::MAX, Error::BadAddress),
            (request, 2, 0, Error::BadAddress),
            (request, 2, file.entry + 2, Error::Unaligned),
            (request, 2, USER_END as u64, Error::BadAddress),
            (request, 3, STACK + 8, Error::Unaligned),
            (request, 3, 0, Error::BadAddress),
            (second, 0, DATA + 8, Error::Unaligned),
            (second, 0, 0, Error::BadAddress),
            (second, 0, USER_END as u64 - PAGE, Error::BadAddress),
            (second, 0, u64::MAX - PAGE + 1, Error::BadAddress),
            (second, 0, file.entry, Error::Occupied),
            (third, 0, DATA + PAGE, Error::Occupied),
            (second, 1, 0, Error::BadAddress),
            (second, 1, 12, Error::Unaligned),
            (second, 1, u64::MAX - PAGE + 1, Error::BadLength),
            (second, 1, USER_END as u64, Error::BadAddress),
            (second, 2, 4, Error::BadArgument),
            (second, 2, u64::MAX, Error::BadArgument),
            (second, 3, DATA + DATA_SIZE - 8, Error::BadAddress),
            (second, 3, file.entry, Error::BadAddress),
            (second, 3, u64::MAX - 8, Error::BadAddress),
            (second, 4, FREE, Error::BadAddress),
            (second, 4, u64::MAX - 8, Error::BadAddress),
            (second, 5, 0x21000, Error::BadAddress),
            (second, 5, u64::MAX, Error::BadAddress),
        ] {
            program.load(22, at + 8 * field);
            program.store(at + 8 * field, value);
            program.refused(call, [REQUEST, 0, 0, 0], error);
            program.act(move |user| user.store(at + 8 * field, user.x[22]));
        }
        if call as u64 == Call::Spawn as u64 {
            program.store(REQUEST + 56, 2);
            program.granted(Call::Duplicate, [1, Rights::INSPECT.0.into(), 0, 0]);
            program.claim(|user| user.x[0] == 2);
            for (handle, error) in [(77, Error::BadHandle), (2, Error::NoRight)] {
                program.store(HANDLES, handle << 32 | 1);
                program.refused(call, [REQUEST, 0, 0, 0], error);
            }
        } else {
            // Its other threads would lose the program that they run.
            let thread = program.label();
            let entry = thread.clone();
            let over = program.label();
            program.granted_with(Call::ThreadCreate, move |_| [entry.address(), DATA + 0x8000, 0, 0]);
            program.refused(call, [REQUEST, 0, 0, 0], Error::NotAllowed);
            program.call(Call::Snapshot, [SELF, 3, 0, 0]);
            program.call_with(Call::Restore, |user| [SELF, user.x[0], 1, 0]);
            program.claim(|user| user.x[0] == Error::NotAllowed.to_register());
            program.jump(&over);
            program.place(&thread);
            program.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]);
            program.place(&over);
        }
        program.exit(0);
        assert_eq!(machine.run(program), ExitStatus::Exited(0));
    }
}

#[test]
fn a_process_out_of_a_snapshot_begins_anew_with_its_memory() {
    // Few tables, which are forked at once, and many, which are forked in pieces; at depths that arguments split.
    for (pages, share) in [(3, 0), (3, 3), (9_000, 0), (9_000, 1)] {
        run(|program| {
            program.granted(Call::Map, [FREE, pages * PAGE, WRITE, 0]);
            program.touch(FREE, pages, 7);
            program.calculate(|_| floating_point::set_registers(5));
            program.call(Call::Snapshot, [SELF, share, 0, 0]);
            program.keep(19);
            program.touch(FREE, 3, 8);
            program.store_bytes(ARGUMENTS, SHORT);
            let (entry, over) = (program.label(), program.label());
            let at = entry.clone();
            let length = SHORT.len() as u64;
            let address = arguments_address(length);
            // Only bytes: the pages are the snapshot's.
            for (field, value) in [0, 0, 0, address, ARGUMENTS, length].into_iter().enumerate() {
                program.store(SEGMENTS + 8 * field as u64, value);
            }
            for (field, value) in [SEGMENTS, 1, 0, address, address, length, HANDLES, 2].into_iter().enumerate() {
                program.store(REQUEST + 8 * field as u64, value);
            }
            program.act(move |user| user.store(REQUEST + 16, at.address()));
            program.store(HANDLES, 1 << 32 | 1);
            program.call_with(Call::SpawnWarm, |user| [REQUEST, user.x[19], 0, 0]);
            program.claim(|user| user.x[0] > 1 && user.x[0] < 100 && user.x[1] > 1);
            program.ends(ExitStatus::Exited(17));
            program.touched(FREE, 3, 8);
            program.refused(Call::SpawnWarm, [REQUEST, 1, 0, 0], Error::WrongObject);
            program.refused(Call::SpawnWarm, [REQUEST, 77, 0, 0], Error::BadHandle);
            program.refused(Call::SpawnWarm, [8, 77, 0, 0], Error::BadHandle);
            for (at, value, error) in [
                (SEGMENTS, DATA, Error::Occupied),
                (SEGMENTS + 24, 8, Error::BadAddress),
                (SEGMENTS + 32, 8, Error::BadAddress),
                (SEGMENTS + 40, length + 16, Error::BadAddress),
                (REQUEST + 48, 8, Error::BadAddress),
                (REQUEST + 48, u64::MAX - 3, Error::BadAddress),
                (REQUEST + 56, u64::MAX, Error::BadHandle),
            ] {
                program.store(SEGMENTS + 8, if at == SEGMENTS { PAGE } else { 0 });
                program.load(22, at);
                program.store(at, value);
                program.call_with(Call::SpawnWarm, |user| [REQUEST, user.x[19], 0, 0]);
                program.claim(move |user| user.x[0] == error.to_register());
                program.act(move |user| user.store(at, user.x[22]));
            }
            program.jump(&over);
            program.place(&entry);
            program.claim(|user| {
                user.x[0] == *user.sp && user.x[1] == SHORT.len() as u64 && user.x[2..].iter().all(|&word| word == 0)
            });
            program.calculate(|user| user.x[20] = floating_point::registers());
            program.claim(|user| user.x[20] == 0);
            program.load(20, STACK_TOP as u64 - (SHORT.len() as u64).next_multiple_of(16));
            program.claim(|user| user.x[20] == u64::from_le_bytes(*b"guest\0fi"));
            program.touched(FREE, pages, 7);
            program.granted(Call::SystemInfo, [2, DATA, 0, 0]);
            program.refused(Call::SystemInfo, [3, DATA, 0, 0], Error::BadHandle);
            program.exit(17);
            program.place(&over);
        });
    }
}

#[test]
fn arguments_may_be_as_long_as_the_interface_says() {
    let machine = Machine::take();
    let mut guest = Program::new();
    guest.claim(|user| user.x[1] == ARGUMENTS_MAX as u64);
    guest.act(|user| {
        user.x[20] = user.load(user.x[0] + ARGUMENTS_MAX as u64 - 8)?;
        Ok(())
    });
    guest.claim(|user| user.x[20] == u64::from_le_bytes(*b"xxxxxxx\0"));
    guest.exit(3);
    let mut arguments = vec![b'x'; ARGUMENTS_MAX];
    arguments[ARGUMENTS_MAX - 1] = 0;
    let file = File::of(guest, &arguments);
    let mut program = Program::new();
    program.granted(Call::Map, [IMAGE, 0x20000, WRITE, 0]);
    ask(&mut program, &file, &arguments, 0);
    // Where there is room for them.
    program.store_bytes(DATA + 0x8000, &arguments);
    program.store(SEGMENTS + 96 + 32, DATA + 0x8000);
    program.granted(Call::Spawn, [REQUEST, 0, 0, 0]);
    program.ends(ExitStatus::Exited(3));
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
}

#[test]
fn want_of_memory_is_refused_and_nothing_is_lost() {
    run(|program| {
        program.granted(Call::Map, [FREE, 20_000 * PAGE, WRITE, 0]);
        program.child(ExitStatus::Faulted(FaultKind::OutOfMemory), |child| child.touch(FREE, 20_000, 1));
        // What one core has freed, another can have.
        program.touch(FREE, 12_000, 1);
        program.refused(Call::MemoryCreate, [12_000 * PAGE, 0, 0, 0], Error::OutOfMemory);
        program.refused(Call::Fork, [SELF, 0, FORK_GUARANTEED, 0], Error::NotAllowed);
        program.touched(FREE, 12_000, 1);
        program.granted(Call::Unmap, [FREE, 20_000 * PAGE, 0, 0]);
        program.granted(Call::MemoryCreate, [12_000 * PAGE, 0, 0, 0]);
        program.refused(Call::MemoryCreate, [12_000 * PAGE, 0, 0, 0], Error::OutOfMemory);
    });
}

/// Makes memory objects until there is no frame for one, and keeps them.
fn hoard(program: &mut Program) {
    const PAGES: usize = 7;
    program.calculate(|user| user.x[PAGES] = 8192);
    let again = program.label();
    program.place(&again);
    program.call_with(Call::MemoryCreate, |user| [user.x[PAGES] * PAGE, 0, 0, 0]);
    program.jump_if(&again, |user| user.x[0] as i64 >= 0);
    program.calculate(|user| user.x[PAGES] /= 2);
    program.jump_if(&again, |user| user.x[PAGES] != 0);
}

#[test]
fn what_is_kept_back_is_for_pages_of_processes_in_no_job() {
    run(|program| {
        const PAGES: u64 = 60;
        program.granted(Call::Map, [FREE, 1000 * PAGE, WRITE, 0]);
        program.granted(Call::JobCreate, [0; 4]);
        program.granted_with(Call::JobEnter, |user| [user.x[0], 0, 0, 0]);
        program.child(ExitStatus::Faulted(FaultKind::OutOfMemory), |child| {
            hoard(child);
            child.touch(FREE, PAGES, 1);
        });
        program.granted(Call::JobEnter, [0; 4]);
        program.child(ExitStatus::Exited(0), |child| {
            hoard(child);
            child.touch(FREE, PAGES, 1);
            child.exit(0);
        });
        program.child(ExitStatus::Faulted(FaultKind::OutOfMemory), |child| {
            hoard(child);
            child.touch(FREE, 1000, 1);
        });
    });
}
