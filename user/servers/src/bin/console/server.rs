//! The loop: what is typed, who reads, what is to be shown, and the next call.

use alloc::vec::Vec;
use core::time::Duration;

use graft_drivers::pl011::{Client, SERVED};
use graft_lib::console::sessions::{FIRST, Sessions};
use graft_lib::console::{Answered, Input, SHOWN_MAX, Signal, Signs, SizeAnswer};
use graft_rt::console::protocol::{Operation, WRITE_MAX};
use graft_rt::console::{INTERRUPT, Mode, SUSPEND, Size};
use graft_rt::message::{Connection, Endpoint, Message, Received, Receiver};
use graft_rt::notification::Notification;
use graft_rt::ring::CAPACITY;
use graft_rt::{Error, Handle, time};

/// Of the notification that the driver sets [`SERVED`] in: a call is in line.
const ARRIVED: u64 = SERVED << 1;
/// The bits above are for connections to sessions whose last handle is gone.
const GONE: u32 = 8;
/// Calls kept aside at a time.
const KEPT: usize = 24;
/// Of one session. The first one always has as many.
const KEPT_OF_ONE: usize = 2;
/// Bytes that one call reads at most.
const READ_MAX: usize = 1024;
/// Bytes taken from the driver at once.
const BATCH: usize = 64;
/// Bytes to be shown beyond which nothing is taken from the driver.
const SCREEN_FULL: usize = 1024;
/// How long the terminal may take to say how large it is.
const PATIENCE: Duration = Duration::from_millis(200);
/// Asks it.
const ASK_SIZE: &[u8] = b"\x1b[18t";

/// What a call that is kept aside waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Input(Mode),
    Size,
}

/// A call that is kept aside.
struct Kept {
    receiver: Receiver,
    session: u64,
    want: Want,
    /// Bytes that it has room for.
    room: usize,
}

/// The call that writes.
struct Writing {
    /// Its bytes, with a carriage return before each line feed.
    bytes: Vec<u8>,
    /// How many of these are with the driver.
    put: usize,
    /// How many of its bytes that is, for the answer; `None` if there is no such call.
    count: Option<usize>,
}

/// What is known of the terminal's size.
struct Terminal {
    size: Size,
    answer: SizeAnswer,
    /// Until when an answer is waited for.
    deadline: Option<Duration>,
    /// It has not answered, and nothing has been typed since.
    is_silent: bool,
}

pub(crate) struct Server {
    endpoint: Endpoint,
    /// Where the next call is received, or the one that writes is kept.
    receiver: Receiver,
    spare: Vec<Receiver>,
    /// In the order in which they came.
    kept: Vec<Kept>,
    driver: Client,
    input: Input,
    /// What is to be shown of what is typed.
    screen: Vec<u8>,
    writing: Writing,
    sessions: Sessions<Notification>,
    /// The number of the session for each bit from [`GONE`] on; 0 for a bit that is free. One that is over keeps its bit
    /// for as long as its connection lives, so that no other is taken for it.
    watched: [u64; (u64::BITS - GONE) as usize],
    terminal: Terminal,
    buffer: [u8; WRITE_MAX],
}

fn refusal(error: Error) -> Message {
    Message::words([error.to_register(), 0, 0, 0, 0, 0])
}

fn answer(words: [u64; 2]) -> Message {
    Message::words([0, words[0], words[1], 0, 0, 0])
}

/// Whom the signs for the session in the foreground are told, and what is a sign.
fn told(sessions: &Sessions<Notification>) -> (Option<&Notification>, Signs) {
    match sessions.in_foreground().map(|session| (session.told.as_ref(), session.mode)) {
        Some((told @ Some(_), Mode::Lines)) => (told, Signs::All),
        Some((told @ Some(_), Mode::Raw)) => (told, Signs::Last),
        _ => (None, Signs::None),
    }
}

fn tell(told: Option<&Notification>, signal: Option<Signal>) {
    if let (Some(told), Some(signal)) = (told, signal) {
        // A shell that is gone needs no word.
        let _ = told.notify(match signal {
            Signal::Interrupt => INTERRUPT,
            Signal::Suspend => SUSPEND,
        });
    }
}

impl Server {
    /// A server with all the memory and all the objects that it will need.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and what the kernel says of the endpoint and the notification.
    pub(crate) fn new(endpoint: Endpoint, driver: Client) -> Result<Server, Error> {
        driver.tells.bind_endpoint(ARRIVED, &endpoint)?;
        // What an earlier server has put in, and may not have come to ask for.
        driver.ask()?;
        let spare = (0..KEPT).map(|_| endpoint.receiver()).collect::<Result<Vec<_>, _>>()?;
        let mut writing = Writing { bytes: Vec::with_capacity(2 * WRITE_MAX), put: 0, count: None };
        let mut screen = Vec::with_capacity(SCREEN_FULL + 8 * BATCH + SHOWN_MAX);
        // Touched once, so that it takes no frame later, when programs count them.
        for memory in [&mut writing.bytes, &mut screen] {
            memory.resize(memory.capacity(), 0);
            memory.clear();
        }
        Ok(Server {
            receiver: endpoint.receiver()?,
            spare,
            kept: Vec::with_capacity(KEPT),
            driver,
            input: Input::new(),
            screen,
            writing,
            sessions: Sessions::new(time::clock().as_nanos() as u64),
            watched: [0; _],
            terminal: Terminal { size: Size::DEFAULT, answer: SizeAnswer::new(), deadline: None, is_silent: false },
            buffer: [0; WRITE_MAX],
            endpoint,
        })
    }

    /// Serves for good.
    ///
    /// # Errors
    /// What the kernel says when the driver's or the clients' side is gone.
    pub(crate) fn serve(mut self) -> Result<i32, Error> {
        loop {
            self.take_input()?;
            let progress = self.satisfy();
            self.put()?;
            if self.writing.count.is_some() {
                if self.is_all_out() {
                    let count = self.writing.count.take().unwrap_or_default();
                    let _ = self.receiver.reply(answer([count as u64, 0]));
                    continue;
                }
            } else if self.screen.is_empty() {
                if progress {
                    continue;
                }
                match self.receiver.receive_until(Duration::from_nanos(1)) {
                    Ok(received) => {
                        self.receive(received);
                        continue;
                    }
                    Err(Error::TimedOut) => {}
                    Err(error) => return Err(error),
                }
            }
            self.wait()?;
        }
    }

    fn wait(&mut self) -> Result<(), Error> {
        let waited = match self.terminal.deadline {
            Some(deadline) => self.driver.tells.wait_until(deadline),
            None => self.driver.tells.wait(),
        };
        match waited {
            Ok(bits) => {
                self.end_sessions(bits);
                Ok(())
            }
            Err(Error::TimedOut) => {
                self.terminal.is_silent = true;
                self.answer_size();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what the driver has received.
    fn take_input(&mut self) -> Result<(), Error> {
        let mut batch = [0; BATCH];
        while self.screen.len() < SCREEN_FULL {
            let was_full = self.driver.incoming.len() == CAPACITY;
            let count = self.driver.incoming.take(&mut batch);
            if count == 0 {
                break;
            }
            self.terminal.is_silent = false;
            batch[..count].iter().for_each(|&byte| self.typed(byte));
            if was_full {
                // It may have stopped for want of room.
                self.driver.ask()?;
            }
        }
        Ok(())
    }

    fn typed(&mut self, byte: u8) {
        if self.terminal.deadline.is_none() {
            return self.enter(byte);
        }
        let mut answered = self.terminal.answer.feed(byte);
        if answered == Answered::No {
            self.pass_held();
            // It may begin what the one before did not.
            answered = self.terminal.answer.feed(byte);
        }
        match answered {
            Answered::Perhaps => {}
            Answered::No => self.enter(byte),
            Answered::Size(columns, rows) => {
                self.terminal.size = Size { columns, rows };
                self.answer_size();
            }
        }
    }

    /// Takes what looked like the terminal's answer for what it is.
    fn pass_held(&mut self) {
        let mut held = [0; 16];
        let mut count = 0;
        for (place, byte) in held.iter_mut().zip(self.terminal.answer.take_held()) {
            *place = byte;
            count += 1;
        }
        held[..count].iter().for_each(|&byte| self.enter(byte));
    }

    fn enter(&mut self, byte: u8) {
        let (told, signs) = told(&self.sessions);
        tell(told, self.input.typed(byte, signs, &mut self.screen));
    }

    /// Has the job that is in the foreground now be told what has been typed for it already.
    fn catch_up(&mut self) {
        if let (told, Signs::All) = told(&self.sessions) {
            tell(told, self.input.signal_before(&mut self.screen));
        }
    }

    /// Ends the wait for the terminal's answer.
    fn answer_size(&mut self) {
        self.terminal.deadline = None;
        self.pass_held();
        let Size { columns, rows } = self.terminal.size;
        while let Some(index) = self.kept.iter().position(|kept| kept.want == Want::Size) {
            self.conclude(index, answer([columns.into(), rows.into()]));
        }
    }

    /// Answers a call that was kept aside.
    fn conclude(&mut self, index: usize, message: Message) {
        let kept = self.kept.remove(index);
        // A caller that waits no longer needs none.
        let _ = kept.receiver.reply(message);
        self.spare.push(kept.receiver);
    }

    /// Gives the reader whose turn it is what there is for it. Returns whether there may be more to do.
    fn satisfy(&mut self) -> bool {
        let foreground = self.sessions.foreground();
        let is_next = |kept: &Kept| kept.session == foreground && matches!(kept.want, Want::Input(_));
        let Some(index) = self.kept.iter().position(is_next) else { return false };
        if !self.input.has_more() || self.screen.len() >= SCREEN_FULL {
            return false;
        }
        let kept = &self.kept[index];
        // One that waits no longer takes nothing.
        if kept.receiver.write(0, &[]) == Err(Error::NotFound) {
            self.conclude(index, Message::default());
            return true;
        }
        let buffer = &mut self.buffer[..kept.room.min(READ_MAX)];
        let read = match kept.want {
            Want::Input(Mode::Raw) => self.input.read_raw(buffer),
            _ => self.input.read_line(buffer, &mut self.screen),
        };
        let Some(count) = read else { return self.input.has_more() };
        let message = match kept.receiver.write(0, &buffer[..count]) {
            Ok(()) => answer([count as u64, 0]),
            Err(error) => {
                self.input.unread(&buffer[..count]);
                refusal(error)
            }
        };
        self.conclude(index, message);
        true
    }

    /// Gives the driver what there is to be written, as far as there is room.
    fn put(&mut self) -> Result<(), Error> {
        let writing = &mut self.writing;
        let mut count = self.driver.outgoing.put(&writing.bytes[writing.put..]);
        writing.put += count;
        if writing.put == writing.bytes.len() && !self.screen.is_empty() {
            let shown = self.driver.outgoing.put(&self.screen);
            self.screen.drain(..shown);
            count += shown;
        }
        if count > 0 { self.driver.ask() } else { Ok(()) }
    }

    /// Whether the driver has taken everything.
    fn is_all_out(&self) -> bool {
        self.writing.put == self.writing.bytes.len() && self.driver.outgoing.room() == CAPACITY
    }

    /// Sees to a call: answers it, or keeps it.
    fn receive(&mut self, Received { message, badge }: Received) {
        let handle = message.handle;
        let [operation, a, b, ..] = message.words;
        let operation = Operation::from_number(operation);
        if operation == Some(Operation::Open) && handle != Handle::NONE {
            return self.open(badge, Notification::from_handle(handle));
        }
        message.into_words();
        let result = match operation {
            Some(Operation::Write) => match self.begin_to_write(a) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Some(Operation::Read) => match Mode::from_number(a) {
                Some(mode) => match self.keep(badge, Want::Input(mode), b) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                },
                None => Err(Error::BadArgument),
            },
            Some(Operation::Size) => match self.begin_to_ask(badge) {
                Ok(None) => return,
                Ok(Some(Size { columns, rows })) => Ok([columns.into(), rows.into()]),
                Err(error) => Err(error),
            },
            Some(Operation::Foreground) if self.sessions.set_foreground(badge, a) => {
                self.catch_up();
                Ok([0, 0])
            }
            Some(Operation::Close) if self.sessions.close(badge, a) => {
                self.refuse_lost();
                Ok([0, 0])
            }
            Some(Operation::Foreground | Operation::Close) => Err(Error::NotAllowed),
            Some(Operation::Open) | None => Err(Error::BadArgument),
        };
        // One that was sent without waiting needs no answer.
        let _ = self.receiver.reply(result.map_or_else(refusal, answer));
    }

    fn begin_to_write(&mut self, length: u64) -> Result<(), Error> {
        let length = usize::try_from(length).unwrap_or(WRITE_MAX).min(WRITE_MAX);
        let bytes = &mut self.buffer[..length];
        self.receiver.read(0, bytes)?;
        let writing = &mut self.writing;
        writing.bytes.clear();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part {
                [line @ .., b'\n'] => {
                    writing.bytes.extend_from_slice(line);
                    writing.bytes.extend_from_slice(b"\r\n");
                }
                rest => writing.bytes.extend_from_slice(rest),
            }
        }
        (writing.put, writing.count) = (0, Some(length));
        Ok(())
    }

    /// Keeps the call that has been received, if its session may have one more.
    fn keep(&mut self, session: u64, want: Want, room: u64) -> Result<(), Error> {
        let state = self.sessions.find_mut(session).ok_or(Error::NotAllowed)?;
        if let Want::Input(mode) = want {
            state.mode = mode;
        }
        if room == 0 && want != Want::Size {
            let _ = self.receiver.reply(answer([0, 0]));
            return Ok(());
        }
        if self.count_kept(session) >= KEPT_OF_ONE {
            self.sweep();
        }
        let is_too_many = session != FIRST && self.spare.len() <= KEPT_OF_ONE;
        if self.count_kept(session) >= KEPT_OF_ONE || is_too_many {
            return Err(Error::NotReady);
        }
        let next = self.spare.pop().ok_or(Error::NotReady)?;
        let receiver = core::mem::replace(&mut self.receiver, next);
        self.kept.push(Kept { receiver, session, want, room: usize::try_from(room).unwrap_or(READ_MAX) });
        Ok(())
    }

    fn count_kept(&self, session: u64) -> usize {
        self.kept.iter().filter(|kept| kept.session == session).count()
    }

    /// Forgets the calls that were kept and whose callers wait no longer.
    fn sweep(&mut self) {
        let is_over = |kept: &Kept| kept.receiver.write(0, &[]) == Err(Error::NotFound);
        while let Some(index) = self.kept.iter().position(is_over) {
            self.conclude(index, Message::default());
        }
    }

    /// Ends the sessions whose connections nothing holds any more.
    fn end_sessions(&mut self, bits: u64) {
        for (index, number) in self.watched.iter_mut().enumerate() {
            if bits >> GONE >> index & 1 != 0 {
                self.sessions.end(core::mem::take(number));
            }
        }
        self.refuse_lost();
    }

    /// Has the end of a session be told when its connection's last handle is gone. Without a bit that is free it is over
    /// when the session that has made it says so.
    fn watch(&mut self, number: u64, connection: &Connection) -> Result<(), Error> {
        let Some(index) = self.watched.iter().position(|&watched| watched == 0) else { return Ok(()) };
        self.driver.tells.bind_connection(1 << GONE << index, connection)?;
        self.watched[index] = number;
        Ok(())
    }

    /// Answers the calls of sessions that are over.
    fn refuse_lost(&mut self) {
        while let Some(index) = self.kept.iter().position(|kept| !self.sessions.exists(kept.session)) {
            self.conclude(index, refusal(Error::NotAllowed));
        }
    }

    /// Asks the terminal how large it is, unless it does not say: then the size is what is known.
    fn begin_to_ask(&mut self, session: u64) -> Result<Option<Size>, Error> {
        if self.terminal.is_silent {
            return Ok(Some(self.terminal.size));
        }
        self.keep(session, Want::Size, 0)?;
        if self.terminal.deadline.is_none() {
            self.terminal.deadline = Some(time::clock() + PATIENCE);
            self.screen.extend_from_slice(ASK_SIZE);
        }
        Ok(None)
    }

    /// Makes a session.
    fn open(&mut self, parent: u64, told: Notification) {
        // What has ended makes room.
        let ended = self.driver.tells.take();
        self.end_sessions(ended.unwrap_or(0));
        let made = self.sessions.open(parent, told).ok_or(Error::HandlesExhausted);
        let made = made.and_then(|number| {
            let connection = self.endpoint.connect(number);
            let watched = connection.and_then(|connection| self.watch(number, &connection).map(|()| connection));
            if watched.is_err() {
                self.sessions.close(parent, number);
            }
            watched.map(|connection| (number, connection))
        });
        match made {
            Ok((number, connection)) => {
                let handle = connection.handle();
                let moved = self.receiver.reply(Message { words: [0, number, 0, 0, 0, 0], handle });
                match moved {
                    // It is the caller's, unless that had no room for it: then this closes it.
                    Ok(()) => drop(connection),
                    Err(_) => _ = self.sessions.close(parent, number),
                }
            }
            Err(error) => _ = self.receiver.reply(refusal(error)),
        }
    }
}
