//! Lists the processes with their memory: `ps`.
//!
//! RESIDENT counts shared pages as if they were the process's alone; PRIVATE counts only pages and tables that no other
//! process reaches; PROPORT'L is the process's part of all that it reaches: over all processes, it adds up to what is
//! in use.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;

use graft_rt::abi::{PAGE_SIZE, ProcessInfo, ProcessState};
use graft_rt::size::Size;
use graft_rt::{Arguments, Error, ExitStatus, println, process, system};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<(), Error> {
    println!(
        "{:>5} {:>6}  {:9} {:>10} {:>10} {:>10} {:>9} {:>10}  NAME",
        "PID", "PARENT", "STATE", "RESIDENT", "PRIVATE", "PROPORT'L", "TABLES", "CPU TIME"
    );
    for process in system::processes() {
        let process = process?;
        // It may have gone since it was listed.
        let Ok(info) = process.info() else { continue };
        let sizes = process::memory_sizes(process.handle()).unwrap_or_default();
        println!(
            "{:>5} {:>6}  {:9} {:>10} {:>10} {:>10} {:>9} {:>8}ms  {}",
            info.identifier,
            info.parent,
            state(&info),
            Size(info.resident_pages * PAGE_SIZE as u64),
            Size((sizes.private_pages + sizes.private_tables) * PAGE_SIZE as u64),
            Size(sizes.proportional_bytes()),
            Size(info.tables * PAGE_SIZE as u64),
            info.processor_time / 1_000_000,
            system::name(&info.name),
        );
    }
    Ok(())
}

fn state(info: &ProcessInfo) -> String {
    match ProcessState::from_number(info.state) {
        Some(ProcessState::Ready) => "ready".into(),
        Some(ProcessState::Blocked) => "blocked".into(),
        Some(ProcessState::Ended) => match ExitStatus::from_register(info.exit_status) {
            Some(status) => format!("ended {}", status.shell_code()),
            None => "ended".into(),
        },
        None => format!("state {}", info.state),
    }
}
