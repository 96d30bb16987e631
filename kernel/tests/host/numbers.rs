//! Calls that only look: what they say about processes, tables and the machine is what is there.

use crate::machine::{CORES, Machine, run};
use crate::program::{DATA, Program};
use graft_abi::{
    Call, EntryKind, EntryRecord, Error, ExitStatus, Handle, MAP_NO_INHERIT, MemorySizes, Permissions, ProcessInfo,
    Rights, SystemInfo, TablesRequest, ThreadInfo, TraceKind, TraceRequest, USER_END,
};
use std::mem::{offset_of, size_of};
use std::sync::{Arc, Mutex};

const SELF: u64 = Handle::SELF.0 as u64;
const PAGE: u64 = 4096;
const FREE: u64 = 0x6000_0000;
const WRITE: u64 = Permissions::ReadWrite as u64;
const REQUEST: u64 = DATA + 0x100;
/// Across two pages.
const RESULT: u64 = DATA + 2 * PAGE - 24;
const END: u64 = USER_END as u64;

/// Loads a field of a process's information.
fn info(program: &mut Program, register: usize, field: usize) {
    program.load(register, RESULT + field as u64);
}

#[test]
fn a_process_is_what_its_information_says() {
    run(|program| {
        program.touch(RESULT & !(PAGE - 1), 2, 0);
        program.granted(Call::Map, [FREE, 20 * PAGE, WRITE, 0]);
        program.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
        info(program, 20, offset_of!(ProcessInfo, resident_pages));
        info(program, 21, offset_of!(ProcessInfo, reserved_pages));
        info(program, 22, offset_of!(ProcessInfo, faults));
        info(program, 23, offset_of!(ProcessInfo, demand_zero));
        program.call(Call::Identify, [0; 4]);
        program.act(|user| {
            user.x[24] = user.load(RESULT)?;
            user.x[25] = user.load(RESULT + offset_of!(ProcessInfo, state) as u64)?;
            Ok(())
        });
        // One thread, ready.
        program.claim(|user| user.x[24] == user.x[0] && user.x[25] == 1 << 32);
        program.touch(FREE, 20, 1);
        program.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
        for (register, field, more) in [
            (20, offset_of!(ProcessInfo, resident_pages), 20_u64),
            (21, offset_of!(ProcessInfo, reserved_pages), 20_u64.wrapping_neg()),
            (22, offset_of!(ProcessInfo, faults), 20),
            (23, offset_of!(ProcessInfo, demand_zero), 20),
        ] {
            info(program, 26, field);
            program.claim(move |user| user.x[26] == user.x[register].wrapping_add(more));
        }
        // A child that writes to shared memory splits a table, copies a page and uses the second one alone.
        program.fork(3, |child| {
            child.touch(FREE, 2, 7);
            child.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
            for (field, count) in
                [(offset_of!(ProcessInfo, table_splits), 2), (offset_of!(ProcessInfo, page_copies), 3)]
            {
                info(child, 26, field);
                child.claim(move |user| (1..=count).contains(&user.x[26]));
            }
            info(child, 26, offset_of!(ProcessInfo, parent));
            child.store(DATA, 1);
            child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]);
        });
        program.keep(19);
        program.keep_second(20);
        let look = program.label();
        program.place(&look);
        program.call(Call::Yield, [0; 4]);
        program.granted_with(Call::ProcessInfo, |user| [user.x[19], RESULT, 0, 0]);
        info(program, 25, offset_of!(ProcessInfo, state));
        // One thread, blocked.
        program.jump_if(&look, |user| user.x[25] != 1 << 32 | 1);
        info(program, 21, 0);
        info(program, 22, offset_of!(ProcessInfo, parent));
        program.call(Call::Identify, [0; 4]);
        program.claim(|user| user.x[20] == user.x[21] && user.x[22] == user.x[0]);
        // The parent is the last owner of what the child has copied.
        program.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
        info(program, 20, offset_of!(ProcessInfo, reuses));
        program.call_with(Call::Kill, |user| [user.x[19], 3, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.granted_with(Call::ProcessInfo, |user| [user.x[19], RESULT, 0, 0]);
        info(program, 25, offset_of!(ProcessInfo, state));
        info(program, 26, offset_of!(ProcessInfo, exit_status));
        info(program, 27, offset_of!(ProcessInfo, processor_time));
        program.claim(|user| user.x[25] == 2 && user.x[26] == ExitStatus::Killed(3).to_register());
        program.claim(|user| user.x[27] > 0 && user.x[27] < 120_000_000_000);
        program.touch(FREE, 20, 50);
        program.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
        info(program, 21, offset_of!(ProcessInfo, reuses));
        program.claim(|user| user.x[21] >= user.x[20] + 18);
        program.refused(Call::ProcessInfo, [SELF, FREE - 8, 0, 0], Error::BadAddress);
        program.refused(Call::ProcessInfo, [1, RESULT, 0, 0], Error::WrongObject);
    });
}

#[test]
fn the_system_is_what_its_information_says() {
    run(|program| {
        let field = |program: &mut Program, register, field: usize| {
            program.granted(Call::SystemInfo, [1, RESULT, 0, 0]);
            program.load(register, RESULT + field as u64);
        };
        program.touch(RESULT & !(PAGE - 1), 2, 0);
        field(program, 20, offset_of!(SystemInfo, processes));
        field(program, 21, offset_of!(SystemInfo, page_frames));
        field(program, 22, offset_of!(SystemInfo, object_frames));
        field(program, 23, offset_of!(SystemInfo, table_frames));
        field(program, 24, offset_of!(SystemInfo, free_frames));
        field(program, 25, offset_of!(SystemInfo, total_frames));
        // All but what is kept back.
        program.claim(|user| user.x[21] + user.x[22] + user.x[23] + user.x[24] == user.x[25] - user.x[25] / 128);
        // Two of them run: the first process, which sleeps, and this one.
        program.claim(|user| user.x[20] == 2);
        program.fork(3, |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]));
        program.keep(19);
        field(program, 26, offset_of!(SystemInfo, processes));
        program.claim(|user| user.x[26] == 3);
        field(program, 26, offset_of!(SystemInfo, object_frames));
        // A process and a thread.
        program.claim(|user| user.x[26] == user.x[22] + 2);
        program.call_with(Call::Kill, |user| [user.x[19], 3, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[19], 0, 0, 0]);
        program.granted(Call::Map, [FREE, 20 * PAGE, WRITE, 0]);
        field(program, 21, offset_of!(SystemInfo, page_frames));
        program.touch(FREE, 20, 1);
        field(program, 26, offset_of!(SystemInfo, page_frames));
        program.claim(|user| user.x[26] == user.x[21] + 20);
        field(program, 26, offset_of!(SystemInfo, cores));
        program.claim(|user| (1..=CORES as u64).contains(&user.x[26]));
        field(program, 26, offset_of!(SystemInfo, clock));
        program.call(Call::Clock, [0; 4]);
        program.claim(|user| user.x[0] >= user.x[26]);
        field(program, 26, offset_of!(SystemInfo, machine));
        program.claim(|user| user.x[26] == u64::from_le_bytes(*b"host\0\0\0\0"));
        program.refused(Call::SystemInfo, [SELF, RESULT, 0, 0], Error::BadHandle);
    });
}

#[test]
fn a_thread_is_what_its_information_says() {
    run(|program| {
        program.touch(RESULT & !(PAGE - 1), 2, 0);
        program.granted(Call::Schedule, [SELF, 7, 0, 0]);
        let look = program.label();
        program.place(&look);
        program.granted(Call::ThreadInfo, [SELF, RESULT, 0, 0]);
        program.load(20, RESULT + offset_of!(ThreadInfo, own_time) as u64);
        program.load(21, RESULT + offset_of!(ThreadInfo, clock) as u64);
        program.jump_if(&look, |user| user.x[20] == 0);
        program.load(22, RESULT + offset_of!(ThreadInfo, caller_time) as u64);
        program.load(23, RESULT + offset_of!(ThreadInfo, priority) as u64);
        program.load(24, RESULT + offset_of!(ThreadInfo, limit) as u64);
        // The priority and its own, the limit, and cores that there are.
        program.claim(|user| user.x[22] == 0 && user.x[23] == 7 << 32 | 7 && user.x[24] as u32 >= 7);
        program.claim(|user| user.x[24] >> 32 != 0 && user.x[24] >> 32 < 1 << CORES);
        // A process without other threads has used what this one has, and no time is used twice.
        program.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
        info(program, 24, offset_of!(ProcessInfo, processor_time));
        info(program, 25, offset_of!(ProcessInfo, priority));
        program.call(Call::Clock, [0; 4]);
        program.claim(|user| user.x[24] >= user.x[20] && user.x[24] - user.x[20] <= user.x[0] - user.x[21]);
        program.claim(|user| user.x[25] == 7);
        program.refused(Call::ThreadInfo, [SELF, FREE - 8, 0, 0], Error::BadAddress);
        program.refused(Call::ThreadInfo, [1, RESULT, 0, 0], Error::WrongObject);
        program.refused(Call::ThreadInfo, [99, RESULT, 0, 0], Error::BadHandle);
    });
}

#[test]
fn what_a_core_has_done_is_told_to_a_program_that_runs_there() {
    const EVENTS: u64 = DATA + 3 * PAGE;
    run(|program| {
        program.touch(DATA, 4, 0);
        program.granted(Call::Schedule, [SELF, 7, 1, 0]);
        let request = |program: &mut Program, core, next, capacity| {
            for (place, word) in [core, next, EVENTS, capacity, 0].into_iter().enumerate() {
                program.store(REQUEST + 8 * place as u64, word);
            }
        };
        request(program, 0, u64::MAX, 1);
        program.call(Call::Trace, [1, REQUEST, 0, 0]);
        program.claim(|user| user.x[0] == 0);
        program.load(20, REQUEST + offset_of!(TraceRequest, next) as u64);
        program.call(Call::TraceSwitch, [1, 1, 0, 0]);
        program.claim(|user| user.x[0] == 0);
        program.granted(Call::Map, [FREE, PAGE, WRITE, 0]);
        program.touch(FREE, 1, 1);
        program.call(Call::TraceSwitch, [1, 0, 0, 0]);
        program.claim(|user| user.x[0] == 1);
        request(program, 0, 0, 64);
        let next = REQUEST + offset_of!(TraceRequest, next) as u64;
        program.act(move |user| user.store(next, user.x[20]));
        program.call(Call::Trace, [1, REQUEST, 0, 0]);
        program.claim(|user| (1..64).contains(&user.x[0]));
        program.keep(21);
        program.call(Call::Identify, [0; 4]);
        program.act(|user| {
            let found = (0..user.x[21]).map(|place| {
                let word = |field| user.load(EVENTS + 32 * place + field);
                Ok((word(8)?, word(16)?, word(24)?))
            });
            let expected = (TraceKind::DemandZero as u64, user.x[0], FREE);
            user.x[22] = found.collect::<Result<Vec<_>, _>>()?.contains(&expected).into();
            Ok(())
        });
        program.claim(|user| user.x[22] == 1);
        for (core, capacity, error) in [
            (1, 1, Error::NotReady),
            (7, 1, Error::BadArgument),
            (u64::MAX, 1, Error::BadArgument),
            (0, 0, Error::BadLength),
        ] {
            request(program, core, 0, capacity);
            program.refused(Call::Trace, [1, REQUEST, 0, 0], error);
        }
        program.refused(Call::Trace, [SELF, REQUEST, 0, 0], Error::BadHandle);
        program.refused(Call::TraceSwitch, [1, 2, 0, 0], Error::BadArgument);
        program.granted(Call::Schedule, [SELF, 7, 0, 0]);
    });
}

#[test]
fn every_process_is_found_after_the_one_before_it() {
    run(|program| {
        for _ in 0..3 {
            program.fork(3, |child| child.call(Call::Sleep, [u64::MAX / 2, 0, 0, 0]));
            program.keep(22);
            program.keep_second(23);
        }
        // Of those three the last is `x23`; each has a larger number than the one found before.
        program.call(Call::Identify, [0; 4]);
        program.act(|user| {
            (user.x[20], user.x[21], user.x[24]) = (0, 0, user.x[0]);
            Ok(())
        });
        let next = program.label();
        program.place(&next);
        program.call_with(Call::NextProcess, |user| [1, user.x[20], 0, 0]);
        program.claim(|user| (user.x[0] as i64) > 0 && user.x[1] > user.x[20]);
        program.keep(25);
        program.keep_second(20);
        program.granted_with(Call::ProcessInfo, |user| [user.x[25], RESULT, 0, 0]);
        program.load(26, RESULT);
        program.claim(|user| user.x[26] == user.x[20]);
        // To look at, and nothing else.
        program.call_with(Call::Kill, |user| [user.x[25], 1, 0, 0]);
        program.claim(|user| user.x[0] == Error::NoRight.to_register());
        program.granted_with(Call::Close, |user| [user.x[25], 0, 0, 0]);
        program.act(|user| {
            user.x[21] += 1;
            Ok(())
        });
        program.jump_if(&next, |user| user.x[20] != user.x[23]);
        // The first process of the machine, this one, its three children; others may be on their way out.
        program.claim(|user| user.x[21] >= 5);
        program.call_with(Call::NextProcess, |user| [1, user.x[23], 0, 0]);
        program.claim(|user| user.x[0] == Error::NotFound.to_register());
        // The number before the last one's leads to it.
        program.call_with(Call::NextProcess, |user| [1, user.x[23] - 1, 0, 0]);
        program.claim(|user| user.x[1] == user.x[23]);
        program.keep(25);
        program.call_with(Call::Kill, |user| [user.x[22], 1, 0, 0]);
        program.call_with(Call::Wait, |user| [user.x[22], 0, 0, 0]);
        program.granted_with(Call::Close, |user| [user.x[22], 0, 0, 0]);
        program.granted_with(Call::Close, |user| [user.x[25], 0, 0, 0]);
        // It is gone, and is found no more.
        program.call_with(Call::NextProcess, |user| [1, user.x[23] - 1, 0, 0]);
        program.claim(|user| user.x[0] == Error::NotFound.to_register());
        for child in [1, 2] {
            program.call_with(Call::NextProcess, move |user| [1, user.x[24] + child - 1, 0, 0]);
            program.claim(move |user| user.x[1] == user.x[24] + child);
            program.granted_with(Call::Close, |user| [user.x[0], 0, 0, 0]);
        }
        // By the handles that the forks have left, 2 and 3.
        for handle in [2, 3] {
            program.granted(Call::Kill, [handle, 1, 0, 0]);
            program.granted(Call::Wait, [handle, 0, 0, 0]);
        }
    });
}

/// What `tables` says, by calls with room for so many records, down to this level.
fn tables(program: &mut Program, capacity: u64, deepest: u64) -> Arc<Mutex<Vec<[u64; 5]>>> {
    const RECORDS: u64 = DATA + 0x3000 - 72;
    let seen = Arc::new(Mutex::new(Vec::new()));
    program.store(REQUEST + offset_of!(TablesRequest, cursor) as u64, 0);
    program.store(REQUEST + offset_of!(TablesRequest, end) as u64, END);
    program.store(REQUEST + offset_of!(TablesRequest, deepest) as u64, deepest);
    program.store(REQUEST + offset_of!(TablesRequest, records) as u64, RECORDS);
    program.store(REQUEST + offset_of!(TablesRequest, capacity) as u64, capacity);
    let next = program.label();
    program.place(&next);
    program.granted(Call::Tables, [SELF, REQUEST, 0, 0]);
    program.claim(move |user| user.x[0] <= capacity && user.x[0] <= 64);
    let list = seen.clone();
    program.act(move |user| {
        let size = size_of::<EntryRecord>() as u64;
        let record = |index: u64| -> Result<[u64; 5], _> {
            let mut words = [0; 5];
            for (place, word) in words.iter_mut().enumerate() {
                *word = user.load(RECORDS + index * size + 8 * place as u64)?;
            }
            Ok(words)
        };
        let records = (0..user.x[0]).map(record).collect::<Result<Vec<_>, _>>()?;
        user.x[21] = user.load(REQUEST)?;
        list.lock().unwrap().extend(records);
        Ok(())
    });
    program.jump_if(&next, |user| user.x[21] < END);
    seen
}

#[test]
fn tables_are_told_entry_by_entry_whatever_the_room_for_them() {
    const PAGES: u64 = 150;
    const MAPPED: u64 = FREE + 0x123 * PAGE;
    let machine = Machine::take();
    let mut program = Program::new();
    // Everything that is looked at and used is there before.
    program.touch(DATA, 16, 0);
    program.granted(Call::Map, [MAPPED, PAGES * PAGE, WRITE, 0]);
    program.touch(MAPPED, PAGES, 1);
    program.granted(Call::Map, [MAPPED + 200 * PAGE, 3 * PAGE, Permissions::Read as u64, MAP_NO_INHERIT]);
    program.load(20, MAPPED + 200 * PAGE);
    let lists = [(1, 3), (7, 3), (16, 3), (17, 3), (1_000, 3), (64, 3), (1_000, 2), (1_000, 0)]
        .map(|(capacity, deepest)| (deepest, tables(&mut program, capacity, deepest)));
    for (offset, value, error) in [
        (offset_of!(TablesRequest, cursor), 5, Error::BadArgument),
        (offset_of!(TablesRequest, deepest), 4, Error::BadArgument),
        (offset_of!(TablesRequest, deepest), 1 << 32, Error::BadArgument),
        (offset_of!(TablesRequest, capacity), 0, Error::BadLength),
    ] {
        program.store(REQUEST, 0);
        program.load(20, REQUEST + offset as u64);
        program.store(REQUEST + offset as u64, value);
        program.refused(Call::Tables, [SELF, REQUEST, 0, 0], error);
        program.act(move |user| user.store(REQUEST + offset as u64, user.x[20]));
    }
    // From the middle on.
    program.store(REQUEST + offset_of!(TablesRequest, deepest) as u64, 3);
    program.store(REQUEST + offset_of!(TablesRequest, capacity) as u64, 1);
    program.store(REQUEST, (MAPPED + 5 * PAGE) | 3);
    program.call(Call::Tables, [SELF, REQUEST, 0, 0]);
    program.claim(|user| user.x[0] == 1);
    program.holds(DATA + 0x3000 - 72, MAPPED + 5 * PAGE);
    program.holds(REQUEST, (MAPPED + 6 * PAGE) | 3);
    program.exit(0);
    assert_eq!(machine.run(program), ExitStatus::Exited(0));
    let all = lists[0].1.lock().unwrap().clone();
    let level = |record: &[u64; 5]| (record[3] >> 32 & 0xFF) as u8;
    let kind = |record: &[u64; 5]| (record[3] >> 40 & 0xFF) as u8;
    for (deepest, list) in &lists {
        let expected: Vec<_> = all.iter().filter(|record| u64::from(level(record)) <= *deepest).copied().collect();
        assert_eq!(*list.lock().unwrap(), expected, "down to level {deepest}");
    }
    assert!(all.is_sorted_by_key(|record| (record[0], level(record))));
    let pages = all.iter().filter(|record| (MAPPED..MAPPED + PAGES * PAGE).contains(&record[0]) && level(record) == 3);
    assert_eq!(pages.clone().count() as u64, PAGES);
    // One reference, level 3, a page, readable and writable, writable now.
    for record in pages {
        assert_eq!(record[3], 1 | 3 << 32 | (EntryKind::Page as u64) << 40 | WRITE << 48 | 1 << 56);
    }
    let counted = |which: EntryKind| all.iter().filter(|record| kind(record) == which as u8).count() as u64;
    // Writable memory and the arguments; the page of what no child gets.
    assert_eq!((counted(EntryKind::Page), counted(EntryKind::NoInheritPage)), (PAGES + 17, 1));
    let root = all.iter().find(|record| level(record) == 0).expect("the root leads somewhere");
    assert_eq!(root[4] & 0xFFFF_FFFF, PAGES + 17 + 1, "pages below");
    assert_eq!(root[4] >> 32, counted(EntryKind::Table) - 1, "tables below");
}

#[test]
fn sizes_add_up_to_what_the_process_has() {
    run(|program| {
        program.touch(DATA, 16, 0);
        program.granted(Call::Map, [FREE, 600 * PAGE, WRITE, 0]);
        program.touch(FREE, 600, 1);
        program.fork(3, |child| {
            child.touch(DATA, 16, 0);
            child.touch(FREE + 520 * PAGE, 30, 1);
            for field in 0..6 {
                child.store(REQUEST + 8 * field, 0);
            }
            let next = child.label();
            child.place(&next);
            child.granted(Call::MemorySizes, [SELF, REQUEST, 0, 0]);
            child.load(20, REQUEST);
            child.jump_if(&next, |user| user.x[20] < END);
            child.granted(Call::ProcessInfo, [SELF, RESULT, 0, 0]);
            let sizes = [
                offset_of!(MemorySizes, private_pages),
                offset_of!(MemorySizes, shared_pages),
                offset_of!(MemorySizes, private_tables),
                offset_of!(MemorySizes, shared_tables),
                offset_of!(MemorySizes, parts),
            ];
            for (place, field) in sizes.into_iter().enumerate() {
                child.load(20 + place, REQUEST + field as u64);
            }
            info(child, 25, offset_of!(ProcessInfo, resident_pages));
            child.claim(|user| user.x[20] + user.x[21] == user.x[25]);
            info(child, 25, offset_of!(ProcessInfo, tables));
            // All but the root.
            child.claim(|user| user.x[22] + user.x[23] + 1 == user.x[25]);
            // The table of the first 512 pages is the parent's too, like those of text and stack; of the second one
            // thirty pages are the child's.
            child.claim(|user| user.x[20] == 46 && user.x[21] == 600 - 30 + 1 && (2..=4).contains(&user.x[23]));
            // Whatever is shared is shared by two.
            child.claim(|user| {
                let halves = 2 * (user.x[20] + user.x[22]) + user.x[21] + user.x[23];
                user.x[24] == halves << (MemorySizes::PART_BITS - 1)
            });
            child.store(REQUEST, 9);
            child.refused(Call::MemorySizes, [SELF, REQUEST, 0, 0], Error::BadArgument);
            child.exit(0);
        });
        program.ends(ExitStatus::Exited(0));
    });
}

#[test]
fn a_right_that_a_handle_lacks_is_missed() {
    run(|program| {
        program.granted(Call::Duplicate, [1, 0, 0, 0]);
        program.call_with(Call::SystemInfo, |user| [user.x[0], RESULT, 0, 0]);
        program.claim(|user| user.x[0] == Error::NoRight.to_register());
        program.granted(Call::Duplicate, [1, Rights::INSPECT.0.into(), 0, 0]);
        program.keep(19);
        program.granted_with(Call::SystemInfo, |user| [user.x[19], RESULT, 0, 0]);
        program.call_with(Call::Duplicate, |user| [user.x[19], 0, 0, 0]);
        program.claim(|user| user.x[0] == Error::NoRight.to_register());
        program.granted_with(Call::Close, |user| [user.x[19], 0, 0, 0]);
        program.call_with(Call::Close, |user| [user.x[19], 0, 0, 0]);
        program.claim(|user| user.x[0] == Error::BadHandle.to_register());
        program.refused(Call::ConsoleWrite, [1, DATA, 1, 0], Error::WrongObject);
    });
}
