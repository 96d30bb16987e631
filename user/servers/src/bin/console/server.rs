//! The loop: what is typed, who reads, what is to be shown, and the next call.
//!
//! ```text
//!   take what is typed, give the reader its own ──▶ commit ──▶ free the ring, tell signs, answer, write ──▶ next call
//! ```
//!
//! Nothing of a change is seen before it is committed, but for bytes in the memory of a reader who has not been answered.
//! What follows a commit can be done again: so a server that takes this one's place at any moment goes on from what was
//! committed last, and nothing is lost or doubled.

use alloc::vec::Vec;
use core::time::Duration;

use graft_drivers::pl011::{Client, SERVED};
use graft_lib::console::sessions::{SESSIONS, Sessions};
use graft_lib::console::{Answered, Signal, Signs};
use graft_rt::Error;
use graft_rt::console::protocol::WRITE_MAX;
use graft_rt::console::{INTERRUPT, Mode, SUSPEND, Size};
use graft_rt::message::{Endpoint, Message, Receiver};
use graft_rt::notification::Notification;
use graft_rt::process::close;
use graft_rt::ring::CAPACITY;
use graft_rt::store::Store;

use crate::state::{Kept, State, Want};

/// Of the notification that the driver sets [`SERVED`] in: a call is in line.
const ARRIVED: u64 = SERVED << 1;
/// Calls kept aside at a time.
pub(crate) const KEPT: usize = 24;
/// What keeps them, and the one that the next call is received with.
pub(crate) const RECEIVERS: usize = KEPT + 1;
/// Connections to sessions of which it is told when their last handle is gone.
pub(crate) const WATCHED: usize = u64::BITS as usize;
/// Bytes that one call reads at most.
pub(crate) const READ_MAX: usize = 1024;
/// Bytes taken from the driver at once.
pub(crate) const BATCH: usize = 64;
/// Bytes to be shown beyond which nothing is taken from the driver.
pub(crate) const SCREEN_FULL: usize = 1024;
/// Where root keeps handles: the receivers, then this one, then what the sessions are told by.
const PLACE_OF_GONE: usize = RECEIVERS;
pub(crate) const PLACE_OF_TOLD: usize = PLACE_OF_GONE + 1;

pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) driver: Client,
    pub(crate) store: Store,
    pub(crate) receivers: Vec<Receiver>,
    /// Has a bit for each connection that is watched. Looked at when there is to be room, so that hardly ever bits are
    /// taken by a server that is killed before it has done anything with them.
    pub(crate) gone: Notification,
    pub(crate) state: State,
    /// The state is another than what was committed last.
    pub(crate) is_changed: bool,
    /// The driver may have stopped for want of room.
    was_full: bool,
    /// For which places of sessions root keeps a handle.
    pub(crate) told: [bool; SESSIONS],
    pub(crate) buffer: [u8; WRITE_MAX],
}

pub(crate) fn refusal(error: Error) -> [u64; 3] {
    [error.to_register(), 0, 0]
}

pub(crate) fn answer(words: [u64; 2]) -> [u64; 3] {
    [0, words[0], words[1]]
}

pub(crate) fn message([result, a, b]: [u64; 3]) -> Message {
    Message::words([result, a, b, 0, 0, 0])
}

/// What is a sign for the session in the foreground.
fn signs(sessions: &Sessions<Notification>) -> Signs {
    match sessions.in_foreground().map(|session| (session.told.is_some(), session.mode)) {
        Some((true, Mode::Lines)) => Signs::All,
        Some((true, Mode::Raw)) => Signs::Last,
        _ => Signs::None,
    }
}

impl Server {
    /// A server with all the memory and all the objects that it will need. It goes on where the one before was killed.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and what the kernel says of the endpoint and the notification.
    pub(crate) fn new(endpoint: Endpoint, mut driver: Client) -> Result<Server, Error> {
        driver.tells.bind_endpoint(ARRIVED, &endpoint)?;
        let store = Store::granted()?;
        let mut told = [false; SESSIONS];
        let state = store.last().and_then(|last| {
            State::restore(&last, &mut driver, |place| {
                let handle = store.kept(PLACE_OF_TOLD + place)?;
                told[place] = true;
                Some(Notification::from_handle(handle))
            })
        });
        let is_known = state.is_some();
        let state = state.unwrap_or_else(State::new);
        for (place, told) in told.iter_mut().enumerate().filter(|(_, told)| !**told) {
            if let Some(handle) = store.kept(PLACE_OF_TOLD + place) {
                // Of a session that was not made in the end, or is over.
                let _ = close(handle);
                *told = true;
            }
        }
        let mut receivers = Vec::with_capacity(RECEIVERS);
        for place in 0..RECEIVERS {
            // A call that has been received, and of which nothing is known, is made again by its caller.
            let is_lost = !is_known || (place == state.current && state.writing.count.is_none());
            receivers.push(match store.kept(place).map(Receiver::from_handle) {
                Some(receiver) if !is_lost => receiver,
                _ => {
                    let receiver = endpoint.receiver()?;
                    store.keep(place, receiver.handle())?;
                    receiver
                }
            });
        }
        let gone = match store.kept(PLACE_OF_GONE) {
            Some(handle) if is_known => Notification::from_handle(handle),
            _ => {
                let gone = Notification::new()?;
                store.keep(PLACE_OF_GONE, gone.handle())?;
                gone
            }
        };
        // What an earlier server has put in or taken out, and may not have come to ask for.
        driver.incoming.free();
        driver.ask()?;
        let (is_changed, was_full, buffer) = (true, false, [0; WRITE_MAX]);
        Ok(Server { endpoint, driver, store, receivers, gone, state, is_changed, was_full, told, buffer })
    }

    /// Serves for good.
    ///
    /// # Errors
    /// What the kernel says when the driver's or the clients' side is gone.
    pub(crate) fn serve(mut self) -> Result<i32, Error> {
        loop {
            self.store.set_at_work(true);
            self.take_input();
            let progress = self.satisfy();
            self.settle()?;
            self.put()?;
            if self.state.writing.count.is_some() {
                if self.is_all_out() {
                    let count = self.state.writing.count.take().unwrap_or_default();
                    let _ = self.current().reply(message(answer([count as u64, 0])));
                    self.is_changed = true;
                    continue;
                }
            } else if self.state.screen.is_empty() {
                if progress {
                    continue;
                }
                match self.current().receive_until(Duration::from_nanos(1)) {
                    Ok(received) => {
                        self.receive(received);
                        continue;
                    }
                    Err(Error::TimedOut) => {}
                    Err(error) => return Err(error),
                }
            }
            self.store.set_at_work(false);
            self.wait()?;
        }
    }

    pub(crate) fn current(&self) -> &Receiver {
        &self.receivers[self.state.current]
    }

    /// Commits what has changed, and does what follows from it.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        while core::mem::take(&mut self.is_changed) {
            let Server { store, state, driver, .. } = self;
            store.commit(|out| state.save(driver, out));
            driver.incoming.free();
            if core::mem::take(&mut self.was_full) {
                self.driver.ask()?;
            }
            if let Some((session, bits)) = self.state.signs.take() {
                if let Some(told) = self.state.sessions.find_mut(session).and_then(|session| session.told.as_ref()) {
                    // A shell that is gone needs no word.
                    let _ = told.notify(bits);
                }
                // Not to be told again: the next one could be for another job.
                self.is_changed = true;
            }
            self.answer_kept();
            self.release_told();
        }
        Ok(())
    }

    /// Answers the kept calls that have an answer. A caller that waits no longer, or has been answered by the server
    /// before, needs none.
    fn answer_kept(&mut self) {
        for kept in &self.state.kept {
            if let Some(answer) = kept.answer {
                let _ = self.receivers[kept.receiver].reply(message(answer));
            }
        }
        self.state.kept.retain(|kept| kept.answer.is_none());
    }

    /// Has root close what sessions were told by that are over.
    fn release_told(&mut self) {
        for (place, told) in self.told.iter_mut().enumerate() {
            if *told && !self.state.sessions.is_used(place) {
                self.store.give_up(PLACE_OF_TOLD + place);
                *told = false;
            }
        }
    }

    fn wait(&mut self) -> Result<(), Error> {
        let waited = match self.state.terminal.deadline {
            Some(deadline) => self.driver.tells.wait_until(deadline),
            None => self.driver.tells.wait(),
        };
        match waited {
            Ok(_) => Ok(()),
            Err(Error::TimedOut) => {
                self.state.terminal.is_silent = true;
                self.answer_size();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what the driver has received.
    fn take_input(&mut self) {
        let mut batch = [0; BATCH];
        while self.state.screen.len() < SCREEN_FULL {
            self.was_full |= self.driver.incoming.len() == CAPACITY;
            let count = self.driver.incoming.read(&mut batch);
            if count == 0 {
                break;
            }
            self.is_changed = true;
            self.state.terminal.is_silent = false;
            batch[..count].iter().for_each(|&byte| self.typed(byte));
        }
    }

    fn typed(&mut self, byte: u8) {
        if self.state.terminal.deadline.is_none() {
            return self.enter(byte);
        }
        let mut answered = self.state.terminal.answer.feed(byte);
        if answered == Answered::No {
            self.pass_held();
            // It may begin what the one before did not.
            answered = self.state.terminal.answer.feed(byte);
        }
        match answered {
            Answered::Perhaps => {}
            Answered::No => self.enter(byte),
            Answered::Size(columns, rows) => {
                self.state.terminal.size = Size { columns, rows };
                self.answer_size();
            }
        }
    }

    /// Takes what looked like the terminal's answer for what it is.
    fn pass_held(&mut self) {
        let mut held = [0; 16];
        let mut count = 0;
        for (place, byte) in held.iter_mut().zip(self.state.terminal.answer.take_held()) {
            *place = byte;
            count += 1;
        }
        held[..count].iter().for_each(|&byte| self.enter(byte));
    }

    fn enter(&mut self, byte: u8) {
        let signs = signs(&self.state.sessions);
        let signal = self.state.input.typed(byte, signs, &mut self.state.screen);
        self.tell(signal);
    }

    /// Has the session in the foreground be told, once that is committed.
    fn tell(&mut self, signal: Option<Signal>) {
        let bit = match signal {
            Some(Signal::Interrupt) => INTERRUPT,
            Some(Signal::Suspend) => SUSPEND,
            None => return,
        };
        let session = self.state.sessions.foreground();
        let before = self.state.signs.filter(|(other, _)| *other == session).map_or(0, |(_, bits)| bits);
        self.state.signs = Some((session, before | bit));
    }

    /// Has the job that is in the foreground now be told what has been typed for it already.
    pub(crate) fn catch_up(&mut self) {
        if signs(&self.state.sessions) == Signs::All {
            let signal = self.state.input.signal_before(&mut self.state.screen);
            self.tell(signal);
        }
    }

    /// Ends the wait for the terminal's answer.
    fn answer_size(&mut self) {
        self.state.terminal.deadline = None;
        self.pass_held();
        let Size { columns, rows } = self.state.terminal.size;
        self.conclude(|kept| kept.want == Want::Size, answer([columns.into(), rows.into()]));
    }

    /// Says what kept calls are to be answered, if they have no answer.
    fn conclude(&mut self, is_it: impl Fn(&Kept) -> bool, answer: [u64; 3]) {
        self.is_changed = true;
        for kept in self.state.kept.iter_mut().filter(|kept| kept.answer.is_none() && is_it(kept)) {
            kept.answer = Some(answer);
        }
    }

    /// Gives the reader whose turn it is what there is for it. Returns whether there may be more to do.
    fn satisfy(&mut self) -> bool {
        let State { input, screen, sessions, kept, .. } = &mut self.state;
        let is_next = |kept: &&mut Kept| {
            kept.session == sessions.foreground() && matches!(kept.want, Want::Input(_)) && kept.answer.is_none()
        };
        let Some(kept) = kept.iter_mut().find(is_next) else { return false };
        if !input.has_more() || screen.len() >= SCREEN_FULL {
            return false;
        }
        self.is_changed = true;
        let receiver = &self.receivers[kept.receiver];
        // One that waits no longer takes nothing.
        if receiver.write(0, &[]) == Err(Error::NotFound) {
            kept.answer = Some([0; 3]);
            return true;
        }
        let buffer = &mut self.buffer[..kept.room.min(READ_MAX)];
        let read = match kept.want {
            Want::Input(Mode::Raw) => input.read_raw(buffer),
            _ => input.read_line(buffer, screen),
        };
        let Some(count) = read else { return input.has_more() };
        kept.answer = Some(match receiver.write(0, &buffer[..count]) {
            Ok(()) => answer([count as u64, 0]),
            Err(error) => {
                input.unread(&buffer[..count]);
                refusal(error)
            }
        });
        true
    }

    /// Gives the driver what there is to be written, as far as there is room: it has been committed.
    fn put(&mut self) -> Result<(), Error> {
        let State { writing, screen, .. } = &mut self.state;
        let mut count = self.driver.outgoing.put(&writing.bytes[writing.put..]);
        writing.put += count;
        if writing.put == writing.bytes.len() && !screen.is_empty() {
            let shown = self.driver.outgoing.put(screen);
            screen.drain(..shown);
            count += shown;
        }
        if count > 0 { self.driver.ask() } else { Ok(()) }
    }

    /// Whether the driver has taken everything.
    fn is_all_out(&self) -> bool {
        self.state.writing.put == self.state.writing.bytes.len() && self.driver.outgoing.room() == CAPACITY
    }
}
