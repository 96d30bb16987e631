//! Prints the lines that contain a text: `grep TEXT [NAME]...`; without a name, of its input. The status is 1 if there
//! are none, 2 if a file cannot be read.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::ToolError;
use graft_rt::files::Files;
use graft_rt::{Arguments, eprintln, stream};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let Some(text) = arguments.get(1) else {
        eprintln!("usage: grep TEXT [NAME]...");
        return Ok(2);
    };
    let (mut found, mut failed) = (false, false);
    if arguments.get(2).is_none() {
        found = lines(&stream::read_all()?, text.as_bytes())?;
    } else {
        let files = Files::open()?;
        for name in arguments.skip(2) {
            match files.read_all(name) {
                Ok(data) => found |= lines(&data, text.as_bytes())?,
                Err(error) => {
                    eprintln!("grep: {name}: {error}");
                    failed = true;
                }
            }
        }
    }
    Ok(if failed { 2 } else { i32::from(!found) })
}

/// Prints the lines with the text. Returns whether there are any.
fn lines(data: &[u8], text: &[u8]) -> Result<bool, ToolError> {
    let mut found = false;
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        if text.is_empty() || line.windows(text.len()).any(|window| window == text) {
            found = true;
            stream::write_all(line)?;
            if !line.ends_with(b"\n") {
                stream::write_all(b"\n")?;
            }
        }
    }
    Ok(found)
}
