//! Map, unmap, protect: each a small [`Edit`].

use core::marker::PhantomData;

use crate::commit::Commit;
use crate::edit::{Cover, Decision, Edit, Slot};
use crate::{
    AddressSpace, Descriptor, Entry, Error, Format, Frame, Inherit, Kind, Level, Memory, Page, Permissions,
    Reservation, Tlb, VirtAddr, VirtRange,
};

/// Memory that the frame allocator does not own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Ordinary memory, cached.
    Normal,
    /// Device registers; a child does not get them.
    Device,
}

impl Foreign {
    /// The descriptor of a page of it.
    pub(crate) fn page(self, frame: Frame, permissions: Permissions) -> Page {
        let kind = match self {
            Foreign::Normal => Kind::Foreign,
            Foreign::Device => Kind::Device,
        };
        Page { frame, permissions, kind, writable: permissions == Permissions::ReadWrite }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Reserves demand-zero memory. Costs one descriptor for each naturally aligned 512 GiB, 1 GiB, 2 MiB or 4 KiB of
    /// it.
    ///
    /// # Errors
    /// [`Error::Occupied`] if anything is mapped or reserved in the range, [`Error::OutOfMemory`]; nothing has changed
    /// then.
    pub fn reserve(&mut self, tlb: &impl Tlb, range: VirtRange, reservation: Reservation) -> Result<(), Error> {
        self.edit(tlb, range, &Reserve(reservation))
    }

    /// Maps consecutive frames from `first` on that the allocator does not own.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    ///
    /// # Safety
    /// None of the frames is a table, or any other memory that a program must not read, or must not write if the
    /// permissions allow writes; and they outlive the space and all spaces that are forked from it.
    #[expect(unsafe_code, reason = "the tree cannot know what is in these frames")]
    pub unsafe fn map_frames(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        first: Frame,
        permissions: Permissions,
        foreign: Foreign,
    ) -> Result<(), Error> {
        let page = |slot: VirtRange| {
            let frame = Frame(first.0 + (slot.start() - range.start()) / Level::LAST.span());
            Ok(foreign.page(frame, permissions))
        };
        self.edit(tlb, range, &Map { page })
    }

    /// Maps pages of another space, which become memory that both have in common: page `n` of the range gets what
    /// `source` has `n` pages after `start`. It stays one and the same across forks of this space. The other space does
    /// not change. It should share none of these pages with its own relatives: what this space writes would reach the
    /// relatives, and the other space's next write would copy the page out of the common memory.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); [`Error::NotMapped`] at the first address of `source` without a page that has
    /// been written to.
    ///
    /// # Panics
    /// If the two are not in the same memory.
    pub fn map_pages_of(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        permissions: Permissions,
        source: &Self,
        start: VirtAddr,
    ) -> Result<(), Error> {
        assert!(self.memory.is_same(&source.memory), "a frame has a meaning in its own memory only");
        let from = VirtRange::new(start.page().get(), range.end() - range.start()).ok_or(Error::NotMapped(start))?;
        let writable = permissions == Permissions::ReadWrite;
        let page = |slot: VirtRange| {
            let address = VirtAddr::new(slot.moved(range, from).start()).expect("ranges are of user addresses");
            match source.translate(address) {
                Some(there) if there.page.kind.is_counted() => {
                    Ok(Page { frame: there.page.frame, permissions, kind: Kind::Shared, writable })
                }
                _ => Err(Error::NotMapped(address)),
            }
        };
        self.edit(tlb, range, &Map { page })
    }

    /// Maps counted frames that exist already: memory that several spaces have in common, or that was prepared.
    /// Page `n` of the range gets `frame(n)`, which gains a reference. [`map_pages_of`](Self::map_pages_of) does it for
    /// pages of a space.
    ///
    /// [`Kind::Shared`] memory stays one and the same across forks. [`Kind::Private`] and [`Kind::NoInherit`] are
    /// copied at the first write, unless this is the only reference by then.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); [`Error::Unguaranteed`] for memory other than shared, if the space is under a
    /// guarantee.
    ///
    /// # Panics
    /// For a kind whose frames are not counted.
    ///
    /// # Safety
    /// Each frame was allocated as a page, and the caller has a reference to it.
    #[expect(unsafe_code, reason = "the tree cannot know what is in these frames")]
    pub unsafe fn map_pages(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        permissions: Permissions,
        kind: Kind,
        frame: impl Fn(u64) -> Frame,
    ) -> Result<(), Error> {
        self.admit(kind)?;
        let writable = kind == Kind::Shared && permissions == Permissions::ReadWrite;
        let page = |slot: VirtRange| {
            let frame = frame((slot.start() - range.start()) / Level::LAST.span());
            Ok(Page { frame, permissions, kind, writable })
        };
        self.edit(tlb, range, &Map { page })?;
        if kind != Kind::Shared {
            self.commit = Commit::BestEffort;
        }
        Ok(())
    }

    /// Whether existing frames can be mapped as memory of this kind.
    pub(crate) fn admit(&self, kind: Kind) -> Result<(), Error> {
        assert!(kind.is_counted(), "{kind:?} memory has no counted frames");
        // Other owners of the frames have committed nothing for copies of them.
        if kind != Kind::Shared && self.commit.is_guaranteed() {
            return Err(Error::Unguaranteed);
        }
        Ok(())
    }

    /// Gives up the content of private memory and keeps the reservation: the next access finds zeroes. Holes are no
    /// error.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] at the first page that is not private memory, [`Error::OutOfMemory`]; nothing has changed
    /// then.
    pub fn discard(&mut self, tlb: &impl Tlb, range: VirtRange) -> Result<(), Error> {
        self.edit(tlb, range, &Discard)
    }

    /// Removes everything that is mapped or reserved in the range; holes are no error.
    ///
    /// A shared subtree that lies wholly in the range is dropped, not copied.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if a table on the range's edge had to be split and there was no frame; nothing has
    /// changed then.
    pub fn unmap(&mut self, tlb: &impl Tlb, range: VirtRange) -> Result<(), Error> {
        self.edit(tlb, range, &Unmap(PhantomData::<F>))
    }

    /// Changes the permissions of what is mapped or reserved in the range.
    ///
    /// New write permission reaches the hardware with the first write fault, so that shared pages are copied then.
    ///
    /// # Errors
    /// [`Error::NotMapped`] at the first hole, [`Error::Unsuitable`] where foreign or shared memory would gain write
    /// permission, and where shared memory, device registers, or memory that a child does not get, would become
    /// executable, [`Error::OutOfMemory`]; nothing has changed then.
    pub fn protect(&mut self, tlb: &impl Tlb, range: VirtRange, permissions: Permissions) -> Result<(), Error> {
        self.edit(tlb, range, &Protect(permissions))
    }
}

pub(crate) struct Reserve(pub(crate) Reservation);

impl<F: Format> Edit<F> for Reserve {
    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
        if descriptor.is_empty() && slot.cover == Cover::Whole {
            return Ok(Decision::Store(Descriptor::new(Entry::Reserved(self.0), slot.level)));
        }
        descend_or_refuse(descriptor, slot)
    }
}

pub(crate) struct Map<P> {
    pub(crate) page: P,
}

impl<F: Format, P: Fn(VirtRange) -> Result<Page, Error>> Edit<F> for Map<P> {
    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
        if descriptor.is_empty() && slot.level == Level::LAST {
            return Ok(Decision::Store(Descriptor::new(Entry::Page((self.page)(slot.range)?), slot.level)));
        }
        descend_or_refuse(descriptor, slot)
    }
}

pub(crate) struct Discard;

impl<F: Format> Edit<F> for Discard {
    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
        match descriptor.entry(slot.level) {
            Entry::Empty | Entry::Reserved(_) => Ok(Decision::Keep),
            Entry::Table(_) => Ok(Decision::Descend),
            Entry::Page(page) => match page.kind {
                Kind::Private | Kind::NoInherit => Ok(Decision::Forget),
                // It counts as a reservation already; a relative may have shown the page of zeroes there a moment ago.
                Kind::Zero => Ok(Decision::Keep),
                Kind::Shared | Kind::Foreign | Kind::Device => Err(Error::Unsuitable(slot.address(), page.permissions)),
            },
        }
    }
}

/// For operations that need an empty range: descends where part of it may be empty.
pub(crate) fn descend_or_refuse<F: Format>(descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
    if descriptor.is_empty() || descriptor.is_table(slot.level) {
        return Ok(Decision::Descend);
    }
    Err(Error::Occupied(slot.address()))
}

pub(crate) struct Unmap<F>(pub(crate) PhantomData<F>);

impl<F: Format> Edit<F> for Unmap<F> {
    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
        Ok(match slot.cover {
            _ if descriptor.is_empty() => Decision::Keep,
            Cover::Whole => Decision::Remove,
            Cover::Part => Decision::Descend,
        })
    }
}

pub(crate) struct Protect(pub(crate) Permissions);

impl<F: Format> Edit<F> for Protect {
    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
        let permissions = self.0;
        let entry = match descriptor.entry(slot.level) {
            Entry::Empty => return Err(Error::NotMapped(slot.address())),
            Entry::Table(_) => return Ok(Decision::Descend),
            // Never executable: a fetch would back it with a fresh frame, and instruction caches may still hold the
            // frame's former content.
            Entry::Reserved(Reservation { inherit: Inherit::No, .. }) if permissions == Permissions::ReadExecute => {
                return Err(Error::Unsuitable(slot.address(), permissions));
            }
            Entry::Reserved(_) if slot.cover == Cover::Part => return Ok(Decision::Descend),
            Entry::Reserved(reservation) => Entry::Reserved(Reservation { permissions, ..reservation }),
            Entry::Page(page) => {
                let gains_write = permissions == Permissions::ReadWrite && page.permissions != permissions;
                let refused = match page.kind {
                    Kind::Private | Kind::Zero => false,
                    Kind::NoInherit => permissions == Permissions::ReadExecute,
                    Kind::Foreign => gains_write,
                    // The mapping decided whether this space may write here; and what another space or a device writes
                    // must not be executed.
                    Kind::Shared | Kind::Device => gains_write || permissions == Permissions::ReadExecute,
                };
                if refused {
                    return Err(Error::Unsuitable(slot.address(), permissions));
                }
                Entry::Page(Page {
                    permissions,
                    writable: page.writable && permissions == Permissions::ReadWrite,
                    ..page
                })
            }
        };
        let new = Descriptor::new(entry, slot.level);
        Ok(if new == descriptor { Decision::Keep } else { Decision::Store(new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{entries, levels};
    use crate::gate;
    use crate::{AArch64, X86_64};
    use std::boxed::Box;
    use std::vec::Vec;

    /// What a plan makes of a decision: a refusal, a table on the way, or neither.
    fn planned<F: Format>(decision: Result<Decision<F>, Error>) -> Result<bool, Error> {
        decision.map(|decision| matches!(decision, Decision::Descend))
    }

    fn edits<F: Format>() -> Vec<Box<dyn Edit<F>>> {
        let reservation = Reservation { permissions: Permissions::Read, inherit: Inherit::Yes };
        let page = Page { frame: Frame(1), permissions: Permissions::Read, kind: Kind::Private, writable: false };
        let page = move |_| Ok(page);
        let mut all: Vec<Box<dyn Edit<F>>> = Vec::from([
            Box::new(Reserve(reservation)) as Box<dyn Edit<F>>,
            Box::new(Map { page }),
            Box::new(Discard),
            Box::new(Unmap(PhantomData)),
        ]);
        for permissions in [Permissions::None, Permissions::Read, Permissions::ReadWrite, Permissions::ReadExecute] {
            all.push(Box::new(Protect(permissions)));
        }
        all
    }

    fn law<F: Format>() {
        for level in levels() {
            for entry in entries(level) {
                let descriptor = Descriptor::<F>::new(entry, level);
                let range = VirtRange::slot(0, level, 1);
                // A page is never covered in part.
                let part = if level == Level::LAST { Cover::Whole } else { Cover::Part };
                for cover in [Cover::Whole, part] {
                    let slot = Slot { level, index: 1, range, cover };
                    for (number, edit) in edits::<F>().iter().enumerate() {
                        let [before, after] = [descriptor, gate::for_good(descriptor, level)]
                            .map(|descriptor| planned(edit.decide(descriptor, &slot)));
                        assert_eq!(before, after, "operation {number}, {entry:?} at {level:?}");
                    }
                }
            }
        }
    }

    /// Another core may take write permission away, or show the page of zeroes, between the plan and its application.
    #[test]
    fn a_plan_holds_whatever_a_frozen_table_permits() {
        law::<AArch64>();
        law::<X86_64>();
    }
}
