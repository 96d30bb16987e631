//! What words are expanded with: variables, arguments, the output of commands, names of files.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_lib::shell::expand::{EXPANSION_MAX, Environment};
use graft_lib::shell::syntax::{List, Parameter};
use graft_rt::files::Files;
use graft_rt::process::identify;
use graft_rt::stream::{Input, Output, Pipe, PipeReader};

use crate::foreground::Stops;
use crate::shell::Shell;
use crate::start::Started;

impl Environment for Shell {
    fn variable(&self, name: &str) -> String {
        self.variables.get(name).cloned().unwrap_or_default()
    }

    fn arguments(&self) -> &[String] {
        &self.arguments
    }

    fn special(&self, parameter: &Parameter) -> String {
        match parameter {
            Parameter::Status => self.status.to_string(),
            Parameter::Background => self.jobs.last_process().map(|process| process.to_string()).unwrap_or_default(),
            Parameter::Shell => identify().to_string(),
            Parameter::Argument(_) => self.name().to_owned(),
            // The others are no special ones.
            Parameter::Variable(_) | Parameter::Arguments | Parameter::Count => String::new(),
        }
    }

    fn output(&mut self, list: &List) -> Result<String, String> {
        let pipe = Pipe::new().map_err(|error| error.to_string())?;
        let (writer, endpoint, notification) = pipe.into_ends();
        let mut input = Some(Input::Pipe(PipeReader::new(endpoint, notification)));
        let outer = core::mem::replace(&mut self.output, Output::Pipe(writer));
        let (child, group) = self.as_group(|shell| shell.start_copy(&mut input, |shell| shell.list(list)));
        // With it goes the shell's own handle to the pipe: the end of the child's is the pipe's.
        self.output = outer;
        let child = child.map_err(|error| error.to_string())?;
        let output = input.as_mut().map_or(Ok(Vec::new()), read_all);
        // If it has not been read to its end, the writer gets an error.
        drop(input);
        self.substituted = Some(self.wait_for(Started::one("$(…)", child), group, Stops::No, String::new));
        let mut output = output?;
        // No argument and no name has one.
        output.retain(|&byte| byte != 0);
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    fn entries(&mut self, directory: &str) -> Vec<String> {
        let entries = Files::open().and_then(|files| files.entries(directory));
        entries.unwrap_or_default().into_iter().map(|entry| entry.name).collect()
    }
}

/// Everything up to the end, if that is not too much for a word.
fn read_all(input: &mut Input) -> Result<Vec<u8>, String> {
    let (mut data, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        match input.read(&mut buffer).map_err(|error| error.to_string())? {
            0 => return Ok(data),
            count => data.extend_from_slice(&buffer[..count]),
        }
        if data.len() > EXPANSION_MAX {
            return Err(alloc::format!("more than {} KiB are printed", EXPANSION_MAX >> 10));
        }
    }
}
