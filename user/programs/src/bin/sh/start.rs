//! Starting processes: programs, and copies of the shell.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use graft_lib::shell::expand::{self, ExpandError};
use graft_lib::shell::syntax::{Command, Direction, Redirection, Simple};
use graft_rt::abi::ARGUMENTS_MAX;
use graft_rt::console;
use graft_rt::files::{Files, Open};
use graft_rt::grants::Grants;
use graft_rt::job;
use graft_rt::names::Names;
use graft_rt::process::{self, Fork};
use graft_rt::stream::{Input, Output, Pipe, PipeReader};
use graft_rt::{Error, Handle, Process, Share};

use crate::builtin;
use crate::evaluate::Run;
use crate::foreground::{Control, Group};
use crate::shell::{CANNOT_RUN, NOT_FOUND, Shell};

/// Programs that may ask names for more than others, as far as the shell may itself.
const ALLOWED_MORE: [(&str, &str); 4] =
    [("poweroff", "power"), ("reboot", "power"), ("date", "clock"), ("sh", "files power clock")];

/// Bytes beside the arguments for the names of grants.
const GRANTS: usize = 256;

/// Why a command was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartError {
    /// There is no such program.
    NotFound,
    /// An argument has characters that no argument may have.
    Argument,
    /// Its arguments are longer than a program can have.
    TooLong,
    /// Its words could not be expanded.
    Words(ExpandError),
    /// A redirection's file.
    File(String, String),
    /// The kernel or the file server refused.
    Call(Error),
}

impl StartError {
    /// The status of a command that was not started.
    pub(crate) const fn status(&self) -> i32 {
        match self {
            StartError::NotFound => NOT_FOUND,
            StartError::Words(_) | StartError::File(..) => 1,
            StartError::Argument | StartError::TooLong | StartError::Call(_) => CANNOT_RUN,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NotFound => f.write_str("no such program; `help` lists what there is"),
            StartError::Argument => f.write_str("an argument has control characters that no argument may have"),
            StartError::TooLong => write!(f, "the arguments are longer than {} KiB", ARGUMENTS_MAX >> 10),
            StartError::Words(error) => error.fmt(f),
            StartError::File(name, error) => write!(f, "{name}: {error}"),
            StartError::Call(error) => error.fmt(f),
        }
    }
}

impl From<Error> for StartError {
    fn from(error: Error) -> StartError {
        StartError::Call(error)
    }
}

/// A process that was started, with a name for messages.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) name: String,
    /// Or the status of what could not be started.
    pub(crate) process: Result<Process, i32>,
}

impl Started {
    /// A process that runs.
    pub(crate) fn one(name: &str, process: Process) -> Vec<Started> {
        [Started { name: name.into(), process: Ok(process) }].into()
    }
}

impl Shell {
    /// Does something that starts the processes of one command, and puts them into a group. What is started for words
    /// of that command, meanwhile, is in it, too.
    pub(crate) fn as_group<T>(&mut self, start: impl FnOnce(&mut Shell) -> T) -> (T, Group) {
        if let Some(group) = &self.group {
            let group = group.clone();
            return (start(self), group);
        }
        self.group = self.control.as_ref().map(Control::group);
        let result = start(self);
        let group = self.group.take();
        if group.is_some() {
            let _ = job::leave();
        }
        (result, group.unwrap_or_default())
    }

    /// Starts a program with the input and output of the moment. Every program that the shell runs is started here.
    pub(crate) fn start_program(&self, words: &[String]) -> Result<Process, StartError> {
        // Arguments end at a zero byte, and grants begin with this one.
        if words.iter().any(|word| word.contains('\0') || word.starts_with('\u{1}')) {
            return Err(StartError::Argument);
        }
        if words.iter().map(|word| word.len() + 1).sum::<usize>() > ARGUMENTS_MAX - GRANTS {
            return Err(StartError::TooLong);
        }
        let image = self.archive.file(&words[0]).map_err(|_| StartError::NotFound)?;
        let console = self.control.as_ref().map_or_else(console::handle, Control::console);
        let mut grants = Grants::of(&[console, Handle::ARCHIVE, Handle::SYSTEM]);
        let more = ALLOWED_MORE.iter().find(|(program, _)| *program == words[0]);
        let more = more.and_then(|(_, allowed)| Names::granted_narrowed(allowed).ok());
        if let Some(names) = more.as_ref().or(self.allowed.as_ref()) {
            grants.add("names", "", &[names.handle()]);
        }
        let _input = self.input.grant(&mut grants)?;
        let _output = self.output.grant(&mut grants)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(grants.spawn(image, &words)?)
    }

    /// Starts a copy of the shell that does some work and ends with its status. Every copy is started here. `parents`
    /// is what the copy gives up: the other end of the pipe that it writes to.
    pub(crate) fn start_copy(
        &mut self,
        parents: &mut Option<Input>,
        work: impl FnOnce(&mut Shell) -> Run,
    ) -> Result<Process, Error> {
        match process::fork(Share::L3)? {
            Fork::Parent(process) => Ok(process),
            Fork::Child => {
                *parents = None;
                self.jobs.forget();
                if let Some(control) = self.control.take() {
                    control.leave_to_parent();
                }
                if let Some(group) = self.group.take() {
                    group.leave_to_parent();
                }
                self.loops = 0;
                let own = self.input.make_own().and_then(|()| self.output.make_own());
                match own {
                    // What ends the work early has been noted.
                    Ok(()) => drop(work(self)),
                    Err(error) => {
                        graft_rt::eprintln!("sh: {error}");
                        self.status = CANNOT_RUN;
                    }
                }
                process::exit(self.status)
            }
        }
    }

    /// Starts commands at the same time, each reading what the one before it writes.
    pub(crate) fn start_pipeline(&mut self, commands: &[Command]) -> Vec<Started> {
        let mut started = Vec::new();
        // What the next one reads.
        let mut before: Option<Input> = None;
        for (index, command) in commands.iter().enumerate() {
            let (mut next, mut output) = (None, None);
            if index + 1 < commands.len() {
                match Pipe::new() {
                    Ok(pipe) => {
                        let (writer, endpoint, notification) = pipe.into_ends();
                        next = Some(Input::Pipe(PipeReader::new(endpoint, notification)));
                        output = Some(Output::Pipe(writer));
                    }
                    Err(error) => {
                        self.complain(line_of(command), error);
                        started.push(Started { name: String::new(), process: Err(CANNOT_RUN) });
                        return started;
                    }
                }
            }
            let outer_input = before.take().map(|input| core::mem::replace(&mut self.input, input));
            let outer_output = output.map(|output| core::mem::replace(&mut self.output, output));
            started.push(self.start_stage(command, &mut next));
            // The ends of the pipes are those processes' alone from here on.
            outer_input.into_iter().for_each(|input| self.input = input);
            outer_output.into_iter().for_each(|output| self.output = output);
            before = next;
        }
        started
    }

    /// Starts a command as a process of its own, which does not have `next`.
    fn start_stage(&mut self, command: &Command, next: &mut Option<Input>) -> Started {
        let started = match command {
            Command::Simple(simple) => self.start_simple(simple, next),
            _ => {
                let process = self.start_copy(next, |shell| shell.command(command));
                process.map(|process| (String::from("sh"), process)).map_err(|error| ("sh".into(), error.into()))
            }
        };
        match started {
            Ok((name, process)) => Started { name, process: Ok(process) },
            Err((name, error)) => {
                self.complain(line_of(command), NamedError(&name, &error));
                Started { name, process: Err(error.status()) }
            }
        }
    }

    /// Starts a program, or a builtin in a copy of the shell. An error comes with a name for the message.
    fn start_simple(
        &mut self,
        simple: &Simple,
        next: &mut Option<Input>,
    ) -> Result<(String, Process), (String, StartError)> {
        let words = expand::words(&simple.words, self);
        let words = words.map_err(|error| (String::new(), StartError::Words(error)))?;
        let name = words.first().cloned().unwrap_or_default();
        let result = if words.is_empty() || builtin::is_one(&name) {
            self.start_copy(next, |shell| shell.expanded(simple, &words)).map_err(StartError::from)
        } else {
            self.redirected(&simple.redirections, |shell| shell.start_program(&words)).and_then(|started| started)
        };
        result.map(|process| (name.clone(), process)).map_err(|error| (name, error))
    }

    /// Does something with files in the place of the input and output.
    pub(crate) fn redirected<T>(
        &mut self,
        redirections: &[Redirection],
        act: impl FnOnce(&mut Shell) -> T,
    ) -> Result<T, StartError> {
        let (mut input, mut output) = (None, None);
        for Redirection { direction, file } in redirections {
            let name = expand::text(file, self).map_err(StartError::Words)?;
            let open = match direction {
                Direction::Input => Open::Read,
                Direction::Output => Open::Replace,
                Direction::Append => Open::Append,
            };
            let opened = Files::open().and_then(|files| {
                let number = files.open_file(&name, open)?.number;
                Ok((files, number))
            });
            let (files, number) = opened.map_err(|error| StartError::File(name, error.to_string()))?;
            match direction {
                Direction::Input => input = Some(Input::File { files, number, offset: 0 }),
                Direction::Output | Direction::Append => output = Some(Output::File(files, number)),
            }
        }
        let outer_input = input.map(|input| core::mem::replace(&mut self.input, input));
        let outer_output = output.map(|output| core::mem::replace(&mut self.output, output));
        let result = act(self);
        outer_input.into_iter().for_each(|input| self.input = input);
        outer_output.into_iter().for_each(|output| self.output = output);
        Ok(result)
    }
}

/// An error with what it is about before it.
pub(crate) struct NamedError<'a>(pub(crate) &'a str, pub(crate) &'a StartError);

impl fmt::Display for NamedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NamedError(name, error) = self;
        if name.is_empty() { error.fmt(f) } else { write!(f, "{name}: {error}") }
    }
}

/// Where a command stands, as far as it knows.
fn line_of(command: &Command) -> graft_lib::shell::syntax::Line {
    match command {
        Command::Simple(simple) => simple.line,
        Command::Assignments(line, _) => *line,
        Command::Compound(compound) => compound.line,
    }
}
