//! Counts lines, words and bytes: `wc [NAME]...`; without a name, of its input.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::files::{FileError, Files};
use graft_rt::{Arguments, eprintln, println, stream};

graft_rt::program!(main);

/// What has been counted so far.
#[derive(Default)]
struct Count {
    lines: u64,
    words: u64,
    bytes: u64,
    in_word: bool,
}

impl Count {
    fn add(&mut self, data: &[u8]) {
        for byte in data {
            let space = byte.is_ascii_whitespace();
            self.words += u64::from(!space && !self.in_word);
            self.in_word = !space;
            self.lines += u64::from(*byte == b'\n');
        }
        self.bytes += data.len() as u64;
    }
}

fn main(arguments: Arguments) -> Result<i32, FileError> {
    if arguments.get(1).is_none() {
        let (mut count, mut buffer) = (Count::default(), [0; 512]);
        loop {
            match stream::read(&mut buffer)? {
                0 => break,
                read => count.add(&buffer[..read]),
            }
        }
        println!("{:>8} {:>8} {:>8}", count.lines, count.words, count.bytes);
        return Ok(0);
    }
    let files = Files::open()?;
    let mut status = 0;
    for name in arguments.skip(1) {
        match files.read_all(name) {
            Ok(data) => {
                let mut count = Count::default();
                count.add(&data);
                println!("{:>8} {:>8} {:>8} {name}", count.lines, count.words, count.bytes);
            }
            Err(error) => {
                eprintln!("wc: {name}: {error}");
                status = 1;
            }
        }
    }
    Ok(status)
}
