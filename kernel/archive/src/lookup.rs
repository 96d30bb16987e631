//! Files by their names, through links.

use crate::{Archive, Content, Entry, Path};
use core::fmt;
use heapless::Vec;

/// Most components of a path, links followed.
const COMPONENTS: usize = 64;
/// Most links on the way to one file.
const LINKS: usize = 16;

/// Why a name leads to no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// There is nothing of that name.
    Missing,
    /// There is a link of that name, and nothing where it leads.
    Dangling,
    /// Links lead in a circle, or through too many others.
    TooManyLinks,
    /// It is no file.
    NotAFile,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LookupError::Missing => "is missing",
            LookupError::Dangling => "is a link that leads nowhere",
            LookupError::TooManyLinks => "is a link that leads in circles",
            LookupError::NotAFile => "is not a file",
        })
    }
}

type Components<'a> = Vec<&'a [u8], COMPONENTS>;

impl<'a> Archive<'a> {
    /// The content of the file with this name, through hard and symbolic links, also of folders.
    ///
    /// # Errors
    /// What is there instead.
    pub fn file(&self, name: &str) -> Result<&'a [u8], LookupError> {
        let wanted = Path::from_text(name);
        match self.entries().filter(|entry| entry.name == wanted).last() {
            Some(entry) => self.resolve(&entry),
            None => self.follow(wanted),
        }
    }

    /// The content of an entry, if it is a file or leads to one.
    ///
    /// # Errors
    /// What is there instead.
    pub fn resolve(&self, entry: &Entry<'a>) -> Result<&'a [u8], LookupError> {
        match entry.content {
            Content::File(bytes) => Ok(self.content(entry, bytes)),
            Content::Directory | Content::Other => Err(LookupError::NotAFile),
            Content::HardLink(_) | Content::SymbolicLink(_) => self.follow(entry.name),
        }
    }

    /// The first name in the archive that ends in this one, one folder down: where people find their files when they
    /// have packed the folder instead of what is in it.
    pub fn one_folder_down(&self, name: &str) -> Option<Path<'a>> {
        let entries = self.entries().filter(|entry| entry.content != Content::Directory);
        entries.map(|entry| entry.name).find(|path| {
            let mut components = path.components();
            components.nth(1) == Some(name.as_bytes()) && components.next().is_none()
        })
    }

    /// Walks a path component by component, as a file system does.
    fn follow<'b>(&self, path: Path<'b>) -> Result<&'a [u8], LookupError>
    where
        'a: 'b,
    {
        let mut ahead: Components<'b> = Vec::new();
        push(&mut ahead, path)?;
        let mut here: Components<'b> = Vec::new();
        let mut links = 0;
        let mut last = None;
        while let Some(component) = ahead.pop() {
            last = None;
            if component == b".." {
                here.pop();
                continue;
            }
            here.push(component).map_err(|_| LookupError::TooManyLinks)?;
            let named = |entry: &Entry| entry.name.components().eq(here.iter().copied());
            let Some(entry) = self.entries().filter(named).last() else { continue };
            let target = match entry.content {
                Content::SymbolicLink(target) => {
                    here.pop();
                    if target.is_absolute() {
                        here.clear();
                    }
                    target
                }
                // The name of a file that is in the archive as well, from the top.
                Content::HardLink(target) => {
                    here.clear();
                    target
                }
                _ => {
                    last = Some(entry);
                    continue;
                }
            };
            links += 1;
            if links > LINKS {
                return Err(LookupError::TooManyLinks);
            }
            push(&mut ahead, target)?;
        }
        match last {
            Some(entry) => self.resolve(&entry),
            None if links > 0 => Err(LookupError::Dangling),
            None => Err(LookupError::Missing),
        }
    }

    /// A file's own bytes, or those of the entry that has them for all names of the file.
    fn content(&self, entry: &Entry<'a>, bytes: &'a [u8]) -> &'a [u8] {
        let Some(inode) = entry.inode.filter(|_| bytes.is_empty()) else { return bytes };
        let of_other_name = |other: Entry<'a>| match other.content {
            Content::File(bytes) if other.inode == Some(inode) && !bytes.is_empty() => Some(bytes),
            _ => None,
        };
        self.entries().find_map(of_other_name).unwrap_or_default()
    }
}

/// Puts a path's components on the stack, the first on top.
fn push<'b>(ahead: &mut Components<'b>, path: Path<'b>) -> Result<(), LookupError> {
    path.components().rev().try_for_each(|component| ahead.push(component)).map_err(|_| LookupError::TooManyLinks)
}
