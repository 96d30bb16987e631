//! The first process: starts the shell and ends with its status, which powers the machine off.
//!
//! The kernel passes the boot arguments as the second argument. What follows `graft.cmd=` in them,
//! to the end, is a line for the shell to run; without it the shell is interactive.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::archive::{Archive, FileError};
use graft_rt::process::STANDARD_HANDLES;
use graft_rt::{Arguments, ExitStatus, Process, eprintln, println};

graft_rt::program!(main);

/// The status of a shell when there is no such program.
const NOT_FOUND: i32 = 127;

fn main(arguments: Arguments) -> i32 {
    let boot_arguments = arguments.get(1).unwrap_or_default();
    let line = boot_arguments.split_once("graft.cmd=").map(|(_, line)| line.trim());
    let arguments = match line {
        Some(line) => &["sh", "-c", line][..],
        None => {
            println!("`forkdemo` shows fork at work, `help` lists all programs.");
            &["sh"]
        }
    };
    match run(arguments) {
        Ok(status) => status.shell_code(),
        Err(error) => {
            eprintln!("init: cannot start the shell, sh: {error}");
            NOT_FOUND
        }
    }
}

/// Starts the shell and waits for its end. The archive stays mapped until then, so that this
/// process's memory does not change while other programs count frames.
fn run(arguments: &[&str]) -> Result<ExitStatus, FileError> {
    let archive = Archive::open()?;
    let shell = Process::spawn_image(archive.file("sh")?, arguments, &STANDARD_HANDLES)?;
    Ok(shell.wait()?)
}
