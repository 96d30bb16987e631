//! Handles that a program was given beyond the standard ones, by name.
//!
//! A program finds its handles as 1, 2, 3 and so on. What those behind the standard ones are for, its parent says
//! behind the arguments, where [`Arguments`](crate::Arguments) does not show it:
//!
//! ```text
//!   cat\0 README.md\0 \x01files=4\0 \x01out=file:5\0        NAME=HANDLE  or  NAME=KIND:HANDLE:HANDLE…
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_abi::{Error, Handle};

use crate::process::{Process, STANDARD_HANDLES, joined};
use crate::start::{GRANT, raw_grants};
use crate::template::Template;

/// A grant: what kind of thing it is, if its name can be several, and its handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Empty if there is only one.
    pub kind: &'static str,
    /// In the order in which they were given.
    pub handles: Vec<Handle>,
}

impl Grant {
    /// The handle with this index.
    pub fn handle(&self, index: usize) -> Handle {
        self.handles.get(index).copied().unwrap_or(Handle::NONE)
    }
}

/// What this program was given under a name.
pub fn find(name: &str) -> Option<Grant> {
    find_in(raw_grants(), name)
}

/// Whether this program was given something under a name. Needs no memory, as a program that panics may have none.
pub fn has(name: &str) -> bool {
    has_in(raw_grants(), name)
}

fn has_in(grants: &[u8], name: &str) -> bool {
    let is_it = |grant: &[u8]| {
        let rest = grant.strip_prefix(&[GRANT]).and_then(|grant| grant.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"="))
    };
    grants.split(|&byte| byte == 0).any(is_it)
}

/// The only handle that this program was given under a name.
pub fn handle(name: &str) -> Option<Handle> {
    find(name).map(|grant| grant.handle(0))
}

fn find_in(grants: &'static [u8], name: &str) -> Option<Grant> {
    for grant in grants.split(|&byte| byte == 0) {
        let text = core::str::from_utf8(grant.strip_prefix(&[GRANT])?).ok()?;
        let Some((_, value)) = text.split_once('=').filter(|(its, _)| *its == name) else { continue };
        let is_kind = value.starts_with(|first: char| first.is_ascii_alphabetic());
        let kind = if is_kind { value.split(':').next().unwrap_or_default() } else { "" };
        return Some(Grant { kind, handles: numbers(grant).map(Handle).collect() });
    }
    None
}

/// The handles of a grant.
fn numbers(grant: &[u8]) -> impl Iterator<Item = u32> {
    let text = core::str::from_utf8(grant).unwrap_or_default();
    let value = text.split_once('=').map_or("", |(_, value)| value);
    value.split(':').filter_map(|number| number.parse().ok())
}

/// What a program is to be started with.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    handles: Vec<Handle>,
    text: Vec<u8>,
}

impl Grants {
    /// The standard handles.
    pub fn standard() -> Grants {
        Grants::of(&STANDARD_HANDLES)
    }

    /// These in the place of the standard ones, in their order.
    pub fn of(handles: &[Handle]) -> Grants {
        Grants { handles: handles.into(), text: Vec::new() }
    }

    /// All that this program was given itself, in- and output too. Handles that it has closed since are refused when a
    /// program is started.
    pub fn inherited() -> Grants {
        let text = raw_grants();
        let last = text.split(|&byte| byte == 0).flat_map(numbers).max().unwrap_or(0);
        let handles = (1..=last.max(STANDARD_HANDLES.len() as u32)).map(Handle).collect();
        Grants { handles, text: text.into() }
    }

    /// Adds handles, which the program finds under this name; see [`find`]. They stay the caller's too.
    pub fn add(&mut self, name: &str, kind: &str, handles: &[Handle]) {
        let mut text = String::from(kind);
        for &handle in handles {
            let separator = if text.is_empty() { "" } else { ":" };
            self.handles.push(handle);
            text.push_str(&format!("{separator}{}", self.handles.len()));
        }
        self.text.push(GRANT);
        self.text.extend_from_slice(format!("{name}={text}").as_bytes());
        self.text.push(0);
    }

    /// As [`add`](Self::add), in the place of what has been added under this name.
    pub fn put(&mut self, name: &str, kind: &str, handles: &[Handle]) {
        let is_it = |grant: &[u8]| grant[1..].strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        let kept = self.text.split_inclusive(|&byte| byte == 0).filter(|grant| !is_it(grant));
        // Its handles stay where they are: others have their numbers.
        self.text = kept.collect::<Vec<_>>().concat();
        self.add(name, kind, handles);
    }

    /// Starts a program from an ELF image with them.
    ///
    /// # Errors
    /// As [`Process::spawn_image`].
    pub fn spawn(&self, image: &[u8], arguments: &[&str]) -> Result<Process, Error> {
        Process::spawn_raw(image, &self.with(arguments), &self.handles)
    }

    /// Starts a program from a template with them.
    ///
    /// # Errors
    /// As [`Process::spawn_image`], but for the image.
    pub fn spawn_warm(&self, template: &Template, arguments: &[&str]) -> Result<Process, Error> {
        Process::spawn_warm_raw(template.parts(), &self.with(arguments), &self.handles)
    }

    /// The grants behind the arguments.
    fn with(&self, arguments: &[&str]) -> Vec<u8> {
        let mut text = joined(arguments);
        text.extend_from_slice(&self.text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_found_by_its_name_with_its_kind_and_handles() {
        let grants = b"\x01files=4\0\x01out=file:5\0\x01in=pipe:6:7\0\x01warm=\0";
        let given =
            |kind, handles: &[u32]| Some(Grant { kind, handles: handles.iter().copied().map(Handle).collect() });
        assert_eq!(find_in(grants, "files"), given("", &[4]));
        assert_eq!(find_in(grants, "out"), given("file", &[5]));
        assert_eq!(find_in(grants, "in"), given("pipe", &[6, 7]));
        assert_eq!(find_in(grants, "warm"), given("", &[]));
        assert_eq!(find_in(grants, "file"), None);
        assert!(["files", "out", "in", "warm"].iter().all(|name| has_in(grants, name)));
        assert!(["file", "", "ou", "files=4"].iter().all(|name| !has_in(grants, name)));
        assert_eq!(find_in(b"", "files"), None);
    }

    #[test]
    fn grants_say_where_the_program_finds_the_handles() {
        let mut grants = Grants::standard();
        grants.add("files", "", &[Handle(9)]);
        grants.add("in", "pipe", &[Handle(30), Handle(8)]);
        assert_eq!(grants.handles, [1, 2, 3, 9, 30, 8].map(Handle));
        assert_eq!(grants.text, b"\x01files=4\0\x01in=pipe:5:6\0");
        grants.put("in", "file", &[Handle(7)]);
        assert_eq!(grants.text, b"\x01files=4\0\x01in=file:7\0");
        assert_eq!(grants.text.split(|&byte| byte == 0).flat_map(numbers).collect::<Vec<_>>(), [4, 7]);
    }
}
