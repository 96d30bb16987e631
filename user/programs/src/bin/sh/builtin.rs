//! Commands that the shell does itself, because they are about its own state.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_lib::shell::condition::{self, Found};
use graft_lib::shell::expand::EXPANSION_MAX;
use graft_lib::shell::parse::is_name;
use graft_lib::shell::syntax::Line;
use graft_rt::Error;
use graft_rt::files::{FileKind, Files};
use graft_rt::stream::{Input, READER_GONE};

use crate::evaluate::{Escape, Run};
use crate::shell::{Shell, USAGE};

/// Their names.
pub(crate) const NAMES: [&str; 15] = [
    ":", "[", "bg", "break", "continue", "exit", "fg", "history", "jobs", "kill", "read", "shift", "test", "unset",
    "wait",
];

/// What `kill` ends a process with unless another number is given.
const KILLED: i32 = 15;

/// Whether a command is one of them.
pub(crate) fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

impl Shell {
    /// Runs one, whose name is the first of the words.
    pub(crate) fn builtin(&mut self, words: &[String], line: Line) -> Run {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match words[..] {
            [":", ..] => Ok(0),
            ["test" | "[", ..] => condition::holds(&words, &mut look).map(|holds| i32::from(!holds)).map_err(|error| {
                self.complain(line, format_args!("{}: {error}", words[0]));
                USAGE
            }),
            ["exit"] => {
                self.exit = Some(None);
                return Err(Escape::Leave);
            }
            ["exit", code] => match code.parse() {
                Ok(code) => {
                    self.exit = Some(Some(code));
                    self.status = code;
                    return Err(Escape::Leave);
                }
                Err(_) => Err(self.wrong(line, "exit", format_args!("{code}: the code is a whole number"))),
            },
            ["break" | "continue", ref count @ ..] => match self.escape(words[0], count) {
                Ok(escape) => {
                    self.status = 0;
                    return Err(escape);
                }
                Err(message) => Err(self.wrong(line, words[0], message)),
            },
            ["history"] => {
                let lines = self.history.iter().enumerate();
                let text: String = lines.map(|(index, line)| format!("{:>4}  {line}\n", index + 1)).collect();
                self.print(&text, line)
            }
            ["jobs"] => {
                let list = self.jobs.list();
                let printed = self.print(&list, line);
                self.jobs.forget_ended();
                printed
            }
            ["wait"] => {
                self.wait_for_jobs();
                Ok(0)
            }
            ["bg" | "fg" | "wait", ref job @ ..] if job.len() <= 1 => {
                let job = job.first().copied();
                let done = match words[0] {
                    "bg" => self.resume_in_background(job),
                    "fg" => self.resume_in_foreground(job),
                    _ => self.wait_for_job(job),
                };
                done.map_err(|error| self.wrong(line, words[0], error))
            }
            ["kill", ref targets @ ..] => self.kill(targets, line),
            ["read", ref names @ ..] if !names.is_empty() => match names.iter().find(|name| !is_name(name)) {
                None => self.read(names, line),
                Some(name) => Err(self.wrong(line, "read", format_args!("{name:?} is no name of a variable"))),
            },
            ["shift"] => self.shift(1, line),
            ["shift", count] => match count.parse() {
                Ok(count) => self.shift(count, line),
                Err(_) => Err(self.wrong(line, "shift", format_args!("{count}: not a whole number"))),
            },
            ["unset", ref names @ ..] if !names.is_empty() => {
                for name in names {
                    self.variables.remove(*name);
                }
                Ok(0)
            }
            _ => Err(self.wrong(line, words[0], format_args!("usage: {}", usage(words[0])))),
        };
        self.status = result.unwrap_or_else(|status| status);
        Ok(())
    }

    /// Complains, and answers the status for that.
    fn wrong(&self, line: Line, name: &str, message: impl core::fmt::Display) -> i32 {
        self.complain(line, format_args!("{name}: {message}"));
        USAGE
    }

    /// Prints to the output of the moment. Where nothing reads that any more, it says nothing.
    fn print(&self, text: &str, line: Line) -> Result<i32, i32> {
        match self.output.write_all(text.as_bytes()) {
            Ok(()) => Ok(0),
            Err(Error::Gone) => Err(READER_GONE),
            Err(error) => Err(self.wrong(line, "output", error)),
        }
    }

    fn escape(&self, word: &str, count: &[&str]) -> Result<Escape, String> {
        let loops: usize = match count {
            [] => 1,
            [count] => count.parse().ok().filter(|count| *count > 0).ok_or(format!("{count}: not a number from 1"))?,
            _ => return Err(format!("usage: {}", usage(word))),
        };
        match (self.loops, word) {
            (0, _) => Err("there is no loop to be in".into()),
            (most, "break") => Ok(Escape::Break(loops.min(most))),
            (most, _) => Ok(Escape::Continue(loops.min(most))),
        }
    }

    fn kill(&mut self, words: &[&str], line: Line) -> Result<i32, i32> {
        let (code, targets) = match words {
            [option, targets @ ..] if option.starts_with('-') => match option[1..].parse() {
                Ok(code) => (code, targets),
                Err(_) => return Err(self.wrong(line, "kill", format_args!("{option}: not a number"))),
            },
            targets => (KILLED, targets),
        };
        if targets.is_empty() {
            return Err(self.wrong(line, "kill", format_args!("usage: {}", usage("kill"))));
        }
        let mut result = Ok(0);
        for target in targets {
            if let Err(error) = self.jobs.kill(target, code) {
                self.wrong(line, "kill", error);
                result = Err(1);
            }
        }
        result
    }

    fn shift(&mut self, count: usize, line: Line) -> Result<i32, i32> {
        if count > self.arguments.len() {
            return Err(self.wrong(line, "shift", format_args!("{count} of {} arguments", self.arguments.len())));
        }
        self.arguments.drain(..count);
        Ok(0)
    }

    /// Reads a line into variables: a word into each, the rest into the last.
    fn read(&mut self, names: &[&str], line: Line) -> Result<i32, i32> {
        let mut bytes = Vec::new();
        let mut has_ended = false;
        loop {
            // One byte at a time: what follows the line is for others to read.
            let mut byte = [0];
            match self.input.read(&mut byte) {
                Ok(0) => has_ended = true,
                Ok(_) if byte[0] == b'\n' => {}
                Ok(_) if byte[0] == b'\r' && matches!(self.input, Input::Console) => {}
                Ok(_) if bytes.len() == EXPANSION_MAX => {
                    return Err(self.wrong(line, "read", format_args!("more than {} KiB", EXPANSION_MAX >> 10)));
                }
                Ok(_) => {
                    bytes.push(byte[0]);
                    continue;
                }
                Err(error) => return Err(self.wrong(line, "read", error)),
            }
            break;
        }
        bytes.retain(|&byte| byte != 0);
        let text = String::from_utf8_lossy(&bytes);
        let mut rest = text.trim_matches([' ', '\t']);
        for (index, name) in names.iter().enumerate() {
            let (word, others) = match rest.split_once([' ', '\t']) {
                Some(parts) if index + 1 < names.len() => parts,
                _ => (rest, ""),
            };
            self.variables.insert(name.to_string(), word.into());
            rest = others.trim_start_matches([' ', '\t']);
        }
        // A last line without an end is one.
        if has_ended && bytes.is_empty() { Err(1) } else { Ok(0) }
    }
}

/// What a path leads to.
fn look(path: &str) -> Option<Found> {
    let status = Files::open().and_then(|files| files.status(path)).ok()?;
    Some(match status.kind {
        FileKind::File => Found::File(status.bytes),
        FileKind::Directory => Found::Directory,
    })
}

fn usage(name: &str) -> &'static str {
    match name {
        "bg" => "bg [%JOB | PID]",
        "break" => "break [LOOPS]",
        "continue" => "continue [LOOPS]",
        "exit" => "exit [CODE]",
        "fg" => "fg [%JOB | PID]",
        "history" => "history",
        "jobs" => "jobs",
        "kill" => "kill [-STATUS] %JOB | PID...",
        "read" => "read NAME...",
        "shift" => "shift [COUNT]",
        "unset" => "unset NAME...",
        _ => "wait [%JOB | PID]",
    }
}
