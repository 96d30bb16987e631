//! Where the fields of a program file are (System V ABI, "ELF Header" and "Program Header").

use alloc::vec::Vec;

/// Bytes of the file header and of a program header.
const FILE_HEADER: usize = 64;
pub(crate) const PROGRAM_HEADER: usize = 56;

/// A field of the file header or of a program header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Magic,
    Class,
    Order,
    IdentificationVersion,
    System,
    Type,
    Machine,
    Version,
    Entry,
    Headers,
    HeaderSize,
    EntrySize,
    Count,
    Kind,
    Flags,
    Offset,
    Address,
    FileSize,
    MemorySize,
    Alignment,
}

/// First byte and number of bytes.
pub(crate) type Place = (usize, usize);

impl Field {
    const fn place(self) -> Place {
        match self {
            Field::Magic => (0, 4),
            Field::Class => (4, 1),
            Field::Order => (5, 1),
            Field::IdentificationVersion => (6, 1),
            Field::System => (7, 1),
            Field::Type => (16, 2),
            Field::Machine => (18, 2),
            Field::Version => (20, 4),
            Field::Entry => (24, 8),
            Field::Headers => (32, 8),
            Field::HeaderSize => (52, 2),
            Field::EntrySize => (54, 2),
            Field::Count => (56, 2),
            Field::Kind => (0, 4),
            Field::Flags => (4, 4),
            Field::Offset => (8, 8),
            Field::Address => (16, 8),
            Field::FileSize => (32, 8),
            Field::MemorySize => (40, 8),
            Field::Alignment => (48, 8),
        }
    }

    /// Its place, for a field of the file header.
    pub(crate) const fn of_file(self) -> Place {
        self.place()
    }
}

/// A program header of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment(usize);

impl Segment {
    /// The place of one of its fields.
    pub(crate) const fn at(self, field: Field) -> Place {
        let (start, length) = field.place();
        (self.0 + start, length)
    }
}

/// A program file that is good.
pub(crate) struct ProgramFile {
    bytes: Vec<u8>,
    text: Segment,
    data: Segment,
}

const LOAD: u64 = 1;
const READ_EXECUTE: u64 = 5;
const READ_WRITE: u64 = 6;

impl ProgramFile {
    /// Copies a file and finds its text and data.
    pub(crate) fn new(bytes: &[u8]) -> Option<ProgramFile> {
        let mut file = ProgramFile { bytes: Vec::from(bytes), text: Segment(0), data: Segment(0) };
        if bytes.len() < FILE_HEADER {
            return None;
        }
        let with = |flags: u64| {
            let wanted = |segment: &Segment| {
                file.get(segment.at(Field::Kind)) == LOAD && file.get(segment.at(Field::Flags)) == flags
            };
            file.segments().find(wanted)
        };
        (file.text, file.data) = (with(READ_EXECUTE)?, with(READ_WRITE)?);
        Some(file)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn text(&self) -> Segment {
        self.text
    }

    pub(crate) fn data(&self) -> Segment {
        self.data
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        let first = self.get(Field::Headers.of_file()) as usize;
        let count = self.get(Field::Count.of_file()) as usize;
        (0..count).map(move |index| Segment(first + index * PROGRAM_HEADER))
    }

    /// One past the last byte of the program headers.
    pub(crate) fn headers_end(&self) -> usize {
        self.segments().last().map_or(FILE_HEADER, |last| last.0 + PROGRAM_HEADER)
    }

    /// One past the last byte that is loaded.
    pub(crate) fn loaded_end(&self) -> usize {
        let end = |segment: Segment| self.get(segment.at(Field::Offset)) + self.get(segment.at(Field::FileSize));
        self.segments().filter(|segment| self.get(segment.at(Field::Kind)) == LOAD).map(end).max().unwrap_or(0) as usize
    }

    /// The number at a place, least significant byte first.
    pub(crate) fn get(&self, (start, length): Place) -> u64 {
        self.bytes[start..start + length].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// A copy of the file with another number at a place.
    pub(crate) fn with(&self, (start, length): Place, value: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[start..start + length].copy_from_slice(&value.to_le_bytes()[..length]);
        bytes
    }
}
