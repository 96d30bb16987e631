//! From a machine without processes to the first one.

use crate::arch::power;
use crate::memory::{frames, space};
use crate::object::Ref;
use crate::object::memory::MemoryObject;
use crate::object::process::{Name, Process};
use crate::object::system::System;
use crate::object::terminal::Terminal;
use crate::object::thread::{Scheduling, Thread};
use crate::platform::{PhysRange, archive, boot_number, platform};
use crate::program;
use crate::sched;
use graft_abi::{Error, Handle, Rights, TraceKind};
use graft_paging::Frame;

/// The program that the machine runs.
const FIRST_PROGRAM: &str = "init";

/// The rights of the first program's handle to the console.
const CONSOLE_RIGHTS: Rights = Rights::WRITE.or(Rights::DUPLICATE);
const ARCHIVE_RIGHTS: Rights = Rights::READ.or(Rights::DUPLICATE);
const SYSTEM_RIGHTS: Rights = Rights::INSPECT.or(Rights::DEVICES).or(Rights::DUPLICATE);

/// Starts the first process and lets this core run threads. For the first core; the others may be waiting
/// for work already.
pub fn start() -> ! {
    if frames::initialise(platform().free_memory).is_none() {
        give_up(format_args!("no memory is free"));
    }
    space::initialise(boot_number(platform().boot_arguments, "graft.asid-bits="));
    let Some(range) = platform().archive else {
        give_up(format_args!("there is no archive of programs (initrd)"));
    };
    let file = archive::open(range)
        .and_then(|archive| archive::find(&archive, FIRST_PROGRAM))
        .unwrap_or_else(|error| give_up(format_args!("{error}")));
    if !program::is_first(file) {
        give_up(format_args!("`{FIRST_PROGRAM}` is not in the form that the kernel starts, as `make build` packs it"));
    }
    match first_program(file, range) {
        Ok(thread) => _ = Process::start(thread, None, TraceKind::Spawn, |_, _| {}),
        Err(error) => give_up(format_args!("`{FIRST_PROGRAM}` cannot start: {error}")),
    }
    sched::enter()
}

/// Lets a further core run threads.
pub fn start_secondary() -> ! {
    sched::enter()
}

/// The process of the first program. The archive becomes a memory object, from which programs start others.
fn first_program(file: &[u8], archive: PhysRange) -> Result<Ref<Thread>, Error> {
    // SAFETY: nothing else gets the archive's pages, and `settle` has zeroed the rest of the last one.
    let archive = unsafe { MemoryObject::permanent(Frame::containing(archive.start), archive.size()) }?;
    // The program's name and the boot arguments, each ended by a zero byte: one within would end these early.
    let boot = platform().boot_arguments.bytes().take_while(|&byte| byte != 0);
    let arguments = FIRST_PROGRAM.bytes().chain([0]).chain(boot).chain([0]);
    let (tree, registers) = program::first(file, arguments)?;
    let process = Process::new(None, Name::of(FIRST_PROGRAM))?;
    let mut handles = process.handles.lock();
    let console = handles.insert(Ref::new(|_| Terminal)?.erase(), CONSOLE_RIGHTS)?;
    let archive = handles.insert(archive.erase(), ARCHIVE_RIGHTS)?;
    let system = handles.insert(Ref::new(|_| System)?.erase(), SYSTEM_RIGHTS)?;
    drop(handles);
    assert!((console, archive, system) == (Handle::CONSOLE, Handle::ARCHIVE, Handle::SYSTEM));
    let thread = Thread::new(process.clone(), Scheduling::FIRST, &registers, |_| {})?;
    process.space.install(tree.take());
    Ok(thread)
}

/// Ends a start that cannot succeed.
fn give_up(reason: core::fmt::Arguments<'_>) -> ! {
    println!("graft: cannot start: {reason}");
    power::exit(1)
}
