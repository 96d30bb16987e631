//! Text to and from the console, handle 1.

use core::fmt::{self, Write};

use graft_abi::{CONSOLE_MAX, Call, Error, Handle};

use crate::call::call;

/// Prints to the console. One call is one write, so that the lines of several processes do not mix.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Prints a complaint to the console, wherever [`println!`] prints to.
#[macro_export]
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::console::complain(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Bytes collected before they are written. Formatting produces text in small pieces; each
/// written by itself would cost a system call and let other programs in between.
const BUFFER: usize = 512;

struct Buffered {
    bytes: [u8; BUFFER],
    used: usize,
    to: fn(&[u8]) -> Result<(), Error>,
}

impl Buffered {
    fn flush(&mut self) {
        // A console that cannot be written to leaves no way to say so.
        let _ = (self.to)(&self.bytes[..self.used]);
        self.used = 0;
    }
}

impl Write for Buffered {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == BUFFER {
                self.flush();
            }
            let count = rest.len().min(BUFFER - self.used);
            self.bytes[self.used..self.used + count].copy_from_slice(&rest[..count]);
            self.used += count;
            rest = &rest[count..];
        }
        Ok(())
    }
}

/// Prints formatted text to the program's [output](crate::stream); what [`print!`](crate::print!) and its kin come down
/// to.
pub fn print(arguments: fmt::Arguments<'_>) {
    format(arguments, crate::stream::write_all);
}

/// Prints formatted text to the console; what [`eprintln!`](crate::eprintln!) comes down to.
pub fn complain(arguments: fmt::Arguments<'_>) {
    format(arguments, write_all);
}

fn format(arguments: fmt::Arguments<'_>, to: fn(&[u8]) -> Result<(), Error>) {
    if let Some(text) = arguments.as_str() {
        let _ = to(text.as_bytes());
        return;
    }
    let mut buffer = Buffered { bytes: [0; BUFFER], used: 0, to };
    // `Buffered` never fails; a `Display` that does has printed what it could.
    let _ = buffer.write_fmt(arguments);
    buffer.flush();
}

/// Writes all of the bytes to the console.
pub fn write_all(mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let chunk = &bytes[..bytes.len().min(CONSOLE_MAX)];
        // SAFETY: the kernel only reads the buffer.
        let answer = unsafe {
            call(Call::ConsoleWrite, [Handle::CONSOLE.0.into(), chunk.as_ptr().addr() as u64, chunk.len() as u64])
        }?;
        bytes = &bytes[(answer.x0 as usize).min(bytes.len())..];
    }
    Ok(())
}

/// Waits until something was typed and stores it. Returns how many bytes; never 0 for a buffer
/// that is not empty.
pub fn read(buffer: &mut [u8]) -> Result<usize, Error> {
    let bytes = buffer.len().min(CONSOLE_MAX);
    // SAFETY: the kernel stores at most `bytes` bytes into a buffer that is borrowed mutably.
    let answer = unsafe {
        call(Call::ConsoleRead, [Handle::CONSOLE.0.into(), buffer.as_mut_ptr().addr() as u64, bytes as u64])
    }?;
    Ok((answer.x0 as usize).min(bytes))
}
