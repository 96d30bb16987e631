//! What some bytes are.

use crate::tar;
use core::fmt;

/// What a file is, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tar archive.
    Tar,
    /// A cpio archive in the format `newc` or `crc`.
    Cpio,
    /// Something in gzip's format.
    Gzip,
    /// Nothing at all, or nothing but zeroes. An empty tar archive is as well.
    Empty,
    /// Another kind of file, in words that go on after "is".
    Other(&'static str),
}

/// Signatures: an offset, the bytes there, and the kind of file that they show.
const SIGNATURES: [(usize, &[u8], &str); 32] = [
    (0, b"PK\x03\x04", "a zip file"),
    (0, b"PK\x05\x06", "an empty zip file"),
    (0, b"\xFD7zXZ\0", "compressed with xz"),
    (0, b"\x28\xB5\x2F\xFD", "compressed with zstd"),
    (0, b"BZh", "compressed with bzip2"),
    (0, b"\x04\x22\x4D\x18", "compressed with lz4"),
    (0, b"\x02\x21\x4C\x18", "compressed with lz4"),
    (0, b"\x5D\0\0", "compressed with lzma"),
    (0, b"\x89LZO\0", "compressed with lzop"),
    (0, b"LZIP", "compressed with lzip"),
    (0, b"\x1F\x9D", "compressed with compress"),
    (0, b"7z\xBC\xAF\x27\x1C", "a 7z file"),
    (0, b"Rar!", "a rar file"),
    (0, b"070707", "a cpio file in the old format odc"),
    (0, b"\xC7\x71", "a cpio file in the old format bin"),
    (0, b"\x71\xC7", "a cpio file in the old format bin"),
    (0, b"!<arch>\n", "an ar archive, such as a Debian package"),
    (0, b"\xED\xAB\xEE\xDB", "an rpm package"),
    (0, b"\x7FELF", "an ELF file: a program, not an archive of them"),
    (0, b"\xD0\x0D\xFE\xED", "a device tree"),
    (0, b"\x27\x05\x19\x56", "wrapped for U-Boot"),
    (0, b"hsqs", "a squashfs image"),
    (0, b"\x45\x3D\xCD\x28", "a cramfs image"),
    (0, b"-rom1fs-", "a romfs image"),
    (0, b"#!", "a script"),
    (0x38, b"ARM\x64", "an arm64 kernel image"),
    (0, b"MZ", "a Windows or EFI program"),
    (510, b"\x55\xAA", "a disk image"),
    (1024, b"\xE2\xE1\xF5\xE0", "an EROFS image"),
    (1080, b"\x53\xEF", "an ext2, ext3 or ext4 image"),
    (0x8001, b"CD001", "a CD image"),
    (0x10040, b"_BHRfS_M", "a Btrfs image"),
];

/// So much of a file is looked at to tell a text from anything else, in bytes.
const SAMPLE: usize = 4096;

impl Kind {
    /// What a file with these bytes is.
    pub fn of(bytes: &[u8]) -> Kind {
        if tar::begins(bytes) {
            return Kind::Tar;
        }
        match bytes {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => return Kind::Cpio,
            [0x1F, 0x8B, ..] => return Kind::Gzip,
            _ => {}
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return Kind::Empty;
        }
        let has = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        match SIGNATURES.iter().find(|(offset, magic, _)| has(*offset, magic)) {
            Some((.., what)) => Kind::Other(what),
            None if is_text(&bytes[..bytes.len().min(SAMPLE)]) => Kind::Other("a text file"),
            None => Kind::Other("of no kind that is known here"),
        }
    }
}

/// UTF-8 without control characters but white space. The last character may be cut off.
fn is_text(sample: &[u8]) -> bool {
    let text = match core::str::from_utf8(sample) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            core::str::from_utf8(&sample[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|character| !character.is_control() || character.is_ascii_whitespace())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Tar => "a tar archive",
            Kind::Cpio => "a cpio archive",
            Kind::Gzip => "compressed with gzip",
            Kind::Empty => "empty",
            Kind::Other(what) => what,
        })
    }
}
