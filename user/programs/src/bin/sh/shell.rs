//! What the shell remembers from one command to the next.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::time::Duration;

use graft_lib::shell::complete::Names;
use graft_lib::shell::parse;
use graft_lib::shell::syntax::{Line, List};
use graft_rt::archive::Archive;
use graft_rt::eprintln;
use graft_rt::files::{FileKind, Files};
use graft_rt::names;
use graft_rt::stream::{Input, Output};

use crate::builtin;
use crate::foreground::{Control, Group};
use crate::jobs::Jobs;

/// The status for bad usage, and for a text with a syntax error.
pub(crate) const USAGE: i32 = 2;
/// Statuses as other shells use them.
pub(crate) const CANNOT_RUN: i32 = 126;
pub(crate) const NOT_FOUND: i32 = 127;
/// What a program is killed with, and the status after that, when the user has interrupted it.
pub(crate) const INTERRUPTED: i32 = 130;
/// The status after the user has stopped a command.
pub(crate) const STOPPED: i32 = 148;

/// What programs may ask names for.
const ALLOWED: &str = "files";
/// Names of files that can be completed, at most.
const NAMES_MAX: usize = 1000;
/// Lines of the history that `history` shows, at most.
const HISTORY_MAX: usize = 500;

/// The state of a shell.
pub(crate) struct Shell {
    pub(crate) archive: Archive,
    /// What can be completed.
    pub(crate) names: Names,
    /// What programs may ask names for, but for those that are to have more.
    pub(crate) allowed: Option<names::Names>,
    /// How the last command ended: `$?`.
    pub(crate) status: i32,
    /// `exit` was run, with a code or without.
    pub(crate) exit: Option<Option<i32>>,
    /// The lines that were typed.
    pub(crate) history: Vec<String>,
    /// The script's name, `$0`, if there is one.
    pub(crate) script: Option<String>,
    /// `$1` and its kin.
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: BTreeMap<String, String>,
    /// The input and output of what is run next.
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) jobs: Jobs,
    /// How its commands are controlled, if they are.
    pub(crate) control: Option<Control>,
    /// What is started at this moment is in it.
    pub(crate) group: Option<Group>,
    /// Loops around what runs.
    pub(crate) loops: usize,
    /// How the last `$(…)` of the words at hand has ended.
    pub(crate) substituted: Option<i32>,
    /// The processors' time of all programs that were waited for.
    pub(crate) processor_time: Duration,
    /// A command has been interrupted or stopped: the rest of the line is not run, and this is its status.
    pub(crate) given_up: Option<i32>,
}

impl Shell {
    /// A shell with the program's own input and output.
    pub(crate) fn new(control: Option<Control>) -> Result<Shell, String> {
        let input = Input::granted().map_err(|error| format!("its input: {error}"))?;
        let output = Output::granted().map_err(|error| format!("its output: {error}"))?;
        Ok(Shell {
            archive: Archive::open().map_err(|error| error.to_string())?,
            names: Names::default(),
            allowed: names::Names::granted_narrowed(ALLOWED).ok(),
            status: 0,
            exit: None,
            history: Vec::new(),
            script: None,
            arguments: Vec::new(),
            variables: BTreeMap::new(),
            input,
            output,
            jobs: Jobs::default(),
            control,
            group: None,
            loops: 0,
            substituted: None,
            processor_time: Duration::ZERO,
            given_up: None,
        })
    }

    /// Runs a text, up to its end or an `exit` in it.
    pub(crate) fn run(&mut self, text: &str) {
        match parse::parse(text) {
            Ok(list) => self.run_list(&list),
            Err(error) => {
                eprintln!("{}: {error}", self.name());
                self.status = USAGE;
            }
        }
    }

    /// Runs what has been read, up to its end or an `exit` in it.
    pub(crate) fn run_list(&mut self, list: &List) {
        self.given_up = None;
        // What ends a list early has been noted.
        let _ = self.list(list);
    }

    /// The name that messages begin with: the script's, or the shell's.
    pub(crate) fn name(&self) -> &str {
        self.script.as_deref().unwrap_or("sh")
    }

    /// Says what is wrong with the command of a line.
    pub(crate) fn complain(&self, line: Line, message: impl Display) {
        match &self.script {
            Some(script) => eprintln!("{script}: line {}: {message}", line.0),
            None => eprintln!("sh: {message}"),
        }
    }

    /// The content of a file: by the file server, or, where there is none, out of the archive.
    pub(crate) fn file(&self, name: &str) -> Result<Vec<u8>, String> {
        match Files::open() {
            Ok(files) => files.read_all(name).map_err(|error| error.to_string()),
            Err(_) => self.archive.file(name).map(<[u8]>::to_vec).map_err(|error| error.to_string()),
        }
    }

    /// The shell's own input, to its end.
    pub(crate) fn read_input(&mut self) -> Result<String, String> {
        let (mut text, mut buffer) = (Vec::new(), [0; 512]);
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => break,
                // One more than is allowed: the parser complains.
                Ok(_) if text.len() > parse::LENGTH_MAX => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(format!("its input: {error}")),
            }
        }
        String::from_utf8(text).map_err(|_| "its input is no script".into())
    }

    /// Notes a line that was typed.
    pub(crate) fn remember(&mut self, line: &str) {
        if !line.trim().is_empty() && self.history.last().is_none_or(|last| last != line) {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(line.into());
        }
    }

    /// Looks for names that can be completed: programs and builtins, and what files there are now.
    pub(crate) fn refresh_names(&mut self) {
        let mut names = Names::default();
        names.commands.extend(builtin::NAMES.map(String::from));
        for file in self.archive.files() {
            if file.is_program() {
                names.commands.push(file.name.clone());
            }
            names.files.push(file.name);
        }
        if let Ok(files) = Files::open() {
            let mut directories: Vec<String> = ["/tmp".into()].into();
            while let Some(directory) = directories.pop() {
                names.files.push(format!("{directory}/"));
                for entry in files.entries(&directory).unwrap_or_default() {
                    let path = format!("{directory}/{}", entry.name);
                    match entry.kind {
                        _ if names.files.len() + directories.len() > NAMES_MAX => break,
                        FileKind::Directory => directories.push(path),
                        FileKind::File => names.files.push(path),
                    }
                }
            }
        }
        self.names = names;
    }
}
