//! The console as programs see it: what was typed, and who waits for it.

use crate::lock::Mutex;
use crate::memory::user_copy;
use crate::object::list::List;
use crate::object::process::Process;
use crate::object::thread::{Queued, Thread};
use crate::object::wait::{Queue, Wait};
use crate::object::{Kind, Object, Ref};
use crate::platform::console;
use crate::sched;
use graft_abi::{CONSOLE_MAX, Error};
use heapless::Deque;
use spin::Once;

/// Bytes that are kept for programs that do not read yet; what comes beyond is lost.
const INPUT_SIZE: usize = 2048;
/// Bytes copied at once between a program and the console.
const PIECE: usize = 256;

static TERMINAL: Once<Ref<Terminal>> = Once::new();

/// The object behind [`Handle::CONSOLE`](graft_abi::Handle::CONSOLE).
pub struct Terminal {
    input: Mutex<Input>,
    /// Held for a whole call, so that no two programs' lines mix.
    output: Mutex<()>,
}

struct Input {
    bytes: Deque<u8, INPUT_SIZE>,
    readers: List<Ref<Thread>, Queued>,
}

static KIND: Kind<Terminal> = Kind::new("console");

impl Object for Terminal {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }
}

/// What a reader finds.
pub enum Reading {
    /// So many bytes, which have been copied.
    Done(usize),
    /// Nothing: the thread is blocked, or, if there is one here, has ended and is to be taken out of its process.
    Blocked(Option<Ref<Thread>>),
}

impl Terminal {
    /// Makes the console's object.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn initialise() -> Result<Ref<Terminal>, Error> {
        let input = Input { bytes: Deque::new(), readers: List::new() };
        let terminal = Ref::new(|_| Terminal { input: Mutex::new(input), output: Mutex::new(()) })?;
        TERMINAL.call_once(|| terminal.clone());
        console::enable_receive_interrupt();
        Ok(terminal)
    }

    /// Takes what the hardware has received, and wakes who waits for it. Called for its interrupt.
    pub fn receive() {
        let Some(terminal) = TERMINAL.get() else { return };
        let mut input = terminal.input.lock();
        while let Some(byte) = console::read_byte() {
            // Full: nobody has read for long, and the interrupt stays until the byte is taken.
            let _ = input.bytes.push_back(byte);
        }
        // All of them: they try again, and those who find nothing left go on waiting.
        for _ in 0..input.readers.len() {
            if let Some(reader) = input.readers.pop_front() {
                sched::end_wait(&reader, None);
                sched::make_ready(reader);
            }
        }
    }

    /// Copies what was typed to a program, or blocks the calling thread until there is something.
    /// `block` is called before the thread becomes visible to others.
    ///
    /// # Errors
    /// [`Error::BadAddress`], and then nothing is lost; [`Error::OutOfMemory`].
    pub fn read(
        terminal: &Ref<Terminal>,
        process: &Process,
        (address, length): (u64, usize),
        block: impl FnOnce(),
    ) -> Result<Reading, Error> {
        let mut input = terminal.input.lock();
        if input.bytes.is_empty() && length != 0 {
            block();
            return Ok(Reading::Blocked(sched::block(&mut input.readers, Wait::in_object(terminal.clone()))));
        }
        let mut piece = [0; PIECE];
        let mut count = 0;
        for (to, from) in piece.iter_mut().zip(input.bytes.iter()).take(length) {
            *to = *from;
            count += 1;
        }
        user_copy::write_bytes(process, address, &piece[..count])?;
        for _ in 0..count {
            input.bytes.pop_front();
        }
        Ok(Reading::Done(count))
    }

    /// Writes a program's bytes, the first [`CONSOLE_MAX`] of them, and says how many.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if the first piece cannot be read; [`Error::OutOfMemory`].
    pub fn write(&self, process: &Process, address: u64, length: usize) -> Result<usize, Error> {
        let _whole = self.output.lock();
        let length = length.min(CONSOLE_MAX);
        let mut done = 0;
        while done < length {
            let mut piece = [0; PIECE];
            let piece = &mut piece[..PIECE.min(length - done)];
            match user_copy::read_bytes(process, address.wrapping_add(done as u64), piece) {
                Ok(()) => console::write(piece),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            done += piece.len();
        }
        Ok(done)
    }
}

impl Queue for Terminal {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.input.lock().readers.remove(thread)
    }
}
