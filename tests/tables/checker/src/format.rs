//! The text of a trace: one S-expression a line, as the public checker reads it.

use crate::{Event, FRAME, Invalidation, Thread};

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
