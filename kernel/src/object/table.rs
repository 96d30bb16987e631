//! A process's handle table: what a handle names and what may be done with it.
//!
//! ```text
//!   slots   | 1 object, rights | 2 free -> 4 | 3 object, rights | 4 free -> none | 5 never used ...
//!                                  ^ free                                          ^ used
//! ```
//!
//! Slots beyond the highest one ever used hold nothing, not even zeroes: a new table costs nothing
//! to make, and a copy costs what the original uses.

use core::mem::MaybeUninit;
use graft_abi::{Error, Handle, Rights};

/// One place in a handle table.
#[derive(Debug)]
pub struct Slot<T> {
    /// [`None`] in a free one.
    object: Option<T>,
    rights: Rights,
    /// The next free one, in a free one.
    next: Option<u16>,
}

/// Names objects of type `T` for one process, in memory that its maker provides.
#[derive(Debug)]
pub struct Table<'memory, T> {
    slots: &'memory mut [MaybeUninit<Slot<T>>],
    /// Slots that were ever used: all below hold content.
    used: u32,
    /// First slot of the chain of free ones among them.
    free: Option<u16>,
}

impl<'memory, T> Table<'memory, T> {
    /// An empty table with room for as many handles as there are slots, 65,535 at most.
    pub fn new(slots: &'memory mut [MaybeUninit<Slot<T>>]) -> Self {
        let count = slots.len().min(usize::from(u16::MAX));
        Table { slots: &mut slots[..count], used: 0, free: None }
    }

    fn used(&self) -> usize {
        self.used as usize
    }

    fn slot(&self, index: usize) -> &Slot<T> {
        debug_assert!(index < self.used());
        // SAFETY: every slot below `used` was written by `insert` or `copy_from`, and later writes
        // replace its content in place.
        unsafe { self.slots.get_unchecked(index).assume_init_ref() }
    }

    fn slot_mut(&mut self, index: usize) -> &mut Slot<T> {
        debug_assert!(index < self.used());
        // SAFETY: as in `slot`.
        unsafe { self.slots[index].assume_init_mut() }
    }

    /// A new handle to `object`.
    ///
    /// # Errors
    /// [`Error::HandlesExhausted`] when every slot is in use.
    pub fn insert(&mut self, object: T, rights: Rights) -> Result<Handle, Error> {
        let index = match self.free {
            Some(index) => {
                let index = usize::from(index);
                self.free = self.slot(index).next;
                index
            }
            None if self.used() < self.slots.len() => {
                self.used += 1;
                self.used() - 1
            }
            None => return Err(Error::HandlesExhausted),
        };
        debug_assert!(index < self.used());
        // SAFETY: slots below `used` are there. This one is free or was never used: there is nothing to drop.
        unsafe { self.slots.get_unchecked_mut(index) }.write(Slot { object: Some(object), rights, next: None });
        Ok(Handle(index as u32 + 1))
    }

    /// Whether one more handle fits.
    pub fn has_room(&self) -> bool {
        self.free.is_some() || self.used() < self.slots.len()
    }

    /// What the handle names, if it carries all of `needed`.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if it names nothing, [`Error::NoRight`] if a right is missing.
    #[inline(always)]
    pub fn get(&self, handle: Handle, needed: Rights) -> Result<(&T, Rights), Error> {
        self.named_by(handle.0.into(), needed)
    }

    /// As [`get`](Self::get), of the handle in a register. One that does not fit names nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn named_by(&self, register: u64, needed: Rights) -> Result<(&T, Rights), Error> {
        let index = self.index(register)?;
        let Slot { object, rights, .. } = self.slot(index);
        match object {
            Some(object) if rights.contains(needed) => Ok((object, *rights)),
            Some(_) => Err(Error::NoRight),
            None => Err(Error::BadHandle),
        }
    }

    fn index(&self, register: u64) -> Result<usize, Error> {
        // `Handle::NONE` is far beyond all of them then.
        let index = (register as usize).wrapping_sub(1);
        if index < self.used() { Ok(index) } else { Err(Error::BadHandle) }
    }

    /// What its handles name.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.used()).filter_map(|index| self.slot(index).object.as_ref())
    }

    /// Gives the handle up and returns what it named.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if it names nothing.
    pub fn remove(&mut self, handle: Handle) -> Result<T, Error> {
        let index = self.index(handle.0.into())?;
        let object = self.slot_mut(index).object.take().ok_or(Error::BadHandle)?;
        self.slot_mut(index).next = self.free.replace(index as u16);
        Ok(object)
    }

    /// Gives up some handle of those that are left, for a process that ends.
    pub fn remove_last(&mut self) -> Option<T> {
        while self.used > 0 {
            self.used -= 1;
            // What is free is forgotten with the chain that holds it.
            self.free = None;
            // SAFETY: the slot was below `used`, thus written, and from here on counts as never used.
            if let Some(object) = unsafe { self.slots[self.used()].assume_init_read() }.object {
                return Some(object);
            }
        }
        None
    }
}

impl<T: Clone> Table<'_, T> {
    /// A second handle to the same object, with those of its rights that are in `rights`; the
    /// no-inherit mark stays and may be added.
    ///
    /// # Errors
    /// [`Error::BadHandle`], [`Error::NoRight`] without [`Rights::DUPLICATE`],
    /// [`Error::HandlesExhausted`].
    pub fn duplicate(&mut self, handle: Handle, rights: Rights) -> Result<Handle, Error> {
        let (object, held) = self.get(handle, Rights::DUPLICATE)?;
        let (object, rights) = (object.clone(), restrict(held, rights));
        self.insert(object, rights)
    }

    /// Makes an empty table a copy of `parent`, same handles for same objects, less what is marked
    /// [`Rights::NO_INHERIT`].
    ///
    /// # Errors
    /// [`Error::HandlesExhausted`] if this table has fewer slots than the parent uses.
    #[inline(always)]
    pub fn copy_from(&mut self, parent: &Table<'_, T>) -> Result<(), Error> {
        debug_assert_eq!(self.used, 0);
        if parent.used() > self.slots.len() {
            return Err(Error::HandlesExhausted);
        }
        // Two writes, not one of a content that is made first: every fork comes here.
        for (index, slot) in self.slots[..parent.used()].iter_mut().enumerate() {
            match parent.slot(index) {
                Slot { object: Some(object), rights, .. } if !rights.contains(Rights::NO_INHERIT) => {
                    slot.write(Slot { object: Some(object.clone()), rights: *rights, next: None });
                }
                _ => {
                    let next = self.free.replace(index as u16);
                    slot.write(Slot { object: None, rights: Rights::NONE, next });
                }
            }
        }
        self.used = parent.used;
        Ok(())
    }
}

/// What is left of `held` when only `wanted` is asked for. [`Rights::NO_INHERIT`] is no right but a
/// mark: it can be asked for in addition and is never lost.
pub fn restrict(held: Rights, wanted: Rights) -> Rights {
    held.and(wanted).or(held.or(wanted).and(Rights::NO_INHERIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn slots<T>(count: usize) -> Vec<MaybeUninit<Slot<T>>> {
        (0..count).map(|_| MaybeUninit::uninit()).collect()
    }

    #[test]
    fn handles_count_from_one_and_are_used_again() {
        let mut memory = slots(3);
        let mut table = Table::new(&mut memory);
        let handles: Vec<u32> = (0..3).map(|n| table.insert(n, Rights::ALL).unwrap().0).collect();
        assert_eq!(handles, [1, 2, 3]);
        assert!(!table.has_room());
        assert_eq!(table.insert(3, Rights::ALL), Err(Error::HandlesExhausted));
        assert_eq!(table.remove(Handle(2)), Ok(1));
        assert_eq!(table.remove(Handle(2)), Err(Error::BadHandle));
        assert!(table.has_room());
        assert_eq!(table.insert(4, Rights::ALL), Ok(Handle(2)));
    }

    #[test]
    fn a_wild_handle_names_nothing() {
        let mut memory = slots::<u8>(4);
        let mut table = Table::new(&mut memory);
        table.insert(9, Rights::ALL).unwrap();
        for wild in [0, 2, 4, 5, 1 << 16, u32::MAX] {
            assert_eq!(table.get(Handle(wild), Rights::NONE).err(), Some(Error::BadHandle), "{wild}");
            assert_eq!(table.remove(Handle(wild)), Err(Error::BadHandle), "{wild}");
            assert_eq!(table.duplicate(Handle(wild), Rights::ALL), Err(Error::BadHandle), "{wild}");
        }
    }

    #[test]
    fn a_missing_right_is_refused() {
        let mut memory = slots(4);
        let mut table = Table::new(&mut memory);
        let handle = table.insert('x', Rights::WAIT.or(Rights::KILL)).unwrap();
        assert!(table.get(handle, Rights::WAIT).is_ok());
        assert_eq!(table.get(handle, Rights::WAIT.or(Rights::FORK)).err(), Some(Error::NoRight));
        assert_eq!(table.duplicate(handle, Rights::ALL), Err(Error::NoRight));
    }

    #[test]
    fn a_duplicate_never_has_more_rights() {
        let mut memory = slots(4);
        let mut table = Table::new(&mut memory);
        let held = Rights::WAIT.or(Rights::DUPLICATE);
        let handle = table.insert('x', held).unwrap();
        let second = table.duplicate(handle, Rights(u32::MAX)).unwrap();
        let (_, rights) = table.get(second, Rights::NONE).unwrap();
        assert_eq!(rights, held.or(Rights::NO_INHERIT));
        assert_eq!(restrict(Rights::ALL, Rights::WAIT), Rights::WAIT);
        assert_eq!(restrict(Rights::ALL.or(Rights::NO_INHERIT), Rights::WAIT), Rights::WAIT.or(Rights::NO_INHERIT));
    }

    #[test]
    fn a_copy_keeps_the_numbers_and_leaves_out_what_is_marked() {
        let (mut memory, mut copied) = (slots(8), slots(8));
        let mut table = Table::new(&mut memory);
        let object = Rc::new(());
        for n in 0..6 {
            let mark = if n == 3 { Rights::NO_INHERIT } else { Rights::NONE };
            table.insert(object.clone(), Rights::ALL.or(mark)).unwrap();
        }
        table.remove(Handle(2)).unwrap();
        let mut copy = Table::new(&mut copied);
        copy.copy_from(&table).unwrap();
        let named: Vec<bool> = (1..=7).map(|n| copy.get(Handle(n), Rights::NONE).is_ok()).collect();
        assert_eq!(named, [true, false, true, false, true, true, false]);
        assert_eq!(copy.insert(object.clone(), Rights::ALL), Ok(Handle(4)));
        assert_eq!(copy.insert(object.clone(), Rights::ALL), Ok(Handle(2)));
        assert_eq!(copy.insert(object.clone(), Rights::ALL), Ok(Handle(7)));
        while table.remove_last().is_some() {}
        while copy.remove_last().is_some() {}
        assert_eq!(Rc::strong_count(&object), 1, "every reference is given back");
        assert_eq!(table.insert(object.clone(), Rights::ALL), Ok(Handle(1)));
        table.remove_last();
    }

    #[test]
    fn a_copy_into_a_smaller_table_is_refused() {
        let (mut memory, mut small) = (slots(4), slots(1));
        let mut table = Table::new(&mut memory);
        table.insert(1, Rights::ALL).unwrap();
        table.insert(2, Rights::ALL).unwrap();
        assert_eq!(Table::new(&mut small).copy_from(&table), Err(Error::HandlesExhausted));
    }
}
