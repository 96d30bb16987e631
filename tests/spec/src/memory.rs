//! Memory: ranges of pages, and memory objects.

use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::state::{Content, Id, Memory, Page, Process};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use graft_abi::{Error, MAP_NO_INHERIT, PAGE_SIZE, Permissions, Rights, USER_END, USER_START};

const PAGE: u64 = PAGE_SIZE as u64;
/// More than any machine has that runs histories: a memory object of this size cannot be made.
const HOPELESS: u64 = 1 << 40;

/// What a child, or a snapshot, has of these.
pub(crate) fn inherited(pages: &BTreeMap<u64, Page>) -> BTreeMap<u64, Page> {
    let follows = |page: &Page| !matches!(page.content, Content::NoInherit(_));
    pages.iter().filter(|(_, page)| follows(page)).map(|(&address, &page)| (address, page)).collect()
}

/// Alignment of the length, then whether there can be so much.
fn check_length(bytes: u64) -> Result<(), Error> {
    if !bytes.is_multiple_of(PAGE) {
        return Err(Error::Unaligned);
    }
    if bytes == 0 || bytes > USER_END as u64 { Err(Error::BadLength) } else { Ok(()) }
}

/// Alignment of the address, the length, then whether all of it is user memory.
fn check(address: u64, bytes: u64) -> Result<Range<u64>, Error> {
    if !address.is_multiple_of(PAGE) {
        return Err(Error::Unaligned);
    }
    check_length(bytes)?;
    match address.checked_add(bytes) {
        Some(end) if address >= USER_START as u64 && end <= USER_END as u64 => Ok(address..end),
        _ => Err(Error::BadAddress),
    }
}

/// Where new pages go: `None` is where the kernel wants.
fn check_place(address: u64, bytes: u64) -> Result<Option<Range<u64>>, Error> {
    if address != 0 {
        return check(address, bytes).map(Some);
    }
    check_length(bytes)?;
    // Beyond the address at which the search begins there are not so many.
    if bytes > USER_END as u64 - graft_abi::MAP_BASE as u64 { Err(Error::AddressesExhausted) } else { Ok(None) }
}

impl Step {
    fn pages(&mut self, process: Id) -> &mut BTreeMap<u64, Page> {
        &mut self.state.get_mut::<Process>(process).pages
    }

    /// Maps pages at a place that must be empty; the answer has more expectations.
    fn place(
        &mut self,
        process: Id,
        place: Option<Range<u64>>,
        bytes: u64,
        pages: Vec<(u64, Page)>,
        more: Vec<Expect>,
    ) -> Answer {
        let mut expects = match place {
            None => vec![Expect::Place(bytes, pages)],
            Some(range) => {
                let mapped = self.pages(process);
                if mapped.range(range.clone()).next().is_some() {
                    return Err(Error::Occupied);
                }
                mapped.extend(pages.into_iter().map(|(offset, page)| (range.start + offset, page)));
                vec![Expect::X(0, range.start)]
            }
        };
        expects.extend(more);
        Ok(Next::Goes(expects))
    }

    /// `map`: permissions, flags, both together, the range, and what is there.
    pub(crate) fn map(&mut self, process: Id, address: u64, bytes: u64, permissions: u64, flags: u64) -> Answer {
        let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
        let content = match flags {
            0 => Content::Private(0),
            MAP_NO_INHERIT if permissions == Permissions::ReadExecute => return Err(Error::NotAllowed),
            MAP_NO_INHERIT => Content::NoInherit(0),
            _ => return Err(Error::BadArgument),
        };
        let place = check_place(address, bytes)?;
        let pages = (0..bytes / PAGE).map(|page| (page * PAGE, Page { permissions, content })).collect();
        self.place(process, place, bytes, pages, vec![])
    }

    /// `unmap`: holes are no error.
    pub(crate) fn unmap(&mut self, process: Id, address: u64, bytes: u64) -> Answer {
        let range = check(address, bytes)?;
        self.pages(process).retain(|address, _| !range.contains(address));
        x0(0)
    }

    /// `protect`: all or nothing. Of several reasons to refuse it, any is told.
    pub(crate) fn protect(&mut self, process: Id, address: u64, bytes: u64, permissions: u64) -> Answer {
        let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
        let range = check(address, bytes)?;
        let pages = self.pages(process);
        let executes = permissions == Permissions::ReadExecute;
        let forbids = |page: &Page| match page.content {
            Content::Private(_) => false,
            Content::NoInherit(_) => executes,
            Content::Shared(..) => {
                executes || permissions == Permissions::ReadWrite && page.permissions != Permissions::ReadWrite
            }
        };
        let mut reasons = Vec::new();
        if pages.range(range.clone()).count() as u64 != bytes / PAGE {
            reasons.push(Error::NotMapped);
        }
        if pages.range(range.clone()).any(|(_, page)| forbids(page)) {
            reasons.push(Error::NotAllowed);
        }
        if !reasons.is_empty() {
            return Err(reasons[self.choose(reasons.len())]);
        }
        self.pages(process).range_mut(range).for_each(|(_, page)| page.permissions = permissions);
        x0(0)
    }

    /// `discard`: of private memory alone; all or nothing.
    pub(crate) fn discard(&mut self, process: Id, address: u64, bytes: u64) -> Answer {
        let range = check(address, bytes)?;
        let pages = self.pages(process);
        if pages.range(range.clone()).any(|(_, page)| matches!(page.content, Content::Shared(..))) {
            return Err(Error::NotAllowed);
        }
        for (_, page) in pages.range_mut(range) {
            match &mut page.content {
                Content::Private(word) | Content::NoInherit(word) => *word = 0,
                Content::Shared(..) => {}
            }
        }
        x0(0)
    }

    /// `move`: the range, the place, whether they overlap, what is there.
    pub(crate) fn relocate(&mut self, process: Id, from: u64, bytes: u64, to: u64) -> Answer {
        let range = check(from, bytes)?;
        let place = check_place(to, bytes)?;
        if let Some(place) = &place
            && place.start < range.end
            && range.start < place.end
        {
            return Err(Error::Occupied);
        }
        let pages = self.pages(process);
        if let Some(place) = &place
            && pages.range(place.clone()).next().is_some()
        {
            return Err(Error::Occupied);
        }
        let moved = pages.range(range.clone()).map(|(&address, &page)| (address - from, page)).collect();
        pages.retain(|address, _| !range.contains(address));
        self.place(process, place, bytes, moved, vec![])
    }

    /// `memory_create`.
    pub(crate) fn memory_create(&mut self, bytes: u64) -> Answer {
        check_length(bytes)?;
        if bytes >= HOPELESS {
            return Err(Error::OutOfMemory);
        }
        let words = vec![0; (bytes / PAGE) as usize];
        self.made(Memory { words }, Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE))
    }

    /// `map_object`: permissions, the handle, what no holder may have, the place.
    pub(crate) fn map_object(&mut self, process: Id, handle: u64, address: u64, permissions: u64) -> Answer {
        let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
        let writes = permissions == Permissions::ReadWrite;
        let needed = if writes { Rights::READ.or(Rights::WRITE) } else { Rights::READ };
        let object = self.named::<Memory>(process, handle, needed)?;
        if !matches!(permissions, Permissions::Read | Permissions::ReadWrite) {
            return Err(Error::NotAllowed);
        }
        let count = self.state.get::<Memory>(object).words.len();
        let bytes = count as u64 * PAGE;
        let place = check_place(address, bytes)?;
        let page = |number| (number as u64 * PAGE, Page { permissions, content: Content::Shared(object, number) });
        self.place(process, place, bytes, (0..count).map(page).collect(), vec![Expect::X(1, bytes)])
    }

    /// The word at the start of a page that a process may read.
    pub(crate) fn load(&self, process: Id, address: u64) -> Result<u64, Error> {
        let page = self.state.get::<Process>(process).pages.get(&address).ok_or(Error::BadAddress)?;
        if page.permissions == Permissions::None {
            return Err(Error::BadAddress);
        }
        Ok(match page.content {
            Content::Private(word) | Content::NoInherit(word) => word,
            Content::Shared(object, number) => self.state.get::<Memory>(object).words[number],
        })
    }

    /// Stores the word at the start of a page that a process may write.
    pub(crate) fn store(&mut self, process: Id, address: u64, value: u64) -> Result<(), Error> {
        let page = self.pages(process).get_mut(&address).ok_or(Error::BadAddress)?;
        if page.permissions != Permissions::ReadWrite {
            return Err(Error::BadAddress);
        }
        match &mut page.content {
            Content::Private(word) | Content::NoInherit(word) => *word = value,
            &mut Content::Shared(object, number) => self.state.get_mut::<Memory>(object).words[number] = value,
        }
        Ok(())
    }
}
