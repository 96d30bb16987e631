//! Walking the tree: what runs, in which order, and with which status.

use alloc::vec::Vec;

use alloc::format;
use alloc::string::{String, ToString};

use graft_lib::shell::expand;
use graft_lib::shell::syntax::{AndOr, Body, Command, GoesOn, Ground, Item, Line, List, Pipeline, Simple};
use graft_rt::stream::{Output, READER_GONE};
use graft_rt::{eprintln, time};

use crate::builtin;
use crate::foreground::Stops;
use crate::shell::Shell;
use crate::start::{NamedError, StartError, Started};

/// What ends a list before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// `break`, out of so many loops.
    Break(usize),
    /// `continue`: out of one less, and on with the next turn of that.
    Continue(usize),
    /// `exit`, or the user's interruption: out of everything.
    Leave,
}

/// Whether what comes next is run. The status is the shell's.
pub(crate) type Run = Result<(), Escape>;

impl Shell {
    /// Runs commands, one after the other.
    pub(crate) fn list(&mut self, list: &List) -> Run {
        for Item { commands, ground } in &list.0 {
            match ground {
                Ground::Foreground => self.and_or(commands)?,
                Ground::Background => self.background(commands),
            }
        }
        Ok(())
    }

    pub(crate) fn and_or(&mut self, and_or: &AndOr) -> Run {
        self.pipeline(&and_or.first)?;
        for (join, pipeline) in &and_or.rest {
            if join.runs_after(self.status) {
                self.pipeline(pipeline)?;
            }
        }
        Ok(())
    }

    /// Starts commands and does not wait for them.
    fn background(&mut self, and_or: &AndOr) {
        let plain = and_or.rest.is_empty() && !and_or.first.is_negated && !and_or.first.is_timed;
        let (started, group) = self.as_group(|shell| {
            if plain {
                return shell.start_pipeline(&and_or.first.commands);
            }
            match shell.start_copy(&mut None, |shell| shell.and_or(and_or)) {
                Ok(process) => Started::one("sh", process),
                Err(error) => {
                    eprintln!("{}: {error}", shell.name());
                    Vec::new()
                }
            }
        });
        if let Some(control) = &mut self.control {
            control.renew();
        }
        self.status = 0;
        self.jobs.add(and_or, started, group);
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Run {
        let before = (time::clock(), self.processor_time);
        let result = match &pipeline.commands[..] {
            [alone] => self.command(alone),
            several => {
                let (started, group) = self.as_group(|shell| shell.start_pipeline(several));
                self.status = self.wait_for(started, group, Stops::May, || pipeline.to_string());
                self.go_on()
            }
        };
        if pipeline.is_timed {
            let (elapsed, processor) = (time::clock() - before.0, self.processor_time - before.1);
            eprintln!("{:.6} s elapsed, {:.6} s of processors", elapsed.as_secs_f64(), processor.as_secs_f64());
        }
        if pipeline.is_negated && result.is_ok() {
            self.status = i32::from(self.status == 0);
        }
        result
    }

    /// Whether the user wants what runs to end, or has stopped it: the only place that asks. It is asked after every process that was
    /// waited for, and before every command and every turn of a loop.
    fn go_on(&mut self) -> Run {
        if let Some(status) = self.given_up {
            self.status = status;
            return Err(Escape::Leave);
        }
        Ok(())
    }

    /// After a command that writes to the shell's output: what comes next is of no use if that is not read any more.
    fn go_on_writing(&mut self) -> Run {
        if self.status == READER_GONE && matches!(self.output, Output::Pipe(_)) {
            return Err(Escape::Leave);
        }
        self.go_on()
    }

    /// Runs a command in this shell, or as the program that it names.
    pub(crate) fn command(&mut self, command: &Command) -> Run {
        self.go_on()?;
        match command {
            Command::Assignments(line, assignments) => {
                self.substituted = None;
                for assignment in assignments {
                    match expand::text(&assignment.value, self) {
                        Ok(value) => {
                            self.variables.insert(assignment.name.clone(), value);
                        }
                        Err(error) => return self.failed(*line, "", StartError::Words(error)),
                    }
                }
                self.status = self.substituted.take().unwrap_or(0);
                self.go_on()
            }
            Command::Simple(simple) => {
                self.substituted = None;
                match expand::words(&simple.words, self) {
                    Ok(words) => self.expanded(simple, &words),
                    Err(error) => self.failed(simple.line, "", StartError::Words(error)),
                }
            }
            Command::Compound(compound) => {
                match self.redirected(&compound.redirections, |shell| shell.body(&compound.body, compound.line)) {
                    Ok(run) => run,
                    Err(error) => self.failed(compound.line, "", error),
                }
            }
        }
    }

    /// Says why a command did not run. What comes next does.
    fn failed(&mut self, line: Line, name: &str, error: StartError) -> Run {
        self.complain(line, NamedError(name, &error));
        self.status = error.status();
        self.go_on()
    }

    /// Runs a simple command whose words have been expanded to these.
    pub(crate) fn expanded(&mut self, simple: &Simple, words: &[String]) -> Run {
        let Some(name) = words.first() else {
            // Files are made all the same.
            return match self.redirected(&simple.redirections, |_| ()) {
                Ok(()) => {
                    self.status = self.substituted.take().unwrap_or(0);
                    self.go_on()
                }
                Err(error) => self.failed(simple.line, "", error),
            };
        };
        if builtin::is_one(name) {
            return match self.redirected(&simple.redirections, |shell| shell.builtin(words, simple.line)) {
                Ok(run) => run.and_then(|()| self.go_on_writing()),
                Err(error) => self.failed(simple.line, name, error),
            };
        }
        let (started, group) =
            self.as_group(|shell| shell.redirected(&simple.redirections, |shell| shell.start_program(words)));
        match started.and_then(|started| started) {
            Ok(process) => {
                self.status = self.wait_for(Started::one(name, process), group, Stops::May, || simple.to_string());
                self.go_on_writing()
            }
            Err(error) => self.failed(simple.line, name, error),
        }
    }

    fn body(&mut self, body: &Body, line: Line) -> Run {
        match body {
            Body::Group(list) => self.list(list),
            Body::Subshell(list) => {
                let (started, group) = self.as_group(|shell| shell.start_copy(&mut None, |shell| shell.list(list)));
                match started {
                    Ok(process) => {
                        let started = Started::one("( )", process);
                        self.status = self.wait_for(started, group, Stops::May, || format!("({list})"));
                    }
                    Err(error) => return self.failed(line, "( )", error.into()),
                }
                self.go_on()
            }
            Body::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.list(condition)?;
                    if self.status == 0 {
                        return self.list(body);
                    }
                }
                self.status = 0;
                otherwise.as_ref().map_or(Ok(()), |body| self.list(body))
            }
            Body::For { name, words, body } => {
                let values = match words {
                    Some(words) => match expand::words(words, self) {
                        Ok(values) => values,
                        Err(error) => return self.failed(line, "for", StartError::Words(error)),
                    },
                    None => self.arguments.clone(),
                };
                self.status = 0;
                for value in values {
                    self.variables.insert(name.clone(), value);
                    if let Some(run) = self.turn(|shell| shell.list(body)) {
                        return run;
                    }
                }
                Ok(())
            }
            Body::Loop { goes_on, condition, body } => {
                let mut status = 0;
                loop {
                    let mut is_over = false;
                    let run = self.turn(|shell| {
                        shell.list(condition)?;
                        is_over = (shell.status == 0) != (*goes_on == GoesOn::While);
                        if is_over { Ok(()) } else { shell.list(body) }
                    });
                    if run.is_some() {
                        return run.unwrap_or(Ok(()));
                    }
                    if is_over {
                        self.status = status;
                        return Ok(());
                    }
                    status = self.status;
                }
            }
        }
    }

    /// One turn of a loop. `Some` if it is the last.
    fn turn(&mut self, turn: impl FnOnce(&mut Shell) -> Run) -> Option<Run> {
        if let Err(escape) = self.go_on() {
            return Some(Err(escape));
        }
        self.loops += 1;
        let run = turn(self);
        self.loops -= 1;
        match run {
            Ok(()) | Err(Escape::Continue(1)) => None,
            Err(Escape::Break(1)) => Some(Ok(())),
            Err(Escape::Break(loops)) => Some(Err(Escape::Break(loops - 1))),
            Err(Escape::Continue(loops)) => Some(Err(Escape::Continue(loops - 1))),
            Err(Escape::Leave) => Some(Err(Escape::Leave)),
        }
    }
}
