//! Text to and from the console, handle 1: a connection to its server. The first program, and what it starts before
//! there is a server, has the kernel's own writer there, from which there is nothing to read.
//!
//! What is written has reached the device when the call returns, and one call's bytes are not mixed with another's.
//!
//! ```text
//!   a program     write_all, read, size                      on behalf of the session that its connection is of
//!   a shell       Job::new, start programs with its handle, Job::to_foreground, wait for its notification, drop
//! ```

use core::fmt::{self, Write};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering};

use graft_abi::{CONSOLE_MAX, Call, Error, Handle, Rights};

use crate::call::call;
use crate::message::{Connection, Message};
use crate::notification::Notification;
use crate::process::duplicate;

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

/// What a call of the server's begins with, in the first word; then numbers. The answer's first word is 0, or a refusal
/// as the kernel's calls have it.
pub mod protocol {
    use graft_abi::Error;

    /// The operations.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u64)]
    pub enum Operation {
        /// So many bytes are lent to be written out. The answer: how many were, [`WRITE_MAX`] at most.
        Write = 1,
        /// Bytes are wanted, this [`Mode`](super::Mode), so many at most, where memory is lent for them. The answer: how
        /// many; none at the end of input.
        Read = 2,
        /// A session is wanted, with a notification to which the server says what is typed to end or stop a job. The
        /// answer: its number, and a connection.
        Open = 3,
        /// What is typed is for the session with this number from now on, one of the caller's, or for the caller's own:
        /// 0.
        Foreground = 4,
        /// One of the caller's sessions, with this number, is over.
        Close = 5,
        /// The answer: columns and rows of the terminal.
        Size = 6,
    }

    impl Operation {
        /// The operation with this number.
        pub fn from_number(number: u64) -> Option<Operation> {
            use Operation::{Close, Foreground, Open, Read, Size, Write};
            [Write, Read, Open, Foreground, Close, Size].into_iter().find(|operation| *operation as u64 == number)
        }
    }

    /// Most bytes that one call writes.
    pub const WRITE_MAX: usize = 2048;

    /// Splits the first word of an answer.
    ///
    /// # Errors
    /// What the server has refused, or [`Error::BadArgument`] for an answer that means nothing.
    pub fn result(word: u64) -> Result<(), Error> {
        match Error::from_register(word)? {
            0 => Ok(()),
            _ => Err(Error::BadArgument),
        }
    }
}

use protocol::Operation;

/// How a program wants to have what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines, which can be corrected while they are typed: backspace, control-U and -W. Control-D ends the input, or
    /// the line where it stands; control-C and -Z go to the job.
    Lines,
    /// Bytes as they come, control-C too; what follows the end of a line is left for the next call.
    Raw,
}

impl Mode {
    /// The mode with this number.
    pub fn from_number(number: u64) -> Option<Mode> {
        [Mode::Lines, Mode::Raw].into_iter().find(|mode| *mode as u64 == number)
    }
}

/// The handle that is written to.
static PLACE: AtomicU32 = AtomicU32::new(Handle::CONSOLE.0);
/// Whether that has turned out to be the kernel's writer.
static IS_KERNELS: AtomicU32 = AtomicU32::new(0);

/// Has this program print through another connection to the server from now on, for good.
pub fn use_server(server: Connection) {
    PLACE.store(server.into_handle().0, Ordering::Relaxed);
    IS_KERNELS.store(0, Ordering::Relaxed);
}

/// The connection that is written to.
pub fn handle() -> Handle {
    Handle(PLACE.load(Ordering::Relaxed))
}

/// How often a call is made that servers which end give up: they have done nothing.
const TRIES: usize = 100;

/// Makes a call until a server answers it.
fn insist(call: impl FnMut() -> Result<Message, Error>) -> Result<Message, Error> {
    let mut answers = core::iter::repeat_with(call).take(TRIES);
    answers.find(|answer| *answer != Err(Error::Gone)).unwrap_or(Err(Error::Gone))
}

/// Makes a call of the server's, which a server that ends may leave to the next one. Returns the words behind the
/// first.
fn ask(words: [u64; 6], read: &[u8], write: &mut [u8]) -> Result<[u64; 5], Error> {
    // Not this value's to close.
    let server = ManuallyDrop::new(Connection::from_handle(handle()));
    let answer = insist(|| server.call_lending(Message::words(words), read, write));
    let [result, rest @ ..] = answer?.into_words();
    protocol::result(result).map(|()| rest)
}

/// Writes all of the bytes to the console.
///
/// # Errors
/// As the server answers; [`Error::Gone`] without one.
pub fn write_all(mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let written = if IS_KERNELS.load(Ordering::Relaxed) == 0 {
            match ask([Operation::Write as u64, bytes.len() as u64, 0, 0, 0, 0], bytes, &mut []) {
                Ok([count, ..]) => count as usize,
                Err(Error::WrongObject) => {
                    IS_KERNELS.store(1, Ordering::Relaxed);
                    continue;
                }
                Err(error) => return Err(error),
            }
        } else {
            write_by_kernel(handle(), bytes)?
        };
        // A server that makes no progress would be asked for ever.
        bytes = bytes.get(written..).filter(|_| written > 0).ok_or(Error::BadArgument)?;
    }
    Ok(())
}

fn write_by_kernel(handle: Handle, bytes: &[u8]) -> Result<usize, Error> {
    let length = bytes.len().min(CONSOLE_MAX);
    // SAFETY: the kernel only reads the buffer.
    let answer = unsafe { call(Call::ConsoleWrite, [handle.0.into(), bytes.as_ptr().addr() as u64, length as u64]) }?;
    Ok(answer.x0 as usize)
}

/// Prints a line by the kernel's own writer, for the program that has it and looks after the server.
pub fn complain_by_kernel(arguments: fmt::Arguments<'_>) {
    format(format_args!("{arguments}\n"), |mut bytes| {
        while !bytes.is_empty() {
            let written = write_by_kernel(Handle::CONSOLE, bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    });
}

/// Waits for what is typed, and stores it: of lines one at a time, or a part of one. Returns how many bytes, 0 at the
/// end of input or for a buffer that is empty.
///
/// With a buffer that is empty it does not wait, and says how the session wants to have what is typed from now on.
///
/// # Errors
/// [`Error::WrongObject`] without a server; [`Error::NotAllowed`] for a session that is over; [`Error::NotReady`] if
/// other threads of the session read already, as many as may.
pub fn read(mode: Mode, buffer: &mut [u8]) -> Result<usize, Error> {
    let length = buffer.len();
    let [count, ..] = ask([Operation::Read as u64, mode as u64, length as u64, 0, 0, 0], &[], buffer)?;
    Ok((count as usize).min(length))
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Size {
    /// What every terminal has.
    pub const DEFAULT: Size = Size { columns: 80, rows: 24 };
}

/// How large the terminal is, as far as it says so: [`Size::DEFAULT`] otherwise.
pub fn size() -> Size {
    match ask([Operation::Size as u64, 0, 0, 0, 0, 0], &[], &mut []) {
        Ok([columns @ 1..=0xffff, rows @ 1..=0xffff, ..]) => Size { columns: columns as u16, rows: rows as u16 },
        _ => Size::DEFAULT,
    }
}

/// Of a job's notification: control-C was typed.
pub const INTERRUPT: u64 = 1 << 0;
/// Of a job's notification: control-Z was typed.
pub const SUSPEND: u64 = 1 << 1;

/// Programs that a shell starts together: a session of their own with the console's server. It is over when this is
/// dropped; what is left of the programs can still write.
#[derive(Debug)]
pub struct Job {
    connection: Connection,
    number: u64,
}

impl Job {
    /// A new one, not in the foreground. What is typed to end or stop it sets [`INTERRUPT`] or [`SUSPEND`] there.
    ///
    /// # Errors
    /// [`Error::WrongObject`] without a server; [`Error::HandlesExhausted`] if there are too many.
    pub fn new(told: &Notification) -> Result<Job, Error> {
        let server = ManuallyDrop::new(Connection::from_handle(handle()));
        let answer = insist(|| {
            let told = duplicate(told.handle(), Rights::WRITE.or(Rights::DUPLICATE))?;
            let open = Message { words: [Operation::Open as u64, 0, 0, 0, 0, 0], handle: told };
            // One that has not gone over stays here.
            server.call(open).inspect_err(|_| _ = crate::process::close(told))
        })?;
        let connection = (answer.handle != Handle::NONE).then(|| Connection::from_handle(answer.handle));
        let [result, number, ..] = answer.words;
        protocol::result(result)?;
        Ok(Job { connection: connection.ok_or(Error::HandlesExhausted)?, number })
    }

    /// What its programs are to be given as their console.
    pub fn handle(&self) -> Handle {
        self.connection.handle()
    }

    /// Has it get what is typed.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if the caller's session is in the background itself.
    pub fn to_foreground(&self) -> Result<(), Error> {
        ask([Operation::Foreground as u64, self.number, 0, 0, 0, 0], &[], &mut []).map(drop)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = ask([Operation::Close as u64, self.number, 0, 0, 0, 0], &[], &mut []);
    }
}

/// Has the caller's own session get what is typed, and no job.
///
/// # Errors
/// As [`Job::to_foreground`].
pub fn take_foreground() -> Result<(), Error> {
    ask([Operation::Foreground as u64, 0, 0, 0, 0, 0], &[], &mut []).map(drop)
}
