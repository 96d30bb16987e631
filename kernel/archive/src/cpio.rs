//! cpio in the formats `newc` and `crc`: a header of hexadecimal numbers, the name, the content, each from a multiple
//! of four bytes on.
//!
//! Linux, Documentation/driver-api/early-userspace/buffer-format.rst: archives may follow each other, with zeroes
//! between them.

use crate::{Content, Damage, Entry, Error, Kind, Path};

/// Bytes of a header: the magic number, then 13 fields of eight digits.
const HEADER: usize = 6 + 13 * 8;
const END: &[u8] = b"TRAILER!!!";

/// The entries of a cpio archive from a byte on.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Entries<'a> {
        Entries { bytes, offset: 0 }
    }

    /// The next entry, or `None` at the end of the last archive.
    pub(crate) fn advance(&mut self) -> Result<Option<Entry<'a>>, Error> {
        loop {
            let at = self.offset;
            let header = self.bytes.get(at..at + HEADER).ok_or(Damage::CutOff.at(at))?;
            let has_sum = match &header[..6] {
                b"070701" => false,
                b"070702" => true,
                _ => return Err(Damage::NoHeader.at(at)),
            };
            let field = |index: usize| {
                let digits = &header[6 + index * 8..][..8];
                hexadecimal(digits).ok_or(Damage::Number.at(at))
            };
            let (mode, links, size, name_size, sum) = (field(1)?, field(4)?, field(6)?, field(11)?, field(12)?);
            let inode = [field(0)?, field(7)?, field(8)?];

            let part = |start: usize, size: u32| {
                let end = start.checked_add(size as usize)?;
                Some((self.bytes.get(start..end)?, end.checked_next_multiple_of(4)?))
            };
            let (name, start) = part(at + HEADER, name_size).ok_or(Damage::CutOff.at(at))?;
            let (body, next) = part(start, size).ok_or(Damage::CutOff.at(at))?;
            let name = name.strip_suffix(b"\0").ok_or(Damage::NoHeader.at(at))?;
            self.offset = next;
            if name == END {
                match self.next_archive()? {
                    true => continue,
                    false => return Ok(None),
                }
            }
            let name = Path::new(name);
            let content = match mode & 0o170_000 {
                0o100_000 => Content::File(body),
                0o040_000 => Content::Directory,
                0o120_000 => Content::SymbolicLink(Path::new(body)),
                _ => Content::Other,
            };
            let is_file = matches!(content, Content::File(_));
            // Only files have a sum; of several links to one file, only the one that comes with the content.
            let actual = || body.iter().fold(0_u32, |sum, &byte| sum.wrapping_add(byte.into()));
            if has_sum && is_file && !body.is_empty() && actual() != sum {
                return Err(Damage::Checksum.at(at));
            }
            return Ok(Some(Entry { name, content, inode: (is_file && links > 1).then_some(inode) }));
        }
    }

    /// Goes on to what follows an archive's end; whether that is another one.
    fn next_archive(&mut self) -> Result<bool, Error> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some(zeroes) = rest.iter().position(|&byte| byte != 0) else { return Ok(false) };
        self.offset += zeroes;
        match Kind::of(&rest[zeroes..]) {
            Kind::Cpio => Ok(true),
            other => Err(Damage::Appended(other).at(self.offset)),
        }
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?))
}
