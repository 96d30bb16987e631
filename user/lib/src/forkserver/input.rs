//! An input: at most [`INPUT_MAX`] bytes, stored in place.

use core::fmt;

/// Most bytes of an input.
pub const INPUT_MAX: usize = 64;

/// A file for the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Input {
    bytes: [u8; INPUT_MAX],
    length: u8,
}

impl Input {
    /// The empty file.
    pub const EMPTY: Input = Input { bytes: [0; INPUT_MAX], length: 0 };

    /// A file with this content, as far as it fits.
    pub fn new(content: &[u8]) -> Input {
        let mut input = Input::EMPTY;
        input.insert(0, content);
        input
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Its bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.length)]
    }

    /// Puts bytes in at a position not past the end. What does not fit falls off the end.
    pub fn insert(&mut self, at: usize, content: &[u8]) {
        let content = &content[..content.len().min(INPUT_MAX - at)];
        self.bytes.copy_within(at..INPUT_MAX - content.len(), at + content.len());
        self.bytes[at..at + content.len()].copy_from_slice(content);
        self.length = (usize::from(self.length) + content.len()).min(INPUT_MAX) as u8;
    }

    /// Takes bytes out.
    pub fn remove(&mut self, range: core::ops::Range<usize>) {
        self.bytes_mut().copy_within(range.end.., range.start);
        self.length -= range.len() as u8;
    }
}

/// Shows the bytes as a dump does: offset, 16 bytes a line in hexadecimal, and those that are ASCII.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, bytes) in self.bytes().chunks(16).enumerate() {
            write!(f, "  {:04x} ", line * 16)?;
            for column in 0..16 {
                match bytes.get(column) {
                    Some(byte) => write!(f, " {byte:02x}")?,
                    None => f.write_str("   ")?,
                }
            }
            f.write_str("  ")?;
            for byte in bytes {
                let shown = if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
                write!(f, "{shown}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_every_byte() {
        assert_eq!(
            Input::new(b"LINEC\x03\x00\xff and more").to_string(),
            "  0000  4c 49 4e 45 43 03 00 ff 20 61 6e 64 20 6d 6f 72  LINEC....and.mor\n\
             \x20 0010  65                                               e\n"
        );
    }

    #[test]
    fn bytes_go_in_and_out_anywhere() {
        let mut input = Input::new(b"abef");
        input.insert(2, b"cd");
        input.insert(6, b"g");
        assert_eq!(input.bytes(), b"abcdefg");
        input.remove(0..2);
        input.remove(4..5);
        assert_eq!(input.bytes(), b"cdef");
        input.remove(0..4);
        assert_eq!(input.bytes(), b"");
    }

    #[test]
    fn what_does_not_fit_falls_off() {
        let mut input = Input::new(&[1; INPUT_MAX + 5]);
        assert_eq!(input.bytes(), [1; INPUT_MAX]);
        input.insert(INPUT_MAX - 1, &[2, 3]);
        assert_eq!(input.bytes()[INPUT_MAX - 2..], [1, 2]);
        input.insert(0, &[4; INPUT_MAX]);
        assert_eq!(input.bytes(), [4; INPUT_MAX]);
        input.insert(INPUT_MAX, b"x");
        assert_eq!(input.bytes().len(), INPUT_MAX);
    }
}
