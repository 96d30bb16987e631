//! What can be wrong with an archive.

use crate::Kind;
use core::fmt;

/// Why bytes are not an archive that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// They are something else.
    Kind(Kind),
    /// They are an archive, and damaged or out of the ordinary at this byte.
    Damaged {
        /// Offset of the entry that is wrong.
        at: usize,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What is wrong at one place of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// An entry, or the mark at the end, lies beyond the last byte.
    CutOff,
    /// Something that is no header is where one should be.
    NoHeader,
    /// A header or a file does not add up to its checksum.
    Checksum,
    /// A field that should hold a number holds something else, or too large a one.
    Number,
    /// An extended header (pax) is not a list of records.
    Record,
    /// A file is stored as pieces with holes between.
    Sparse,
    /// A file goes on in another archive.
    MultiVolume,
    /// Something of this kind follows the end.
    Appended(Kind),
}

impl Damage {
    pub(crate) const fn at(self, at: usize) -> Error {
        Error::Damaged { at, damage: self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kind(kind) => write!(f, "is {kind}; a tar or a newc cpio works, gzipped or not"),
            Error::Damaged { at, damage: Damage::CutOff } => {
                write!(f, "is cut off: what begins at byte {at} has no end")
            }
            Error::Damaged { at, damage } => write!(f, "is damaged at byte {at}: {damage}"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::CutOff => f.write_str("the end is missing"),
            Damage::NoHeader => f.write_str("a header is missing"),
            Damage::Checksum => f.write_str("a checksum is wrong"),
            Damage::Number => f.write_str("a number makes no sense"),
            Damage::Record => f.write_str("an extended header makes no sense"),
            Damage::Sparse => f.write_str("a file is stored with holes; pack it without --sparse"),
            Damage::MultiVolume => f.write_str("a file goes on in another archive; pack it without --multi-volume"),
            Damage::Appended(kind) => write!(f, "what follows its end is {kind}; only newc cpio may follow newc cpio"),
        }
    }
}

impl core::error::Error for Error {}
