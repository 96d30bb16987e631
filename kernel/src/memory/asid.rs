//! Address-space identifiers with generations, right when they run out while several cores run.
//!
//! ```text
//!   tag of a process:  63 ........ 16 | 15 ..... 0        0: never had one
//!                      generation     | ASID
//! ```
//!
//! A process keeps its ASID for as long as the generation lasts. When no ASID is left, a new
//! generation begins: every process but those that run at this moment loses its ASID, and every core
//! must empty its TLB once before it uses an ASID of the new generation. Those that run keep theirs,
//! because a core goes on filling its TLB under that ASID and cannot be stopped from here.
//!
//! The protocol between a core that switches and a core that begins a generation is one word per
//! core, [`Allocator::activate`]'s `active`. The switching core exchanges it from the value it saw to
//! its new tag; the other takes every word away by swapping in 0. The core that comes second sees what
//! the first has stored: a lost exchange sends the switching core into the slow path, under the lock.
//!
//! Arm ARM (DDI 0487), "Use of ASIDs and VMIDs to reduce TLB maintenance requirements".

use crate::sync::{AtomicU64, Mutex, Ordering};
use core::cell::Cell;

/// Bits of a tag below the generation.
const ASID_BITS_MAX: u32 = 16;
/// One generation further.
const GENERATION: u64 = 1 << ASID_BITS_MAX;
/// How many identifiers every core has; so few for the model checker that they run out in a few steps.
const LIMIT: usize = if cfg!(loom) { 8 } else { 1 << 8 };
/// Words of the set of ASIDs in use.
const WORDS: usize = if cfg!(loom) { 1 } else { 1 << (ASID_BITS_MAX - 6) };

/// The ASID and generation of one address space.
#[derive(Debug, Default)]
pub struct Tag(AtomicU64);

impl Tag {
    /// An address space that has not run yet.
    pub const fn new() -> Tag {
        Tag(AtomicU64::new(0))
    }

    /// The ASID under which a TLB may hold entries of this address space; `None` if it never ran.
    ///
    /// A core that has changed the space's tables calls this after a full barrier. Then the answer is the identifier
    /// that another core is about to use, or that core's first walk under it finds the tables changed. An ASID
    /// of an older generation may belong to another process by now: an invalidation of it is needless
    /// then, never wrong.
    pub fn asid(&self) -> Option<u16> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            tag => Some(tag as u16),
        }
    }
}

/// What a core must do before it lets a process run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The identifier to put beside the table's address in the translation table base register.
    pub asid: u16,
    /// What comes first.
    pub first: First,
}

/// What a core must do before it uses an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Nothing: the process has run under it before.
    Nothing,
    /// Complete its stores (Arm: `DSB`): that the process has this identifier must be visible before the first
    /// walk under it, see [`Tag::asid`].
    Complete,
    /// Empty its TLB, which may hold entries of an earlier generation, and complete its stores.
    Flush,
}

/// Hands out ASIDs to the address spaces that `CORES` cores run.
///
/// In this order: a switch needs the first two fields, and the set of identifiers is large.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Allocator<const CORES: usize> {
    generation: AtomicU64,
    /// The tag that each core runs with; 0 after a new generation has taken note of it.
    active: [AtomicU64; CORES],
    slow: Mutex<Slow<CORES>>,
}

#[derive(Debug)]
struct Slow<const CORES: usize> {
    /// Number of ASIDs, 256 or 65,536.
    limit: usize,
    /// Where the search for a free one goes on.
    next: usize,
    used: [u64; WORDS],
    /// Tags of an older generation that their cores still run with.
    kept: [u64; CORES],
    /// Cores whose TLB may hold entries of an older generation.
    stale: [bool; CORES],
}

impl<const CORES: usize> Default for Allocator<CORES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const CORES: usize> Allocator<CORES> {
    /// An allocator of 8-bit identifiers, which every core has.
    ///
    /// ASID 0 is never handed out: it stands for the empty table.
    pub const fn new() -> Self {
        Allocator {
            generation: AtomicU64::new(GENERATION),
            active: [const { AtomicU64::new(0) }; CORES],
            slow: Mutex::new(Slow::NEW),
        }
    }

    /// Uses identifiers of this many bits from now on. Call it before any process runs.
    pub fn set_bits(&self, bits: u32) {
        self.slow.lock().limit = 1 << bits.clamp(8, ASID_BITS_MAX);
    }

    /// Makes the address space with this tag the one that `core` runs, and tells under which identifier. Only `core`
    /// itself calls this. `otherwise`: what has to be done first, see [`activate_slowly`](Self::activate_slowly).
    #[inline(always)]
    pub fn reactivate(&self, core: usize, tag: &Tag, otherwise: impl Fn() -> u16) -> u16 {
        let wanted = tag.0.load(Ordering::Relaxed);
        if wanted & !(GENERATION - 1) != self.generation.load(Ordering::Acquire) {
            return otherwise();
        }
        // 0: a generation has begun since the last switch, perhaps before that look at it.
        match self.active[core].swap(wanted, Ordering::AcqRel) {
            0 => otherwise(),
            _ => wanted as u16,
        }
    }

    /// As [`reactivate`](Self::reactivate), for one that does what comes first afterwards.
    pub fn activate(&self, core: usize, tag: &Tag) -> Activation {
        let first = Cell::new(First::Nothing);
        let asid = self.reactivate(core, tag, || {
            let activation = self.activate_slowly(core, tag);
            first.set(activation.first);
            activation.asid
        });
        Activation { asid, first: first.get() }
    }

    /// The same for an address space without an identifier of this generation, and for a core that has not switched
    /// since it began.
    pub fn activate_slowly(&self, core: usize, tag: &Tag) -> Activation {
        let mut slow = self.slow.lock();
        let mut wanted = tag.0.load(Ordering::Relaxed);
        if wanted & !(GENERATION - 1) != self.generation.load(Ordering::Relaxed) {
            wanted = self.renew(&mut slow, wanted);
            tag.0.store(wanted, Ordering::Relaxed);
        }
        self.active[core].store(wanted, Ordering::Release);
        let first = if core::mem::take(&mut slow.stale[core]) { First::Flush } else { First::Complete };
        Activation { asid: wanted as u16, first }
    }

    /// A tag of the current generation for a space whose tag is older.
    fn renew(&self, slow: &mut Slow<CORES>, old: u64) -> u64 {
        let generation = self.generation.load(Ordering::Relaxed);
        // Some core has run it without a pause since before the generation began: same identifier.
        if old != 0 && slow.kept.contains(&old) {
            let tag = generation | u64::from(old as u16);
            for kept in slow.kept.iter_mut().filter(|kept| **kept == old) {
                *kept = tag;
            }
            return tag;
        }
        if let Some(asid) = slow.take_free() {
            return generation | asid;
        }
        let generation = generation + GENERATION;
        self.generation.store(generation, Ordering::Release);
        slow.used = [0; WORDS];
        slow.next = 1;
        for core in 0..CORES {
            let running = self.active[core].swap(0, Ordering::AcqRel);
            // 0: this core has not switched since the last time. What was kept for it, it still runs.
            if running != 0 {
                slow.kept[core] = running;
            }
            let asid = slow.kept[core] as u16 as usize;
            slow.used[asid / 64] |= 1 << (asid % 64);
            slow.stale[core] = true;
        }
        // The space itself may be among those that run, on another core.
        if old != 0 && slow.kept.contains(&old) {
            return self.renew(slow, old);
        }
        // At most one identifier per core is kept, and there are at least 255.
        let asid = slow.take_free().expect("there are more identifiers than cores");
        generation | asid
    }
}

impl<const CORES: usize> Slow<CORES> {
    const NEW: Self = Slow { limit: LIMIT, next: 1, used: [0; WORDS], kept: [0; CORES], stale: [false; CORES] };

    fn take_free(&mut self) -> Option<u64> {
        while self.next < self.limit {
            let asid = self.next;
            self.next += 1;
            let (word, bit) = (asid / 64, 1 << (asid % 64));
            if self.used[word] & bit == 0 {
                self.used[word] |= bit;
                return Some(asid as u64);
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::atomic::AtomicUsize;

    /// A core's TLB that may keep every entry it ever made until all are invalidated.
    #[derive(Default)]
    struct Core {
        entries: HashMap<u16, usize>,
        register: Option<(u16, usize)>,
    }

    impl Core {
        /// The core may walk the tables that its register leads to, at any time.
        fn speculate(&mut self) {
            if let Some((asid, process)) = self.register {
                let owner = *self.entries.entry(asid).or_insert(process);
                assert_eq!(owner, process, "process {process} hits entries of process {owner}, ASID {asid}");
            }
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) % bound as u64) as usize
        }
    }

    #[test]
    fn no_process_meets_anothers_entries_when_identifiers_run_out() {
        const CORES: usize = 4;
        let allocator = Box::new(Allocator::<CORES>::new());
        let tags: Vec<Tag> = (0..700).map(|_| Tag::new()).collect();
        let mut cores: [Core; CORES] = Default::default();
        // What `activate` answered but is not in the register yet.
        let mut pending: [Option<(Activation, usize)>; CORES] = [None; CORES];
        let mut random = Random(1);
        for _ in 0..200_000 {
            let core = random.below(CORES);
            for core in &mut cores {
                core.speculate();
            }
            match pending[core].take() {
                Some((activation, process)) => {
                    if activation.first == First::Flush {
                        cores[core].entries.clear();
                    }
                    cores[core].register = Some((activation.asid, process));
                }
                None => {
                    let process = random.below(tags.len());
                    pending[core] = Some((allocator.activate(core, &tags[process]), process));
                }
            }
        }
        assert!(allocator.generation.load(Ordering::Relaxed) > 20 * GENERATION, "the test must run out of identifiers");
    }

    #[test]
    fn two_cores_that_run_one_process_agree_on_its_identifier() {
        let allocator = Box::new(Allocator::<2>::new());
        let tags: Vec<Tag> = (0..300).map(|_| Tag::new()).collect();
        let shared = Tag::new();
        let before = allocator.activate(0, &shared).asid;
        for tag in &tags {
            allocator.activate(1, tag);
        }
        assert_eq!(allocator.activate(1, &shared).asid, before, "core 0 has run it all the time");
        assert_eq!(allocator.activate(0, &shared).asid, before);
    }

    #[test]
    fn a_process_keeps_its_identifier_within_a_generation() {
        let allocator = Box::new(Allocator::<1>::new());
        let (a, b) = (Tag::new(), Tag::new());
        let first = allocator.activate(0, &a);
        assert_ne!(first.asid, 0);
        assert_ne!(allocator.activate(0, &b).asid, first.asid);
        assert_eq!(allocator.activate(0, &a), Activation { asid: first.asid, first: First::Nothing });
    }

    #[test]
    fn sixteen_bits_give_65535_identifiers_in_one_generation() {
        let allocator = Box::new(Allocator::<1>::new());
        allocator.set_bits(16);
        let tags: Vec<Tag> = (0..65_535).map(|_| Tag::new()).collect();
        for tag in &tags {
            assert_ne!(allocator.activate(0, tag).first, First::Flush);
        }
        assert_eq!(allocator.activate(0, &Tag::new()).first, First::Flush);
    }

    #[test]
    fn real_threads_never_share_an_identifier() {
        const CORES: usize = 4;
        const PROCESSES: usize = 600;
        let allocator = Box::new(Allocator::<CORES>::new());
        let tags: Vec<Tag> = (0..PROCESSES).map(|_| Tag::new()).collect();
        // Which process a core runs under which identifier: (process + 1) << 16 | ASID.
        let running: [AtomicUsize; CORES] = Default::default();
        std::thread::scope(|scope| {
            for core in 0..CORES {
                let (allocator, tags, running) = (&allocator, &tags, &running);
                scope.spawn(move || {
                    let mut random = Random(core as u64 + 7);
                    for _ in 0..20_000 {
                        // Processes of different cores are disjoint: then no two running ones are the same.
                        let process = random.below(PROCESSES / CORES) * CORES + core;
                        running[core].store(0, Ordering::SeqCst);
                        let asid = allocator.activate(core, &tags[process]).asid as usize;
                        running[core].store((process + 1) << 16 | asid, Ordering::SeqCst);
                        for (other, word) in running.iter().enumerate() {
                            let seen = word.load(Ordering::SeqCst);
                            if other != core && seen != 0 && running[core].load(Ordering::SeqCst) != 0 {
                                assert_ne!(seen & 0xffff, asid, "cores {core} and {other}");
                            }
                        }
                    }
                });
            }
        });
    }
}
