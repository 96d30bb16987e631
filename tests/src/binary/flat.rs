//! The first program in the form that the kernel starts: its segments told of at the beginning, and then their bytes.

use graft_abi::{Error, FirstProgram, Segment, Text};
use graft_rt::elf::{self, Program};

/// The first program, out of an ELF file.
pub fn of_program(file: &[u8]) -> Result<Vec<u8>, Error> {
    let program = Program::parse(file)?;
    let mut segments: Vec<Segment> = program.segments().iter().map(|segment| segment.part(0)).collect();
    segments.push(elf::stack(Text::default()));
    let header =
        FirstProgram { magic: FirstProgram::MAGIC, entry: program.entry, segment_count: segments.len() as u64 };
    let mut offset = (size_of_val(&header) + size_of_val(&*segments)) as u64;
    let mut bytes = Vec::new();
    for segment in &mut segments {
        let Text { address, length } = segment.bytes;
        bytes.extend_from_slice(&file[address as usize..(address + length) as usize]);
        segment.bytes.address = offset;
        offset += length;
    }
    let words = [header.magic, header.entry, header.segment_count].into_iter().chain(segments.iter().flat_map(words));
    Ok(words.flat_map(u64::to_le_bytes).chain(bytes).collect())
}

/// The fields of a segment, in their order.
pub fn words(segment: &Segment) -> [u64; 6] {
    let Segment { start, size, permissions, address, bytes } = *segment;
    [start, size, permissions, address, bytes.address, bytes.length]
}
