//! The first process: starts the shell and ends with its status, which powers the machine off.
//!
//! The kernel passes the boot arguments as the second argument. What follows `graft.cmd=` in them,
//! to the end, is a line for the shell to run; without it the shell is interactive.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::{Arguments, Process, eprintln, println};

graft_rt::program!(main);

/// What a shell answers when there is no such program.
const NOT_FOUND: i32 = 127;

fn main(arguments: Arguments) -> i32 {
    let boot_arguments = arguments.get(1).unwrap_or_default();
    let line = boot_arguments.split_once("graft.cmd=").map(|(_, line)| line.trim());
    let shell = match line {
        Some(line) => Process::spawn(&["sh", "-c", line]),
        None => {
            println!("`help` lists the programs.");
            Process::spawn(&["sh"])
        }
    };
    match shell {
        Ok(shell) => shell.wait().map_or(NOT_FOUND, |status| status.shell_code()),
        Err(error) => {
            eprintln!("init: cannot start the shell, sh: {error}");
            NOT_FOUND
        }
    }
}
