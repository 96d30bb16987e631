//! The text of a trace: one S-expression a line, as the public checker reads it.

use crate::{Event, FRAME, Invalidation, Register, Thread};
use std::fmt;

/// Whose names a trace uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Those of EL1, which are what happened. The public checker knows no such regime.
    El1,
    /// Those of EL2, for the public checker: one space, whose ASID is 0.
    El2,
}

impl Vocabulary {
    /// What stands before the events: translation is switched on.
    pub fn preamble(self) -> &'static str {
        match self {
            Vocabulary::El1 => "",
            Vocabulary::El2 => concat!(
                "(sysreg-write (id 0) (tid 0) (sysreg vtcr_el2) (value 0x10) (src \"start:0\"))\n",
                "(sysreg-write (id 0) (tid 0) (sysreg tcr_el2) (value 0x10) (src \"start:0\"))\n",
                "(sysreg-write (id 0) (tid 0) (sysreg mair_el2) (value 0x0) (src \"start:0\"))\n",
                "(sysreg-write (id 0) (tid 0) (sysreg hcr_el2) (value 0x0) (src \"start:0\"))\n",
                "(sysreg-write (id 0) (tid 0) (sysreg sctlr_el2) (value 0x1) (src \"start:0\"))\n",
            ),
        }
    }

    /// What the public checker has to be told of a new table beside its initialisation: whose it is, or, of a root,
    /// which lock is its.
    pub fn owner(self, number: usize, thread: Thread, frame: u64, root: u64, source: &str) -> Option<String> {
        let (kind, value) = if frame == root { ("set_root_lock", root + 1) } else { ("set_owner_root", root) };
        let hint = format!("(kind {kind}) (location {frame:#x}) (value {value:#x})");
        let line = format!("(hint (id {number}) (tid {thread}) {hint} (src \"{source}:{number}\"))");
        (self == Vocabulary::El2).then_some(line)
    }

    /// An event as a line without its end, with the operation that it was a part of; `None` for what the vocabulary has
    /// no word for.
    pub fn line(self, number: usize, thread: Thread, event: Event, source: &str) -> Option<String> {
        let (head, rest) = match event {
            Event::Init(frame) => ("mem-init", format!("(address {frame:#x}) (size {FRAME:#x})")),
            Event::Zero(frame) => ("mem-set", format!("(address {frame:#x}) (size {FRAME:#x}) (value 0x0)")),
            Event::Write { address, value } => {
                ("mem-write", format!("(mem-order release) (address {address:#x}) (value {value:#x})"))
            }
            Event::Free(frame) => ("mem-free", format!("(address {frame:#x}) (size {FRAME:#x})")),
            Event::WaitForStores => ("barrier", "dsb (kind ishst)".into()),
            Event::WaitForAll => ("barrier", "dsb (kind ish)".into()),
            Event::Synchronise => ("barrier", "isb".into()),
            Event::Invalidate(invalidation) => ("tlbi", self.invalidation(invalidation)?),
            Event::Run { root, asid } => {
                let (register, asid) = match self {
                    Vocabulary::El1 => ("ttbr0_el1", asid),
                    Vocabulary::El2 => ("ttbr0_el2", 0),
                };
                ("sysreg-write", format!("(sysreg {register}) (value {:#x})", root | u64::from(asid) << 48))
            }
            Event::Kernel(root) => ("sysreg-write", format!("(sysreg ttbr1_el1) (value {root:#x})")),
            Event::Set { register, value } => {
                let register = if register == Register::Translation { "tcr_el1" } else { "sctlr_el1" };
                ("sysreg-write", format!("(sysreg {register}) (value {value:#x})"))
            }
            Event::Release(root) => ("hint", format!("(kind release_table) (location {root:#x}) (value 0x0)")),
            // A lock has an address; nothing else stands at the root's plus one.
            Event::Lock(root) => ("lock", format!("(address {:#x})", root + 1)),
            Event::Unlock(root) => ("unlock", format!("(address {:#x})", root + 1)),
        };
        Some(format!("({head} (id {number}) (tid {thread}) {rest} (src \"{source}:{number}\"))"))
    }

    fn invalidation(self, invalidation: Invalidation) -> Option<String> {
        let tagged = |asid: u16, page: u64| u64::from(if self == Vocabulary::El1 { asid } else { 0 }) << 48 | page;
        Some(match (self, invalidation) {
            (Vocabulary::El1, Invalidation::Leaf(asid, page)) => format!("vale1is (value {:#x})", tagged(asid, page)),
            (Vocabulary::El1, Invalidation::Page(asid, page)) => format!("vae1is (value {:#x})", tagged(asid, page)),
            (Vocabulary::El1, Invalidation::Pages(asid, page, pages)) => {
                format!("rvae1is (value {:#x}) (pages {pages:#x})", tagged(asid, page))
            }
            (Vocabulary::El1, Invalidation::Space(asid)) => format!("aside1is (value {:#x})", tagged(asid, 0)),
            (Vocabulary::El1, Invalidation::All) => "vmalle1is".into(),
            (Vocabulary::El2, Invalidation::Leaf(_, page)) => format!("vale2is (value {:#x})", tagged(0, page)),
            (Vocabulary::El2, Invalidation::Page(_, page)) => format!("vae2is (value {:#x})", tagged(0, page)),
            (Vocabulary::El2, Invalidation::Pages(..)) => return None,
            (Vocabulary::El2, Invalidation::Space(_) | Invalidation::All) => "alle2is".into(),
        })
    }
}

/// A line of a trace that says nothing in the vocabulary of EL1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine(pub String);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a line of a trace: {}", self.0)
    }
}

impl std::error::Error for BadLine {}

/// Reads what [`Vocabulary::El1`] writes: who did what, and what the line names as its source.
///
/// # Errors
/// If it is something else.
pub fn parse(line: &str) -> Result<(Thread, Event, &str), BadLine> {
    parts(line).ok_or_else(|| BadLine(line.into()))
}

fn parts(line: &str) -> Option<(Thread, Event, &str)> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!("({name} "))?;
        Some(rest.split_once(')')?.0)
    };
    let number = |name: &str| u64::from_str_radix(field(name)?.strip_prefix("0x")?, 16).ok();
    let body = line.strip_prefix('(')?.strip_suffix(')')?;
    let (head, rest) = body.split_once(' ')?;
    let address = || number("address");
    let tagged = || number("value").map(|value| ((value >> 48) as u16, value & ((1 << 48) - 1)));
    let event = match head {
        "mem-init" => Event::Init(address()?),
        "mem-set" => Event::Zero(address()?),
        "mem-write" => Event::Write { address: address()?, value: number("value")? },
        "mem-free" => Event::Free(address()?),
        "barrier" if rest.contains(" isb ") => Event::Synchronise,
        "barrier" => match field("kind")? {
            "ishst" => Event::WaitForStores,
            "ish" => Event::WaitForAll,
            _ => return None,
        },
        "tlbi" => Event::Invalidate(match rest.split_whitespace().nth(4)? {
            "vale1is" => tagged().map(|(asid, page)| Invalidation::Leaf(asid, page))?,
            "vae1is" => tagged().map(|(asid, page)| Invalidation::Page(asid, page))?,
            "rvae1is" => {
                let (asid, page) = tagged()?;
                Invalidation::Pages(asid, page, number("pages")?)
            }
            "aside1is" => Invalidation::Space(tagged()?.0),
            "vmalle1is" => Invalidation::All,
            _ => return None,
        }),
        "sysreg-write" => match (field("sysreg")?, number("value")?) {
            ("ttbr0_el1", _) => tagged().map(|(asid, root)| Event::Run { root, asid })?,
            ("ttbr1_el1", root) => Event::Kernel(root),
            ("tcr_el1", value) => Event::Set { register: Register::Translation, value },
            ("sctlr_el1", value) => Event::Set { register: Register::System, value },
            _ => return None,
        },
        "hint" if field("kind")? == "release_table" => Event::Release(number("location")?),
        "lock" => Event::Lock(address()? - 1),
        "unlock" => Event::Unlock(address()? - 1),
        _ => return None,
    };
    Some((field("tid")?.parse().ok()?, event, field("src")?.trim_matches('"')))
}
