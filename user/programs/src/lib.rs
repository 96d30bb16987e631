//! What the small tools have in common.

#![cfg_attr(target_os = "none", no_std)]
#![deny(missing_docs)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::fmt;

use graft_lib::files::components;
use graft_rt::files::{FileError, FileKind, Files};
use graft_rt::{Arguments, Error, eprintln};

/// Why a tool gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolError {
    /// A file's fault.
    File(String, FileError),
    /// The file server's.
    Server(FileError),
    /// The input's or the output's.
    Stream(Error),
    /// Two names of one file.
    Same(String, String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolError::File(name, error) => write!(f, "{name}: {error}"),
            ToolError::Server(error) => error.fmt(f),
            ToolError::Stream(error) => error.fmt(f),
            ToolError::Same(one, other) => write!(f, "{one} and {other} are the same file"),
        }
    }
}

impl core::error::Error for ToolError {}

impl From<FileError> for ToolError {
    fn from(error: FileError) -> ToolError {
        ToolError::Server(error)
    }
}

impl From<Error> for ToolError {
    fn from(error: Error) -> ToolError {
        ToolError::Stream(error)
    }
}

/// A result with the name of the file that it is about.
///
/// # Errors
/// [`ToolError::File`].
pub fn about<T>(name: &str, result: Result<T, FileError>) -> Result<T, ToolError> {
    result.map_err(|error| ToolError::File(name.into(), error))
}

/// Does something with each file that is named, says what is refused, and goes on. The program's status.
///
/// # Errors
/// If there is no file server.
pub fn for_each_name<T>(
    arguments: Arguments,
    program: &str,
    act: impl Fn(&Files, &str) -> Result<T, FileError>,
) -> Result<i32, FileError> {
    if arguments.get(1).is_none() {
        eprintln!("usage: {program} NAME...");
        return Ok(2);
    }
    let files = Files::open()?;
    let mut status = 0;
    for name in arguments.skip(1) {
        if let Err(error) = act(&files, name) {
            eprintln!("{program}: {name}: {error}");
            status = 1;
        }
    }
    Ok(status)
}

/// Where something goes that is to be called `to`: into it under its last name, if that is a directory.
///
/// # Errors
/// [`ToolError::Same`] if it is there already.
pub fn destination(files: &Files, from: &str, to: &str) -> Result<String, ToolError> {
    let last = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_directory = files.status(to).is_ok_and(|status| status.kind == FileKind::Directory);
    let to = if is_directory { format!("{}/{last}", to.trim_end_matches('/')) } else { to.into() };
    if components(from.as_bytes()) == components(to.as_bytes()) {
        return Err(ToolError::Same(from.into(), to));
    }
    Ok(to)
}
