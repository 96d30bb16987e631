//! The first process, root: starts what the file `plan` of the archive says, looks after it, and ends with the status
//! of the shell, which powers the machine off.
//!
//! The kernel passes the boot arguments as the second argument. What follows `graft.cmd=` in them, to the end, is a
//! line for the shell to run; without it the shell is interactive. With `graft.devices` before it, the shell may hand
//! out devices. An archive without a plan has a shell, and nothing else.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use graft_lib::plan::{self, Death, Given, Start};
use graft_rt::archive::Archive;
use graft_rt::grants::Grants;
use graft_rt::heal::{Event, Guarded};
use graft_rt::message::{Connection, Endpoint, Message};
use graft_rt::notification::Notification;
use graft_rt::process::{STANDARD_HANDLES, duplicate};
use graft_rt::{Arguments, Error, ExitStatus, Rights, eprintln, println, process, thread, time};

graft_rt::program!(main);

/// With this boot argument the shell may hand out devices, and all that it starts.
const DEVICES: &str = "graft.devices";
/// The status of a shell when there is no such program.
const NOT_FOUND: i32 = 127;
/// How long a server may take to serve before the next program is started all the same.
const PATIENCE: Duration = Duration::from_secs(5);
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
            only_a_shell()
        }
        Err(_) => only_a_shell(),
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

fn only_a_shell() -> Vec<Start> {
    let handles = [Given::Console, Given::Archive, Given::System].into();
    [Start { words: ["sh".into()].into(), serves: None, handles, boot: true, death: Death::PowerOff }].into()
}

/// A server that has been started.
#[derive(Clone)]
struct Server {
    name: String,
    guarded: Arc<Guarded>,
}

/// Starts everything, and waits for the program whose end is the machine's.
fn follow(archive: &Arc<Archive>, starts: Vec<Start>, line: Option<&str>) -> Result<ExitStatus, (String, String)> {
    let mut servers: Vec<Server> = Vec::new();
    let mut last = None;
    let mut power: Option<Arc<Endpoint>> = None;
    if starts.iter().any(|start| start.handles.contains(&Given::Power)) {
        power = Some(serve_power().map(Arc::new).map_err(|error| ("power".into(), error.to_string()))?);
    }
    for start in starts {
        let name = start.words[0].clone();
        let failed = |error: String| (name.clone(), error);
        let image = archive.file(&name).map_err(|error| failed(error.to_string()))?;
        let kernel = |error: Error| failed(error.to_string());
        let grants = handed(&start, &servers, power.as_deref()).map_err(kernel)?;
        let mut words: Vec<&str> = start.words.iter().map(String::as_str).collect();
        if let Some(line) = line.filter(|_| start.boot) {
            words.extend(["-c", line]);
        }
        if let Some(served) = &start.serves {
            let guarded = Arc::new(Guarded::start(image, &words, grants.grants).map_err(kernel)?);
            servers.push(Server { name: served.clone(), guarded: guarded.clone() });
            look_after(archive.clone(), guarded.clone(), start, servers.clone(), power.clone()).map_err(kernel)?;
            await_service(&guarded).map_err(kernel)?;
        } else {
            let process = grants.grants.spawn(image, &words).map_err(kernel)?;
            if start.death == Death::PowerOff {
                last = Some((name, process));
            }
        }
    }
    let (name, process) = last.ok_or(("a shell".into(), "the plan has none".into()))?;
    process.wait().map_err(|error| (name, error.to_string()))
}

/// Ends the machine, with the status in the first word, when a program that was handed a connection to this says so.
fn serve_power() -> Result<Endpoint, Error> {
    let endpoint = Endpoint::new()?;
    let receiver = endpoint.receiver()?;
    let server = thread::spawn(move || {
        if let Ok(received) = receiver.receive() {
            process::exit(received.message.into_words()[0] as i32);
        }
    })?;
    // It goes on for as long as this process does.
    core::mem::forget(server);
    Ok(endpoint)
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
}

/// What a program is handed. Those of the standard handles that it does not get lead nowhere.
fn handed(start: &Start, servers: &[Server], power: Option<&Endpoint>) -> Result<Handed, Error> {
    let nothing = Notification::new()?;
    let has = |given| start.handles.contains(&given);
    let mut handles = Vec::new();
    for (given, handle) in [Given::Console, Given::Archive, Given::Devices].into_iter().zip(STANDARD_HANDLES) {
        handles.push(match given {
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
            Given::Server(name) => match servers.iter().find(|server| server.name == *name) {
                Some(server) => (name.as_str(), server.guarded.connect()?),
                None => continue,
            },
            Given::Power => match power {
                Some(power) => ("power", power.connect(0)?),
                None => continue,
            },
            _ => continue,
        };
        grants.add(name, "", &[connection.handle()]);
        connections.push(connection);
    }
    for handle in handles {
        if !STANDARD_HANDLES.contains(&handle) {
            connections.push(Connection::from_handle(handle));
        }
    }
    Ok(Handed { grants, _connections: connections })
}

/// Answers what a server says and does, and starts it anew when it ends, as its plan says.
fn look_after(
    archive: Arc<Archive>,
    guarded: Arc<Guarded>,
    start: Start,
    above: Vec<Server>,
    power: Option<Arc<Endpoint>>,
) -> Result<(), Error> {
    let tended = guarded.clone();
    let name = start.words[0].clone();
    let tender = thread::spawn(move || {
        loop {
            match tended.tend() {
                Ok(Event::Healed(fault)) => {
                    eprintln!("init: {name} {}, and went back to its checkpoint", fault.kind.message());
                }
                Ok(Event::Ended(fault)) => eprintln!("init: {name} {}", fault.kind.message()),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    })?;
    // It goes on for as long as this process does.
    core::mem::forget(tender);
    if start.death == Death::Ignore {
        return Ok(());
    }
    let waiter = thread::spawn(move || {
        for _ in 0..RESTARTS {
            let Ok(status) = guarded.process().and_then(|process| process.wait()) else { return };
            let name = start.words[0].as_str();
            eprintln!("init: {name} {status}, and is started anew");
            let words: Vec<&str> = start.words.iter().map(String::as_str).collect();
            let Ok(image) = archive.file(name) else { return };
            let Ok(handed) = handed(&start, &above, power.as_deref()) else { return };
            if let Err(error) = guarded.restart(image, &words, handed.grants.clone()) {
                eprintln!("init: cannot start {name} anew: {error}");
                return;
            }
        }
    })?;
    core::mem::forget(waiter);
    Ok(())
}
