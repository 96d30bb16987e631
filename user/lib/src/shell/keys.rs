//! Bytes from a terminal become keys: escape sequences, control characters, UTF-8.

/// A key, or a combination of keys, that means something to the editor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Character(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Up,
    Down,
    /// Control and a letter, in lower case.
    Control(char),
}

/// Collects bytes until they are a key.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    after_return: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After `ESC [`: the first number, and the last one.
    Sequence {
        first: u16,
        last: u16,
    },
    /// After `ESC O`.
    Single,
    /// Inside a UTF-8 character: the bits so far, and how many bytes are to come.
    Utf8 {
        bits: u32,
        missing: u8,
    },
}

impl Decoder {
    pub(crate) fn feed(&mut self, byte: u8) -> Option<Key> {
        let after_return = core::mem::take(&mut self.after_return);
        match core::mem::take(&mut self.state) {
            State::Ground => self.ground(byte, after_return),
            State::Escape => match byte {
                b'[' => self.become_state(State::Sequence { first: 0, last: 0 }),
                b'O' => self.become_state(State::Single),
                b'b' => Some(Key::WordLeft),
                b'f' => Some(Key::WordRight),
                0x1b => self.become_state(State::Escape),
                _ => None,
            },
            State::Sequence { first, last } => match byte {
                b'0'..=b'9' => {
                    let last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                    self.become_state(State::Sequence { first, last })
                }
                b';' => self.become_state(State::Sequence { first: last, last: 0 }),
                b'~' => match if first == 0 { last } else { first } {
                    1 | 7 => Some(Key::Home),
                    4 | 8 => Some(Key::End),
                    3 => Some(Key::Delete),
                    _ => None,
                },
                // With a modifier, as in ESC [ 1 ; 5 C, an arrow moves by words.
                b'C' if first != 0 => Some(Key::WordRight),
                b'D' if first != 0 => Some(Key::WordLeft),
                0x20..=0x3f => self.become_state(State::Sequence { first, last }),
                _ => letter(byte),
            },
            State::Single => letter(byte),
            State::Utf8 { bits, missing } => {
                if byte & 0xc0 != 0x80 {
                    // The character was cut off; this byte begins something new.
                    return self.ground(byte, false);
                }
                let bits = bits << 6 | u32::from(byte & 0x3f);
                match missing {
                    1 => char::from_u32(bits).filter(|character| !character.is_control()).map(Key::Character),
                    _ => self.become_state(State::Utf8 { bits, missing: missing - 1 }),
                }
            }
        }
    }

    fn become_state(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }

    fn ground(&mut self, byte: u8, after_return: bool) -> Option<Key> {
        match byte {
            b'\r' => {
                self.after_return = true;
                Some(Key::Enter)
            }
            // The second half of a line end as files have it.
            b'\n' if after_return => None,
            b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x08 | 0x7f => Some(Key::Backspace),
            0x1b => self.become_state(State::Escape),
            0x01..=0x1a => Some(Key::Control((byte - 1 + b'a') as char)),
            0x20..=0x7e => Some(Key::Character(byte as char)),
            0xc2..=0xdf => self.become_state(State::Utf8 { bits: u32::from(byte & 0x1f), missing: 1 }),
            0xe0..=0xef => self.become_state(State::Utf8 { bits: u32::from(byte & 0x0f), missing: 2 }),
            0xf0..=0xf4 => self.become_state(State::Utf8 { bits: u32::from(byte & 0x07), missing: 3 }),
            _ => None,
        }
    }
}

/// The last byte of a sequence that names a key by itself.
fn letter(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&byte| decoder.feed(byte)).collect()
    }

    #[test]
    fn arrows_and_their_kin_are_read_in_every_spelling() {
        use Key::*;
        assert_eq!(keys(b"\x1b[A\x1b[B\x1b[C\x1b[D"), [Up, Down, Right, Left]);
        assert_eq!(keys(b"\x1bOA\x1bOH\x1bOF"), [Up, Home, End]);
        assert_eq!(keys(b"\x1b[1~\x1b[7~\x1b[H\x1b[4~\x1b[8~\x1b[F\x1b[3~"), [Home, Home, Home, End, End, End, Delete]);
        assert_eq!(keys(b"\x1b[1;5C\x1b[1;5D\x1bf\x1bb"), [WordRight, WordLeft, WordRight, WordLeft]);
    }

    #[test]
    fn unknown_sequences_are_swallowed_whole() {
        assert_eq!(keys(b"\x1b[15~\x1b[?25h\x1b[200~a"), [Key::Character('a')]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Up]);
    }

    #[test]
    fn a_line_end_is_one_key_however_it_is_spelled() {
        assert_eq!(keys(b"\r\n\r\r\n\n"), [Key::Enter; 4]);
    }

    #[test]
    fn characters_beyond_ascii_are_one_key_and_broken_ones_none() {
        assert_eq!(keys("aü€🙂".as_bytes()), ['a', 'ü', '€', '🙂'].map(Key::Character));
        assert_eq!(keys(b"\xc3x\xffy"), ['x', 'y'].map(Key::Character));
    }
}
