//! Random histories: made, run against the oracle, shrunk when they fail, printed as a test.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use graft_paging::{Access, Foreign, Inherit, Permissions, Promise, Share, VirtRange};

use crate::machine::CORES;
use crate::mmu::Architecture;
use crate::world::pieces::Piecewise;
use crate::world::{SNAPSHOTS, SPACES, Verdict, World};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// The addresses that programs access: neighbours in one table, table edges, and addresses that part at every level.
pub fn universe() -> Vec<u64> {
    let mut all = Vec::new();
    for top in [0, 512 * GIB] {
        for middle in [0, GIB] {
            for low in [0, 2 * MIB] {
                for page in [0, 4 * KIB, 2 * MIB - 4 * KIB] {
                    all.push(top + middle + low + page);
                }
            }
        }
    }
    all.truncate(18);
    all
}

/// Two neighbouring tables that stay mostly untouched, and places to move them to: with so few addresses different
/// processes use the same one far more often.
pub fn neighbours() -> Vec<u64> {
    let pages = [0, 4 * KIB, 2 * MIB - 4 * KIB, 2 * MIB, 2 * MIB + 4 * KIB, 4 * MIB - 4 * KIB];
    pages.iter().map(|page| GIB + page).chain([4 * GIB, 4 * GIB + 4 * KIB]).collect()
}

/// An operation. Every number is meaningful in every state, so that any part of a history is a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create(usize),
    Switch(usize, usize),
    Reserve(usize, u64, u64, Permissions, Inherit),
    MapForeign(usize, u64, u64, Permissions, Foreign),
    MapShared(usize, u64, u64, Permissions),
    Unmap(usize, u64, u64),
    Discard(usize, u64, u64),
    /// Process, from, to, bytes.
    Relocate(usize, u64, u64, u64),
    Protect(usize, u64, u64, Permissions),
    Fork(usize, usize, Share),
    ForkGuaranteed(usize, usize, Share),
    Exit(usize),
    /// From, to, depth, whether it guarantees memory, budget.
    ForkInPieces(usize, usize, Share, Promise, u32),
    /// Process, from, to, bytes, budget.
    RelocateInPieces(usize, u64, u64, u64, u32),
    /// Process, budget.
    ExitInPieces(usize, u32),
    /// Process, address, bytes, what, permissions, budget.
    InPieces(usize, u64, u64, Piecewise, Permissions, u32),
    /// Process, snapshot.
    Snapshot(usize, usize, Share),
    Restore(usize, usize),
    /// Snapshot, process.
    Revive(usize, usize),
    Forget(usize),
    /// Core, process, address, access, value.
    Access(usize, usize, u64, Access, u64),
    KernelAccess(usize, u64, Access, u64),
    /// The next operation that allocates fails after this many frames.
    FailAfter(u32),
    /// So many frames are left for processes that have committed none; `None` for all.
    Squeeze(Option<usize>),
}

/// An operation, and the seed of what other cores do in the middle of it (0: nothing).
pub type Step = (Operation, u64);

/// A small generator of random numbers (xorshift64*), so that a seed always gives the same history.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn operation(random: &mut Random, addresses: &[u64], guaranteed: bool) -> Operation {
    use Permissions::{None, Read, ReadExecute, ReadWrite};
    let slot = random.below(SPACES);
    let address = random.pick(addresses);
    let bytes =
        random.pick(&[4 * KIB, 4 * KIB, 8 * KIB, 2 * MIB, 2 * MIB + 4 * KIB, 4 * MIB, GIB, 512 * GIB, 513 * GIB]);
    let permissions = random.pick(&[ReadWrite, ReadWrite, ReadWrite, Read, ReadExecute, None]);
    match random.below(119) {
        0..=2 => Operation::Create(slot),
        3..=5 => Operation::Switch(random.below(CORES), slot),
        6..=15 => {
            let inherit = if random.below(6) == 0 { Inherit::No } else { Inherit::Yes };
            Operation::Reserve(slot, address, bytes, permissions, inherit)
        }
        16..=17 => {
            let (permissions, kind) =
                random.pick(&[(Read, Foreign::Normal), (ReadWrite, Foreign::Normal), (ReadWrite, Foreign::Device)]);
            Operation::MapForeign(slot, address, random.pick(&[4 * KIB, 8 * KIB]), permissions, kind)
        }
        18..=19 => Operation::MapShared(
            slot,
            address,
            random.pick(&[4 * KIB, 8 * KIB]),
            random.pick(&[ReadWrite, ReadWrite, Read]),
        ),
        20..=23 => Operation::Unmap(slot, address, bytes),
        24..=30 => Operation::Protect(slot, address, bytes, permissions),
        31..=40 => {
            let share = random.pick(&[Share::Pages, Share::Level3, Share::Level3, Share::Level2, Share::Level1]);
            let fork = if guaranteed { Operation::ForkGuaranteed } else { Operation::Fork };
            fork(slot, random.below(SPACES), share)
        }
        41..=43 => Operation::Exit(slot),
        44 => Operation::Snapshot(
            slot,
            random.below(SNAPSHOTS),
            random.pick(&[Share::Pages, Share::Level3, Share::Level1]),
        ),
        45 if random.below(4) == 0 => Operation::Forget(random.below(SNAPSHOTS)),
        45 if random.below(3) == 0 => Operation::Revive(random.below(SNAPSHOTS), slot),
        45 => Operation::Restore(slot, random.below(SNAPSHOTS)),
        46..=48 => Operation::Discard(slot, address, bytes),
        49..=52 => Operation::Relocate(slot, address, random.pick(addresses), bytes),
        53..=89 => {
            let access = random.pick(&[Access::Read, Access::Write, Access::Write, Access::Execute]);
            Operation::Access(random.below(CORES), slot, address, access, random.next())
        }
        90..=95 => Operation::KernelAccess(slot, address, random.pick(&[Access::Read, Access::Write]), random.next()),
        100..=109 => {
            let what = random.pick(&Piecewise::ALL);
            let bytes = match what {
                Piecewise::Mapping | Piecewise::MappingForeign => random.pick(&[4 * KIB, 8 * KIB]),
                _ => bytes,
            };
            let permissions = match what {
                Piecewise::Mapping | Piecewise::MappingForeign => random.pick(&[ReadWrite, Read]),
                _ => permissions,
            };
            Operation::InPieces(slot, address, bytes, what, permissions, random.pick(&[1, 400, 3_000, 20_000]))
        }
        112..=115 => {
            let share = random.pick(&[Share::Pages, Share::Pages, Share::Level3, Share::Level2, Share::Level1]);
            let promise = if guaranteed { Promise::Guaranteed } else { Promise::BestEffort };
            Operation::ForkInPieces(slot, random.below(SPACES), share, promise, random.pick(&[1, 1_000, 20_000]))
        }
        116..=118 => {
            let budget = random.pick(&[1, 2_000, 20_000]);
            Operation::RelocateInPieces(slot, address, random.pick(addresses), bytes, budget)
        }
        110..=111 => Operation::ExitInPieces(slot, random.pick(&[1, 300, 3_000, 20_000])),
        96 => Operation::Squeeze(random.pick(&[Some(0), Some(3), Some(20), Option::None, Option::None])),
        _ => Operation::FailAfter(random.below(8) as u32),
    }
}

/// The addresses of a history: half of the histories use few.
fn addresses(seed: u64) -> Vec<u64> {
    if seed.is_multiple_of(2) { neighbours() } else { universe() }
}

pub fn history(seed: u64, length: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let addresses = addresses(seed);
    let mut all = vec![(Operation::Create(0), 0)];
    // Whole histories, because a process is under a guarantee from its first fork on or never.
    let guaranteed = seed.is_multiple_of(3);
    all.extend((1..length).map(|_| (operation(&mut random, &addresses, guaranteed), random.next())));
    all
}

/// Runs a history, then ends every process and counts the frames that are left.
pub fn run<A: Architecture>(history: &[Step]) -> Verdict {
    let mut addresses = universe();
    addresses.extend(neighbours().into_iter().filter(|address| !universe().contains(address)));
    let world = World::<A>::new(400, addresses.clone());
    let machine = &world.machine;
    for (number, (operation, chance)) in history.iter().enumerate() {
        *world.chance.borrow_mut() = (*chance != 0).then(|| Random::new(*chance));
        step(&world, operation, &addresses).map_err(|what| format!("operation {number}, {operation:?}: {what}"))?;
        machine.verdict().map_err(|what| format!("operation {number}, {operation:?}: {what}"))?;
        *world.chance.borrow_mut() = None;
        if number % 16 == 15 {
            world.audit().map_err(|what| format!("after operation {number}, {operation:?}: {what}"))?;
        }
    }
    world.audit().map_err(|what| format!("at the end: {what}"))?;
    (0..SPACES).try_for_each(|slot| world.exit(slot))?;
    world.close();
    match machine.frames_in_use() {
        0 => machine.verdict(),
        left => Err(format!("{left} frames leaked")),
    }
}

fn step<A: Architecture>(world: &World<A>, operation: &Operation, addresses: &[u64]) -> Verdict {
    let range = |start: u64, bytes: u64| VirtRange::new(start, bytes).expect("ranges of the universe are valid");
    if let Operation::FailAfter(count) = *operation {
        world.machine.fail_after.set(Some(count));
        return Ok(());
    }
    let failing = world.machine.fail_after.get().is_some();
    let slot = match *operation {
        Operation::Reserve(slot, ..)
        | Operation::MapForeign(slot, ..)
        | Operation::MapShared(slot, ..)
        | Operation::Unmap(slot, ..)
        | Operation::Discard(slot, ..)
        | Operation::Relocate(slot, ..)
        | Operation::Protect(slot, ..)
        | Operation::Fork(slot, ..)
        | Operation::ForkGuaranteed(slot, ..)
        | Operation::Snapshot(slot, ..)
        | Operation::Restore(slot, ..)
        | Operation::Access(_, slot, ..)
        | Operation::InPieces(slot, ..)
        | Operation::RelocateInPieces(slot, ..)
        | Operation::ForkInPieces(slot, ..)
        | Operation::KernelAccess(slot, ..) => Some(slot),
        _ => None,
    };
    let before = slot.filter(|_| failing).and_then(|slot| world.fingerprint(slot, addresses));
    match *operation {
        Operation::Create(slot) => world.create(slot),
        Operation::Switch(core, slot) => world.switch(core, slot),
        Operation::Reserve(slot, start, bytes, permissions, inherit) => {
            world.reserve(slot, range(start, bytes), permissions, inherit)
        }
        Operation::MapForeign(slot, start, bytes, permissions, kind) => {
            world.map_foreign(slot, range(start, bytes), permissions, kind)
        }
        Operation::MapShared(slot, start, bytes, permissions) => {
            world.map_shared(slot, range(start, bytes), permissions)
        }
        Operation::Unmap(slot, start, bytes) => world.unmap(slot, range(start, bytes)),
        Operation::Discard(slot, start, bytes) => world.discard(slot, range(start, bytes)),
        Operation::Relocate(slot, from, to, bytes) => world.relocate(slot, range(from, bytes), range(to, bytes)),
        Operation::Protect(slot, start, bytes, permissions) => world.protect(slot, range(start, bytes), permissions),
        Operation::Fork(from, to, share) => world.fork(from, to, share),
        Operation::ForkGuaranteed(from, to, share) => world.fork_guaranteed(from, to, share),
        Operation::Exit(slot) => world.exit(slot),
        Operation::ForkInPieces(from, to, share, promise, budget) => {
            world.fork_in_pieces(from, to, share, promise, budget)
        }
        Operation::RelocateInPieces(slot, from, to, bytes, budget) => {
            world.relocate_in_pieces(slot, range(from, bytes), range(to, bytes), budget)
        }
        Operation::ExitInPieces(slot, budget) => world.exit_in_pieces(slot, budget),
        Operation::InPieces(slot, start, bytes, what, permissions, budget) => {
            world.in_pieces(slot, range(start, bytes), what, permissions, budget)
        }
        Operation::Snapshot(slot, number, share) => world.snapshot(slot, number, share),
        Operation::Restore(slot, number) => world.restore(slot, number),
        Operation::Revive(number, slot) => world.revive(number, slot),
        Operation::Squeeze(left) => {
            world.machine.squeeze(left);
            Ok(())
        }
        Operation::Forget(number) => {
            world.forget(number);
            Ok(())
        }
        Operation::Access(core, slot, address, access, value) => world.access(core, slot, address, access, value),
        Operation::KernelAccess(slot, address, access, value) => world.kernel_access(slot, address, access, value),
        Operation::FailAfter(_) => Ok(()),
    }?;
    // An allocation failed: the operation must have changed nothing.
    if world.machine.fail_after.get() == Some(0) && world.machine.refused.replace(false) {
        if let (Some(slot), Some(before)) = (slot, before) {
            let after = world.fingerprint(slot, addresses).ok_or("a failed operation ended its process")?;
            if before != after {
                return Err(format!("it ran out of memory and changed something: {before:x?} became {after:x?}"));
            }
        }
        world.machine.fail_after.set(None);
    }
    Ok(())
}

/// As [`run`], with a panic as one more way to fail.
pub fn outcome<A: Architecture>(history: &[Step]) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| run::<A>(history))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default())
    })
}

/// Removes operations for as long as the history still fails.
pub fn shrink<A: Architecture>(mut history: Vec<Step>) -> Vec<Step> {
    history = shorten::<A>(history);
    for step in 0..history.len() {
        let chance = std::mem::replace(&mut history[step].1, 0);
        if outcome::<A>(&history).is_ok() {
            history[step].1 = chance;
        }
    }
    shorten::<A>(history)
}

fn shorten<A: Architecture>(mut history: Vec<Step>) -> Vec<Step> {
    let mut size = history.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < history.len() {
            let mut shorter = history.clone();
            shorter.drain(at..(at + size).min(history.len()));
            if outcome::<A>(&shorter).is_err() {
                history = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    history
}

/// Runs `histories` random histories; the first that fails is shrunk and printed as a test.
pub fn explore<A: Architecture>(first_seed: u64, histories: u64, length: usize) {
    for seed in first_seed..first_seed + histories {
        let failing = history(seed, length);
        if outcome::<A>(&failing).is_ok() {
            continue;
        }
        std::panic::set_hook(Box::new(|_| {}));
        let short = shrink::<A>(failing);
        let complaint = outcome::<A>(&short).expect_err("the short history still fails");
        let _ = std::panic::take_hook();
        let mut text = format!("{}, seed {seed}: {complaint}\n\n", A::NAME);
        let _ = writeln!(text, "#[test]\nfn history_{seed}() {{\n    run::<{}>(&[", A::NAME);
        for (operation, chance) in &short {
            let _ = writeln!(text, "        ({}, {chance}),", as_source(operation));
        }
        let _ = writeln!(text, "    ]).unwrap();\n}}");
        panic!("{text}");
    }
}

/// An operation as source code.
fn as_source(operation: &Operation) -> String {
    let mut text = format!("{operation:?}");
    for (short, long) in [
        ("ReadWrite", "Permissions::ReadWrite"),
        ("ReadExecute", "Permissions::ReadExecute"),
        ("None", "Permissions::None"),
        ("Yes", "Inherit::Yes"),
        ("No)", "Inherit::No)"),
        ("Normal", "Foreign::Normal"),
        ("Device", "Foreign::Device"),
        ("Pages", "Share::Pages"),
        ("Level", "Share::Level"),
        ("BestEffort", "Promise::BestEffort"),
        (" Guaranteed", " Promise::Guaranteed"),
        ("Reserving", "Piecewise::Reserving"),
        ("Mapping", "Piecewise::Mapping"),
        ("Unmapping", "Piecewise::Unmapping"),
        ("Discarding", "Piecewise::Discarding"),
        ("Protecting", "Piecewise::Protecting"),
        (", Write,", ", Access::Write,"),
        (", Execute,", ", Access::Execute,"),
    ] {
        text = text.replace(short, long);
    }
    let read = if text.contains("Access(") { "Access::Read" } else { "Permissions::Read" };
    format!("Operation::{}", text.replace(", Read,", &format!(", {read},")).replace(", Read)", ", Permissions::Read)"))
}
