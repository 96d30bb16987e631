//! Editing one line on a terminal, with history and completion.
//!
//! The editor is fed with the bytes that arrive and answers with the bytes that the screen needs.
//! A line longer than the screen scrolls sideways, so that one line of the screen is enough and no
//! terminal needs to be asked for its size.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::shell::complete::Names;
use crate::shell::keys::{Decoder, Key};

/// Columns that prompt and line may use if the terminal is not known to have more.
const COLUMNS: usize = 80;

/// Lines that the history keeps.
const HISTORY: usize = 500;

/// What a byte has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The line is not finished.
    Editing,
    /// The line was entered.
    Line(String),
    /// Control-C: the line was given up.
    Interrupted,
    /// Control-D on an empty line.
    EndOfInput,
}

/// A line being edited, and the lines before it.
#[derive(Debug, Default)]
pub struct Editor {
    keys: Decoder,
    prompt: String,
    prompt_width: usize,
    /// Of the terminal, if that is known.
    columns: Option<usize>,
    line: Vec<char>,
    /// Characters before the cursor.
    cursor: usize,
    history: Vec<String>,
    /// Which entry of the history is shown, and the line that was being typed before.
    browsing: Option<(usize, Vec<char>)>,
    /// What control-K, U or W took away last, for control-Y.
    killed: Vec<char>,
    /// The key before this one was a tab that did not complete.
    tabbed: bool,
}

impl Editor {
    /// Begins a new line. The prompt may hold escape sequences that take no room on the screen.
    pub fn begin(&mut self, prompt: &str, screen: &mut String) {
        self.prompt = String::from(prompt);
        self.prompt_width = width(prompt);
        self.line.clear();
        self.cursor = 0;
        self.browsing = None;
        screen.push_str(prompt);
    }

    /// Whether another character needs more columns than are known to be there.
    pub fn is_full(&self) -> bool {
        self.line.len() + 1 >= self.room()
    }

    /// How many columns the terminal has, from now on.
    pub fn set_columns(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// The lines entered so far, oldest first.
    pub fn history(&self) -> &[String] {
        &self.history
    }

    /// Takes a byte from the terminal and appends what the screen is to show.
    pub fn feed(&mut self, byte: u8, names: &Names, screen: &mut String) -> Outcome {
        let Some(key) = self.keys.feed(byte) else { return Outcome::Editing };
        let tabbed = core::mem::replace(&mut self.tabbed, false);
        match key {
            Key::Enter => return self.enter(screen),
            Key::Control('c') => {
                screen.push_str("^C\r\n");
                return Outcome::Interrupted;
            }
            Key::Control('d') if self.line.is_empty() => {
                screen.push_str("\r\n");
                return Outcome::EndOfInput;
            }
            Key::Character(character) => return self.insert(character, screen),
            Key::Tab => self.complete(names, tabbed, screen),
            Key::Control('l') => screen.push_str("\x1b[H\x1b[2J"),
            _ => self.edit(key),
        }
        self.redraw(screen);
        Outcome::Editing
    }

    fn edit(&mut self, key: Key) {
        let end = self.line.len();
        match key {
            Key::Left | Key::Control('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Control('f') => self.cursor = end.min(self.cursor + 1),
            Key::WordLeft => self.cursor = self.word_start(),
            Key::WordRight => self.cursor = self.word_end(),
            Key::Home | Key::Control('a') => self.cursor = 0,
            Key::End | Key::Control('e') => self.cursor = end,
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.line.remove(self.cursor);
            }
            Key::Delete | Key::Control('d') if self.cursor < end => {
                self.line.remove(self.cursor);
            }
            Key::Control('k') => self.kill(self.cursor, end),
            Key::Control('u') => self.kill(0, self.cursor),
            Key::Control('w') => self.kill(self.word_start(), self.cursor),
            Key::Control('y') => {
                self.line.splice(self.cursor..self.cursor, self.killed.iter().copied());
                self.cursor += self.killed.len();
            }
            Key::Up | Key::Control('p') => self.browse_older(),
            Key::Down | Key::Control('n') => self.browse_newer(),
            _ => {}
        }
    }

    fn enter(&mut self, screen: &mut String) -> Outcome {
        screen.push_str("\r\n");
        let line: String = self.line.iter().collect();
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            if self.history.len() == HISTORY {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        Outcome::Line(line)
    }

    fn insert(&mut self, character: char, screen: &mut String) -> Outcome {
        self.line.insert(self.cursor, character);
        self.cursor += 1;
        // The usual case, typing at the end of a line that fits, needs no more than an echo.
        if self.cursor == self.line.len() && self.line.len() < self.room() {
            screen.push(character);
        } else {
            self.redraw(screen);
        }
        Outcome::Editing
    }

    fn kill(&mut self, start: usize, end: usize) {
        if start < end {
            self.killed = self.line.drain(start..end).collect();
            self.cursor = start;
        }
    }

    fn word_start(&self) -> usize {
        let before = &self.line[..self.cursor];
        let word = before.iter().rposition(|character| *character != ' ').map_or(0, |last| last + 1);
        before[..word].iter().rposition(|character| *character == ' ').map_or(0, |space| space + 1)
    }

    fn word_end(&self) -> usize {
        let skip = |from: usize, space: bool| {
            let rest = self.line[from..].iter();
            from + rest.take_while(|character| (**character == ' ') == space).count()
        };
        skip(skip(self.cursor, true), false)
    }

    fn browse_older(&mut self) {
        let (shown, draft) = self.browsing.take().unwrap_or_else(|| (self.history.len(), self.line.clone()));
        let older = shown.saturating_sub(1);
        if let Some(line) = self.history.get(older) {
            self.line = line.chars().collect();
            self.cursor = self.line.len();
        }
        self.browsing = Some((older, draft));
    }

    fn browse_newer(&mut self) {
        let Some((shown, draft)) = self.browsing.take() else { return };
        match self.history.get(shown + 1) {
            Some(line) => {
                self.line = line.chars().collect();
                self.browsing = Some((shown + 1, draft));
            }
            None => self.line = draft,
        }
        self.cursor = self.line.len();
    }

    fn complete(&mut self, names: &Names, again: bool, screen: &mut String) {
        let before: String = self.line[..self.cursor].iter().collect();
        let completion = names.complete(&before);
        let mut rest = completion.common_rest();
        if completion.candidates.len() == 1 {
            rest.push(' ');
        }
        if !rest.is_empty() {
            let rest: Vec<char> = rest.chars().collect();
            self.line.splice(self.cursor..self.cursor, rest.iter().copied());
            self.cursor += rest.len();
        } else if completion.candidates.is_empty() || !again {
            screen.push('\x07');
            self.tabbed = !completion.candidates.is_empty();
        } else {
            screen.push_str("\r\n");
            list(&completion.candidates, screen);
        }
    }

    /// Characters of the line that fit beside the prompt, the cursor's place at the end included.
    fn room(&self) -> usize {
        self.columns.unwrap_or(COLUMNS).saturating_sub(self.prompt_width).max(8)
    }

    fn redraw(&self, screen: &mut String) {
        let room = self.room();
        // Show the part of the line that ends at the cursor, or the beginning if that reaches it.
        let start = (self.cursor + 1).saturating_sub(room);
        let end = self.line.len().min(start + room - 1);
        screen.push('\r');
        screen.push_str(&self.prompt);
        screen.extend(&self.line[start..end.max(start)]);
        screen.push_str("\x1b[K");
        let back = end - self.cursor;
        if back > 0 {
            screen.push_str(&format!("\x1b[{back}D"));
        }
    }
}

/// Lists words in columns.
fn list(words: &[String], screen: &mut String) {
    let column = words.iter().map(|word| word.chars().count()).max().unwrap_or(0) + 2;
    let columns = (COLUMNS / column).max(1);
    for row in words.chunks(columns) {
        for (index, word) in row.iter().enumerate() {
            let padding = if index + 1 < row.len() { column } else { 0 };
            screen.push_str(&format!("{word:padding$}"));
        }
        screen.push_str("\r\n");
    }
}

/// Columns that a text takes, escape sequences left out.
fn width(text: &str) -> usize {
    let mut width = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            // ESC [ … up to a letter.
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            width += 1;
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::screen::Screen;

    /// An editor with a screen that shows what a person would see.
    struct Session {
        editor: Editor,
        names: Names,
        screen: Screen,
    }

    impl Session {
        fn new() -> Session {
            let list = |text: &str| text.split(' ').map(String::from).collect();
            let names = Names { commands: list("free forkdemo forkbench false echo"), files: list("motd") };
            let mut session = Session { editor: Editor::default(), names, screen: Screen::default() };
            session.prompt();
            session
        }

        fn prompt(&mut self) {
            let mut output = String::new();
            self.editor.begin("\x1b[32m$\x1b[0m ", &mut output);
            self.screen.write(&output);
        }

        /// Types the bytes; a finished line is answered with a new prompt, as a shell does.
        fn type_bytes(&mut self, bytes: &[u8]) -> Vec<Outcome> {
            let mut outcomes = Vec::new();
            for &byte in bytes {
                let mut output = String::new();
                let outcome = self.editor.feed(byte, &self.names, &mut output);
                self.screen.write(&output);
                if outcome != Outcome::Editing {
                    outcomes.push(outcome);
                    self.prompt();
                }
            }
            outcomes
        }

        /// Types and expects this line, with the cursor where `|` is.
        fn expect(&mut self, bytes: &[u8], shown: &str) {
            self.type_bytes(bytes);
            assert_eq!(
                self.screen.line_with_cursor(),
                format!("$ {shown}"),
                "after {:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn the_cursor_moves_and_text_is_inserted_where_it_stands() {
        let mut session = Session::new();
        session.expect(b"hello", "hello|");
        session.expect(b"\x1b[D\x1b[D", "hel|lo");
        session.expect(b"p ", "help |lo");
        session.expect(b"\x01", "|help lo");
        session.expect(b"\x1b[D", "|help lo");
        session.expect(b"\x05", "help lo|");
        session.expect(b"\x1b[C", "help lo|");
        session.expect(b"\x1bb", "help |lo");
        session.expect(b"\x1b[1;5D", "|help lo");
        session.expect(b"\x1b[1;5C", "help| lo");
        session.expect("\x05ü€".as_bytes(), "help loü€|");
        assert_eq!(session.type_bytes(b"\r"), [Outcome::Line("help loü€".into())]);
    }

    #[test]
    fn characters_words_and_ends_of_the_line_are_deleted() {
        let mut session = Session::new();
        session.expect(b"one two  three", "one two  three|");
        session.expect(b"\x17", "one two  |");
        session.expect(b"\x17", "one |");
        session.expect(b"\x19", "one two  |");
        session.expect(b"\x7f\x08", "one two|");
        session.expect(b"\x01\x1b[3~\x04", "|e two");
        session.expect(b"\x7f", "|e two");
        session.expect(b"\x06\x0b", "e|");
        session.expect(b"\x15", "|");
        session.expect(b"\x19\x0b\x1b[3~", "e|");
        session.expect(b"\x17", "|");
    }

    #[test]
    fn the_history_is_browsed_and_gives_the_draft_back() {
        let mut session = Session::new();
        session.type_bytes(b"first\rsecond\rsecond\r  \r");
        assert_eq!(session.editor.history(), ["first", "second"]);
        session.expect(b"dra\x1b[D", "dr|a");
        session.expect(b"\x1b[A", "second|");
        session.expect(b"\x10", "first|");
        session.expect(b"\x1b[A", "first|");
        session.expect(b"\x1b[B", "second|");
        session.expect(b"\x0e", "dra|");
        session.expect(b"\x1b[B", "dra|");
        session.expect(b"\x1b[A!", "second!|");
        assert_eq!(session.type_bytes(b"\r"), [Outcome::Line("second!".into())]);
        assert_eq!(session.editor.history(), ["first", "second", "second!"]);
    }

    #[test]
    fn tab_completes_or_lists_what_is_possible() {
        let mut session = Session::new();
        session.expect(b"ec\t", "echo |");
        session.expect(b"m\t", "echo motd |");
        session.expect(b"\x15fo\t", "fork|");
        session.expect(b"\t", "fork|");
        session.expect(b"\t", "fork|");
        assert_eq!(session.screen.line_above(), "forkbench  forkdemo");
        session.expect(b"d\t", "forkdemo |");
        session.expect(b"\x15zz\t\t", "zz|");
    }

    #[test]
    fn a_line_can_be_given_up_and_input_can_end() {
        let mut session = Session::new();
        assert_eq!(session.type_bytes(b"abc\x03"), [Outcome::Interrupted]);
        assert_eq!(session.screen.line_above(), "$ abc^C");
        session.expect(b"", "|");
        assert_eq!(session.type_bytes(b"\x04"), [Outcome::EndOfInput]);
        assert_eq!(session.type_bytes(b"x\x04\r"), [Outcome::Line("x".into())]);
    }

    #[test]
    fn control_l_clears_the_screen_and_keeps_the_line() {
        let mut session = Session::new();
        session.type_bytes(b"first\rabc\x1b[D\x0c");
        assert_eq!(session.screen.line_with_cursor(), "$ ab|c");
        assert_eq!(session.screen.cursor_row(), 0);
    }

    #[test]
    fn a_line_uses_the_columns_that_the_terminal_is_known_to_have() {
        let mut session = Session::new();
        session.type_bytes(&[b'a'; COLUMNS - 4]);
        assert!(!session.editor.is_full());
        session.type_bytes(b"b");
        assert!(session.editor.is_full(), "one more would scroll");
        session.editor.set_columns(COLUMNS + 20);
        assert!(!session.editor.is_full());
        session.expect(b"ccccc", &format!("{}bccccc|", "a".repeat(COLUMNS - 4)));
        session.type_bytes(&[b'd'; 40]);
        assert_eq!(session.screen.widest(), COLUMNS + 20 - 1);
    }

    #[test]
    fn a_line_longer_than_the_screen_scrolls_sideways() {
        let mut session = Session::new();
        let long: String = (0..200).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
        session.type_bytes(long.as_bytes());
        assert_eq!(session.screen.line_with_cursor(), format!("$ {}|", &long[200 - 77..]));
        session.expect(b"\x01", &format!("|{}", &long[..77]));
        session.expect(b"\x1b[C", &format!("a|{}", &long[1..77]));
        assert_eq!(session.type_bytes(b"\r"), [Outcome::Line(long)]);
        assert!(session.screen.widest() <= COLUMNS);
    }
}
