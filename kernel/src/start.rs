//! From a machine without processes to the first one.

use crate::arch::power;
use crate::archive::{self, MemoryObject};
use crate::loader;
use crate::object::Ref;
use crate::platform::platform;
use crate::process::{Process, System};
use crate::terminal::Terminal;
use crate::thread::Thread;
use crate::{frames, scheduler, space};
use graft_abi::{ARGUMENTS_MAX, Error, Handle, Rights};

/// The program that the machine runs.
const FIRST_PROGRAM: &str = "init";

/// What the console is handed out with.
const CONSOLE_RIGHTS: Rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE);
const ARCHIVE_RIGHTS: Rights = Rights::READ.or(Rights::DUPLICATE);
const SYSTEM_RIGHTS: Rights = Rights::INSPECT.or(Rights::DUPLICATE);

/// Starts the first process and lets this core run threads. For the first core, before the others.
pub fn start() -> ! {
    if frames::initialise(platform().free_memory).is_none() {
        give_up(format_args!("no memory is free"));
    }
    space::initialise();
    let Some(range) = &platform().archive else {
        give_up(format_args!("there is no archive of programs (initrd)"));
    };
    let archive = archive::take(range).unwrap_or_else(|error| give_up(format_args!("{error}")));
    let loaded = archive::find(archive.bytes(), FIRST_PROGRAM)
        .map(|image| first_program(image, archive.clone()))
        .unwrap_or_else(|error| give_up(format_args!("{error}")));
    match loaded {
        Ok(thread) => Process::start(thread),
        Err(error) => give_up(format_args!("`{FIRST_PROGRAM}` cannot start: {error}")),
    }
    scheduler::enter()
}

/// Lets a further core run threads.
pub fn start_secondary() -> ! {
    scheduler::enter()
}

fn first_program(mut image: &[u8], archive: Ref<MemoryObject>) -> Result<Ref<Thread>, Error> {
    let mut arguments = [0; ARGUMENTS_MAX];
    let mut arguments = first_arguments(&mut arguments).ok_or(Error::BadLength)?;
    let loaded = loader::load(&mut image, &mut arguments)?;
    let process = Process::new(0, loaded.name)?;
    let mut handles = process.handles.lock();
    let console = handles.insert(Terminal::initialise()?.erase(), CONSOLE_RIGHTS)?;
    let archive = handles.insert(archive.erase(), ARCHIVE_RIGHTS)?;
    let system = handles.insert(Ref::new(|_| System)?.erase(), SYSTEM_RIGHTS)?;
    drop(handles);
    assert!((console, archive, system) == (Handle::CONSOLE, Handle::ARCHIVE, Handle::SYSTEM));
    let thread = Thread::new(process.clone(), &loaded.context, |_| {})?;
    process.space.install(loaded.tree.take().ok_or(Error::OutOfMemory)?);
    Ok(thread)
}

/// The program's name and the boot arguments, each ended by a zero byte.
fn first_arguments(room: &mut [u8]) -> Option<&[u8]> {
    let mut used = 0;
    for argument in [FIRST_PROGRAM, platform().boot_arguments] {
        // A zero byte within would end it early.
        let text = argument.split('\0').next()?.as_bytes();
        room.get_mut(used..used + text.len())?.copy_from_slice(text);
        used += text.len() + 1;
    }
    room.get(..used)
}

/// Ends what cannot begin.
fn give_up(reason: core::fmt::Arguments<'_>) -> ! {
    println!("graft: cannot start: {reason}");
    power::exit(1)
}
