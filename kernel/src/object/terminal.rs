//! The console as programs see it: what was typed, and the threads that wait for it.

use crate::arch::{self, interrupts};
use crate::lock::Mutex;
use crate::memory::user_copy;
use crate::object::list::List;
use crate::object::process::Process;
use crate::object::thread::{Queued, Thread};
use crate::object::wait::{Queue, Wait};
use crate::object::{Kind, Object, Ref};
use crate::platform::console;
use crate::sched;
use core::sync::atomic::{AtomicBool, Ordering};
use graft_abi::{CONSOLE_MAX, Error};
use heapless::Deque;
use spin::Once;

/// Bytes that are kept for programs that do not read yet; what comes beyond is lost.
const INPUT_SIZE: usize = 2048;
/// Most bytes that one call reads.
const PIECE: usize = 256;
/// Readers woken for one interrupt.
const WOKEN: usize = 32;

static TERMINAL: Once<Ref<Terminal>> = Once::new();
/// Whether readers wait that [`Input::wake`] has not come to.
static MORE_READERS: AtomicBool = AtomicBool::new(false);

/// The object behind [`Handle::CONSOLE`](graft_abi::Handle::CONSOLE).
///
/// Nothing is copied from or to a program while the lock on the input or that of the console itself is held: the copy
/// waits for the program's space, and how long that is busy the program decides.
pub struct Terminal {
    input: Mutex<Input>,
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

impl Input {
    /// Wakes readers if there is something for them: they make their calls again, and those that find nothing left go
    /// on waiting.
    ///
    /// A few at a time: while others still wait, the core interrupts itself. Those are woken, too, because each of the
    /// woken ones may end before it reads.
    fn wake(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        for _ in 0..WOKEN {
            let Some(reader) = self.readers.pop_front() else { return };
            sched::end_wait(&reader, None);
            sched::make_ready(reader);
        }
        if !self.readers.is_empty() {
            MORE_READERS.store(true, Ordering::Relaxed);
            interrupts::wake(arch::core_index());
        }
    }

    /// Puts bytes back in front of those that have come since they were taken.
    fn put_back(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().rev() {
            let _ = self.bytes.push_front(byte);
        }
        self.wake();
    }
}

impl Terminal {
    /// Makes the console's object.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn initialise() -> Result<Ref<Terminal>, Error> {
        let input = Input { bytes: Deque::new(), readers: List::new() };
        let terminal = Ref::new(|_| Terminal { input: Mutex::new(input) })?;
        TERMINAL.call_once(|| terminal.clone());
        console::enable_receive_interrupt();
        Ok(terminal)
    }

    /// Takes what the hardware has received, and wakes readers. Called for its interrupt.
    pub fn receive() {
        let Some(terminal) = TERMINAL.get() else { return };
        let mut input = terminal.input.lock();
        for _ in 0..console::FIFO {
            // If there are more, the interrupt stays.
            let Some(byte) = console::read_byte() else { break };
            // Full: no program has read for long, and the interrupt stays until the byte is taken.
            let _ = input.bytes.push_back(byte);
        }
        input.wake();
    }

    /// Wakes the readers whose turn has not come. Called for a software interrupt.
    pub fn wake_more() {
        if MORE_READERS.swap(false, Ordering::Relaxed)
            && let Some(terminal) = TERMINAL.get()
        {
            terminal.input.lock().wake();
        }
    }

    /// Copies what was typed to a program, or blocks the calling thread until there is something.
    /// `block` is called before the thread becomes visible to others.
    ///
    /// # Errors
    /// [`Error::BadAddress`], [`Error::OutOfMemory`]. Then the next reader finds the bytes, unless so many have been
    /// typed meanwhile that there is no room for them.
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
        while count < length.min(PIECE)
            && let Some(byte) = input.bytes.pop_front()
        {
            piece[count] = byte;
            count += 1;
        }
        drop(input);
        let copied = user_copy::write_bytes(process, address, &piece[..count]);
        if copied.is_err() {
            terminal.input.lock().put_back(&piece[..count]);
        }
        copied.map(|()| Reading::Done(count))
    }

    /// Writes a program's bytes, the first [`CONSOLE_MAX`] of them, and says how many. They are not mixed with another
    /// call's.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if one of them cannot be read, [`Error::OutOfMemory`]; nothing is written then.
    #[inline(never)]
    pub fn write(process: &Process, address: u64, length: usize) -> Result<usize, Error> {
        let mut bytes = [0; CONSOLE_MAX];
        let bytes = &mut bytes[..length.min(CONSOLE_MAX)];
        user_copy::read_bytes(process, address, bytes)?;
        console::write(bytes);
        Ok(bytes.len())
    }
}

impl Queue for Terminal {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.input.lock().readers.remove(thread)
    }
}
