//! What a space should hold: regions and contents, deep-copied at fork. No tables, no sharing, no optimisation.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use graft_paging::{Kind, PAGE_SIZE, Permissions, VirtRange};

/// The words of each page that the model writes and compares: first and last.
pub const WORDS: [usize; 2] = [0, 511];
pub type Content = [u64; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub end: u64,
    pub permissions: Permissions,
    /// `Private` or `NoInherit` for demand-zero memory, `Shared`, `Foreign` or `Device`.
    pub kind: Kind,
    /// For shared memory: the address at which its page 0 is or would be.
    pub base: u64,
}

/// Pages of the one piece of memory that processes share.
pub const SHARED_PAGES: usize = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    /// By first address; they do not overlap.
    pub regions: BTreeMap<u64, Region>,
    /// Pages that have been written, or (not inherited) touched. All others read as zero.
    pub contents: BTreeMap<u64, Content>,
    /// What shared memory holds, the same for every process.
    pub shared: Rc<RefCell<[Content; SHARED_PAGES]>>,
}

impl Oracle {
    pub fn region(&self, address: u64) -> Option<Region> {
        self.regions.range(..=address).next_back().map(|(_, region)| *region).filter(|region| address < region.end)
    }

    pub fn content(&self, page: u64) -> Content {
        match self.shared_page(page) {
            Some(number) => self.shared.borrow()[number],
            None => self.contents.get(&page).copied().unwrap_or_default(),
        }
    }

    pub fn set_content(&mut self, page: u64, content: Content) {
        match self.shared_page(page) {
            Some(number) => self.shared.borrow_mut()[number] = content,
            None => {
                self.contents.insert(page, content);
            }
        }
    }

    /// Which page of the shared memory is here.
    fn shared_page(&self, page: u64) -> Option<usize> {
        let region = self.region(page).filter(|region| region.kind == Kind::Shared)?;
        Some((page.wrapping_sub(region.base) / PAGE_SIZE) as usize)
    }

    fn overlapping(&self, range: VirtRange) -> impl Iterator<Item = (u64, Region)> {
        self.regions
            .range(..range.end())
            .filter(move |(_, region)| region.end > range.start())
            .map(|(&start, &region)| (start, region))
    }

    /// Cuts regions at the range's edges, so that each lies inside or outside.
    fn cut(&mut self, range: VirtRange) {
        for edge in [range.start(), range.end()] {
            if let Some((&start, &region)) = self.regions.range(..edge).next_back()
                && region.end > edge
            {
                self.regions.insert(start, Region { end: edge, ..region });
                self.regions.insert(edge, region);
            }
        }
    }

    pub fn is_free(&self, range: VirtRange) -> bool {
        self.overlapping(range).next().is_none()
    }

    pub fn map(&mut self, range: VirtRange, permissions: Permissions, kind: Kind) {
        self.regions.insert(range.start(), Region { end: range.end(), permissions, kind, base: range.start() });
    }

    pub fn unmap(&mut self, range: VirtRange) {
        self.cut(range);
        self.regions.retain(|&start, _| start < range.start() || start >= range.end());
        self.contents.retain(|&page, _| page < range.start() || page >= range.end());
    }

    /// Whether `discard` must succeed.
    pub fn may_discard(&self, range: VirtRange) -> bool {
        self.overlapping(range).all(|(_, region)| matches!(region.kind, Kind::Private | Kind::NoInherit))
    }

    pub fn discard(&mut self, range: VirtRange) {
        self.contents.retain(|&page, _| page < range.start() || page >= range.end());
    }

    pub fn relocate(&mut self, from: VirtRange, to: VirtRange) {
        self.cut(from);
        let shift = to.start().wrapping_sub(from.start());
        let inside = |address: u64| from.start() <= address && address < from.end();
        let moved = |address: u64| if inside(address) { address.wrapping_add(shift) } else { address };
        self.regions = std::mem::take(&mut self.regions)
            .into_iter()
            .map(|(start, region)| {
                if !inside(start) {
                    return (start, region);
                }
                let end = region.end.wrapping_add(shift);
                (moved(start), Region { end, base: region.base.wrapping_add(shift), ..region })
            })
            .collect();
        self.contents = std::mem::take(&mut self.contents).into_iter().map(|(page, c)| (moved(page), c)).collect();
    }

    /// Whether `protect` must succeed: there is no hole, and no foreign or shared memory would gain a permission that
    /// it may not gain.
    pub fn may_protect(&self, range: VirtRange, permissions: Permissions) -> bool {
        let mut at = range.start();
        for (start, region) in self.overlapping(range) {
            let gains_write = permissions == Permissions::ReadWrite && region.permissions != permissions;
            let refused = match region.kind {
                Kind::Foreign => gains_write,
                Kind::Shared | Kind::Device => gains_write || permissions == Permissions::ReadExecute,
                Kind::NoInherit => permissions == Permissions::ReadExecute,
                _ => false,
            };
            if start > at || refused {
                return false;
            }
            at = region.end;
        }
        at >= range.end()
    }

    pub fn protect(&mut self, range: VirtRange, permissions: Permissions) {
        self.cut(range);
        for (_, region) in self.regions.range_mut(range.start()..range.end()) {
            region.permissions = permissions;
        }
    }

    pub fn fork(&self) -> Oracle {
        let mut child = self.clone();
        child.regions.retain(|_, region| matches!(region.kind, Kind::Private | Kind::Foreign | Kind::Shared));
        let regions = child.regions.clone();
        child
            .contents
            .retain(|page, _| regions.range(..=*page).next_back().is_some_and(|(_, region)| *page < region.end));
        child
    }

    /// Pages reserved or present, foreign ones aside.
    pub fn pages(&self) -> u64 {
        self.regions
            .iter()
            .filter(|(_, region)| matches!(region.kind, Kind::Private | Kind::NoInherit | Kind::Shared))
            .map(|(start, region)| (region.end - start) / PAGE_SIZE)
            .sum()
    }
}
