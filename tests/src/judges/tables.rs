//! `make trace-tables`: traces of what the tree does to translation tables, and what the checker says of them.
//!
//! Histories of spaces run on a memory that writes down every store into a table, every barrier and invalidation, as
//! the kernel would execute them, and every frame that goes. Each trace is judged as it is made.

mod record;

use graft_paging::{AArch64, Access, Inherit, Permissions, Reservation, Share, VirtAddr, VirtRange};
use graft_table_checker::{Event, Vocabulary};
use record::{Recorder, Tlb};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Histories of several spaces, and of one, for the public checker.
const SEEDS: std::ops::Range<u64> = 1..41;
/// Operations in a history.
const LENGTH: usize = 150;
/// Spaces there are at a time.
const SPACES: usize = 4;

/// What a history uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Spaces that fork and share.
    Family,
    /// One space, nothing shared, and tables stay: what the public checker has rules for. It takes a permission in a
    /// table's descriptor for a change that needs a break, and wants what hangs below a table cleaned before the table.
    Single,
}

/// Records histories, judges them, and writes them into `folder`. A report.
///
/// # Errors
/// A rule that a history breaks, or a file that cannot be written.
pub fn run(folder: &Path) -> Result<String, String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let (mut traces, mut events) = (0, 0);
    for plan in [Plan::Family, Plan::Single] {
        for seed in SEEDS {
            let recorder = Recorder::new(None);
            history(&recorder, plan, seed);
            if let Some((number, violation)) = recorder.violation() {
                return Err(format!("{plan:?}, seed {seed}, event {number}: {violation}"));
            }
            let (name, vocabulary) = match plan {
                Plan::Family => ("family", Vocabulary::El1),
                Plan::Single => ("single", Vocabulary::El2),
            };
            let file = folder.join(format!("{name}-{seed}.log"));
            let log = recorder.log();
            let mut text = String::from(vocabulary.preamble());
            let mut root = None;
            for (number, (thread, event, source)) in log.iter().enumerate() {
                let line = vocabulary.line(number + 1, *thread, *event, source);
                let line = line.ok_or_else(|| format!("no word for {event:?}"))?;
                let _ = writeln!(text, "{line}");
                if let Event::Init(frame) = *event {
                    // The first table of a history is a root, and of one space it is the only one.
                    let root = *root.get_or_insert(frame);
                    let hint = vocabulary.owner(number + 1, *thread, frame, root, source);
                    hint.into_iter().for_each(|hint| text.extend([&hint, "\n"]));
                }
            }
            fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            traces += 1;
            events += log.len();
        }
    }
    Ok(format!("tables: {traces} traces of {events} events keep the rules; they are in {}", folder.display()))
}

/// A small generator of random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;

type Space = graft_paging::AddressSpace<AArch64, Recorder>;

/// Plays a history; every operation of a space runs on the thread of its number.
fn history(recorder: &Recorder, plan: Plan, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut spaces: [Option<(Space, u16)>; SPACES] = [const { None }; SPACES];
    let mut next_asid = 1;
    let addresses: Vec<u64> = [0, 2 * MIB, GIB, 512 * GIB]
        .into_iter()
        .flat_map(|base| [base, base + PAGE, base + 2 * MIB - PAGE, base + 4 * MIB])
        .collect();
    let memory = Reservation { permissions: Permissions::ReadWrite, inherit: Inherit::Yes };
    for _ in 0..LENGTH {
        let number = if plan == Plan::Single { 0 } else { random.below(SPACES) };
        let start = random.pick(&addresses);
        let sizes = [PAGE, 2 * PAGE, 16 * PAGE, 2 * MIB, 4 * MIB, GIB];
        let bytes = random.pick(if plan == Plan::Single { &sizes[..3] } else { &sizes });
        let range = VirtRange::new(start, bytes).expect("a range of the lower half");
        recorder.act(number, "create");
        let (space, asid) = spaces[number].get_or_insert_with(|| {
            let space = Space::new(recorder.clone()).expect("memory without end");
            next_asid += 1;
            recorder.begin(space.root(), next_asid);
            (space, next_asid)
        });
        let tlb = Tlb { recorder, asid: *asid };
        let root = space.root();
        let operation = random.below(100);
        let fork = plan == Plan::Family && operation < 10;
        recorder.act(number, ["edit", "fork"][usize::from(fork)]);
        recorder.note(Event::Lock(root.address()));
        match operation {
            0..10 if fork => {
                let share = random.pick(&[Share::Pages, Share::Level3, Share::Level2, Share::Level1]);
                let child = space.fork(&tlb, share).expect("memory without end");
                recorder.note(Event::Unlock(root.address()));
                let to = random.below(SPACES);
                match &spaces[to] {
                    Some(_) => recorder.end(child, u16::MAX, to),
                    None => {
                        next_asid += 1;
                        recorder.act(to, "begin");
                        recorder.begin(child.root(), next_asid);
                        spaces[to] = Some((child, next_asid));
                    }
                }
                continue;
            }
            10..15 if plan == Plan::Family => {
                recorder.note(Event::Unlock(root.address()));
                let (space, asid) = spaces[number].take().expect("it is there");
                recorder.end(space, asid, number);
                continue;
            }
            0..30 => {
                let _ = space.reserve(&tlb, range, memory);
            }
            30..38 if plan == Plan::Family => {
                let _ = space.unmap(&tlb, range);
            }
            38..46 => {
                let permissions = random.pick(&[Permissions::Read, Permissions::ReadWrite, Permissions::None]);
                let _ = space.protect(&tlb, range, permissions);
            }
            30..38 | 46..50 => {
                let _ = space.discard(&tlb, range);
            }
            50..54 if plan == Plan::Family => {
                let to = VirtRange::new(random.pick(&addresses) + 8 * GIB, bytes).expect("a range");
                let _ = space.relocate(&tlb, range, to);
            }
            _ => {
                let access = random.pick(&[Access::Read, Access::Write, Access::Write]);
                let address = VirtAddr::new(start + PAGE * random.below(4) as u64).expect("a lower address");
                let _ = space.fault(&tlb, address, access);
            }
        }
        recorder.note(Event::Unlock(root.address()));
    }
    // A trace of one space ends while the space is there: the public checker releases no root that is in use.
    let log = (plan == Plan::Single).then(|| recorder.log());
    for (number, space) in spaces.into_iter().enumerate() {
        if let Some((space, asid)) = space {
            recorder.end(space, asid, number);
        }
    }
    if recorder.violation().is_none() {
        assert_eq!(recorder.in_use(), 0, "frames were lost");
    }
    if let Some(log) = log {
        recorder.cut(log.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graft_table_checker::Violation;
    use record::Planted;

    #[test]
    fn traces_of_the_tree_keep_the_rules() {
        for plan in [Plan::Family, Plan::Single] {
            for seed in SEEDS {
                let recorder = Recorder::new(None);
                history(&recorder, plan, seed);
                assert_eq!(recorder.violation(), None, "{plan:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn planted_errors_break_the_rules() {
        use Planted::{LastLevel, NoBarrierAfter, NoBarrierBefore, NoInvalidation, OtherAsid};
        for planted in [NoInvalidation, NoBarrierBefore, NoBarrierAfter, LastLevel, OtherAsid] {
            let found = SEEDS.filter_map(|seed| {
                let recorder = Recorder::new(Some(planted));
                history(&recorder, Plan::Family, seed);
                recorder.violation()
            });
            let found: Vec<Violation> = found.map(|(_, violation)| violation).collect();
            println!("tables: {planted:?}: {} of {} traces break a rule", found.len(), SEEDS.end - SEEDS.start);
            assert!(!found.is_empty(), "{planted:?} is not noticed");
        }
    }
}
