//! Prints the first lines: `head [-n LINES] [NAME]`; without a name, of its input.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_programs::{ToolError, about};
use graft_rt::files::{Files, Open};
use graft_rt::{Arguments, eprintln, stream};

graft_rt::program!(main);

/// Lines that are printed unless another number is given.
const LINES: usize = 10;

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let (lines, name, more) = match arguments.get(1) {
        Some("-n") => (arguments.get(2).and_then(|text| text.parse().ok()), arguments.get(3), arguments.get(4)),
        name => (Some(LINES), name, arguments.get(2)),
    };
    let (Some(mut left), None) = (lines, more) else {
        eprintln!("usage: head [-n LINES] [NAME]");
        return Ok(2);
    };
    let mut buffer = [0; 512];
    let file = match name {
        Some(name) => {
            let files = Files::open()?;
            let number = about(name, files.open_file(name, Open::Read))?.number;
            Some((files, number))
        }
        None => None,
    };
    let mut place = 0;
    while left != 0 {
        let count = match &file {
            Some((files, number)) => about(name.unwrap_or_default(), files.read(*number, place, &mut buffer))?,
            None => stream::read(&mut buffer)?,
        };
        if count == 0 {
            break;
        }
        place += count as u64;
        let mut shown = 0;
        while shown < count && left != 0 {
            left -= usize::from(buffer[shown] == b'\n');
            shown += 1;
        }
        stream::write_all(&buffer[..shown])?;
    }
    Ok(0)
}
