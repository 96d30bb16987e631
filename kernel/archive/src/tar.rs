//! tar: blocks of 512 bytes, a header for each entry, zeroes at the end.
//!
//! ```text
//!   0 name   124 size   148 checksum   156 type   157 link   257 magic   345 prefix   512 content ...
//! ```
//!
//! POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format".

use crate::{Content, Damage, Entry, Error, Path};

const BLOCK: usize = 512;

/// What an extended header says of the entry after it, in place of what the entry's own header says.
#[derive(Clone, Copy, Default)]
struct Extended<'a> {
    path: Option<&'a [u8]>,
    link: Option<&'a [u8]>,
    size: Option<u64>,
    is_sparse: bool,
}

/// Whether a file with these bytes is meant as a tar archive: its first header says so, or adds up.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    let header = bytes.get(..BLOCK).unwrap_or_default();
    header.get(257..262) == Some(b"ustar") || !header.is_empty() && is_sum_right(header)
}

/// The entries of a tar archive from a byte on.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    offset: usize,
    global: Extended<'a>,
    sums: Sums,
}

/// Whether checksums of headers are still to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sums {
    Check,
    Known,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(bytes: &'a [u8], sums: Sums) -> Entries<'a> {
        Entries { bytes, offset: 0, global: Extended::default(), sums }
    }

    /// The next entry, or `None` at the end.
    pub(crate) fn advance(&mut self) -> Result<Option<Entry<'a>>, Error> {
        let mut extended = self.global;
        loop {
            let at = self.offset;
            let header = self.bytes.get(at..at + BLOCK).ok_or(Damage::CutOff.at(at))?;
            if header[0] == 0 && header.iter().all(|&byte| byte == 0) {
                return Ok(None);
            }
            if self.sums == Sums::Check && !is_sum_right(header) {
                let is_header = header[257..262] == *b"ustar";
                return Err(if is_header { Damage::Checksum } else { Damage::NoHeader }.at(at));
            }
            let kind = header[156];
            // Links, devices and folders have no content, though some headers give them a size.
            let size = match kind {
                b'1'..=b'6' => 0,
                b'x' | b'g' | b'L' | b'K' => number(&header[124..136]).ok_or(Damage::Number.at(at))?,
                _ => match extended.size {
                    Some(size) => size,
                    None => number(&header[124..136]).ok_or(Damage::Number.at(at))?,
                },
            };
            let start = at + BLOCK;
            let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            let body = end.and_then(|end| self.bytes.get(start..end)).ok_or(Damage::CutOff.at(at))?;
            self.offset = start + body.len().next_multiple_of(BLOCK);
            match kind {
                b'x' => extended.read(body).ok_or(Damage::Record.at(at))?,
                b'g' => {
                    self.global.read(body).ok_or(Damage::Record.at(at))?;
                    extended = self.global;
                }
                b'L' => extended.path = Some(until_zero(body)),
                b'K' => extended.link = Some(until_zero(body)),
                // A label for the tape.
                b'V' => {}
                b'M' => return Err(Damage::MultiVolume.at(at)),
                b'S' => return Err(Damage::Sparse.at(at)),
                _ if extended.is_sparse => return Err(Damage::Sparse.at(at)),
                _ => return Ok(Some(entry(header, body, &extended))),
            }
        }
    }
}

fn entry<'a>(header: &'a [u8], body: &'a [u8], extended: &Extended<'a>) -> Entry<'a> {
    // GNU's own format, with other characters after the same word, has other things where the prefix is.
    let prefix = if header[257..263] == *b"ustar\0" { until_zero(&header[345..500]) } else { &[] };
    let name = extended.path.map_or(Path { prefix, rest: until_zero(&header[..100]) }, Path::new);
    let link = || Path::new(extended.link.unwrap_or(until_zero(&header[157..257])));
    let content = match header[156] {
        b'1' => Content::HardLink(link()),
        b'2' => Content::SymbolicLink(link()),
        b'5' | b'D' => Content::Directory,
        b'3' | b'4' | b'6' => Content::Other,
        // Before ustar a folder was a file whose name ends so.
        0 | b'0' if name.ends_in_slash() => Content::Directory,
        // "Custom implementations ... shall be treated as regular files", and so is '7', a contiguous file.
        _ => Content::File(body),
    };
    Entry { name, content, inode: None }
}

impl<'a> Extended<'a> {
    /// Takes over the records that matter: `LENGTH KEY=VALUE`, a line feed after each. An empty value takes one back.
    fn read(&mut self, mut records: &'a [u8]) -> Option<()> {
        while !records.is_empty() {
            let space = records.iter().position(|&byte| byte == b' ')?;
            let length = decimal(&records[..space])?;
            let (record, rest) = records.split_at_checked(usize::try_from(length).ok()?)?;
            records = rest;
            let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
            let (key, value) = record.split_at(record.iter().position(|&byte| byte == b'=')?);
            let value = Some(&value[1..]).filter(|value| !value.is_empty());
            match key {
                b"path" => self.path = value,
                b"linkpath" => self.link = value,
                b"size" => self.size = value.map(|value| decimal(value).ok_or(())).transpose().ok()?,
                _ if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
        }
        Some(())
    }
}

/// POSIX: the sum of all bytes of the header, with blanks in the place of the sum.
fn is_sum_right(header: &[u8]) -> bool {
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let of_field: u64 = header[148..156].iter().map(|&byte| u64::from(byte)).sum();
    number(&header[148..156]) == Some(sum - of_field + 8 * u64::from(b' '))
}

/// A number in a header: octal digits, or, with the highest bit of the first byte set, as many bytes (GNU).
fn number(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let start = u64::from(first & 0x7F);
        return rest.iter().try_fold(start, |sum, &byte| Some(sum.checked_mul(256)? + u64::from(byte)));
    }
    let digits = field.trim_ascii_start();
    let digits = digits.split(|&byte| byte == 0 || byte == b' ').next()?;
    digits.iter().try_fold(0_u64, |sum, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 8)?;
        sum.checked_mul(8)?.checked_add(digit.into())
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len())]
}
