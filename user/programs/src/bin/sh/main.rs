//! The shell: `sh` reads lines from the console, `sh -c LINE [ARGUMENT]...` runs one, `sh FILE [ARGUMENT]...` a script.
//! `docs/shell.md` says what they may be.
//!
//! ```text
//!   interactive ─┐                                      ┌─ builtin     exit, test, read, …
//!                ├─▶ shell: state ─▶ evaluate: the tree ┼─ start       programs, and copies of the shell
//!   main ────────┘                        │             └─ jobs        what runs in the background
//!                                         └─▶ variables: what words are expanded with
//! ```

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod builtin;
mod evaluate;
mod foreground;
mod interactive;
mod jobs;
mod shell;
mod start;
mod variables;

use alloc::string::String;
use alloc::vec::Vec;

use graft_rt::{Arguments, eprintln, grants};

use foreground::Control;
use shell::{CANNOT_RUN, NOT_FOUND, Shell, USAGE};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, String> {
    let words: Vec<&str> = arguments.skip(1).collect();
    let is_interactive = words.is_empty() && !grants::has("in");
    let mut shell = Shell::new(Control::new(is_interactive))?;
    let mut set_arguments = |words: &[&str]| shell.arguments = words.iter().copied().map(String::from).collect();
    match words[..] {
        [] if is_interactive => {
            let status = interactive::session(&mut shell);
            shell.end_stopped();
            return Ok(status);
        }
        [] => {
            let script = shell.read_input()?;
            shell.run(&script);
        }
        ["-c", line, ref arguments @ ..] => {
            set_arguments(arguments);
            shell.run(line);
        }
        [name, ref arguments @ ..] if !name.starts_with('-') => {
            set_arguments(arguments);
            let script = match shell.file(name).map(String::from_utf8) {
                Ok(Ok(script)) if !script.contains('\0') => script,
                Ok(_) => {
                    eprintln!("sh: {name}: it is no script");
                    return Ok(CANNOT_RUN);
                }
                Err(error) => {
                    eprintln!("sh: {name}: {error}");
                    return Ok(NOT_FOUND);
                }
            };
            shell.script = Some(name.into());
            shell.run(&script);
        }
        _ => {
            eprintln!("usage: sh [-c LINE | FILE] [ARGUMENT]...");
            return Ok(USAGE);
        }
    }
    Ok(shell.status)
}
