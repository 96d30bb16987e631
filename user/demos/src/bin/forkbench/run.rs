//! Takes the figures.

use alloc::format;
use alloc::string::String;

use core::fmt::Display;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::archive::Archive;
use graft_rt::size::Size;
use graft_rt::{Error, Region, system};

use crate::calls;
use crate::options::Options;
use crate::sequences::{self, Before, ChildWork};
use graft_demos::calls::{write, yield_and_back};
use graft_demos::figures::{Figures, Unit};

/// Where the measured memory begins: on a level-1 boundary, so that 1 GiB has one level-2 table.
const MEMORY: usize = 0x2_0000_0000;
/// Where fresh memory is measured: near the program, so that it does not add tables of upper levels to every fork.
const FRESH: usize = 0x800_0000;

/// Frames that are left for tables of the program itself, for child processes and for other programs.
const RESERVE: u64 = 2048;

/// Times and frames in the order in which they are shown.
const TIMES: [&str; 17] = [
    "fork",
    "fork_exit_wait",
    "exit",
    "child_read",
    "child_first_write",
    "child_next_write",
    "parent_first_write",
    "parent_next_write",
    "last_owner_write",
    "demand_zero",
    "null_call",
    "child_unmap",
    "unmap",
    "spawn",
    "spawn_exit_wait",
    "thread_create",
    "thread_create_exit_join",
];
/// Half of the way to another process and back; with one core only.
const SWITCH: &str = "context_switch";
/// Bytes of translation tables that a fork takes.
const TABLES: &str = "table_bytes_fork";
const FRAMES: [&str; 2] = ["frames_fork", "frames_first_write"];

/// Takes all figures.
pub(crate) fn run(options: &Options) -> Result<Figures, String> {
    check_memory(options)?;
    let mut figures = Figures::default();
    for metric in TIMES {
        figures.prepare(metric, Unit::Time, options.repetitions);
    }
    for metric in FRAMES {
        figures.prepare(metric, Unit::Frames, options.repetitions);
    }
    figures.prepare(TABLES, Unit::Bytes, options.repetitions);
    let has_one_core = system::info().map_err(|error| refused("look at the system", error))?.cores == 1;
    if has_one_core {
        figures.prepare(SWITCH, Unit::HalfTime, options.repetitions);
    }
    // Two pages are written even if no memory was asked for.
    let memory = Region::at(MEMORY, options.bytes.max(2 * PAGE_SIZE)).map_err(|error| refused("map", error))?;
    let fresh = Region::at(FRESH, (options.repetitions + 1) * PAGE_SIZE).map_err(|error| refused("map", error))?;
    fresh.write(0, 1);
    // The first time pays for what is made once: the program's own pages and tables.
    let mut warm_up = Figures::default();
    repetition(options, &memory, &mut warm_up).map_err(|error| refused("fork", error))?;
    for number in 1..=options.repetitions {
        repetition(options, &memory, &mut figures).map_err(|error| refused("fork", error))?;
        figures.note("demand_zero", write(fresh.address() + number * PAGE_SIZE));
        figures.note("null_call", calls::null_call());
        let thread = calls::thread().map_err(|error| refused("make a thread", error))?;
        figures.note("thread_create", thread.create);
        figures.note("thread_create_exit_join", thread.create_exit_join);
    }
    for _ in 1..=options.repetitions {
        touch(&memory);
        figures.note("unmap", calls::unmap(&memory).map_err(|error| refused("unmap", error))?);
    }
    // At the end: the archive would add to what every fork finds mapped.
    let archive = Archive::open().map_err(|error| refused("open the archive", error))?;
    for _ in 1..=options.repetitions {
        let start = calls::spawn(&archive).map_err(|error| refused("spawn", error))?;
        figures.note("spawn", start.spawn);
        figures.note("spawn_exit_wait", start.spawn_exit_wait);
        if has_one_core {
            figures.note(SWITCH, yield_and_back().map_err(|error| refused("yield", error))?);
        }
    }
    Ok(figures)
}

fn refused(what: &str, error: impl Display) -> String {
    format!("cannot {what}: {error}")
}

/// Refuses a run that would end in the middle for lack of memory.
fn check_memory(options: &Options) -> Result<(), String> {
    let free = system::free_frames().map_err(|error| refused("ask for free memory", error))?;
    let pages = (options.bytes / PAGE_SIZE) as u64;
    // Level-3 tables twice: the parent's and a copying child's.
    let needed = pages + pages.div_ceil(512) * 2 + RESERVE;
    if needed > free {
        let size = |frames: u64| Size(frames * PAGE_SIZE as u64);
        return Err(format!("--mem needs {} of memory, {} are free", size(needed), size(free)));
    }
    Ok(())
}

/// Takes each figure once, from memory whose every page was written since the last fork.
fn repetition(options: &Options, memory: &Region, figures: &mut Figures) -> Result<(), Error> {
    let share = options.share;
    let (first, next) = (memory.address(), memory.address() + PAGE_SIZE);

    touch(memory);
    let life = sequences::life(share)?;
    figures.note("fork_exit_wait", life.fork_exit_wait);
    figures.note("exit", life.exit);

    for (metric, work) in [
        ("child_read", ChildWork::Read),
        ("child_first_write", ChildWork::FirstWrite),
        ("child_next_write", ChildWork::NextWrite),
        ("child_unmap", ChildWork::Unmap),
    ] {
        touch(memory);
        let times = sequences::child(share, work, memory)?;
        figures.note(metric, times.child);
        if work == ChildWork::Read {
            figures.note("last_owner_write", times.last_owner_write);
        }
    }

    touch(memory);
    let times = sequences::parent(share, first, next)?;
    figures.note("fork", times.fork);
    figures.note("parent_first_write", times.first_write);
    figures.note("parent_next_write", times.next_write);

    let taken = |before: Before| {
        touch(memory);
        let earlier = system::info()?;
        let after = sequences::frames(share, before, first)?;
        let tables = after.table_frames.saturating_sub(earlier.table_frames);
        Ok::<_, Error>((earlier.free_frames.saturating_sub(after.free_frames), tables))
    };
    let (fork, tables) = taken(Before::Looking)?;
    let (with_write, _) = taken(Before::Writing)?;
    figures.note_count("frames_fork", fork);
    figures.note_count("frames_first_write", with_write.saturating_sub(fork));
    figures.note_count(TABLES, tables * PAGE_SIZE as u64);
    Ok(())
}

/// Writes to every page.
fn touch(memory: &Region) {
    memory.fill(|page| page as u8);
}
