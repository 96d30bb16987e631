//! Names: who may ask for which, who may provide which, and what an ask is answered with.
//!
//! ```text
//!   the plan ──▶ Directory: files, wait │ clock, fail │ power, fail      at most 31 names, in an order that stays
//!   a badge  ──▶ View:          ask  1      ask  0        ask  0         a bit for each: it can be made narrower,
//!                            provide 0   provide 1     provide 0         and never wider
//! ```
//!
//! What a client is allowed is in its connection's badge, which it cannot change. So the server has nothing to
//! remember of its clients, and one that is started anew with the same names means the same by the same badges.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Names at most.
pub const NAMES: usize = 31;
/// Bytes of a name at most.
pub const NAME_BYTES: usize = 32;

/// What an ask for a name without a provider is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is answered when there is one.
    Wait,
    /// An error, at once.
    Fail,
}

/// What the holder of a connection may ask for and provide: a badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View(pub u64);

impl View {
    /// Everything: root's.
    pub const ALL: View = View(u64::MAX >> 2);
    const LEASE: u64 = 1 << 63;

    /// What shows that a name has its provider: the badge of a lease.
    pub const fn lease(name: usize) -> View {
        View(View::LEASE | name as u64)
    }

    /// The name, if this is the badge of a lease.
    pub const fn leased(self) -> Option<usize> {
        if self.0 & View::LEASE != 0 { Some((self.0 & !View::LEASE) as usize) } else { None }
    }

    const fn may_ask(self, name: usize) -> bool {
        self.0 & View::LEASE == 0 && self.0 >> name & 1 != 0
    }

    const fn may_provide(self, name: usize) -> bool {
        self.0 & View::LEASE == 0 && self.0 >> (NAMES + name) & 1 != 0
    }
}

/// Why the server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such name, or it is not the client's to use: it learns no more.
    NotFound,
    /// The name has no provider, and the plan says not to wait.
    Absent,
    /// It will never have one again.
    Gone,
    /// It has a provider.
    Taken,
}

/// What an ask leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To what the provider has left for it.
    Here(u32),
    /// The ask is answered when this name has a provider.
    Wait(usize),
}

/// Why the names that a server is started with are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamesError {
    /// More than [`NAMES`].
    TooMany,
    /// Not a name: letters, digits and `-`, at most [`NAME_BYTES`] of them, then `:wait` or `:fail`.
    BadName(String),
    /// One stands there twice.
    Twice(String),
}

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamesError::TooMany => write!(f, "more than {NAMES} names"),
            NamesError::BadName(name) => write!(f, "{name}: not NAME:wait or NAME:fail"),
            NamesError::Twice(name) => write!(f, "{name}: this name is there twice"),
        }
    }
}

impl core::error::Error for NamesError {}

/// All names.
#[derive(Debug)]
pub struct Directory {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    absence: Absence,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Here(u32),
    Gone,
}

/// A name with what a client may see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a str,
    /// Whether it has a provider.
    pub present: bool,
    /// Whether the client may provide it; otherwise it may ask for it.
    pub may_provide: bool,
}

/// Whether a word can be a name.
pub fn is_name(word: &[u8]) -> bool {
    let permitted = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    (1..=NAME_BYTES).contains(&word.len()) && word.iter().all(permitted)
}

impl Directory {
    /// The names in words like `files:wait` and `clock:fail`, none with a provider.
    ///
    /// # Errors
    /// What is wrong with the first that is not right.
    pub fn of<'a>(words: impl Iterator<Item = &'a str>) -> Result<Directory, NamesError> {
        let mut entries: Vec<Entry> = Vec::new();
        for word in words {
            let (name, absence) = match word.split_once(':') {
                Some((name, "wait")) if is_name(name.as_bytes()) => (name, Absence::Wait),
                Some((name, "fail")) if is_name(name.as_bytes()) => (name, Absence::Fail),
                _ => return Err(NamesError::BadName(word.into())),
            };
            if entries.iter().any(|entry| entry.name == name) {
                return Err(NamesError::Twice(name.into()));
            }
            if entries.len() == NAMES {
                return Err(NamesError::TooMany);
            }
            entries.push(Entry { name: name.into(), absence, state: State::Absent });
        }
        Ok(Directory { entries })
    }

    fn find(&self, name: &[u8]) -> Result<usize, Refusal> {
        self.entries.iter().position(|entry| entry.name.as_bytes() == name).ok_or(Refusal::NotFound)
    }

    /// What a client with this view that asks for a name gets.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub fn ask(&self, view: View, name: &[u8]) -> Result<Asked, Refusal> {
        let number = self.find(name)?;
        let entry = &self.entries[number];
        match (entry.state, entry.absence) {
            _ if !view.may_ask(number) => Err(Refusal::NotFound),
            (State::Here(provided), _) => Ok(Asked::Here(provided)),
            (State::Gone, _) => Err(Refusal::Gone),
            (State::Absent, Absence::Fail) => Err(Refusal::Absent),
            (State::Absent, Absence::Wait) => Ok(Asked::Wait(number)),
        }
    }

    /// The number of a name that a client with this view may provide now.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub fn may_provide(&self, view: View, name: &[u8]) -> Result<usize, Refusal> {
        let number = self.find(name)?;
        match self.entries[number].state {
            _ if !view.may_provide(number) => Err(Refusal::NotFound),
            State::Here(_) => Err(Refusal::Taken),
            State::Gone => Err(Refusal::Gone),
            State::Absent => Ok(number),
        }
    }

    /// Notes what a name leads to from now on.
    pub fn provide(&mut self, number: usize, provided: u32) {
        self.entries[number].state = State::Here(provided);
    }

    /// What a name leads to, if it has a provider.
    pub fn provided(&self, number: usize) -> Option<u32> {
        match self.entries.get(number)?.state {
            State::Here(provided) => Some(provided),
            State::Absent | State::Gone => None,
        }
    }

    /// Takes the provider of a name away, which may come again. Returns what the name has led to.
    pub fn withdraw(&mut self, number: usize) -> Option<u32> {
        match core::mem::replace(&mut self.entries.get_mut(number)?.state, State::Absent) {
            State::Here(provided) => Some(provided),
            State::Absent => None,
            State::Gone => {
                self.entries[number].state = State::Gone;
                None
            }
        }
    }

    /// The same for one that does not come again.
    pub fn give_up(&mut self, number: usize) -> Option<u32> {
        let provided = self.withdraw(number);
        self.entries.get_mut(number)?.state = State::Gone;
        provided
    }

    /// What of a view is left when only these words are allowed: `NAME` may be asked for, `+NAME` provided. A word that
    /// the view does not have, or that means nothing, adds nothing.
    pub fn narrow(&self, view: View, words: &[u8]) -> View {
        let bit = |word: &[u8]| match word.strip_prefix(b"+") {
            Some(name) => self.find(name).ok().filter(|&name| view.may_provide(name)).map(|name| 1 << (NAMES + name)),
            None => self.find(word).ok().filter(|&name| view.may_ask(name)).map(|name| 1_u64 << name),
        };
        let words = words.split(u8::is_ascii_whitespace).filter_map(bit);
        View(words.fold(0, |bits, bit| bits | bit))
    }

    /// The name with this number among those that a view has.
    pub fn listed(&self, view: View, number: usize) -> Option<Listed<'_>> {
        let has = |name: &usize| view.may_ask(*name) || view.may_provide(*name);
        let name = (0..self.entries.len()).filter(has).nth(number)?;
        let entry = &self.entries[name];
        let present = matches!(entry.state, State::Here(_));
        Some(Listed { name: &entry.name, present, may_provide: view.may_provide(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        Directory::of(["files:wait", "clock:fail", "power:fail"].into_iter()).unwrap()
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        let of = |words: &[&str]| Directory::of(words.iter().copied()).unwrap_err();
        for word in ["files", "files:", "files:maybe", ":wait", "a b:wait", "\u{e9}:wait", &"x".repeat(33)] {
            assert_eq!(of(&[word]), NamesError::BadName(word.into()));
        }
        assert_eq!(of(&["a:wait", "b:wait", "a:fail"]), NamesError::Twice("a".into()));
        let many: Vec<String> = (0..=NAMES).map(|number| std::format!("n{number}:wait")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many), NamesError::TooMany);
        let full = Directory::of(many[..NAMES].iter().copied()).unwrap();
        assert_eq!(full.may_provide(View::ALL, b"n30"), Ok(30), "the last one has its bits, too");
        assert_eq!(full.narrow(View::ALL, b"+n30 n0"), View(1 << 61 | 1));
    }

    #[test]
    fn a_view_allows_what_it_says_and_can_only_be_made_narrower() {
        let mut directory = directory();
        directory.provide(0, 7);
        directory.provide(1, 8);
        let clock = directory.narrow(View::ALL, b"clock +files nothing");
        assert_eq!(directory.ask(clock, b"clock"), Ok(Asked::Here(8)));
        for (view, name) in [(clock, "files"), (clock, "power"), (View(0), "clock"), (View::ALL, "nothing")] {
            assert_eq!(directory.ask(view, name.as_bytes()), Err(Refusal::NotFound), "{name}");
        }
        let wider = directory.narrow(clock, b"files clock power +files +clock");
        assert_eq!(wider, clock);
        assert_eq!(directory.narrow(clock, b"files"), View(0));
        assert_eq!(directory.narrow(clock, b"\xff \t +\n clock"), directory.narrow(View::ALL, b"clock"));
        assert_eq!(directory.may_provide(clock, b"clock"), Err(Refusal::NotFound));
        // A lease is no view, whatever its bits.
        let lease = View::lease(1);
        assert_eq!((lease.leased(), clock.leased(), View::ALL.leased()), (Some(1), None, None));
        assert_eq!(directory.ask(lease, b"files"), Err(Refusal::NotFound));
        assert_eq!(directory.narrow(lease, b"files clock +files"), View(0));
    }

    #[test]
    fn a_name_without_a_provider_is_waited_for_or_not() {
        let mut directory = directory();
        assert_eq!(directory.ask(View::ALL, b"files"), Ok(Asked::Wait(0)));
        assert_eq!(directory.ask(View::ALL, b"clock"), Err(Refusal::Absent));
        let number = directory.may_provide(View::ALL, b"files").unwrap();
        directory.provide(number, 5);
        assert_eq!(directory.ask(View::ALL, b"files"), Ok(Asked::Here(5)));
        assert_eq!(directory.may_provide(View::ALL, b"files"), Err(Refusal::Taken));
        assert_eq!((directory.withdraw(0), directory.withdraw(0), directory.withdraw(9)), (Some(5), None, None));
        assert_eq!(directory.ask(View::ALL, b"files"), Ok(Asked::Wait(0)));
        assert_eq!((directory.give_up(0), directory.give_up(9)), (None, None));
        assert_eq!(directory.ask(View::ALL, b"files"), Err(Refusal::Gone));
        assert_eq!(directory.withdraw(0), None);
        assert_eq!(directory.ask(View::ALL, b"files"), Err(Refusal::Gone), "it stays given up");
        assert_eq!(directory.may_provide(View::ALL, b"files"), Err(Refusal::Gone));
    }

    #[test]
    fn a_client_sees_the_names_of_its_view_alone() {
        let mut directory = directory();
        directory.provide(2, 1);
        let view = directory.narrow(View::ALL, b"power +clock");
        let of = |number| directory.listed(view, number);
        assert_eq!(of(0), Some(Listed { name: "clock", present: false, may_provide: true }));
        assert_eq!(of(1), Some(Listed { name: "power", present: true, may_provide: false }));
        assert_eq!((of(2), of(usize::MAX)), (None, None));
        assert_eq!(directory.listed(View::lease(2), 0), None);
    }
}
