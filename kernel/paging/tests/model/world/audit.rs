//! Counting from the tables themselves, and what a space costs.

use super::{SPACES, Sharing, Verdict, World};
use crate::machine::Shared;
use crate::mmu::Architecture;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use graft_paging::{AddressSpace, Entry, Frame, Kind, Level, Memory, Place, Sizes, VirtAddr};

impl<A: Architecture + 'static> World<A> {
    /// Counts from the tables themselves, and compares the results with every count that is kept.
    pub fn audit(&self) -> Verdict {
        self.machine.look(|| self.audit_everything())
    }

    fn audit_everything(&self) -> Verdict {
        let mut references: BTreeMap<Frame, u32> = self.shared.iter().map(|&frame| (frame, 1)).collect();
        let mut seen = BTreeSet::new();
        let (mut separate, mut paid) = (0, BTreeSet::new());
        let (mut parts, mut roots) = (0, BTreeSet::new());
        for slot in 0..SPACES {
            let Some(process) = self.process(slot) else { continue };
            let space = process.space.borrow();
            let space = space.as_ref().expect("a process in a slot has a space");
            let own = Self::audit_space(space, process.oracle.borrow().pages(), &mut references, &mut seen)?;
            parts += Self::audit_sizes(space, 3)?;
            roots.insert(space.root());
            if process.sharing.get() == Sharing::Guaranteed {
                separate += own.len();
                paid.extend(own);
            }
        }
        for snapshot in &self.snapshots {
            if let Some((snapshot, oracle, sharing)) = &*snapshot.borrow() {
                let own = Self::audit_space(snapshot.space(), oracle.pages(), &mut references, &mut seen)?;
                parts += Self::audit_sizes(snapshot.space(), 3)?;
                roots.insert(snapshot.space().root());
                if *sharing == Sharing::Guaranteed {
                    separate += own.len();
                    paid.extend(own);
                }
            }
        }
        let (owed, committed) = ((separate - paid.len()) as isize, self.machine.committed.get());
        ensure!(owed == committed, "{owed} frames would be needed to share nothing, {committed} are committed");
        for (&frame, &count) in &references {
            let kept = self.machine.count(frame);
            ensure!(kept == count, "{frame:?} has {count} references and a count of {kept}");
        }
        // The parts of all spaces add up to the whole, except for the world's own part of the memory that processes map
        // shared.
        let whole: f64 = references
            .iter()
            .filter(|(frame, _)| !roots.contains(frame))
            .map(|(frame, &count)| 1.0 - if self.shared.contains(frame) { 1.0 / f64::from(count) } else { 0.0 })
            .sum();
        let parts = parts as f64 / (1_u64 << Sizes::PART_BITS) as f64;
        let add_up = (whole - parts).abs() < 0.01;
        ensure!(add_up, "proportional sizes add up to {parts} frames of {whole}");
        let in_use = self.machine.frames_in_use();
        ensure!(in_use == references.len(), "{in_use} frames in use, {} of them reachable", references.len());
        self.machine.verdict()
    }

    /// A walk over everything that a process has, while other processes go on: the sizes must still add up.
    pub fn look(&self, slot: usize) -> Verdict {
        self.process(slot)
            .map_or(Ok(()), |process| process.with(|space| Self::audit_sizes(space, usize::MAX).map(|_| ())))
    }

    /// The parts that a space has, counted in steps of so many descriptors; everything that it reaches is in its sizes.
    fn audit_sizes(space: &AddressSpace<A, Shared<A>>, step: usize) -> Result<u64, String> {
        let (mut sizes, mut from) = (Sizes::default(), Some(Place::START));
        while let Some(place) = from {
            let part = space.sizes(place, step);
            sizes += part.sizes;
            from = part.next;
        }
        let (pages, tables) = (sizes.private_pages + sizes.shared_pages, sizes.private_tables + sizes.shared_tables);
        let usage = space.usage();
        ensure!((pages, tables + 1) == (usage.pages, usage.tables), "{sizes:?} of {usage:?}");
        Ok(sizes.parts)
    }

    /// The part of [`audit`](Self::audit) that looks at one tree. Counts every descriptor in a table that has not been
    /// seen. Returns the frames that a write would copy if all were shared.
    fn audit_space(
        space: &AddressSpace<A, Shared<A>>,
        pages: u64,
        references: &mut BTreeMap<Frame, u32>,
        seen: &mut BTreeSet<Frame>,
    ) -> Result<BTreeSet<Frame>, String> {
        references.insert(space.root(), 1);
        let (mut resident, mut waiting, mut tables) = (0, 0, BTreeSet::from([space.root()]));
        let mut copied = BTreeSet::new();
        let mut complaint = None;
        let _: ControlFlow<()> = space.visit(Place::START, 1 << 48, Level::LAST, |visit| {
            let first_time = !seen.contains(&visit.table);
            match visit.entry {
                Entry::Empty => {}
                Entry::Reserved(_) => waiting += visit.level.pages(),
                Entry::Table(table) => {
                    tables.insert(table.frame);
                    copied.insert(table.frame);
                    if first_time {
                        *references.entry(table.frame).or_default() += 1;
                    }
                    if visit.references > 1 && !table.read_only {
                        complaint = Some(format!("{visit:x?}: shared and not read-only on the way in"));
                    }
                }
                Entry::Page(page) => {
                    resident += u64::from(page.kind.is_counted());
                    if page.kind == Kind::Private {
                        copied.insert(page.frame);
                    }
                    waiting += u64::from(page.kind == Kind::Zero);
                    if page.kind.is_counted() && first_time {
                        *references.entry(page.frame).or_default() += 1;
                    }
                    let sole = visit.references == 1 || !page.kind.is_counted() || page.kind == Kind::Shared;
                    if page.writable && (!sole || page.kind == Kind::Zero) {
                        complaint = Some(format!("{visit:x?}: writable, and not its owner's alone"));
                    }
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(complaint) = complaint {
            return Err(complaint);
        }
        let usage = space.usage();
        let found = (resident, waiting, tables.len() as u64);
        ensure!(
            found == (usage.pages, usage.reserved, usage.tables),
            "resident, reserved, tables are {found:?}, and accounted as {usage:?}"
        );
        ensure!(usage.pages + usage.reserved == pages, "{usage:?} does not add up to {} pages", pages);
        seen.extend(tables);
        Ok(copied)
    }

    /// What a program can see of a process, and what the process costs: neither may change when an operation fails. A
    /// page of zeroes counts as none: in a shared table a relative may show it at any moment.
    pub fn fingerprint(&self, slot: usize, addresses: &[u64]) -> Option<(Vec<Option<Frame>>, graft_paging::Usage)> {
        let process = self.process(slot)?;
        let zero_page = Shared(self.machine.clone()).zero_page();
        let look = |space: &mut AddressSpace<A, Shared<A>>| {
            let frames = addresses
                .iter()
                .map(|&address| space.translate(VirtAddr::new(address)?).map(|translation| translation.page.frame))
                .map(|frame| frame.filter(|frame| *frame != zero_page));
            Some((frames.collect(), space.usage()))
        };
        self.machine.look(|| process.with(look))
    }

    /// The sizes that the space itself reports.
    pub fn usage(&self, slot: usize) -> graft_paging::Usage {
        self.process(slot).expect("the process lives").with(|space| space.usage())
    }
}
