//! What the server knows, and goes on from when it was killed: everything but handles.

use alloc::vec::Vec;
use core::time::Duration;

use graft_drivers::pl011::Client;
use graft_lib::console::saved::{Saved, put_bytes, put_number};
use graft_lib::console::sessions::Sessions;
use graft_lib::console::{Input, SHOWN_MAX, SizeAnswer};
use graft_rt::console::protocol::WRITE_MAX;
use graft_rt::console::{Mode, Size};
use graft_rt::notification::Notification;
use graft_rt::time;

use crate::server::{BATCH, KEPT, RECEIVERS, SCREEN_FULL, WATCHED};

/// What a call that is kept aside waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Input(Mode),
    Size,
}

/// A call that is kept aside.
pub(crate) struct Kept {
    /// Which of the receivers has it.
    pub receiver: usize,
    pub session: u64,
    pub want: Want,
    /// Bytes that it has room for.
    pub room: usize,
    /// What it is to be answered, or has been.
    pub answer: Option<[u64; 3]>,
}

/// The call that writes.
pub(crate) struct Writing {
    /// Its bytes, with a carriage return before each line feed.
    pub bytes: Vec<u8>,
    /// How many of these are with the driver.
    pub put: usize,
    /// How many of its bytes that is, for the answer; `None` if there is no such call.
    pub count: Option<usize>,
}

/// What is known of the terminal's size.
pub(crate) struct Terminal {
    pub size: Size,
    pub answer: SizeAnswer,
    /// Until when an answer is waited for.
    pub deadline: Option<Duration>,
    /// It has not answered, and nothing has been typed since.
    pub is_silent: bool,
}

pub(crate) struct State {
    pub input: Input,
    /// What is to be shown of what is typed.
    pub screen: Vec<u8>,
    pub writing: Writing,
    pub sessions: Sessions<Notification>,
    /// The number of the session for each bit of those that tell of connections; 0 for a bit that is free. One that is
    /// over keeps its bit for as long as its connection lives, so that no other is taken for it.
    pub watched: [u64; WATCHED],
    pub terminal: Terminal,
    /// Calls, in the order in which they came.
    pub kept: Vec<Kept>,
    /// Which of the receivers the next call is received with, or the one that writes is kept by.
    pub current: usize,
    /// The session that is to be told something, and what.
    pub signs: Option<(u64, u64)>,
}

impl State {
    /// Nothing, with all the memory that it will need.
    pub fn new() -> State {
        let mut writing = Writing { bytes: Vec::with_capacity(2 * WRITE_MAX), put: 0, count: None };
        let mut screen = Vec::with_capacity(SCREEN_FULL + 8 * BATCH + SHOWN_MAX);
        // Touched once, so that it takes no frame later, when programs count them.
        for memory in [&mut writing.bytes, &mut screen] {
            memory.resize(memory.capacity(), 0);
            memory.clear();
        }
        State {
            input: Input::new(),
            screen,
            writing,
            sessions: Sessions::new(time::clock().as_nanos() as u64),
            watched: [0; _],
            terminal: Terminal { size: Size::DEFAULT, answer: SizeAnswer::new(), deadline: None, is_silent: false },
            kept: Vec::with_capacity(KEPT),
            current: 0,
            signs: None,
        }
    }

    /// Appends all of it, and how far the driver's rings have been used.
    pub fn save(&self, driver: &Client, out: &mut Vec<u8>) {
        put_number(out, driver.incoming.read_out().into());
        put_number(out, driver.outgoing.put_in().into());
        self.input.save(out);
        self.sessions.save(out);
        put_bytes(out, [&self.writing.bytes[self.writing.put..], &[]]);
        put_number(out, self.writing.count.map_or(0, |count| count as u64 + 1));
        put_bytes(out, [&self.screen, &[]]);
        let Terminal { size, answer, deadline, is_silent } = &self.terminal;
        put_bytes(out, [answer.held(), &[]]);
        let deadline = deadline.map_or(0, |deadline| deadline.as_nanos() as u64);
        let (about, told) = self.signs.unwrap_or_default();
        let numbers = [u64::from(size.columns), size.rows.into(), deadline, (*is_silent).into(), about, told];
        numbers.into_iter().for_each(|number| put_number(out, number));
        put_number(out, self.current as u64);
        put_number(out, self.kept.len() as u64);
        for Kept { receiver, session, want, room, answer } in &self.kept {
            let want = match want {
                Want::Input(mode) => *mode as u64,
                Want::Size => u64::MAX,
            };
            let [a, b, c] = answer.unwrap_or_default();
            let numbers = [*receiver as u64, *session, want, *room as u64, answer.is_some().into(), a, b, c];
            numbers.into_iter().for_each(|number| put_number(out, number));
        }
        let watched = || self.watched.iter().enumerate().filter(|(_, number)| **number != 0);
        put_number(out, watched().count() as u64);
        for (bit, &number) in watched() {
            put_number(out, bit as u64);
            put_number(out, number);
        }
    }

    /// What [`save`](Self::save) has appended, and what has become of it since: what went into the ring has been
    /// committed before. `told` gives for each place that by which its session is told.
    pub fn restore(
        state: &[u8],
        driver: &mut Client,
        told: impl FnMut(usize) -> Option<Notification>,
    ) -> Option<State> {
        let mut state_of = State::new();
        let State { writing, screen, terminal, .. } = &mut state_of;
        let saved = &mut Saved(state);
        driver.incoming.go_on_behind(saved.number()? as u32);
        let mut put = driver.outgoing.put_in().wrapping_sub(saved.number()? as u32) as usize;
        let (input, sessions) = (Input::restore(saved)?, Sessions::restore(saved, told)?);
        writing.bytes.extend_from_slice(saved.bytes(2 * WRITE_MAX)?);
        writing.count = saved.number_to(WRITE_MAX + 1)?.checked_sub(1);
        writing.put = put.min(writing.bytes.len());
        put -= writing.put;
        let shown = saved.bytes(screen.capacity())?;
        screen.extend_from_slice(shown.get(put..)?);
        let held = saved.bytes(state.len())?;
        held.iter().for_each(|&byte| _ = terminal.answer.feed(byte));
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = saved.number()?;
        }
        let [columns, rows, deadline, is_silent, about, signs] = numbers;
        terminal.size = Size { columns: columns as u16, rows: rows as u16 };
        terminal.deadline = (deadline != 0).then(|| Duration::from_nanos(deadline));
        terminal.is_silent = is_silent != 0;
        state_of.signs = (signs != 0).then_some((about, signs));
        state_of.current = saved.number_to(RECEIVERS - 1)?;
        for _ in 0..saved.number_to(KEPT)? {
            let (receiver, session) = (saved.number_to(RECEIVERS - 1)?, saved.number()?);
            let want = match saved.number()? {
                u64::MAX => Want::Size,
                mode => Want::Input(Mode::from_number(mode)?),
            };
            let (room, is_answered) = (saved.number()? as usize, saved.number()? != 0);
            let answer = [saved.number()?, saved.number()?, saved.number()?];
            state_of.kept.push(Kept { receiver, session, want, room, answer: is_answered.then_some(answer) });
        }
        for _ in 0..saved.number_to(WATCHED)? {
            let bit = saved.number_to(WATCHED - 1)?;
            state_of.watched[bit] = saved.number()?;
        }
        (state_of.input, state_of.sessions) = (input, sessions);
        Some(state_of)
    }

    /// Whether a receiver has no call, and none is received with it.
    pub fn is_spare(&self, receiver: usize) -> bool {
        receiver != self.current && self.kept.iter().all(|kept| kept.receiver != receiver)
    }
}
