//! Programs as ELF files: whether one is a program that Graft runs, and what goes where in memory.
//!
//! Every field that matters is checked before anything is built from it; what is left is a
//! [`Program`] whose segments lie inside the file and inside user memory, on pages of their own,
//! and are never writable and executable at once. Fields that a static program's loader has no use
//! for (section headers, flags, physical addresses) may hold anything.
//!
//! System V ABI, "Object Files" and "Program Loading"; ELF for the Arm 64-bit Architecture.

use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::parse::{ParseAt, ParseError};
use elf::segment::ProgramHeader;
use graft_abi::{Error, PAGE_SIZE, Permissions, STACK_GUARD, STACK_SIZE, STACK_TOP, Text, USER_END, USER_START};

/// Most loadable segments a program may have.
pub const SEGMENTS_MAX: usize = 16;
/// Most program headers, loadable or not, that are looked at.
pub const HEADERS_MAX: u16 = 64;

const FILE_HEADER_SIZE: usize = abi::EI_NIDENT + ELF64_EHDR_TAILSIZE;
const PROGRAM_HEADER_SIZE: usize = 56;

/// A piece of the file and the memory it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first byte, in user memory.
    pub address: u64,
    /// Bytes in memory, more than none; what the file does not give is zero.
    pub memory_size: u64,
    /// Where in the file the bytes are.
    pub file_offset: u64,
    /// Bytes in the file, at most as many as in memory.
    pub file_size: u64,
    /// What the program may do with them.
    pub permissions: Permissions,
}

impl Segment {
    const EMPTY: Segment =
        Segment { address: 0, memory_size: 0, file_offset: 0, file_size: 0, permissions: Permissions::None };

    /// The same as a program's maker asks for it, with the file at this address.
    pub fn part(&self, file: u64) -> graft_abi::Segment {
        graft_abi::Segment {
            start: self.start(),
            size: self.end() - self.start(),
            permissions: self.permissions as u64,
            address: self.address,
            bytes: Text { address: file + self.file_offset, length: self.file_size },
        }
    }

    /// First byte of its first page.
    pub fn start(&self) -> u64 {
        self.address & !(PAGE_SIZE as u64 - 1)
    }

    /// One past the last byte of its last page.
    pub fn end(&self) -> u64 {
        (self.address + self.memory_size).next_multiple_of(PAGE_SIZE as u64)
    }
}

/// What a program file asks for, all of it checked.
#[derive(Debug)]
pub struct Program {
    /// Address of the first instruction.
    pub entry: u64,
    segments: [Segment; SEGMENTS_MAX],
    count: usize,
}

impl Program {
    /// Reads and checks the headers of a program file.
    ///
    /// # Errors
    /// One of the `Image…` errors.
    pub fn parse(file: &[u8]) -> Result<Program, Error> {
        let header = check_file_header(part(file, 0)?)?;
        let mut program = Program { entry: header.e_entry, segments: [Segment::EMPTY; SEGMENTS_MAX], count: 0 };
        for index in 0..u64::from(header.e_phnum) {
            let offset = header.e_phoff.checked_add(index * PROGRAM_HEADER_SIZE as u64).ok_or(Error::ImageTooShort)?;
            let bytes: &[u8; PROGRAM_HEADER_SIZE] = part(file, offset)?;
            let header = ProgramHeader::parse_at(LittleEndian, Class::ELF64, &mut 0, bytes).map_err(reason)?;
            match header.p_type {
                abi::PT_INTERP => return Err(Error::ImageDynamic),
                abi::PT_LOAD if header.p_memsz != 0 || header.p_filesz != 0 => {
                    program.add(check_segment(&header, file.len() as u64)?)?;
                }
                _ => {}
            }
        }
        program.check_entry()?;
        Ok(program)
    }

    /// The segments, in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.segments[..self.count]
    }

    /// What `spawn` is asked for, with the file at this address: the segments, and last the stack, with arguments that
    /// lie elsewhere at its top. How many of these there are comes with them.
    pub(crate) fn request(&self, file: u64, arguments: Text) -> ([graft_abi::Segment; SEGMENTS_MAX + 1], usize) {
        let mut parts = [graft_abi::Segment::default(); SEGMENTS_MAX + 1];
        for (part, segment) in parts.iter_mut().zip(self.segments()) {
            *part = segment.part(file);
        }
        parts[self.count] = stack(arguments);
        (parts, self.count + 1)
    }

    fn add(&mut self, segment: Segment) -> Result<(), Error> {
        if self.segments().iter().any(|other| segment.start() < other.end() && other.start() < segment.end()) {
            return Err(Error::ImageOverlap);
        }
        *self.segments.get_mut(self.count).ok_or(Error::ImageBadHeader)? = segment;
        self.count += 1;
        Ok(())
    }

    fn check_entry(&self) -> Result<(), Error> {
        let inside = |segment: &&Segment| {
            segment.permissions == Permissions::ReadExecute
                && (segment.address..segment.address + segment.memory_size).contains(&self.entry)
        };
        // An instruction is four bytes, and aligned.
        if !self.entry.is_multiple_of(4) || !self.segments().iter().any(|segment| inside(&segment)) {
            return Err(Error::ImageBadEntry);
        }
        Ok(())
    }
}

/// Where arguments of this length go: to the top of the stack, whose pointer begins there.
pub(crate) const fn arguments_address(length: u64) -> u64 {
    // The procedure call standard's alignment of the stack.
    STACK_TOP as u64 - length.next_multiple_of(16)
}

/// The stack of a new program, with these bytes at its top.
pub fn stack(arguments: Text) -> graft_abi::Segment {
    graft_abi::Segment {
        start: (STACK_TOP - STACK_SIZE) as u64,
        size: STACK_SIZE as u64,
        permissions: Permissions::ReadWrite as u64,
        address: arguments_address(arguments.length),
        bytes: arguments,
    }
}

/// Some bytes of a file, from `offset` on.
fn part<const N: usize>(file: &[u8], offset: u64) -> Result<&[u8; N], Error> {
    let rest = usize::try_from(offset).ok().and_then(|start| file.get(start..)?.first_chunk());
    rest.ok_or(Error::ImageTooShort)
}

fn check_file_header(bytes: &[u8; FILE_HEADER_SIZE]) -> Result<FileHeader<LittleEndian>, Error> {
    let (identification, rest) = bytes.split_at(abi::EI_NIDENT);
    let identification = parse_ident::<LittleEndian>(identification).map_err(reason)?;
    let header = FileHeader::parse_tail(identification, rest).map_err(reason)?;
    if header.class != Class::ELF64 || header.e_machine != abi::EM_AARCH64 {
        return Err(Error::ImageWrongMachine);
    }
    // Static programs of other systems may name theirs; their system calls are refused when they are made.
    if !matches!(header.osabi, abi::ELFOSABI_SYSV | abi::ELFOSABI_LINUX) {
        return Err(Error::ImageWrongMachine);
    }
    match header.e_type {
        abi::ET_EXEC => {}
        abi::ET_DYN => return Err(Error::ImageDynamic),
        _ => return Err(Error::ImageWrongMachine),
    }
    if header.version != u32::from(abi::EV_CURRENT)
        || usize::from(header.e_ehsize) != FILE_HEADER_SIZE
        || usize::from(header.e_phentsize) != PROGRAM_HEADER_SIZE
        || !(1..=HEADERS_MAX).contains(&header.e_phnum)
    {
        return Err(Error::ImageBadHeader);
    }
    Ok(header)
}

fn check_segment(header: &ProgramHeader, file_length: u64) -> Result<Segment, Error> {
    let bad = Error::ImageBadSegment;
    let page = PAGE_SIZE as u64;
    let file_end = header.p_offset.checked_add(header.p_filesz).ok_or(bad)?;
    let end = header.p_vaddr.checked_add(header.p_memsz).ok_or(bad)?;
    if file_end > file_length || header.p_filesz > header.p_memsz {
        return Err(bad);
    }
    // 0 and 1 mean none; beyond a page, offset and address must agree within a page to be mappable.
    if header.p_align > 1 && (!header.p_align.is_power_of_two() || header.p_offset % page != header.p_vaddr % page) {
        return Err(bad);
    }
    if header.p_vaddr < USER_START as u64 || end > USER_END as u64 {
        return Err(bad);
    }
    let stack = (STACK_TOP - STACK_SIZE - STACK_GUARD) as u64..STACK_TOP as u64;
    if header.p_vaddr < stack.end && end > stack.start {
        return Err(bad);
    }
    let permissions = match (header.p_flags & abi::PF_W != 0, header.p_flags & abi::PF_X != 0) {
        (true, true) => return Err(Error::ImageWritableText),
        (true, false) => Permissions::ReadWrite,
        (false, true) => Permissions::ReadExecute,
        (false, false) if header.p_flags & abi::PF_R != 0 => Permissions::Read,
        (false, false) => Permissions::None,
    };
    Ok(Segment {
        address: header.p_vaddr,
        memory_size: header.p_memsz,
        file_offset: header.p_offset,
        file_size: header.p_filesz,
        permissions,
    })
}

fn reason(error: ParseError) -> Error {
    match error {
        ParseError::BadMagic(_) => Error::ImageNotElf,
        ParseError::UnsupportedElfClass(_) | ParseError::UnsupportedElfEndianness(_) => Error::ImageWrongMachine,
        ParseError::SliceReadError(_) => Error::ImageTooShort,
        _ => Error::ImageBadHeader,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: usize = 64;
    const DATA: usize = 64 + 56;

    /// A small program: text of 8 bytes at 0x20_0000, data of 16 bytes that become 0x2000 at 0x21_0000.
    fn good() -> Vec<u8> {
        let mut file = vec![0; 0x2010];
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0");
        put(&mut file, 16, 2, 2); // e_type: ET_EXEC
        put(&mut file, 18, 183, 2); // e_machine: EM_AARCH64
        put(&mut file, 20, 1, 4); // e_version
        put(&mut file, 24, 0x20_1000, 8); // e_entry
        put(&mut file, 32, 64, 8); // e_phoff
        put(&mut file, 52, 64, 2); // e_ehsize
        put(&mut file, 54, 56, 2); // e_phentsize
        put(&mut file, 56, 2, 2); // e_phnum
        segment(&mut file, TEXT, 5, 0x1000, 0x20_1000, 8, 8);
        segment(&mut file, DATA, 6, 0x2000, 0x21_0000, 16, 0x2000);
        file
    }

    fn put(file: &mut [u8], offset: usize, value: u64, bytes: usize) {
        file[offset..offset + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }

    fn segment(file: &mut [u8], at: usize, flags: u64, offset: u64, address: u64, in_file: u64, in_memory: u64) {
        put(file, at, 1, 4);
        put(file, at + 4, flags, 4);
        for (field, value) in [offset, address, address, in_file, in_memory, 0x1000].into_iter().enumerate() {
            put(file, at + 8 + field * 8, value, 8);
        }
    }

    fn parse(file: &[u8]) -> Result<Program, Error> {
        Program::parse(file)
    }

    /// The answer to the good file with one field changed.
    fn with(offset: usize, value: u64, bytes: usize) -> Result<Program, Error> {
        let mut file = good();
        put(&mut file, offset, value, bytes);
        parse(&file)
    }

    #[test]
    fn a_good_program_is_understood() {
        let program = parse(&good()).unwrap();
        assert_eq!(program.entry, 0x20_1000);
        let [text, data] = program.segments() else { panic!("two segments") };
        assert_eq!((text.start(), text.end(), text.permissions), (0x20_1000, 0x20_2000, Permissions::ReadExecute));
        assert_eq!((data.start(), data.end(), data.permissions), (0x21_0000, 0x21_2000, Permissions::ReadWrite));
        assert_eq!((data.file_offset, data.file_size), (0x2000, 16));
    }

    #[test]
    fn a_request_has_the_segments_where_the_file_lies_and_the_stack_with_the_arguments() {
        let arguments = Text { address: 7, length: 17 };
        let (parts, count) = parse(&good()).unwrap().request(0x5000, arguments);
        let part = |start, size, permissions: Permissions, address, bytes| graft_abi::Segment {
            start,
            size,
            permissions: permissions as u64,
            address,
            bytes,
        };
        let bytes = |address, length| Text { address, length };
        let top = STACK_TOP as u64;
        assert_eq!(
            parts[..count],
            [
                part(0x20_1000, 0x1000, Permissions::ReadExecute, 0x20_1000, bytes(0x6000, 8)),
                part(0x21_0000, 0x2000, Permissions::ReadWrite, 0x21_0000, bytes(0x7000, 16)),
                part(top - STACK_SIZE as u64, STACK_SIZE as u64, Permissions::ReadWrite, top - 32, arguments),
            ]
        );
    }

    #[test]
    fn every_field_of_the_file_header_wrong_in_turn() {
        use Error::*;
        let wrong: &[(&str, usize, u64, usize, Error)] = &[
            ("magic", 0, 0x7e, 1, ImageNotElf),
            ("class: 32 bits", 4, 1, 1, ImageWrongMachine),
            ("class: unknown", 4, 9, 1, ImageWrongMachine),
            ("data: big-endian", 5, 2, 1, ImageWrongMachine),
            ("data: unknown", 5, 0, 1, ImageWrongMachine),
            ("identification version", 6, 0, 1, ImageBadHeader),
            ("OS ABI", 7, 9, 1, ImageWrongMachine),
            ("type: relocatable", 16, 1, 2, ImageWrongMachine),
            ("type: shared", 16, 3, 2, ImageDynamic),
            ("type: core", 16, 4, 2, ImageWrongMachine),
            ("machine: x86_64", 18, 62, 2, ImageWrongMachine),
            ("version", 20, 2, 4, ImageBadHeader),
            ("entry: null", 24, 0, 8, ImageBadEntry),
            ("entry: past the text", 24, 0x20_1008, 8, ImageBadEntry),
            ("entry: in data", 24, 0x21_0000, 8, ImageBadEntry),
            ("entry: unaligned", 24, 0x20_1002, 8, ImageBadEntry),
            ("entry: in the kernel", 24, u64::MAX - 3, 8, ImageBadEntry),
            ("program headers past the end", 32, 0x2000, 8, ImageTooShort),
            ("program headers wrap around", 32, u64::MAX - 8, 8, ImageTooShort),
            ("header size", 52, 63, 2, ImageBadHeader),
            ("program header size", 54, 57, 2, ImageBadHeader),
            ("no program headers", 56, 0, 2, ImageBadHeader),
            ("too many program headers", 56, 0xffff, 2, ImageBadHeader),
        ];
        for &(what, offset, value, bytes, error) in wrong {
            assert_eq!(with(offset, value, bytes).err(), Some(error), "{what}");
        }
    }

    #[test]
    fn every_field_of_a_program_header_wrong_in_turn() {
        use Error::*;
        let wrong: &[(&str, usize, u64, usize, Error)] = &[
            ("type: interpreter", 0, 3, 4, ImageDynamic),
            ("flags: writable text", 4, 7, 4, ImageWritableText),
            ("flags: writable text, not readable", 4, 3, 4, ImageWritableText),
            ("offset past the end", 8, 0x10_2000, 8, ImageBadSegment),
            ("offset wraps around", 8, !0xfff, 8, ImageBadSegment),
            ("offset does not fit the address", 8, 0x1ff8, 8, ImageBadSegment),
            ("address: null page", 16, 0, 8, ImageBadSegment),
            ("address: below user memory", 16, 0xf000, 8, ImageBadSegment),
            ("address: kernel", 16, 0xffff_ffff_8000_0000, 8, ImageBadSegment),
            ("address: past user memory", 16, 1 << 48, 8, ImageBadSegment),
            ("address: on the text", 16, 0x20_0000, 8, ImageOverlap),
            ("address: on the stack", 16, STACK_TOP as u64 - 0x1000, 8, ImageBadSegment),
            ("address: on the stack's guard", 16, (STACK_TOP - STACK_SIZE - 0x1000) as u64, 8, ImageBadSegment),
            ("file size past the end", 32, 0x11, 8, ImageBadSegment),
            ("file size beyond memory size", 40, 8, 8, ImageBadSegment),
            ("memory size beyond user memory", 40, 1 << 48, 8, ImageBadSegment),
            ("memory size wraps around", 40, u64::MAX, 8, ImageBadSegment),
            ("alignment: no power of two", 48, 0x1001, 8, ImageBadSegment),
        ];
        for &(what, offset, value, bytes, error) in wrong {
            assert_eq!(with(DATA + offset, value, bytes).err(), Some(error), "{what}");
        }
        assert_eq!(with(TEXT, 0, 4).err(), Some(ImageBadEntry), "the text is not loaded");
        assert_eq!(with(TEXT + 4, 4, 4).err(), Some(ImageBadEntry), "the text is not executable");
        assert_eq!(with(TEXT + 40, 0, 8).err(), Some(ImageBadSegment), "the text has no memory");
    }

    #[test]
    fn fields_without_a_meaning_for_the_loader_may_hold_anything() {
        for (offset, bytes) in [(8, 1), (40, 8), (48, 4), (58, 2), (60, 2), (62, 2), (DATA + 24, 8)] {
            assert!(with(offset, u64::MAX, bytes).is_ok(), "offset {offset}");
        }
    }

    #[test]
    fn the_limits_are_permitted() {
        // Right behind the text, and right before it.
        assert!(with(DATA + 16, 0x20_2000, 8).is_ok() && with(DATA + 16, 0x1F_E000, 8).is_ok());
        // To the end of the file; all of the segment's memory; the first and the last user addresses.
        assert!(with(DATA + 32, 0x10, 8).is_ok() && with(DATA + 40, 0x10, 8).is_ok());
        assert!(with(DATA + 16, USER_START as u64, 8).is_ok());
        assert!(with(DATA + 16, USER_END as u64 - 0x2000, 8).is_ok());
        assert!(with(DATA + 16, STACK_TOP as u64, 8).is_ok());
        assert!(with(DATA + 16, (STACK_TOP - STACK_SIZE - STACK_GUARD) as u64 - 0x2000, 8).is_ok());
        assert!(with(DATA + 16, (STACK_TOP - STACK_SIZE - STACK_GUARD) as u64 - 0x1000, 8).is_err());
        // A segment of nothing is none.
        let mut file = good();
        put(&mut file, DATA + 32, 0, 8);
        put(&mut file, DATA + 40, 0, 8);
        assert_eq!(parse(&file).unwrap().segments().len(), 1);
    }

    #[test]
    fn flags_are_permissions() {
        for (flags, permissions) in
            [(0, Permissions::None), (4, Permissions::Read), (2, Permissions::ReadWrite), (6, Permissions::ReadWrite)]
        {
            assert_eq!(with(DATA + 4, flags, 4).unwrap().segments()[1].permissions, permissions, "{flags}");
        }
    }

    #[test]
    fn too_many_segments_are_refused() {
        let mut file = good();
        put(&mut file, 56, HEADERS_MAX.into(), 2);
        for n in 0..usize::from(HEADERS_MAX) {
            segment(&mut file, 64 + n * 56, 4, 0, 0x30_0000 + n as u64 * 0x1000, 0, 8);
        }
        assert_eq!(parse(&file).err(), Some(Error::ImageBadHeader));
    }

    #[test]
    fn a_file_cut_anywhere_gives_an_error() {
        let file = good();
        for length in 0..file.len() {
            assert!(parse(&file[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn one_wrong_byte_never_yields_a_program_outside_user_memory() {
        let file = good();
        for offset in 0..DATA + 56 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut file = file.clone();
                file[offset] = value;
                let Ok(program) = parse(&file) else { continue };
                for segment in program.segments() {
                    assert!(segment.start() >= USER_START as u64 && segment.end() <= USER_END as u64);
                    assert!(segment.file_offset + segment.file_size <= file.len() as u64);
                    assert!(segment.file_size <= segment.memory_size);
                }
            }
        }
    }
}
