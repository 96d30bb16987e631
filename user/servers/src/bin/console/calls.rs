//! Calls: what each operation does to the state, and its answer.

use core::time::Duration;

use graft_lib::console::sessions::FIRST;
use graft_rt::console::protocol::{Operation, WRITE_MAX};
use graft_rt::console::{Mode, Size};
use graft_rt::message::{Connection, Message, Received};
use graft_rt::notification::Notification;
use graft_rt::{Error, Handle, time};

use crate::server::{PLACE_OF_TOLD, READ_MAX, RECEIVERS, Server, answer, message, refusal};
use crate::state::{Kept, State, Want};

/// Calls kept of one session. The first one always has as many.
const KEPT_OF_ONE: usize = 2;
/// How long the terminal may take to say how large it is.
const PATIENCE: Duration = Duration::from_millis(200);
/// Asks it.
const ASK_SIZE: &[u8] = b"\x1b[18t";

impl Server {
    /// Sees to a call: answers it, or keeps it.
    pub(crate) fn receive(&mut self, Received { message: received, badge }: Received) {
        let handle = received.handle;
        let [operation, a, b, ..] = received.words;
        let operation = Operation::from_number(operation);
        if operation == Some(Operation::Open) && handle != Handle::NONE {
            return self.open(badge, Notification::from_handle(handle));
        }
        received.into_words();
        let result = match operation {
            Some(Operation::Write) => self.begin_to_write(a).map(|()| None),
            Some(Operation::Read) => match Mode::from_number(a) {
                Some(mode) => self.begin_to_read(badge, mode, b),
                None => Err(Error::BadArgument),
            },
            Some(Operation::Size) => self.begin_to_ask(badge),
            Some(Operation::Foreground) if self.state.sessions.set_foreground(badge, a) => {
                self.catch_up();
                Ok(Some([0, 0]))
            }
            Some(Operation::Close) if self.state.sessions.close(badge, a) => {
                self.refuse_lost();
                Ok(Some([0, 0]))
            }
            Some(Operation::Foreground | Operation::Close) => Err(Error::NotAllowed),
            Some(Operation::Open) | None => Err(Error::BadArgument),
        };
        self.is_changed |= result.is_ok();
        let words = match result {
            Ok(None) => return,
            Ok(Some(words)) => answer(words),
            Err(error) => refusal(error),
        };
        // Before the answer: a caller that has it relies on it. Without it the call is made again, and changes nothing
        // more. An error is met again where the driver is told.
        let _ = self.settle();
        // One that was sent without waiting needs none.
        let _ = self.current().reply(message(words));
    }

    fn begin_to_write(&mut self, length: u64) -> Result<(), Error> {
        let length = usize::try_from(length).unwrap_or(WRITE_MAX).min(WRITE_MAX);
        let bytes = &mut self.buffer[..length];
        self.receivers[self.state.current].read(0, bytes)?;
        let writing = &mut self.state.writing;
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

    /// Notes how a session reads, and keeps the call that does, if it has room for anything.
    fn begin_to_read(&mut self, session: u64, mode: Mode, room: u64) -> Result<Option<[u64; 2]>, Error> {
        self.state.sessions.find_mut(session).ok_or(Error::NotAllowed)?.mode = mode;
        self.is_changed = true;
        if room == 0 {
            return Ok(Some([0, 0]));
        }
        self.keep(session, Want::Input(mode), usize::try_from(room).unwrap_or(READ_MAX)).map(|()| None)
    }

    /// Keeps the call that has been received, if its session may have one more.
    fn keep(&mut self, session: u64, want: Want, room: usize) -> Result<(), Error> {
        if !self.state.sessions.exists(session) {
            return Err(Error::NotAllowed);
        }
        if self.count_kept(session) >= KEPT_OF_ONE {
            self.sweep();
        }
        let is_too_many = session != FIRST && RECEIVERS - 1 - self.state.kept.len() <= KEPT_OF_ONE;
        if self.count_kept(session) >= KEPT_OF_ONE || is_too_many {
            return Err(Error::NotReady);
        }
        let next = (0..RECEIVERS).find(|&receiver| self.state.is_spare(receiver)).ok_or(Error::NotReady)?;
        let receiver = core::mem::replace(&mut self.state.current, next);
        self.state.kept.push(Kept { receiver, session, want, room, answer: None });
        Ok(())
    }

    fn count_kept(&self, session: u64) -> usize {
        self.state.kept.iter().filter(|kept| kept.session == session).count()
    }

    /// Forgets the calls that were kept and whose callers wait no longer.
    fn sweep(&mut self) {
        let receivers = &self.receivers;
        self.state.kept.retain(|kept| {
            let receiver = &receivers[kept.receiver];
            let waits = receiver.write(0, &[]) != Err(Error::NotFound);
            if !waits {
                // What is left of the call.
                let _ = receiver.reply(Message::default());
            }
            waits
        });
        self.is_changed = true;
    }

    /// Ends the sessions whose connections nothing holds any more.
    fn end_sessions(&mut self) {
        let bits = self.gone.take().unwrap_or(0);
        for (index, number) in self.state.watched.iter_mut().enumerate() {
            if bits >> index & 1 != 0 {
                self.state.sessions.end(core::mem::take(number));
            }
        }
        self.refuse_lost();
    }

    /// Has the end of a session be told when its connection's last handle is gone. Without a bit that is free it is over
    /// when the session that has made it says so.
    fn watch(&mut self, number: u64, connection: &Connection) -> Result<(), Error> {
        let Some(index) = self.state.watched.iter().position(|&watched| watched == 0) else { return Ok(()) };
        self.gone.bind_connection(1 << index, connection)?;
        self.state.watched[index] = number;
        Ok(())
    }

    /// Answers the calls of sessions that are over.
    fn refuse_lost(&mut self) {
        let State { sessions, kept, .. } = &mut self.state;
        for kept in kept.iter_mut().filter(|kept| kept.answer.is_none() && !sessions.exists(kept.session)) {
            kept.answer = Some(refusal(Error::NotAllowed));
        }
        self.is_changed = true;
    }

    /// Asks the terminal how large it is, unless it does not say: then the size is what is known.
    fn begin_to_ask(&mut self, session: u64) -> Result<Option<[u64; 2]>, Error> {
        if self.state.terminal.is_silent {
            let Size { columns, rows } = self.state.terminal.size;
            return Ok(Some([columns.into(), rows.into()]));
        }
        self.keep(session, Want::Size, 0)?;
        if self.state.terminal.deadline.is_none() {
            self.state.terminal.deadline = Some(time::clock() + PATIENCE);
            self.state.screen.extend_from_slice(ASK_SIZE);
        }
        Ok(None)
    }

    /// Makes a session.
    fn open(&mut self, parent: u64, told: Notification) {
        // What has ended makes room.
        self.end_sessions();
        match self.make_session(parent, told) {
            Ok((number, connection)) => {
                let Server { store, state, driver, .. } = self;
                // It is to be there when the caller has the connection. A caller that does not get it makes its call
                // again; the end of the connection ends what was made for it.
                store.commit(|out| state.save(driver, out));
                let handle = connection.handle();
                match self.current().reply(Message { words: [0, number, 0, 0, 0, 0], handle }) {
                    // It is the caller's, unless that had no room for it: then this closes it.
                    Ok(()) => drop(connection),
                    Err(_) => _ = self.state.sessions.close(parent, number),
                }
            }
            Err(error) => _ = self.current().reply(message(refusal(error))),
        }
        self.is_changed = true;
    }

    fn make_session(&mut self, parent: u64, told: Notification) -> Result<(u64, Connection), Error> {
        let handle = told.handle();
        let number = self.state.sessions.open(parent, told).ok_or(Error::HandlesExhausted)?;
        let place = self.state.sessions.place_of(number).ok_or(Error::NotFound)?;
        let connection = self.store.keep(PLACE_OF_TOLD + place, handle).and_then(|()| {
            self.told[place] = true;
            let connection = self.endpoint.connect(number)?;
            self.watch(number, &connection)?;
            Ok(connection)
        });
        if connection.is_err() {
            self.state.sessions.close(parent, number);
        }
        Ok((number, connection?))
    }
}
