//! Shows bytes as numbers and characters: `hexdump [NAME]`; without a name, those of its input.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;

use graft_programs::{ToolError, about};
use graft_rt::files::Files;
use graft_rt::{Arguments, eprintln, println, stream};

graft_rt::program!(main);

/// Bytes in a line.
const LINE: usize = 16;

fn main(arguments: Arguments) -> Result<i32, ToolError> {
    let data = match (arguments.get(1), arguments.get(2)) {
        (Some(name), None) => about(name, Files::open()?.read_all(name))?,
        (None, _) => stream::read_all()?,
        _ => {
            eprintln!("usage: hexdump [NAME]");
            return Ok(2);
        }
    };
    for (index, bytes) in data.chunks(LINE).enumerate() {
        let numbers: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
        let shown = |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' };
        let text: String = bytes.iter().map(shown).collect();
        println!("{:08x}  {numbers:48} {text}", index * LINE);
    }
    println!("{:08x}", data.len());
    Ok(0)
}
