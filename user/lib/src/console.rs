//! What the console's server makes of what is typed: bytes for a program that wants them as they come, lines that can
//! be corrected for one that wants lines, and signs for the job in the foreground.
//!
//! ```text
//!   typed ──▶ control-C, control-Z, an answer of the terminal's: at once      Input::typed
//!         └─▶ kept until a program reads, ──▶ as they are                     Input::read_raw
//!             so that nothing is shown      ─▶ shown, corrected, as a line    Input::read_line
//!             before it is asked for
//! ```

pub mod saved;
pub mod sessions;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes that are kept for a program that does not read yet; what comes beyond is lost, and the terminal rings.
pub const TYPED_MAX: usize = 2048;
/// Bytes of a line that is being typed; what comes beyond is lost likewise.
pub const LINE_MAX: usize = 1024;
/// Most bytes that belong together: a character of UTF-8, or an escape sequence.
const UNIT_MAX: usize = 16;
/// Bytes shown after which a line is gone on with later.
const SHOWN_AT_ONCE: usize = 256;
/// Most bytes that a step of [`Input::read_line`] shows.
pub const SHOWN_MAX: usize = SHOWN_AT_ONCE + 6 * LINE_MAX;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BELL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;
const KILL: u8 = 0x15;
const LAST: u8 = 0x1C;
const WORD: u8 = 0x17;
const SUSPEND: u8 = 0x1A;
const ESCAPE: u8 = 0x1B;
const RUBOUT: u8 = 0x7F;

/// What the job in the foreground is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Control-C, or control-backslash.
    Interrupt,
    /// Control-Z.
    Suspend,
}

/// What of that which is typed is a sign for a job, and no byte like others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Control-C, control-Z and control-backslash.
    All,
    /// Control-backslash: the job wants all other bytes itself, and may not know what to do with them.
    Last,
    /// Nothing: there is no job.
    None,
}

/// Something that belongs together: how many bytes, and how many columns it takes on the screen.
#[derive(Clone, Copy, Debug)]
struct Unit {
    bytes: u8,
    columns: u8,
}

/// What has been typed and not been read.
#[derive(Debug)]
pub struct Input {
    typed: VecDeque<u8>,
    /// The last byte was a carriage return: a line feed behind it is the second half of a line end.
    after_return: bool,
    line: Vec<u8>,
    units: Vec<Unit>,
    /// Bytes of a unit that is not complete.
    partial: unit::Partial,
    /// A line that is finished, as far as it has not been read.
    ready: VecDeque<u8>,
    /// The input has ended, for the next one that reads.
    ended: bool,
}

/// The bytes of a unit, until it is complete.
mod unit {
    use super::{ESCAPE, UNIT_MAX};

    #[derive(Debug, Default)]
    pub(super) struct Partial {
        bytes: [u8; UNIT_MAX],
        length: usize,
    }

    impl Partial {
        /// The first bytes of one.
        pub(super) fn of(first: &[u8]) -> Partial {
            let mut partial = Partial::default();
            first.iter().take(UNIT_MAX).for_each(|&byte| partial.push(byte));
            partial
        }

        pub(super) fn bytes(&self) -> &[u8] {
            &self.bytes[..self.length]
        }

        pub(super) fn clear(&mut self) {
            self.length = 0;
        }

        pub(super) fn push(&mut self, byte: u8) {
            self.bytes[self.length] = byte;
            self.length += 1;
        }

        /// Whether a byte goes on with what is there.
        pub(super) fn takes(&self, byte: u8) -> bool {
            match self.bytes() {
                [] => true,
                [ESCAPE, ..] => (0x20..0x7F).contains(&byte),
                _ => byte & 0xC0 == 0x80,
            }
        }

        /// Whether nothing more belongs to it.
        pub(super) fn is_complete(&self) -> bool {
            match *self.bytes() {
                [] | [ESCAPE] | [ESCAPE, b'[' | b'O'] => false,
                [ESCAPE, b'[', .., last] => (0x40..0x7F).contains(&last) || self.length == UNIT_MAX,
                [ESCAPE, ..] => true,
                [first, ..] => self.length >= character_bytes(first),
            }
        }
    }

    /// How many bytes a character has that begins so; 1 for what begins none.
    fn character_bytes(first: u8) -> usize {
        match first {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        }
    }
}

impl Default for Input {
    fn default() -> Self {
        Input::new()
    }
}

impl Input {
    /// Nothing. All memory that it will ever need is its own from here on.
    pub fn new() -> Input {
        Input {
            typed: VecDeque::with_capacity(TYPED_MAX),
            after_return: false,
            line: Vec::with_capacity(LINE_MAX),
            units: Vec::with_capacity(LINE_MAX),
            partial: unit::Partial::default(),
            ready: VecDeque::with_capacity(LINE_MAX + UNIT_MAX),
            ended: false,
        }
    }

    /// Takes a byte that was typed. What is to be shown at once is appended to `screen`: at most 4 bytes.
    pub fn typed(&mut self, byte: u8, signs: Signs, screen: &mut Vec<u8>) -> Option<Signal> {
        let is_sign = match signs {
            Signs::All => true,
            Signs::Last => byte == LAST,
            Signs::None => false,
        };
        let Some((signal, shown)) = sign(byte).filter(|_| is_sign) else {
            self.keep(byte, screen);
            return None;
        };
        self.clear();
        screen.extend_from_slice(shown);
        Some(signal)
    }

    /// Finds control-C or control-Z among what was typed for a job before it was in the foreground: the last of them,
    /// with which all before it is gone. What it shows is appended to `screen`: at most 4 bytes.
    pub fn signal_before(&mut self, screen: &mut Vec<u8>) -> Option<Signal> {
        let last = self.typed.iter().rposition(|&byte| sign(byte).is_some())?;
        let (signal, shown) = self.typed.drain(..=last).next_back().and_then(sign)?;
        self.ready.clear();
        self.ended = false;
        self.clear_line();
        screen.extend_from_slice(shown);
        Some(signal)
    }

    /// Takes bytes back that a reader did not take after all: they are the next to be read.
    pub fn unread(&mut self, bytes: &[u8]) {
        bytes.iter().rev().for_each(|&byte| self.ready.push_front(byte));
    }

    fn keep(&mut self, byte: u8, screen: &mut Vec<u8>) {
        if self.typed.len() < TYPED_MAX {
            self.typed.push_back(byte);
        } else {
            screen.push(BELL);
        }
    }

    /// Forgets everything that has not been read.
    pub fn clear(&mut self) {
        self.typed.clear();
        self.ready.clear();
        self.ended = false;
        self.clear_line();
    }

    fn clear_line(&mut self) {
        self.line.clear();
        self.units.clear();
        self.partial.clear();
    }

    /// Gives bytes as they came, as many as there are and fit, up to the end of a line: what follows may be for a program
    /// that the reader is about to start. `None` if there are none.
    pub fn read_raw(&mut self, buffer: &mut [u8]) -> Option<usize> {
        // What a reader of lines has left: the line as far as it is typed, too.
        if !self.line.is_empty() || !self.partial.bytes().is_empty() {
            self.ready.extend(self.line.iter().chain(self.partial.bytes()));
            self.clear_line();
        }
        self.ended = false;
        let mut count = 0;
        while count < buffer.len()
            && let Some(byte) = self.ready.pop_front().or_else(|| self.typed.pop_front())
        {
            buffer[count] = byte;
            count += 1;
            if matches!(byte, b'\r' | b'\n') {
                break;
            }
        }
        (count > 0).then_some(count)
    }

    /// Gives a line that is finished, or as much of it as fits, no character cut in two if it can be helped; 0 at the
    /// end of input. Otherwise goes on with the line, appends to `screen` what that shows, [`SHOWN_MAX`] at most, and
    /// says `None`: the line is not finished, or [more](Self::has_more) is to be done.
    pub fn read_line(&mut self, buffer: &mut [u8], screen: &mut Vec<u8>) -> Option<usize> {
        let before = screen.len();
        while self.ready.is_empty() && !self.ended && screen.len() - before < SHOWN_AT_ONCE {
            let byte = self.typed.pop_front()?;
            self.edit(byte, screen);
        }
        if self.ready.is_empty() {
            return core::mem::take(&mut self.ended).then_some(0);
        }
        let count = self.whole(buffer.len());
        for place in &mut buffer[..count] {
            *place = self.ready.pop_front().unwrap_or_default();
        }
        Some(count)
    }

    /// Whether [`read_line`](Self::read_line) has something to do.
    pub fn has_more(&self) -> bool {
        !self.typed.is_empty() || !self.ready.is_empty() || self.ended
    }

    /// How many bytes of the finished line fit into so many without a character cut in two, but at least one.
    fn whole(&self, room: usize) -> usize {
        if self.ready.len() <= room {
            return self.ready.len();
        }
        let begins = |index: &usize| self.ready[*index] & 0xC0 != 0x80;
        match (room.saturating_sub(3)..=room).rev().find(begins) {
            Some(cut) if cut > 0 => cut,
            _ => room,
        }
    }

    fn edit(&mut self, byte: u8, screen: &mut Vec<u8>) {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        if !self.partial.takes(byte) {
            // Cut off: it is what it is.
            self.finish_unit(screen);
        }
        if !self.partial.bytes().is_empty() {
            return self.add(byte, screen);
        }
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => {
                screen.extend_from_slice(b"\r\n");
                self.ready.extend(self.line.iter().copied().chain([b'\n']));
                self.clear_line();
            }
            END if self.line.is_empty() => self.ended = true,
            END => {
                self.ready.extend(&self.line);
                self.clear_line();
            }
            INTERRUPT => {
                screen.extend_from_slice(b"^C\r\n");
                self.clear_line();
            }
            RUBOUT | BACKSPACE => _ = self.erase(screen),
            KILL => while self.erase(screen).is_some() {},
            WORD => {
                let mut in_word = false;
                while let Some(&last) = self.line.last()
                    && (last != b' ' || !in_word)
                {
                    in_word |= last != b' ';
                    self.erase(screen);
                }
            }
            _ => self.add(byte, screen),
        }
    }

    /// Adds a byte to the unit that is being typed.
    fn add(&mut self, byte: u8, screen: &mut Vec<u8>) {
        self.partial.push(byte);
        if self.partial.is_complete() {
            self.finish_unit(screen);
        }
    }

    /// Adds the unit to the line, and shows it.
    fn finish_unit(&mut self, screen: &mut Vec<u8>) {
        let bytes = self.partial.bytes();
        if bytes.is_empty() {
            return;
        }
        if self.line.len() + bytes.len() > LINE_MAX {
            screen.push(BELL);
            return self.partial.clear();
        }
        let columns = show(bytes, screen);
        self.line.extend_from_slice(bytes);
        self.units.push(Unit { bytes: bytes.len() as u8, columns });
        self.partial.clear();
    }

    /// Takes the last unit away, from the screen, too.
    fn erase(&mut self, screen: &mut Vec<u8>) -> Option<()> {
        let unit = self.units.pop()?;
        self.line.truncate(self.line.len() - usize::from(unit.bytes));
        for _ in 0..unit.columns {
            screen.extend_from_slice(b"\x08 \x08");
        }
        Some(())
    }
}

/// The sign that a byte is, and what it shows.
fn sign(byte: u8) -> Option<(Signal, &'static [u8])> {
    match byte {
        INTERRUPT => Some((Signal::Interrupt, b"^C\r\n")),
        SUSPEND => Some((Signal::Suspend, b"^Z\r\n")),
        LAST => Some((Signal::Interrupt, b"^\\\r\n")),
        _ => None,
    }
}

/// Shows a unit; returns the columns that it takes.
fn show(unit: &[u8], screen: &mut Vec<u8>) -> u8 {
    match (unit, core::str::from_utf8(unit)) {
        // A tab's width depends on where it stands, which is not known.
        (b"\t", _) => {
            screen.push(b' ');
            1
        }
        (_, Ok(text)) => text.chars().fold(0, |columns, character| columns + show_character(character, screen)),
        (_, Err(_)) => {
            screen.extend_from_slice("\u{FFFD}".as_bytes());
            1
        }
    }
}

fn show_character(character: char, screen: &mut Vec<u8>) -> u8 {
    if let control @ '\0'..='\x1F' = character {
        screen.extend_from_slice(&[b'^', control as u8 ^ 0x40]);
        return 2;
    }
    screen.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    columns(character)
}

/// Columns that terminals use for a character: none for marks that are drawn over others, two for what is as wide as
/// high (Unicode Standard Annex 11, by blocks).
fn columns(character: char) -> u8 {
    match character {
        '\u{80}'..='\u{9F}' => 0,
        '\u{300}'..='\u{36F}' | '\u{200B}'..='\u{200F}' | '\u{20D0}'..='\u{20FF}' | '\u{FE00}'..='\u{FE0F}' => 0,
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{303E}'
        | '\u{3041}'..='\u{A4CF}'
        | '\u{A960}'..='\u{A97F}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}'
        | '\u{1F300}'..='\u{1F64F}'
        | '\u{1F680}'..='\u{1F6FF}'
        | '\u{1F900}'..='\u{1FAFF}'
        | '\u{20000}'..='\u{3FFFD}' => 2,
        _ => 1,
    }
}

/// Finds the terminal's answer to `ESC [ 18 t` among what is typed: `ESC [ 8 ; rows ; columns t`.
#[derive(Debug, Default)]
pub struct SizeAnswer {
    held: Vec<u8>,
}

/// What a byte has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It may belong to an answer, and is held.
    Perhaps,
    /// These columns and rows.
    Size(u16, u16),
    /// It belongs to none, nor does what was [held](SizeAnswer::take_held) before it.
    No,
}

impl SizeAnswer {
    /// None yet.
    pub fn new() -> SizeAnswer {
        SizeAnswer { held: Vec::with_capacity(UNIT_MAX) }
    }

    /// Takes a byte that was typed.
    pub fn feed(&mut self, byte: u8) -> Answered {
        const BEGIN: &[u8] = b"\x1b[8;";
        let fits = match self.held.len() {
            place if place < BEGIN.len() => BEGIN[place] == byte,
            length => (byte.is_ascii_digit() || matches!(byte, b';' | b't')) && length < UNIT_MAX,
        };
        if !fits {
            return Answered::No;
        }
        if byte != b't' {
            self.held.push(byte);
            return Answered::Perhaps;
        }
        let text = core::str::from_utf8(&self.held[BEGIN.len()..]).unwrap_or_default();
        let size = text.split_once(';').and_then(|(rows, columns)| Some((columns.parse().ok()?, rows.parse().ok()?)));
        match size {
            Some((columns @ 1.., rows @ 1..)) => {
                self.held.clear();
                Answered::Size(columns, rows)
            }
            _ => Answered::No,
        }
    }

    /// What is held.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// What was held and is no answer, or will be none because it has not come in time.
    pub fn take_held(&mut self) -> impl Iterator<Item = u8> + '_ {
        self.held.drain(..)
    }
}

#[cfg(test)]
mod tests;
