//! Identifiers run out while two cores switch.

use graft_kernel_loom::asid::{Allocator, First, Tag};
use loom::sync::Arc;
use loom::thread;
use std::collections::HashMap;

/// Identifiers of a generation under the model checker.
const IDENTIFIERS: usize = 7;

/// A core, whose TLB keeps what it has walked until it is emptied.
struct Core {
    number: usize,
    entries: HashMap<u16, usize>,
    running: Option<(u16, usize)>,
}

impl Core {
    fn new(number: usize) -> Core {
        Core { number, entries: HashMap::new(), running: None }
    }

    /// Walks for what it runs, as it may at any time.
    fn walk(&mut self) {
        if let Some((asid, space)) = self.running {
            let owner = *self.entries.entry(asid).or_insert(space);
            assert_eq!(owner, space, "space {space} hits entries of space {owner}");
        }
    }

    fn switch(&mut self, machine: &Machine, space: usize) {
        let activation = machine.identifiers.activate(self.number, &machine.tags[space]);
        // Until the register is written the core may go on walking for the space before.
        self.walk();
        if activation.first == First::Flush {
            self.entries.clear();
        }
        self.running = Some((activation.asid, space));
        self.walk();
    }
}

struct Machine {
    identifiers: Allocator<2>,
    tags: Vec<Tag>,
}

/// Spaces of a machine.
const SPACES: usize = 16;

/// Two cores that have run these spaces, the last ones still, when no identifier is left; each then switches as its
/// list says.
fn race(before: [&[usize]; 2], switches: [&[usize]; 2]) {
    let [before, switches] = [before, switches].map(|lists| lists.map(<[usize]>::to_vec));
    loom::model(move || {
        let tags: Vec<Tag> = (0..SPACES).map(|_| Tag::new()).collect();
        assert!(tags.iter().all(|tag| tag.asid().is_none()), "none has run yet");
        let machine = Arc::new(Machine { identifiers: Allocator::new(), tags });
        let mut cores = [Core::new(0), Core::new(1)];
        for (core, spaces) in cores.iter_mut().zip(&before) {
            spaces.iter().for_each(|&space| core.switch(&machine, space));
        }
        let [.., last] = before[1][..] else { panic!("a core runs something") };
        for _ in before.iter().map(Vec::len).sum()..IDENTIFIERS {
            // Spaces that have ended since.
            machine.identifiers.activate(1, &Tag::new());
        }
        cores[1].switch(&machine, last);
        let threads: Vec<_> = cores
            .into_iter()
            .zip(switches.clone())
            .map(|(mut core, switches)| {
                let machine = machine.clone();
                thread::spawn(move || {
                    switches.iter().for_each(|&space| core.switch(&machine, space));
                    core
                })
            })
            .collect();
        let cores: Vec<Core> = threads.into_iter().map(|thread| thread.join().expect("no core fails")).collect();
        let running: Vec<(u16, usize)> = cores.iter().map(|core| core.running.expect("it has switched")).collect();
        // An invalidation for a space goes to one identifier: every core that runs the space has that one.
        assert_eq!(running[0].0 == running[1].0, running[0].1 == running[1].1, "{running:?}");
    });
}

/// Core 0 has run space 0, and goes back to it while core 1 begins a generation.
#[test]
fn a_generation_ends_while_the_other_core_switches() {
    race([&[0, 4], &[1]], [&[0], &[3]]);
    race([&[0, 4], &[1]], [&[2], &[3]]);
    race([&[0, 4], &[1]], [&[0, 4], &[3, 1]]);
}

/// The identifier is one under which core 0 has kept entries of another space: of a generation ago, or of two.
#[test]
fn a_core_forgets_what_it_has_kept_before_it_uses_an_identifier_again() {
    for others in 0..9 {
        let spaces: Vec<usize> = (5..5 + others).chain([3]).collect();
        race([&[0, 4], &[1]], [&[3], &spaces]);
    }
}

#[test]
fn a_space_that_goes_on_running_keeps_its_identifier_on_every_core() {
    race([&[0], &[1]], [&[0], &[2, 0]]);
    race([&[0], &[1]], [&[1], &[2, 1]]);
    race([&[0], &[1]], [&[2, 1], &[1]]);
}
