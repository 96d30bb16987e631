//! An archive as a whole.

use crate::{Entry, Error, Kind, cpio, tar};

/// An archive that has been read from end to end, and found sound.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Tar,
    Cpio,
}

impl<'a> Archive<'a> {
    /// Reads all headers of an archive that is not compressed.
    ///
    /// # Errors
    /// What the bytes are if they are no archive, or the first thing that is wrong with it.
    pub fn new(bytes: &'a [u8]) -> Result<Archive<'a>, Error> {
        let format = match Kind::of(bytes) {
            Kind::Tar => Format::Tar,
            Kind::Cpio => Format::Cpio,
            other => return Err(Error::Kind(other)),
        };
        let mut reader = Reader::new(bytes, format, tar::Sums::Check);
        while reader.advance()?.is_some() {}
        Ok(Archive { bytes, format })
    }

    /// Everything in it, in its order.
    pub fn entries(&self) -> Entries<'a> {
        Entries(Reader::new(self.bytes, self.format, tar::Sums::Known))
    }
}

/// What [`Archive::entries`] returns.
#[derive(Clone)]
pub struct Entries<'a>(Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        // `Archive::new` has met no error.
        self.0.advance().ok().flatten()
    }
}

#[derive(Clone)]
enum Reader<'a> {
    Tar(tar::Entries<'a>),
    Cpio(cpio::Entries<'a>),
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], format: Format, sums: tar::Sums) -> Reader<'a> {
        match format {
            Format::Tar => Reader::Tar(tar::Entries::new(bytes, sums)),
            Format::Cpio => Reader::Cpio(cpio::Entries::new(bytes)),
        }
    }

    fn advance(&mut self) -> Result<Option<Entry<'a>>, Error> {
        match self {
            Reader::Tar(entries) => entries.advance(),
            Reader::Cpio(entries) => entries.advance(),
        }
    }
}
