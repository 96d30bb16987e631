//! ELF files: the kernel's into a flat image, a program's into what the archive needs of it, and both into sizes.

use object::Endianness;
use object::elf::{EM_AARCH64, ET_EXEC, FileHeader64, PF_W, PF_X, PT_INTERP, PT_LOAD, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::fmt;

type Header = FileHeader64<Endianness>;
type Segment = ProgramHeader64<Endianness>;

/// Why an ELF file is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

fn unfit<T>(reason: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit(reason.into()))
}

/// Whether the file claims to be an ELF file.
pub fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

fn read(file: &[u8]) -> Result<(&Header, Endianness, &[Segment]), Unfit> {
    if !is_elf(file) {
        return unfit("is not an ELF file");
    }
    let Ok(header) = Header::parse(file) else { return unfit("is not a 64-bit ELF file, or ends too early") };
    let Ok(endian) = header.endian() else { return unfit("has a broken ELF header") };
    if endian != Endianness::Little || header.e_machine.get(endian) != EM_AARCH64 {
        return unfit("is not for little-endian AArch64");
    }
    let Ok(segments) = header.program_headers(endian, file) else { return unfit("has broken program headers") };
    Ok((header, endian, segments))
}

/// The kernel as the firmware wants it: the bytes of its segments, in the order of their physical addresses, from the
/// lowest on.
pub fn flatten(file: &[u8]) -> Result<Vec<u8>, Unfit> {
    let (_, endian, segments) = read(file)?;
    let loaded = |segment: &&Segment| segment.p_type(endian) == PT_LOAD && segment.p_filesz(endian) > 0;
    let Some(base) = segments.iter().filter(loaded).map(|segment| segment.p_paddr(endian)).min() else {
        return unfit("has nothing to load");
    };
    let mut image = Vec::new();
    for segment in segments.iter().filter(loaded) {
        let Ok(bytes) = segment.data(endian, file) else { return unfit("has a segment outside of the file") };
        let start = (segment.p_paddr(endian) - base) as usize;
        // An address that was meant as a virtual one would make the image terabytes long.
        if start > 64 << 20 {
            return unfit(format!("has segments {start:#x} bytes apart"));
        }
        image.resize(image.len().max(start + bytes.len()), 0);
        image[start..start + bytes.len()].copy_from_slice(bytes);
    }
    Ok(image)
}

/// Accepts the static programs that the kernel's loader runs; the error says what to change.
pub fn check_program(file: &[u8]) -> Result<(), Unfit> {
    let (header, endian, segments) = read(file)?;
    if segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP) {
        return unfit("wants a dynamic linker; link it statically");
    }
    if header.e_type.get(endian) != ET_EXEC {
        return unfit("is position-independent; link it with -no-pie at a fixed address");
    }
    if let Some(segment) = writable_text(segments, endian) {
        return unfit(format!("has a segment at {segment:#x} that is writable and executable at once"));
    }
    Ok(())
}

/// The address of a segment that is writable and executable at once.
fn writable_text(segments: &[Segment], endian: Endianness) -> Option<u64> {
    let both = PF_W | PF_X;
    segments
        .iter()
        .find(|segment| segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & both == both)
        .map(|segment| segment.p_vaddr(endian))
}

/// Accepts a kernel no segment of which is writable and executable at once.
pub fn check_kernel(file: &[u8]) -> Result<(), Unfit> {
    let (_, endian, segments) = read(file)?;
    match writable_text(segments, endian) {
        Some(address) => unfit(format!("has a segment at {address:#x} that is writable and executable at once")),
        None => Ok(()),
    }
}

/// The program without what only a debugger reads: everything behind its last segment, the section headers included.
pub fn strip(file: &[u8]) -> Result<Vec<u8>, Unfit> {
    let (header, endian, segments) = read(file)?;
    let headers_end = header.e_phoff.get(endian) + u64::from(header.e_phnum.get(endian)) * size_of::<Segment>() as u64;
    let end = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)))
        .fold(headers_end, u64::max);
    let Some(kept) = file.get(..end as usize) else { return unfit("has a segment outside of the file") };
    let mut kept = kept.to_vec();
    // e_shoff, e_shnum and e_shstrndx: there are no sections any more.
    kept[0x28..0x30].fill(0);
    kept[0x3c..0x40].fill(0);
    Ok(kept)
}

/// How many bytes of each kind a program or kernel takes in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Instructions.
    pub text: u64,
    /// Constants.
    pub constants: u64,
    /// Initialised variables.
    pub data: u64,
    /// Variables that start as zero.
    pub zeroed: u64,
}

/// The sizes of what the file's segments put into memory.
pub fn size(file: &[u8]) -> Result<Size, Unfit> {
    let (_, endian, segments) = read(file)?;
    let mut size = Size::default();
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD) {
        let flags = segment.p_flags(endian);
        let stored = segment.p_filesz(endian);
        let field = if flags & PF_X == PF_X {
            &mut size.text
        } else if flags & PF_W == PF_W {
            &mut size.data
        } else {
            &mut size.constants
        };
        *field += stored;
        size.zeroed += segment.p_memsz(endian).saturating_sub(stored);
    }
    Ok(size)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A well-formed file with segments of (type, flags, offset, physical address, bytes in the file).
    pub(crate) fn sample(kind: u16, segments: &[(u32, u32, u64, u64, u64)], length: usize) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        for half in [kind, EM_AARCH64.0] {
            file.extend_from_slice(&half.to_le_bytes());
        }
        file.extend_from_slice(&1u32.to_le_bytes());
        for word in [0x1_0000u64, 64, 0x9999] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&0u32.to_le_bytes());
        for half in [64, 56, segments.len() as u16, 64, 3, 2] {
            file.extend_from_slice(&half.to_le_bytes());
        }
        for &(kind, flags, offset, address, bytes) in segments {
            file.extend_from_slice(&kind.to_le_bytes());
            file.extend_from_slice(&flags.to_le_bytes());
            for word in [offset, 0xffff_0000 + address, address, bytes, bytes, 4096] {
                file.extend_from_slice(&word.to_le_bytes());
            }
        }
        assert!(file.len() <= length);
        let start = file.len();
        file.extend((start..length).map(|index| index as u8));
        file
    }

    const R: u32 = 4;
    const LOAD: u32 = 1;

    #[test]
    fn a_flat_image_has_each_segment_at_its_physical_address() {
        let file = sample(2, &[(LOAD, R | 2, 0x320, 0x8010, 8), (LOAD, R | 1, 0x300, 0x8000, 4)], 0x400);
        let image = flatten(&file).unwrap();
        assert_eq!(image.len(), 0x18);
        assert_eq!(image[..4], file[0x300..0x304]);
        assert_eq!(image[4..0x10], [0; 12]);
        assert_eq!(image[0x10..], file[0x320..0x328]);
    }

    #[test]
    fn a_flat_image_of_terabytes_is_refused() {
        let file = sample(2, &[(LOAD, R, 0x300, 0x8000, 4), (LOAD, R, 0x300, 1 << 40, 4)], 0x400);
        assert!(flatten(&file).unwrap_err().0.contains("apart"));
        assert!(flatten(&sample(2, &[], 0x400)).unwrap_err().0.contains("nothing to load"));
    }

    #[test]
    fn a_program_must_be_static_and_for_this_machine() {
        let good = sample(2, &[(LOAD, R | 1, 0x300, 0x8000, 4)], 0x400);
        assert_eq!(check_program(&good), Ok(()));
        let reason = |file: &[u8]| check_program(file).unwrap_err().0;
        assert!(reason(b"#!/bin/sh\n").contains("not an ELF"));
        assert!(reason(&good[..40]).contains("too early"));
        assert!(reason(&good[..100]).contains("program headers"));
        let mut x86 = good.clone();
        x86[0x12] = 62;
        assert!(reason(&x86).contains("AArch64"));
        let mut narrow = good.clone();
        narrow[4] = 1;
        assert!(reason(&narrow).contains("64-bit"));
        assert!(reason(&sample(3, &[(LOAD, R, 0x300, 0, 4)], 0x400)).contains("position-independent"));
        assert!(reason(&sample(3, &[(3, R, 0x300, 0, 4)], 0x400)).contains("dynamic linker"));
        assert!(reason(&sample(2, &[(LOAD, 7, 0x300, 0, 4)], 0x400)).contains("writable and executable"));
        assert!(check_kernel(&sample(2, &[(LOAD, 7, 0x300, 0, 4)], 0x400)).is_err());
        assert!(check_kernel(&good).is_ok());
    }

    #[test]
    fn sizes_go_by_what_may_be_done_with_the_memory() {
        let file = sample(2, &[(LOAD, R | 1, 0x300, 0, 5), (LOAD, R, 0x300, 0, 3), (LOAD, R | 2, 0x300, 0, 2)], 0x400);
        assert_eq!(size(&file).unwrap(), Size { text: 5, constants: 3, data: 2, zeroed: 0 });
    }

    #[test]
    fn stripping_keeps_the_segments_and_nothing_behind_them() {
        let file = sample(2, &[(LOAD, R | 1, 0x300, 0x8000, 0x20)], 0x400);
        let stripped = strip(&file).unwrap();
        assert_eq!(stripped.len(), 0x320);
        assert_eq!(stripped[0x40..], file[0x40..0x320]);
        assert_eq!(check_program(&stripped), Ok(()));
        assert_eq!(flatten(&stripped), flatten(&file));
        let header = Header::parse(&*stripped).unwrap();
        assert_eq!(header.e_shnum.get(Endianness::Little), 0);
        assert_eq!(header.e_shoff.get(Endianness::Little), 0);
    }
}
