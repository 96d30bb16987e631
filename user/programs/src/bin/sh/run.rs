//! Running a line: builtins, programs, and what to say when there is no such program.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_lib::shell::complete::Names;
use graft_lib::shell::parse::{self, Command, Join, Redirection, Word};
use graft_rt::archive::{Archive, FileError};
use graft_rt::files::{Files, Open};
use graft_rt::grants::{self, Grants};
use graft_rt::message::Endpoint;
use graft_rt::notification::Notification;
use graft_rt::stream::Pipe;
use graft_rt::{Error, ExitStatus, Handle, Process, eprintln, println};

use crate::USAGE;
use crate::foreground::{Foreground, INTERRUPTED};

/// Statuses as other shells use them.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

const NO_PROGRAM: &str = "no such program; `help` lists what there is";

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
        let mut rest = &commands[..];
        while let [first, others @ ..] = rest {
            let piped = others.iter().take_while(|command| command.join == Join::Piped).count();
            let (line, after) = rest.split_at(1 + piped);
            rest = after;
            if self.exit.is_some() || !first.join.runs_after(self.status) {
                continue;
            }
            self.status = match line {
                [alone] if alone.redirections.is_empty() => {
                    let words = self.expanded(&alone.words);
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    self.command(&words, history)
                }
                _ => self.pipeline(line),
            };
        }
    }

    fn expanded(&self, words: &[Word]) -> Vec<String> {
        words.iter().map(|word| word.expand(self.status)).collect()
    }

    /// Runs programs at the same time, each with its input and output. The status is the last one's.
    fn pipeline(&self, line: &[Command]) -> i32 {
        let job = Foreground::new();
        let mut running = Vec::new();
        let mut input: Option<(Endpoint, Notification)> = None;
        let mut status = 0;
        for (index, command) in line.iter().enumerate() {
            let words = self.expanded(&command.words);
            let name = words[0].clone();
            let pipe = if index + 1 < line.len() { Pipe::new().map(Some) } else { Ok(None) };
            let started = pipe.map_err(|error| error.to_string()).and_then(|pipe| {
                let before = input.take();
                let started = self.start(&job, &words, &command.redirections, before.as_ref(), pipe.as_ref());
                // Its writer is the program's alone from here on: its end is the pipe's.
                input = pipe.map(|pipe| {
                    let (_writer, endpoint, notification) = pipe.into_ends();
                    (endpoint, notification)
                });
                started
            });
            match started {
                Ok(process) => running.push((name, process)),
                Err(error) => {
                    eprintln!("sh: {name}: {error}");
                    status = CANNOT_RUN;
                }
            }
        }
        for (name, process) in &running {
            let ended = job.wait(process, running.iter().map(|(_, process)| process));
            if status != CANNOT_RUN {
                status = finished(name, ended);
            }
        }
        status
    }

    /// Starts a program with what takes the place of its input and output.
    fn start(
        &self,
        job: &Foreground,
        words: &[String],
        redirections: &[(Redirection, Word)],
        input: Option<&(Endpoint, Notification)>,
        output: Option<&Pipe>,
    ) -> Result<Process, String> {
        let mut grants = self.grants(job);
        if let Some((endpoint, notification)) = input {
            grants.add("in", "pipe", &[endpoint.handle(), notification.handle()]);
        }
        if let Some(pipe) = output {
            grants.add("out", "pipe", &[pipe.writer()]);
        }
        let mut connections = Vec::new();
        for (redirection, file) in redirections {
            let file = file.expand(self.status);
            let (name, open) = match redirection {
                Redirection::Input => ("in", Open::Read),
                Redirection::Output => ("out", Open::Replace),
                Redirection::Append => ("out", Open::Append),
            };
            // The session ends here; the program has one of its own, with this file.
            let connection = Files::open().and_then(|files| files.share(files.open_file(&file, open)?.number));
            let connection = connection.map_err(|error| format!("{file}: {error}"))?;
            grants.put(name, "file", &[connection.handle()]);
            connections.push(connection);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let image = self.archive.file(words[0]).map_err(|_| String::from(NO_PROGRAM))?;
        grants.spawn(image, &words).map_err(|error| error.to_string())
    }

    /// What every program gets.
    fn grants(&self, job: &Foreground) -> Grants {
        let mut grants = Grants::of(&[job.console(), Handle::ARCHIVE, Handle::SYSTEM]);
        if let Some(files) = grants::handle("files") {
            grants.add("files", "", &[files]);
        }
        grants
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
                eprintln!("sh: {name}: {NO_PROGRAM}");
                return NOT_FOUND;
            }
        };
        let job = Foreground::new();
        match self.grants(&job).spawn(image, words) {
            Ok(process) => finished(name, job.wait(&process, [&process].into_iter())),
            Err(error) => finished(name, Err(error)),
        }
    }
}

/// The status of a program that has ended, or could not be started.
fn finished(name: &str, ended: Result<ExitStatus, Error>) -> i32 {
    match ended {
        Ok(status) => {
            // A fault has been reported by the kernel, an exit code is the program's own business, and control-C is on
            // the screen.
            if status == ExitStatus::Killed(INTERRUPTED) {
                return INTERRUPTED;
            }
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
