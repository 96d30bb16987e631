//! Running a line: builtins, programs, and what to say when there is no such program.

use alloc::string::String;
use alloc::vec::Vec;

use graft_lib::shell::complete::Names;
use graft_lib::shell::parse;
use graft_rt::archive::{Archive, FileError};
use graft_rt::process::STANDARD_HANDLES;
use graft_rt::{ExitStatus, Process, eprintln, println};

use crate::USAGE;

/// Statuses as other shells use them.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

const BUILTINS: [&str; 2] = ["exit", "history"];

/// What the shell remembers from one command to the next.
pub(crate) struct Shell {
    archive: Archive,
    /// What can be completed.
    pub(crate) names: Names,
    /// How the last command ended: `$?`.
    pub(crate) status: i32,
    /// `exit` was run, with a code or without.
    pub(crate) exit: Option<Option<i32>>,
}

impl Shell {
    pub(crate) fn new() -> Result<Shell, FileError> {
        let archive = Archive::open()?;
        let mut names = Names { commands: BUILTINS.map(String::from).into(), files: Vec::new() };
        for file in archive.files() {
            if file.is_program() {
                names.commands.push(file.name.clone());
            }
            names.files.push(file.name);
        }
        Ok(Shell { archive, names, status: 0, exit: None })
    }

    /// Runs a line, up to its end or an `exit` in it.
    pub(crate) fn run(&mut self, line: &str, history: &[String]) {
        let commands = match parse::parse(line) {
            Ok(commands) => commands,
            Err(error) => {
                eprintln!("sh: {error}");
                self.status = USAGE;
                return;
            }
        };
        for command in commands {
            if self.exit.is_none() && command.join.runs_after(self.status) {
                let words: Vec<String> = command.words.iter().map(|word| word.expand(self.status)).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.status = self.command(&words, history);
            }
        }
    }

    fn command(&mut self, words: &[&str], history: &[String]) -> i32 {
        match words {
            ["exit"] => {
                self.exit = Some(None);
                self.status
            }
            ["exit", code] => match code.parse() {
                Ok(code) => {
                    self.exit = Some(Some(code));
                    code
                }
                Err(_) => {
                    eprintln!("exit: {code}: the code is a whole number");
                    USAGE
                }
            },
            ["exit", ..] => {
                eprintln!("usage: exit [CODE]");
                USAGE
            }
            ["history", ..] => {
                for (index, line) in history.iter().enumerate() {
                    println!("{:>4}  {line}", index + 1);
                }
                0
            }
            _ => self.program(words),
        }
    }

    fn program(&self, words: &[&str]) -> i32 {
        let name = words.first().copied().unwrap_or_default();
        let image = match self.archive.file(name) {
            Ok(image) => image,
            Err(_) => {
                eprintln!("sh: {name}: no such program; `help` lists what there is");
                return NOT_FOUND;
            }
        };
        let started = Process::spawn_image(image, words, &STANDARD_HANDLES);
        match started.and_then(|process| process.wait()) {
            Ok(status) => {
                // A fault has been reported by the kernel, an exit code is the program's own business.
                if let ExitStatus::Killed(_) = status {
                    eprintln!("sh: {name}: {}", status);
                }
                status.shell_code()
            }
            Err(error) => {
                eprintln!("sh: {name}: {error}");
                CANNOT_RUN
            }
        }
    }
}
