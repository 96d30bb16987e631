//! The protocols between cores, under loom: every interleaving (up to the bound on preemptions) and every value that a
//! load may return.
//!
//! `make loom` runs them; for a plain `cargo test` this file is empty.
#![cfg(loom)]

mod machine;
#[path = "../model/mmu.rs"]
#[expect(dead_code, reason = "the model uses the rest of it")]
mod mmu;
mod process;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use graft_paging::{
    AArch64, AddressSpace, Entry, Fault, Frame, Inherit, Level, Permissions, Place, Reservation, Share, VirtRange,
    X86_64,
};
use loom::thread;

use machine::Shared;
use mmu::Architecture;
use process::Process;

const PAGE: u64 = 4096;
const DEPTHS: [Share; 4] = [Share::Pages, Share::Level3, Share::Level2, Share::Level1];

fn range(start: u64, bytes: u64) -> VirtRange {
    VirtRange::new(start, bytes).unwrap()
}

const RESERVATION: Reservation = Reservation { permissions: Permissions::ReadWrite, inherit: Inherit::Yes };

/// A machine with one process and untouched memory from address 0 on.
fn reserved<A: Architecture>(bytes: u64) -> (Shared<A>, Arc<Process<A>>) {
    let machine = Shared::new();
    let process = Process::new(&machine, AddressSpace::new(machine.clone()).unwrap());
    process.with(|space, tlb| space.reserve(tlb, range(0, bytes), RESERVATION)).unwrap();
    (machine, process)
}

/// As [`reserved`], with two pages that hold 1 and 2 in every word.
fn parent<A: Architecture>() -> (Shared<A>, Arc<Process<A>>) {
    let (machine, parent) = reserved(2 * PAGE);
    for word in 0..machine::WORDS {
        parent.write(0, 0, word, 1);
        parent.write(0, PAGE, word, 2);
    }
    (machine, parent)
}

fn fork<A: Architecture>(machine: &Shared<A>, parent: &Process<A>, share: Share) -> Arc<Process<A>> {
    Process::new(machine, parent.with(|space, tlb| space.fork(tlb, share)).unwrap())
}

fn fork_guaranteed<A: Architecture>(machine: &Shared<A>, parent: &Process<A>, share: Share) -> Arc<Process<A>> {
    Process::new(machine, parent.with(|space, tlb| space.fork_guaranteed(tlb, share)).unwrap())
}

/// Every count is the number of descriptors that lead there, and every shared table is read-only on the way in.
fn audit<A: Architecture>(machine: &Shared<A>, processes: &[&Process<A>]) {
    let mut found: BTreeMap<Frame, u32> = BTreeMap::new();
    let mut visited = Vec::new();
    for process in processes {
        process.with(|space, _| {
            found.insert(space.root(), 1);
            let (mut resident, mut tables) = (0, Vec::from([space.root()]));
            let _: ControlFlow<()> = space.visit(Place::START, 2 * PAGE, Level::LAST, |visit| {
                let frame = match visit.entry {
                    Entry::Table(table) => {
                        assert!(visit.references == 1 || table.read_only, "shared, and not read-only on the way in");
                        tables.push(table.frame);
                        table.frame
                    }
                    Entry::Page(page) if page.kind.is_counted() => {
                        resident += 1;
                        page.frame
                    }
                    _ => return ControlFlow::Continue(()),
                };
                if !visited.contains(&visit.table) {
                    *found.entry(frame).or_default() += 1;
                }
                ControlFlow::Continue(())
            });
            let usage = space.usage();
            assert_eq!((usage.pages, usage.tables), (resident, tables.len() as u64));
            assert_eq!(usage.pages + usage.reserved, 2);
            visited.extend(tables);
        });
    }
    for (frame, count) in found {
        assert_eq!(machine.0.count(frame), count, "references to {frame:?}");
    }
}

/// A last audit; then every process ends, and no frame leaks.
fn finish<A: Architecture>(machine: &Shared<A>, processes: &[&Process<A>]) {
    audit(machine, processes);
    processes.iter().for_each(|process| process.exit());
    assert_eq!(machine.0.frames_in_use(), 0, "frames leaked");
}

/// Lets loom run a protocol at every depth of sharing, in both formats.
fn explore(protocol: fn(Share), x86_64: fn(Share)) {
    for share in DEPTHS {
        for case in [protocol, x86_64] {
            let mut model = loom::model::Builder::new();
            model.preemption_bound = model.preemption_bound.or(Some(2));
            model.max_branches = 20_000;
            model.check(move || case(share));
        }
    }
}

macro_rules! protocols {
    ($($(#[$doc:meta])* fn $name:ident<$format:ident>($share:ident: Share) $body:block)*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            fn case<$format: Architecture>($share: Share) $body
            explore(case::<AArch64>, case::<X86_64>);
        }
    )* };
}

protocols! {
    fn two_cores_split_one_table_at_once<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn({ let child = child.clone(); move || child.write(0, 0, 0, 20) });
        parent.write(0, 0, 0, 10);
        other.join().unwrap();
        assert_eq!([parent.read(0, 0, 0), parent.read(0, 0, 1), parent.read(0, PAGE, 0)], [10, 1, 2]);
        assert_eq!([child.read(0, 0, 0), child.read(0, 0, 1), child.read(0, PAGE, 0)], [20, 1, 2]);
        finish(&machine, &[&parent, &child]);
    }

    /// One side copies and drops its reference; the other finds itself the last owner, or not yet.
    fn reuse_against_split<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn({
            let child = child.clone();
            move || {
                child.write(0, 0, 0, 20);
                assert_eq!(child.read(0, PAGE, 0), 2);
            }
        });
        parent.write(0, PAGE, 0, 10);
        parent.write(0, 0, 0, 11);
        other.join().unwrap();
        assert_eq!([parent.read(0, 0, 0), parent.read(0, PAGE, 0)], [11, 10]);
        assert_eq!([child.read(0, 0, 0), child.read(0, PAGE, 0)], [20, 2]);
        finish(&machine, &[&parent, &child]);
    }

    fn exit_against_split<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn(move || {
            assert_eq!(child.read(0, 0, 0), 1);
            child.exit();
        });
        parent.write(0, 0, 0, 10);
        parent.write(0, PAGE, 0, 11);
        other.join().unwrap();
        assert_eq!([parent.read(0, 0, 0), parent.read(0, PAGE, 0)], [10, 11]);
        finish(&machine, &[&parent]);
    }

    fn exit_against_exit<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn(move || child.exit());
        parent.exit();
        other.join().unwrap();
        finish(&machine, &[]);
    }

    /// Two threads of one process: what the child got at the fork does not change.
    fn fork_against_fault_of_the_same_process<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let other = thread::spawn({ let parent = parent.clone(); move || parent.write(1, 0, 0, 10) });
        let child = fork(&machine, &parent, share);
        let inherited = child.read(0, 0, 0);
        other.join().unwrap();
        assert!(inherited == 1 || inherited == 10);
        assert_eq!([child.read(0, 0, 0), parent.read(0, 0, 0)], [inherited, 10]);
        finish(&machine, &[&parent, &child]);
    }

    /// One sharer of a table forks again while the other splits it.
    fn fork_against_fault_of_a_relative<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn({ let child = child.clone(); move || child.write(0, 0, 0, 20) });
        let second = fork(&machine, &parent, share);
        parent.write(0, 0, 0, 10);
        other.join().unwrap();
        assert_eq!([parent.read(0, 0, 0), child.read(0, 0, 0), second.read(0, 0, 0)], [10, 20, 1]);
        finish(&machine, &[&parent, &child, &second]);
    }

    /// The second thread finds the page copied already, or meets the break before the make, and tries again.
    fn two_threads_fault_on_one_page<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn({ let child = child.clone(); move || child.write(1, 0, 1, 21) });
        child.write(0, 0, 0, 20);
        other.join().unwrap();
        assert_eq!([child.read(0, 0, 0), child.read(0, 0, 1)], [20, 21]);
        assert_eq!([parent.read(0, 0, 0), parent.read(0, 0, 1)], [1, 1]);
        finish(&machine, &[&parent, &child]);
    }

    /// A core of the child still reads through its TLB a page that another core has copied, while the parent takes over
    /// the original.
    fn reuse_against_a_stale_reader<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        assert_eq!(child.read(1, 0, 0), 1);
        let reader = thread::spawn({
            let child = child.clone();
            move || child.read(1, 0, 0)
        });
        let writer = thread::spawn({
            let child = child.clone();
            move || child.write(0, 0, 1, 20)
        });
        parent.write(0, 0, 0, 10);
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), 1);
        assert_eq!([parent.read(0, 0, 0), parent.read(0, 0, 1)], [10, 1]);
        assert_eq!([child.read(0, 0, 0), child.read(0, 0, 1)], [1, 20]);
        finish(&machine, &[&parent, &child]);
    }

    /// The page's zeroes, and the tables above it, are there before another core can reach them.
    fn read_against_first_touch<A>(share: Share) {
        let (machine, parent) = reserved::<A>(2 * PAGE);
        let other = thread::spawn({ let parent = parent.clone(); move || parent.read(1, 0, 1) });
        parent.write(0, 0, 0, 10);
        assert_eq!(other.join().unwrap(), 0);
        let child = fork(&machine, &parent, share);
        finish(&machine, &[&parent, &child]);
    }

    /// A reservation of a whole table becomes a table full of reservations while another core looks.
    fn read_against_expansion<A>(share: Share) {
        let (machine, parent) = reserved::<A>(2 << 20);
        let other = thread::spawn({ let parent = parent.clone(); move || parent.read(1, 0, 1) });
        parent.write(0, PAGE, 0, 10);
        assert_eq!(other.join().unwrap(), 0);
        let child = fork(&machine, &parent, share);
        parent.exit();
        child.exit();
        assert_eq!(machine.0.frames_in_use(), 0, "frames leaked");
    }

    /// A table comes into being beside one that another core walks through.
    fn read_against_map<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn({ let child = child.clone(); move || child.try_read(1, 2 << 20, 0) });
        child.with(|space, tlb| space.reserve(tlb, range(2 << 20, PAGE), RESERVATION)).unwrap();
        let read = other.join().unwrap();
        assert!([Ok(0), Err(Fault::Unmapped)].contains(&read), "{read:?}");
        parent.exit();
        child.exit();
        assert_eq!(machine.0.frames_in_use(), 0, "frames leaked");
    }

    /// Both copy the same table under a guarantee: each frame is committed once, and frames committed in vain come
    /// back.
    fn two_cores_split_what_is_paid_for_once<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork_guaranteed(&machine, &parent, share);
        let other = thread::spawn({ let child = child.clone(); move || child.write(0, 0, 0, 20) });
        parent.write(0, 0, 0, 10);
        other.join().unwrap();
        assert_eq!([parent.read(0, 0, 0), parent.read(0, PAGE, 0)], [10, 2]);
        assert_eq!([child.read(0, 0, 0), child.read(0, PAGE, 0)], [20, 2]);
        finish(&machine, &[&parent, &child]);
        assert_eq!(machine.0.committed(), 0);
    }

    /// One side drops what the other is about to commit frames for.
    fn exit_against_split_under_a_guarantee<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork_guaranteed(&machine, &parent, share);
        let other = thread::spawn(move || child.exit());
        parent.write(0, 0, 0, 10);
        other.join().unwrap();
        assert_eq!(machine.0.committed(), 0);
        finish(&machine, &[&parent]);
        assert_eq!(machine.0.committed(), 0);
    }

    fn unmap_against_split<A>(share: Share) {
        let (machine, parent) = parent::<A>();
        let child = fork(&machine, &parent, share);
        let other = thread::spawn({ let child = child.clone(); move || child.write(0, 0, 0, 20) });
        parent.with(|space, tlb| space.unmap(tlb, range(0, PAGE))).unwrap();
        other.join().unwrap();
        assert_eq!([child.read(0, 0, 0), child.read(0, PAGE, 0), parent.read(0, PAGE, 0)], [20, 2, 2]);
        parent.with(|space, tlb| space.reserve(tlb, range(0, PAGE), RESERVATION)).unwrap();
        assert_eq!(parent.read(0, 0, 0), 0);
        finish(&machine, &[&parent, &child]);
    }
}
