//! Operations on ranges: what the oracle says of each result.

use super::{Verdict, World};
use crate::mmu::Architecture;

use graft_paging::{Error, Foreign, Inherit, Kind, Permissions, Reservation, VirtRange};

impl<A: Architecture + 'static> World<A> {
    pub fn reserve(&self, slot: usize, range: VirtRange, permissions: Permissions, inherit: Inherit) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let Some(result) =
            self.attempt(&process, |space| space.reserve(&tlb, range, Reservation { permissions, inherit }))
        else {
            return Ok(());
        };
        let free = process.oracle.borrow().is_free(range);
        match result {
            Ok(()) => {
                ensure!(free, "reserve overwrote something in {range:?}");
                let kind = if inherit == Inherit::No { Kind::NoInherit } else { Kind::Private };
                process.oracle.borrow_mut().map(range, permissions, kind);
            }
            Err(Error::Occupied(_)) => ensure!(!free, "reserve refused {range:?}, which is free"),
            Err(Error::OutOfMemory) => {}
            Err(error) => return Err(format!("reserve {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn map_foreign(&self, slot: usize, range: VirtRange, permissions: Permissions, kind: Foreign) -> Verdict {
        let first = self.machine.foreign_frame();
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let Some(result) = self.attempt(&process, |space| {
            #[expect(unsafe_code, reason = "frames beyond the machine's")]
            // SAFETY: there is no memory.
            unsafe {
                space.map_frames(&tlb, range, first, permissions, kind)
            }
        }) else {
            return Ok(());
        };
        let free = process.oracle.borrow().is_free(range);
        match result {
            Ok(()) => {
                ensure!(free, "map_frames overwrote something in {range:?}");
                let kind = if kind == Foreign::Device { Kind::Device } else { Kind::Foreign };
                process.oracle.borrow_mut().map(range, permissions, kind);
            }
            Err(Error::Occupied(_)) => ensure!(!free, "map_frames refused {range:?}, which is free"),
            Err(Error::OutOfMemory) => {}
            Err(error) => return Err(format!("map_frames {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn map_shared(&self, slot: usize, range: VirtRange, permissions: Permissions) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let frame = |number| self.shared[number as usize];
        let Some(result) = self.attempt(&process, |space| {
            #[expect(unsafe_code, reason = "the world's own pages")]
            // SAFETY: the world has a reference to each.
            unsafe {
                space.map_pages(&tlb, range, permissions, Kind::Shared, frame)
            }
        }) else {
            return Ok(());
        };
        let free = process.oracle.borrow().is_free(range);
        match result {
            Ok(()) => {
                ensure!(free, "map_pages overwrote something in {range:?}");
                process.oracle.borrow_mut().map(range, permissions, Kind::Shared);
            }
            Err(Error::Occupied(_)) => ensure!(!free, "map_pages refused {range:?}, which is free"),
            Err(Error::OutOfMemory) => {}
            Err(error) => return Err(format!("map_pages {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn discard(&self, slot: usize, range: VirtRange) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let allowed = process.oracle.borrow().may_discard(range);
        match self.attempt(&process, |space| space.discard(&tlb, range)) {
            None => {}
            Some(Ok(())) => {
                ensure!(allowed, "discard {range:?} succeeded on memory that is not private");
                process.oracle.borrow_mut().discard(range);
            }
            Some(Err(Error::OutOfMemory)) => {}
            Some(Err(error)) => ensure!(!allowed, "discard {range:?}: {error}"),
        }
        Ok(())
    }

    pub fn relocate(&self, slot: usize, from: VirtRange, to: VirtRange) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let apart = from.end() <= to.start() || to.end() <= from.start();
        let free = apart && process.oracle.borrow().is_free(to);
        match self.attempt(&process, |space| space.relocate(&tlb, from, to)) {
            None => {}
            Some(Ok(())) => {
                ensure!(free, "relocate {from:?} overwrote something in {to:?}");
                process.oracle.borrow_mut().relocate(from, to);
            }
            Some(Err(Error::Occupied(_))) => ensure!(!free, "relocate {from:?} refused {to:?}, which is free"),
            Some(Err(Error::OutOfMemory)) => {}
            Some(Err(error)) => return Err(format!("relocate {from:?} {to:?}: {error}")),
        }
        Ok(())
    }

    pub fn unmap(&self, slot: usize, range: VirtRange) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        match self.attempt(&process, |space| space.unmap(&tlb, range)) {
            None | Some(Err(Error::OutOfMemory)) => {}
            Some(Ok(())) => process.oracle.borrow_mut().unmap(range),
            Some(Err(error)) => return Err(format!("unmap {range:?}: {error}")),
        }
        Ok(())
    }

    pub fn protect(&self, slot: usize, range: VirtRange, permissions: Permissions) -> Verdict {
        let Some(process) = self.process(slot) else { return Ok(()) };
        let tlb = self.tlb(&process);
        let allowed = process.oracle.borrow().may_protect(range, permissions);
        match self.attempt(&process, |space| space.protect(&tlb, range, permissions)) {
            None | Some(Err(Error::OutOfMemory)) => {}
            Some(Ok(())) => {
                ensure!(allowed, "protect {range:?} succeeded across a hole or on foreign memory");
                process.oracle.borrow_mut().protect(range, permissions);
            }
            Some(Err(error)) => ensure!(!allowed, "protect {range:?} {permissions:?}: {error}"),
        }
        Ok(())
    }
}
