//! gzip (RFC 1952), unpacked into memory that is there already.

use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc};
use miniz_oxide::inflate::TINFLStatus;
pub use miniz_oxide::inflate::core::DecompressorOxide as Decompressor;
use miniz_oxide::inflate::core::{decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};

/// Why something gzipped cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GzipError {
    /// It ends too early.
    CutOff,
    /// What a header says makes no sense.
    Header,
    /// What is compressed makes no sense.
    Data,
    /// It was unpacked, and is not what was packed.
    Checksum,
    /// It unpacks to more bytes than there is room for: this many.
    TooLong(usize),
    /// Something else follows its end.
    Appended,
}

impl fmt::Display for GzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GzipError::CutOff => f.write_str("is cut off: its gzip data has no end"),
            GzipError::Header => f.write_str("is damaged: its gzip header makes no sense"),
            GzipError::Data => f.write_str("is damaged: its gzip data makes no sense"),
            GzipError::Checksum => f.write_str("is damaged: its gzip checksum is wrong"),
            GzipError::TooLong(room) => write!(f, "unpacks to more than the {} MiB that there are for it", room >> 20),
            GzipError::Appended => f.write_str("has something behind its gzip data that is not gzipped"),
        }
    }
}

impl core::error::Error for GzipError {}

const SUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Unpacks all members of `packed`, one after the other, to the start of `room`; returns how many bytes that are.
/// Zeroes may follow the last member. The length that a member claims is believed only once it has been unpacked.
///
/// # Errors
/// The first thing that is wrong. `room` may have been written to.
pub fn unpack(packed: &[u8], room: &mut [u8], decompressor: &mut Decompressor) -> Result<usize, GzipError> {
    let (mut rest, mut done) = (packed, 0);
    loop {
        let (behind, bytes) = member(rest, &mut room[done..], decompressor).map_err(|error| match error {
            GzipError::TooLong(_) => GzipError::TooLong(room.len()),
            other => other,
        })?;
        (rest, done) = (behind, done + bytes);
        if rest.iter().all(|&byte| byte == 0) {
            return Ok(done);
        }
        if !rest.starts_with(&MAGIC) {
            return Err(GzipError::Appended);
        }
    }
}

const MAGIC: [u8; 2] = [0x1F, 0x8B];
const DEFLATE: u8 = 8;
/// Flags of the header: a checksum of the header itself, and fields that are skipped.
const HEADER_SUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b111 << 5;

/// Unpacks one member. Returns what follows it, and its length.
fn member<'a>(
    packed: &'a [u8],
    room: &mut [u8],
    decompressor: &mut Decompressor,
) -> Result<(&'a [u8], usize), GzipError> {
    let (header, mut rest) = packed.split_first_chunk::<10>().ok_or(GzipError::CutOff)?;
    let flags = header[3];
    if header[..2] != MAGIC || header[2] != DEFLATE || flags & RESERVED != 0 {
        return Err(GzipError::Header);
    }
    if flags & EXTRA != 0 {
        let (length, extra) = rest.split_first_chunk().ok_or(GzipError::CutOff)?;
        rest = extra.get(u16::from_le_bytes(*length) as usize..).ok_or(GzipError::CutOff)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(GzipError::CutOff)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_SUM != 0 {
        rest = rest.get(2..).ok_or(GzipError::CutOff)?;
    }

    decompressor.init();
    let (status, read, written) = decompress(decompressor, rest, room, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    match status {
        TINFLStatus::Done => {}
        TINFLStatus::HasMoreOutput => return Err(GzipError::TooLong(room.len())),
        TINFLStatus::FailedCannotMakeProgress => return Err(GzipError::CutOff),
        _ => return Err(GzipError::Data),
    }
    let (trailer, rest) = rest[read..].split_first_chunk::<8>().ok_or(GzipError::CutOff)?;
    let (sum, length) = (u32_at(trailer, 0), u32_at(trailer, 4));
    if length != written as u32 || sum != SUM.checksum(&room[..written]) {
        return Err(GzipError::Checksum);
    }
    Ok((rest, written))
}

fn u32_at(bytes: &[u8; 8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}
