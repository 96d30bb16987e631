//! A TLB with its walk cache: a set-associative store of translations, each for a page or block of its own size.

/// The address spaces that a translation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asid {
    /// All of them.
    Global,
    /// The one with this identifier.
    Of(u16),
}

impl Asid {
    fn is_for(self, asid: u16) -> bool {
        self == Asid::Global || self == Asid::Of(asid)
    }
}

/// A translation of a page or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The virtual address, shifted by `shift`.
    pub number: u64,
    /// 12 for a page, 21 or 30 for a block; of a table in the walk cache, the bits that it translates and all below.
    pub shift: u32,
    /// The physical address, shifted like the virtual one; of a table, its address.
    pub frame: u64,
    /// The address spaces that it belongs to.
    pub asid: Asid,
}

/// What an invalidation is about (Arm ARM, C5.5 "TLB maintenance instructions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// What belongs to one address space.
    Space(u16),
    /// What translates this address, for one address space or for all.
    Address {
        /// Any address of the page.
        address: u64,
        /// `None`: any address space.
        asid: Option<u16>,
        /// Whether only translations of the last level go, and tables stay known.
        last_level: bool,
    },
}

/// Translations in sets, in each the most recently used first.
#[derive(Clone, Debug)]
pub struct Tlb {
    sets: usize,
    ways: usize,
    entries: Vec<Option<Page>>,
    /// The sizes that are held, each as its shift.
    shifts: &'static [u32],
}

impl Tlb {
    /// The unified L2 TLB of a Cortex-A72: 1,024 entries of four ways, for pages and both sizes of blocks (TRM 5.2.3).
    pub fn of_pages() -> Tlb {
        Tlb::new(256, 4, &[12, 21, 30])
    }

    /// The cache of tables that walks have found. The manual names it (TRM 5.1, "intermediate table walk caches")
    /// without a size; this one is as large as the Cortex-A53's: 64 entries of four ways (Arm DDI 0500, 5.1).
    pub fn of_tables() -> Tlb {
        Tlb::new(16, 4, &[21, 30, 39])
    }

    fn new(sets: usize, ways: usize, shifts: &'static [u32]) -> Tlb {
        Tlb { sets, ways, entries: vec![None; sets * ways], shifts }
    }

    fn set(&mut self, number: u64) -> &mut [Option<Page>] {
        let first = (number as usize & (self.sets - 1)) * self.ways;
        &mut self.entries[first..first + self.ways]
    }

    /// The translation of the smallest size that is known for an address; it becomes the most recently used of its set.
    pub fn find(&mut self, address: u64, asid: u16) -> Option<Page> {
        self.shifts.iter().find_map(|&shift| {
            let set = self.set(address >> shift);
            let is_it = |page: Page| page.shift == shift && page.number == address >> shift && page.asid.is_for(asid);
            let place = set.iter().position(|entry| entry.is_some_and(is_it))?;
            set[..=place].rotate_right(1);
            set[0]
        })
    }

    /// Adds a translation; the least recently used one of its set makes room.
    pub fn add(&mut self, page: Page) {
        let set = self.set(page.number);
        // The same page again, with another frame, takes the place of the old translation.
        let same = |old: &Option<Page>| old.is_some_and(|old| Page { frame: page.frame, ..old } == page);
        let free = |old: &Option<Page>| old.is_none();
        let place = set.iter().position(same).or_else(|| set.iter().position(free)).unwrap_or(set.len() - 1);
        set[..=place].rotate_right(1);
        set[0] = Some(page);
    }

    /// Removes what an invalidation is about. For a store of tables, "last level" leaves everything.
    pub fn invalidate(&mut self, scope: Scope) {
        let stays = |page: Page| match scope {
            Scope::All => false,
            Scope::Space(asid) => page.asid != Asid::Of(asid),
            Scope::Address { address, asid, .. } => {
                // Instructions carry bits 55 to 12 of an address.
                let is_it = (page.number << page.shift ^ address) << 8 >> 8 >> page.shift == 0;
                !(is_it && asid.is_none_or(|asid| page.asid.is_for(asid)))
            }
        };
        match scope {
            Scope::Address { address, .. } => {
                for shift in self.shifts {
                    self.set(address >> shift).iter_mut().for_each(|entry| *entry = entry.filter(|page| stays(*page)));
                }
            }
            _ => self.entries.iter_mut().for_each(|entry| *entry = entry.filter(|page| stays(*page))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u64, asid: Asid) -> Page {
        Page { number, shift: 12, frame: number + 100, asid }
    }

    fn at(address: u64, asid: Option<u16>) -> Scope {
        Scope::Address { address, asid, last_level: true }
    }

    #[test]
    fn a_translation_is_found_in_its_address_space_alone() {
        let mut tlb = Tlb::of_pages();
        tlb.add(page(5, Asid::Of(1)));
        assert_eq!(tlb.find(0x5fff, 1), Some(page(5, Asid::Of(1))));
        assert_eq!(tlb.find(0x5fff, 2), None);
        assert_eq!(tlb.find(0x6000, 1), None);
        tlb.add(page(6, Asid::Global));
        assert!(tlb.find(0x6000, 1).is_some() && tlb.find(0x6000, 2).is_some());
    }

    #[test]
    fn a_block_translates_all_of_its_pages() {
        let mut tlb = Tlb::of_pages();
        let block = Page { number: 3, shift: 21, frame: 9, asid: Asid::Global };
        tlb.add(block);
        assert_eq!(tlb.find(0x7f_f123, 0), Some(block));
        assert_eq!(tlb.find(0x80_0000, 0), None);
    }

    #[test]
    fn the_fifth_page_of_a_set_evicts_the_least_recently_used() {
        // 256 sets: these five pages share set 0.
        let mut tlb = Tlb::of_pages();
        (0..4).for_each(|way| tlb.add(page(way * 256, Asid::Of(1))));
        assert!(tlb.find(0, 1).is_some(), "page 0 is the most recent now");
        tlb.add(page(4 * 256, Asid::Of(1)));
        let held: Vec<_> = (0..5).map(|way| tlb.find((way * 256) << 12, 1).is_some()).collect();
        assert_eq!(held, [true, false, true, true, true]);
    }

    #[test]
    fn invalidations_remove_what_they_name_and_nothing_else() {
        let all = || {
            let mut tlb = Tlb::of_pages();
            for (number, asid) in [(1, Asid::Of(1)), (1, Asid::Of(2)), (2, Asid::Of(1)), (3, Asid::Global)] {
                tlb.add(page(number, asid));
            }
            tlb
        };
        let left = |scope: Scope| {
            let mut tlb = all();
            tlb.invalidate(scope);
            [(1, 1), (1, 2), (2, 1), (3, 1)].map(|(number, asid)| tlb.find(number << 12, asid).is_some())
        };
        assert_eq!(left(Scope::All), [false; 4]);
        assert_eq!(left(Scope::Space(1)), [false, true, false, true]);
        assert_eq!(left(at(0x1000, Some(1))), [false, true, true, true]);
        assert_eq!(left(at(0x1000, None)), [false, false, true, true]);
        assert_eq!(left(at(0x3000, Some(1))), [true, true, true, false], "a global one belongs to every space");
    }

    #[test]
    fn an_address_of_the_upper_half_is_named_by_its_lower_56_bits() {
        let mut tlb = Tlb::of_pages();
        let number = 0xffff_8000_1234_5000_u64 >> 12;
        tlb.add(page(number, Asid::Global));
        tlb.invalidate(at(0x00ff_8000_1234_5000, Some(0)));
        assert_eq!(tlb.find(number << 12, 0), None);
    }

    #[test]
    fn a_new_translation_of_a_page_replaces_the_old_one() {
        let mut tlb = Tlb::of_pages();
        tlb.add(page(5, Asid::Of(1)));
        tlb.add(Page { frame: 7, ..page(5, Asid::Of(1)) });
        assert_eq!(tlb.find(0x5000, 1).map(|page| page.frame), Some(7));
        tlb.invalidate(at(0x5000, Some(1)));
        assert_eq!(tlb.find(0x5000, 1), None);
    }
}
