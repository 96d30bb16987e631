//! Whether a device tree blob is one (Devicetree Specification, release 0.4, chapter 5, "Flattened
//! Devicetree (DTB) Format").
//!
//! The kernel reads the tree with the crate `dtoolkit`, which believes a blob once it has been checked
//! and panics if it was wrong to. The crate's own check is not used: it refuses names of more than 31
//! characters, as the specification does, and the Raspberry Pi's own tree has one of 35
//! (`arm,cpu-registers-not-fw-configured`).

use core::{ffi::CStr, fmt};

/// Bytes of the header of version 17.
const HEADER: usize = 40;
/// The version that is read; newer ones must be compatible with it.
const VERSION: u32 = 17;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOTHING: u32 = 4;
const END: u32 = 9;

/// What is wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The header is cut off, or its sizes and offsets contradict each other.
    Header,
    /// It is of this version, which is not compatible with 17.
    Version(u32),
    /// The list of memory reservations has no end.
    Reservations,
    /// The structure makes no sense at this offset.
    Structure(usize),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Header => f.write_str("its header makes no sense"),
            Broken::Version(version) => write!(f, "it is of version {version}, not {VERSION}"),
            Broken::Reservations => f.write_str("its list of reservations has no end"),
            Broken::Structure(offset) => write!(f, "its structure makes no sense at offset {offset}"),
        }
    }
}

/// Checks a blob, whose first word is the magic number, from end to end.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn check(blob: &[u8]) -> Result<(), Broken> {
    let blob = Blob::new(blob)?;
    blob.check_reservations().ok_or(Broken::Reservations)?;
    blob.check_structure()
}

struct Blob<'a> {
    bytes: &'a [u8],
    reservations: usize,
    structure: usize,
    /// The structure's bytes and all before it.
    until_structure_end: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Blob<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Broken> {
        let field = |offset| word(bytes, offset).ok_or(Broken::Header);
        let place = |offset| field(offset).map(|value| value as usize);
        let (version, oldest) = (field(20)?, field(24)?);
        if !(oldest..=version).contains(&VERSION) {
            return Err(Broken::Version(version));
        }
        let (size, structure, strings, reservations) = (place(4)?, place(8)?, place(12)?, place(16)?);
        let (strings_size, structure_size) = (place(32)?, place(36)?);
        if size != bytes.len() || reservations < HEADER || reservations % 8 != 0 || structure % 4 != 0 {
            return Err(Broken::Header);
        }
        let until_structure_end = bytes.get(..structure.saturating_add(structure_size)).ok_or(Broken::Header)?;
        let strings = bytes.get(strings..strings.saturating_add(strings_size)).ok_or(Broken::Header)?;
        Ok(Blob { bytes, reservations, structure, until_structure_end, strings })
    }

    /// Pairs of address and size, the last both zero.
    fn check_reservations(&self) -> Option<()> {
        let mut offset = self.reservations;
        while self.bytes.get(offset..offset + 16)?.iter().any(|&byte| byte != 0) {
            offset += 16;
        }
        Some(())
    }

    /// One root node, in which each node's properties precede its children.
    fn check_structure(&self) -> Result<(), Broken> {
        let mut offset = self.structure;
        let mut depth = 0_usize;
        let mut properties_may_follow = false;
        loop {
            let broken = Broken::Structure(offset);
            let token = word(self.until_structure_end, offset).ok_or(broken)?;
            offset += 4;
            match token {
                BEGIN_NODE => {
                    let name = string(self.until_structure_end, offset).ok_or(broken)?;
                    offset = (offset + name.len() + 1).next_multiple_of(4);
                    depth += 1;
                    properties_may_follow = true;
                }
                PROPERTY if properties_may_follow => {
                    offset = self.check_property(offset).ok_or(broken)?.next_multiple_of(4);
                }
                NOTHING if depth > 0 => {}
                END_NODE if depth > 0 => {
                    depth -= 1;
                    properties_may_follow = false;
                    if depth == 0 {
                        let ends = word(self.until_structure_end, offset) == Some(END);
                        return if ends { Ok(()) } else { Err(Broken::Structure(offset)) };
                    }
                }
                _ => return Err(broken),
            }
        }
    }

    /// Length of the value and offset of the name among the strings, then the value. Returns its end.
    fn check_property(&self, offset: usize) -> Option<usize> {
        let length = word(self.until_structure_end, offset)? as usize;
        string(self.strings, word(self.until_structure_end, offset + 4)? as usize)?;
        let end = offset + 8 + length;
        (end <= self.until_structure_end.len()).then_some(end)
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn string(bytes: &[u8], offset: usize) -> Option<&str> {
    CStr::from_bytes_until_nul(bytes.get(offset..)?).ok()?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtoolkit::{
        Node, Property,
        fdt::{Fdt, FdtNode},
    };

    const LONG_NAME: &str = "arm,cpu-registers-not-fw-configured";

    #[derive(Default)]
    struct Builder {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn words(&mut self, words: &[u32]) {
            self.structure.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }

        fn bytes(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
            self.words(&[BEGIN_NODE]);
            self.bytes(&[name.as_bytes(), &[0]].concat());
            inside(self);
            self.words(&[END_NODE]);
        }

        fn property(&mut self, name: &str, value: &[u8]) {
            self.words(&[PROPERTY, value.len() as u32, self.strings.len() as u32]);
            self.bytes(value);
            self.strings.extend(name.bytes().chain([0]));
        }

        /// With one reservation.
        fn finish(mut self) -> Vec<u8> {
            self.words(&[END]);
            let start = HEADER + 32;
            let end = start + self.structure.len();
            let sizes = [self.strings.len(), self.structure.len()];
            let header = [0xD00D_FEED, end + sizes[0], start, end, HEADER, 17, 16, 0, sizes[0], sizes[1]];
            let mut blob: Vec<u8> = header.iter().flat_map(|&field| (field as u32).to_be_bytes()).collect();
            blob.extend([0x1000_u64, 0x2000, 0, 0].iter().flat_map(|number| number.to_be_bytes()));
            blob.extend(self.structure);
            blob.extend(self.strings);
            blob
        }
    }

    fn sample() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.node("", |root| {
            root.property("model", b"sample\0");
            root.node("soc", |soc| {
                soc.property(LONG_NAME, b"");
                soc.words(&[NOTHING]);
                soc.node("a@1", |_| {});
            });
            root.node("cpus", |cpus| cpus.property("reg", &[0, 0, 0, 1]));
        });
        builder.finish()
    }

    /// Touches everything that can be reached; returns how much that is.
    fn walk(node: FdtNode) -> usize {
        let properties: usize =
            node.properties().map(|property| 1 + property.name().len() + property.value().len()).sum();
        node.name().len() + properties + node.children().map(walk).sum::<usize>()
    }

    #[test]
    fn a_tree_with_a_long_name_is_read() {
        let blob = sample();
        assert_eq!(check(&blob), Ok(()));
        let tree = Fdt::new_unchecked(&blob);
        assert_eq!(tree.memory_reservations().count(), 1);
        assert!(tree.find_node("/soc").unwrap().property(LONG_NAME).is_some());
        assert!(tree.find_node("/soc/a@1").is_some() && tree.find_node("/cpus").is_some());
    }

    #[test]
    fn what_passes_can_be_walked_whatever_byte_was_changed() {
        let good = sample();
        let mut passed = 0;
        for offset in 0..good.len() {
            for value in [0, 1, 2, 3, 4, 9, 0x7F, 0x80, 0xFF, good[offset] ^ 1, good[offset].wrapping_add(4)] {
                let mut blob = good.clone();
                blob[offset] = value;
                if check(&blob).is_ok() {
                    let tree = Fdt::new_unchecked(&blob);
                    walk(tree.root());
                    tree.memory_reservations().count();
                    passed += 1;
                }
            }
        }
        assert!(passed > 100, "only {passed} changes were harmless");
    }

    #[test]
    fn a_tree_cut_off_anywhere_is_broken() {
        let good = sample();
        for length in 0..good.len() {
            let mut blob = good[..length].to_vec();
            assert!(check(&blob).is_err());
            if length >= HEADER {
                blob[4..8].copy_from_slice(&(length as u32).to_be_bytes());
                assert!(check(&blob).is_err(), "cut off after {length} bytes");
            }
        }
    }

    #[test]
    fn a_version_that_nobody_knows_is_named() {
        let mut blob = sample();
        blob[23] = 16;
        assert_eq!(check(&blob), Err(Broken::Version(16)));
    }
}
