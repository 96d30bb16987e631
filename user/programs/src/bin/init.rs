//! The first process, root: starts what the file `plan` of the archive says, looks after it, and ends with the status
//! of the shell, which powers the machine off.
//!
//! The kernel passes the boot arguments as the second argument. What follows `graft.cmd=` in them, to the end, is a
//! line for the shell to run; without it the shell is interactive. With `graft.devices` before it, the shell may hand
//! out devices. An archive without a plan has the console and a shell, and nothing else.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use graft_drivers::pl011::{Ends, Wiring};
use graft_lib::device_tree::find;
use graft_lib::names::View;
use graft_lib::plan::{self, Death, Given, Start};
use graft_rt::abi::PRIORITY_DEFAULT;
use graft_rt::archive::Archive;
use graft_rt::console;
use graft_rt::device::{Registers, Tree};
use graft_rt::grants::Grants;
use graft_rt::heal::{Event, Guarded};
use graft_rt::message::{Connection, Endpoint, Message};
use graft_rt::names::{Names, Registrar};
use graft_rt::notification::Notification;
use graft_rt::process::{STANDARD_HANDLES, duplicate};
use graft_rt::store::Kept;
use graft_rt::thread::{self, Cores};
use graft_rt::{Arguments, Error, ExitStatus, Handle, Process, Rights, eprintln, println, process, system, time};

graft_rt::program!(main);

/// With this boot argument the shell may hand out devices, and all that it starts.
const DEVICES: &str = "graft.devices";
/// The status of a shell when there is no such program.
const NOT_FOUND: i32 = 127;
/// How long a server may take to serve before the next program is started all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is started without a plan, as far as there are such programs.
const NO_PLAN: &[u8] = b"\
start pl011
  drives arm,pl011
  serves uart
  handles console
  priority 31
  death restart
start console
  serves console
  handles console uart
  priority 30
  keeps 13
  death restart
start sh
  arguments boot
  handles console archive system
  death power-off
";
/// The server that programs print by.
const CONSOLE: &str = "console";
/// How often a server that ends is started anew at most.
const RESTARTS: usize = 100;

fn main(arguments: Arguments) -> i32 {
    let boot_arguments = arguments.get(1).unwrap_or_default();
    let line = boot_arguments.split_once("graft.cmd=").map(|(_, line)| line.trim());
    if line.is_none() {
        println!("`forkdemo` shows fork at work, `help` lists all programs.");
    }
    // It stays mapped, so that this process's memory does not change while other programs count frames.
    let archive = match Archive::open() {
        Ok(archive) => Arc::new(archive),
        Err(error) => return complain("the archive", &error.to_string()),
    };
    let mut starts = match archive.file("plan").map(plan::parse) {
        Ok(Ok(starts)) => starts,
        Ok(Err(error)) => {
            eprintln!("init: plan: {error}");
            without_a_plan(&archive)
        }
        Err(_) => without_a_plan(&archive),
    };
    let mut options = boot_arguments.split("graft.cmd=").next().unwrap_or_default().split_whitespace();
    if options.any(|option| option == DEVICES) {
        starts.iter_mut().filter(|start| start.boot).for_each(|start| start.handles.push(Given::Devices));
    }
    match follow(&archive, starts, line) {
        Ok(status) => status.shell_code(),
        Err((name, error)) => complain(&name, &error),
    }
}

fn complain(name: &str, error: &str) -> i32 {
    eprintln!("init: cannot start {name}: {error}");
    NOT_FOUND
}

fn without_a_plan(archive: &Archive) -> Vec<Start> {
    let mut starts = plan::parse(NO_PLAN).unwrap_or_default();
    starts.retain(|start| start.death == Death::PowerOff || archive.file(&start.words[0]).is_ok());
    starts
}

/// Says something about a program: by the kernel if it is one by which everything else is said.
macro_rules! say {
    ($start:expr, $($what:tt)+) => {
        if is_for_printing($start) {
            console::complain_by_kernel(format_args!($($what)+))
        } else {
            eprintln!($($what)+)
        }
    };
}

fn is_for_printing(start: &Start) -> bool {
    start.drives.is_some() || start.serves.as_deref() == Some(CONSOLE)
}

/// What has been started and can be handed to others.
#[derive(Clone)]
enum Server {
    /// A server, by a connection.
    Serves(String, Arc<Guarded>),
    /// A driver, by the other end of its rings.
    Drives(String, Arc<Ends>),
}

impl Server {
    fn name(&self) -> &str {
        let (Server::Serves(name, _) | Server::Drives(name, _)) = self;
        name
    }
}

/// Starts everything, and waits for the program whose end is the machine's.
fn follow(archive: &Arc<Archive>, starts: Vec<Start>, line: Option<&str>) -> Result<ExitStatus, (String, String)> {
    let mut servers: Vec<Server> = Vec::new();
    let mut last = None;
    let mut registrar: Option<Arc<Registrar>> = None;
    let all_names = plan::names(&starts);
    for start in starts {
        let name = start.words[0].clone();
        let failed = |error: String| (name.clone(), error);
        let image = archive.file(&name).map_err(|error| failed(error.to_string()))?;
        let kernel = |error: Error| failed(error.to_string());
        if let Some(device) = &start.drives {
            match drive(archive, device, &start) {
                Ok(ends) => servers.push(Server::Drives(start.serves.unwrap_or_default(), ends)),
                Err(error) => eprintln!("init: cannot start {name}: {error}"),
            }
            continue;
        }
        let is_there = |name: &str| servers.iter().any(|server| server.name() == name);
        let missing = start.handles.iter().find_map(|given| match given {
            Given::Server(name) if !is_there(name) => Some(name.as_str()),
            _ => None,
        });
        if let Some(missing) = missing.filter(|_| start.serves.is_some()) {
            eprintln!("init: {name} is not started: there is no {missing}");
            continue;
        }
        let grants = handed(&start, &servers, registrar.as_deref()).map_err(kernel)?;
        let is_names = start.serves.as_deref() == Some(plan::NAMES);
        let mut start = start;
        if is_names {
            start.words.extend_from_slice(&all_names);
        }
        let mut words: Vec<&str> = start.words.iter().map(String::as_str).collect();
        if let Some(line) = line.filter(|_| start.boot) {
            words.extend(["-c", line]);
        }
        if let Some(served) = &start.serves {
            let begin = || {
                let kept = if start.keeps > 0 { Some(Kept::new(start.keeps)?) } else { None };
                Guarded::start_with(image, &words, grants.grants, kept)
            };
            let guarded = Arc::new(with_priority(start.priority, begin).map_err(kernel)?);
            let is_console = served == CONSOLE;
            servers.push(Server::Serves(served.clone(), guarded.clone()));
            if is_names {
                registrar = Some(Arc::new(registrar_of(&guarded).map_err(kernel)?));
            }
            look_after(archive.clone(), guarded.clone(), start, servers.clone(), registrar.clone()).map_err(kernel)?;
            await_service(&guarded).map_err(kernel)?;
            register(registrar.as_deref(), &servers, is_names);
            if is_console {
                console::use_server(guarded.connect().map_err(kernel)?);
            }
        } else {
            let process = with_priority(start.priority, || grants.grants.spawn(image, &words)).map_err(kernel)?;
            if start.death == Death::PowerOff {
                last = Some((name, process));
            }
        }
    }
    let (name, process) = last.ok_or(("a shell".into(), "the plan has none".into()))?;
    process.wait().map_err(|error| (name, error.to_string()))
}

/// Does something with another priority: what is started has that.
fn with_priority<R>(priority: u8, act: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    thread::schedule(priority, Cores::All)?;
    let result = act();
    thread::schedule(PRIORITY_DEFAULT, Cores::All)?;
    result
}

/// Starts the driver of a device, and starts it anew when it ends.
fn drive(archive: &Arc<Archive>, device: &str, start: &Start) -> Result<Arc<Ends>, Error> {
    let ends = {
        let tree = Tree::new()?;
        let devices = find(tree.blob(), device);
        Arc::new(Ends::new(devices.first().ok_or(Error::NotFound)?, None, Wiring::Pins)?)
    };
    let (archive, driven, start) = (archive.clone(), ends.clone(), start.clone());
    let name = start.words[0].clone();
    let begin = move || -> Result<Process, Error> {
        let image = archive.file(&start.words[0]).map_err(|_| Error::NotFound)?;
        with_priority(start.priority, || driven.start(image, Handle::CONSOLE))
    };
    let mut process = begin()?;
    let waiter = thread::spawn(move || {
        for _ in 0..RESTARTS {
            let Ok(status) = process.wait() else { return };
            console::complain_by_kernel(format_args!("init: {name} {status}, and is started anew"));
            match begin() {
                Ok(again) => process = again,
                Err(error) => {
                    console::complain_by_kernel(format_args!("init: cannot start {name} anew: {error}"));
                    return;
                }
            }
        }
    })?;
    // It goes on for as long as this process does.
    core::mem::forget(waiter);
    Ok(ends)
}

/// Ends the machine, with the status in the first word, or, with a second word, starts it anew, when a program that may
/// use this name says so.
fn serve_power() -> Result<Connection, Error> {
    let endpoint = Endpoint::new()?;
    let (receiver, connection) = (endpoint.receiver()?, endpoint.connect(0)?);
    // The last handle to it would close it.
    let _ = endpoint.into_handle();
    let server = thread::spawn(move || {
        while let Ok(received) = receiver.receive() {
            let [status, again, ..] = received.message.into_words();
            if again == 0 {
                process::exit(status as i32);
            }
            let refused = start_anew().err().unwrap_or(Error::NotFound);
            let _ = receiver.reply(Message::words([refused.to_register(), 0, 0, 0, 0, 0]));
        }
    })?;
    // It goes on for as long as this process does.
    core::mem::forget(server);
    Ok(connection)
}

/// What says to the server of names what is there.
fn registrar_of(names: &Guarded) -> Result<Registrar, Error> {
    Ok(Registrar::new(Names::of(names.connect_as(View::ALL.0)?)))
}

/// Has the name of the last server that serves lead to it; those of all of them, and of what root does itself, once
/// names are there.
fn register(registrar: Option<&Registrar>, servers: &[Server], is_names: bool) {
    let Some(registrar) = registrar else { return };
    let skipped = if is_names { 0 } else { servers.len().saturating_sub(1) };
    for server in &servers[skipped..] {
        if let Server::Serves(name, guarded) = server
            && name != plan::NAMES
        {
            provide(registrar, name, guarded.connect());
        }
    }
    if is_names {
        provide(registrar, plan::POWER, serve_power());
    }
}

fn provide(registrar: &Registrar, name: &str, connection: Result<Connection, Error>) {
    if let Err(error) = connection.and_then(|connection| registrar.provide(name, connection)) {
        eprintln!("init: the name {name} leads nowhere: {error}");
    }
}

/// Starts the machine anew: by its firmware, or, on a Raspberry Pi, by the watchdog, which resets it when its time is
/// over. Returns if there is neither.
fn start_anew() -> Result<(), Error> {
    /// Registers of the power manager, and what each store has to begin with (BCM2835).
    const RESET: usize = 0x1C;
    const WATCHDOG: usize = 0x24;
    const PASSWORD: u32 = 0x5A << 24;
    /// Of the reset register: what becomes of the machine when the watchdog's time is over.
    const WHAT: u32 = 0b11 << 4;
    const ALL_OF_IT: u32 = 0b10 << 4;
    /// In 65,536ths of a second.
    const TICKS: u32 = 10;
    match system::reset() {
        Err(Error::NotFound) => {}
        result => return result,
    }
    let tree = Tree::new()?;
    let managers = find(tree.blob(), "brcm,bcm2835-pm-wdt");
    let place = managers.first().and_then(|manager| manager.registers.first()).ok_or(Error::NotFound)?;
    let registers = Registers::new(place.address, place.bytes)?;
    registers.write(WATCHDOG, PASSWORD | TICKS);
    registers.write(RESET, PASSWORD | registers.read(RESET) & !WHAT & 0xFF_FFFF | ALL_OF_IT);
    process::sleep(PATIENCE);
    Err(Error::TimedOut)
}

/// Waits until a server serves, so that what is started after it finds its memory at rest. It answers what means
/// nothing to it, too. One that does not answer at all holds nothing up for long.
fn await_service(guarded: &Guarded) -> Result<(), Error> {
    let answer = guarded.connect()?.call_until(Message::words([u64::MAX; 6]), time::clock() + PATIENCE);
    let _ = answer.map(Message::into_words);
    Ok(())
}

/// Handles for a program, and what has to live until it has them.
struct Handed {
    grants: Grants,
    _connections: Vec<Connection>,
    _names: Option<Names>,
}

/// What a program is handed. Those of the standard handles that it does not get lead nowhere.
fn handed(start: &Start, servers: &[Server], registrar: Option<&Registrar>) -> Result<Handed, Error> {
    let nothing = Notification::new()?;
    let has = |given| start.handles.contains(&given);
    let mut handles = Vec::new();
    let console = servers.iter().find_map(|server| match server {
        Server::Serves(name, guarded) if name == CONSOLE && start.serves.as_deref() != Some(CONSOLE) => Some(guarded),
        _ => None,
    });
    for (given, handle) in [Given::Console, Given::Archive, Given::Devices].into_iter().zip(STANDARD_HANDLES) {
        handles.push(match given {
            Given::Console if has(Given::Console) => match console {
                Some(server) => server.connect()?.into_handle(),
                None => handle,
            },
            given if has(given.clone()) => handle,
            // All but the devices.
            Given::Devices if has(Given::System) => duplicate(handle, Rights::INSPECT.or(Rights::DUPLICATE))?,
            _ => duplicate(nothing.handle(), Rights::DUPLICATE)?,
        });
    }
    let mut grants = Grants::of(&handles);
    let mut connections = Vec::new();
    for given in &start.handles {
        let (name, connection) = match given {
            Given::Server(name) => match servers.iter().find(|server| server.name() == *name) {
                Some(Server::Serves(_, guarded)) => (name.as_str(), guarded.connect()?),
                Some(Server::Drives(_, ends)) => {
                    grants.add(name, "", &ends.client());
                    continue;
                }
                None => continue,
            },
            _ => continue,
        };
        grants.add(name, "", &[connection.handle()]);
        connections.push(connection);
    }
    let mut names = None;
    if let Some(registrar) = registrar
        && !(start.uses.is_empty() && start.provides.is_empty())
    {
        let allowed = start.uses.join(" ") + " +" + &start.provides.join(" +");
        let narrowed = registrar.names().narrow(&allowed)?;
        grants.add(plan::NAMES, "", &[narrowed.handle()]);
        names = Some(narrowed);
    }
    for handle in handles {
        if !STANDARD_HANDLES.contains(&handle) {
            connections.push(Connection::from_handle(handle));
        }
    }
    Ok(Handed { grants, _connections: connections, _names: names })
}

/// Answers what a server says and does, and starts it anew when it ends, as its plan says.
fn look_after(
    archive: Arc<Archive>,
    guarded: Arc<Guarded>,
    start: Start,
    above: Vec<Server>,
    registrar: Option<Arc<Registrar>>,
) -> Result<(), Error> {
    let tended = guarded.clone();
    let (name, tended_start) = (start.words[0].clone(), start.clone());
    let tender = thread::spawn(move || {
        loop {
            match tended.tend() {
                Ok(Event::Healed(fault)) => {
                    say!(&tended_start, "init: {name} {}, and went back to its checkpoint", fault.kind.message());
                }
                Ok(Event::Ended(fault)) => say!(&tended_start, "init: {name} {}", fault.kind.message()),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    })?;
    // It goes on for as long as this process does.
    core::mem::forget(tender);
    let waiter = thread::spawn(move || {
        let served = start.serves.as_deref().unwrap_or_default();
        let restarts = if start.death == Death::Ignore { 0 } else { RESTARTS };
        for _ in 0..restarts {
            let Ok(status) = guarded.process().and_then(|process| process.wait()) else { break };
            if let Some(registrar) = &registrar {
                registrar.withdraw(served);
            }
            let name = start.words[0].as_str();
            say!(&start, "init: {name} {status}, and is started anew");
            let words: Vec<&str> = start.words.iter().map(String::as_str).collect();
            let Ok(image) = archive.file(name) else { break };
            let Ok(handed) = handed(&start, &above, registrar.as_deref()) else { break };
            let begin = || guarded.restart(image, &words, handed.grants.clone());
            if let Err(error) = with_priority(start.priority, begin) {
                say!(&start, "init: cannot start {name} anew: {error}");
                break;
            }
            match &registrar {
                Some(registrar) if served == plan::NAMES => registrar.repeat(),
                Some(registrar) => provide(registrar, served, guarded.connect()),
                None => {}
            }
        }
        let _ = guarded.process().and_then(|process| process.wait());
        if let Some(registrar) = &registrar {
            registrar.give_up(served);
        }
    })?;
    core::mem::forget(waiter);
    Ok(())
}
