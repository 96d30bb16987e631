//! What the small tools have in common.

#![cfg_attr(target_os = "none", no_std)]
#![deny(missing_docs)]

use graft_rt::files::{FileError, Files};
use graft_rt::{Arguments, eprintln};

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
