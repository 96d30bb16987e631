//! What a process is called.

/// Bytes of a process's name.
pub const NAME_SIZE: usize = 32;

/// A process's name, padded with zero bytes. Aligned: it is copied with every fork, and behind the byte of a lock it
/// would be copied byte by byte.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub struct Name(pub [u8; NAME_SIZE]);

impl Name {
    /// As much of a text as fits.
    pub fn of(text: &str) -> Name {
        let mut name = [0; NAME_SIZE];
        name.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        Name(name)
    }
}
