//! What an archive holds.

use core::fmt::{self, Write};

/// One thing in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Path<'a>,
    /// What it is.
    pub content: Content<'a>,
    /// Tells which names belong to one file: only one of their entries has the content (cpio).
    pub(crate) inode: Option<[u32; 3]>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A file with these bytes.
    File(&'a [u8]),
    /// A folder.
    Directory,
    /// Another name of a file that has this name as well.
    HardLink(Path<'a>),
    /// Stands for what this path leads to, from the folder that the link is in.
    SymbolicLink(Path<'a>),
    /// A device, a pipe, or something that only the archive's maker knows.
    Other,
}

/// A name, or what a link leads to.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// The folders in front, where the archive keeps them apart from the rest.
    pub(crate) prefix: &'a [u8],
    pub(crate) rest: &'a [u8],
}

impl<'a> Path<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Path<'a> {
        Path { prefix: &[], rest: bytes }
    }

    /// The path with these characters.
    pub const fn from_text(text: &'a str) -> Path<'a> {
        Path::new(text.as_bytes())
    }

    /// Its components from the first on, without those that lead nowhere (`.`).
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone + use<'a> {
        let split = |bytes: &'a [u8]| bytes.split(|&byte| byte == b'/');
        split(self.prefix).chain(split(self.rest)).filter(|component| !matches!(component, [] | [b'.']))
    }

    /// Whether it begins at the top, wherever it stands.
    pub fn is_absolute(&self) -> bool {
        self.prefix.iter().chain(self.rest).next() == Some(&b'/')
    }

    pub(crate) fn ends_in_slash(&self) -> bool {
        self.rest.last() == Some(&b'/')
    }
}

impl PartialEq for Path<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.components().eq(other.components())
    }
}

impl Eq for Path<'_> {}

/// Component by component, and what is not printable ASCII escaped.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, component) in self.components().enumerate() {
            if index != 0 {
                f.write_char('/')?;
            }
            component.escape_ascii().fmt(f)?;
        }
        Ok(())
    }
}
