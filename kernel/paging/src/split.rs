//! Faults: a write through a shared table splits it (`Arc::make_mut` down one path).
//!
//! ```text
//!   parent's level 2        child's level 2            parent's            child's
//!   [ T, read-only ]        [ T, read-only ]           [ T, read-only ]    [ T' ]
//!            \               /                 store           |              |
//!             +-->  T  <----+                  =====>          T              T'
//!                 / | \                in the child          / | \          / | \
//!                a  b  c                                    a  b  c        a' b  c     all but a' read-only
//! ```
//!
//! From the first shared table on the path downwards every table is copied, bottom up and not yet linked; entries lose
//! their write permission in the copy *and in the original* and what they lead to gains a reference; then one store
//! links the copies, after a break, an invalidation and a make (Arm ARM, "Using break-before-make when updating
//! translation table entries"); and only then is the reference to the original dropped.
//!
//! Where table and page are no longer shared, the last owner takes the read-only marks off and copies nothing.

use crate::commit::Source;
use crate::exit::release_copied;
use crate::gate::{self, Exclusive, Frames, Fresh, Path, Stale, Stock};
use crate::memory::Counts;
use crate::{
    Access, AddressSpace, Descriptor, Entry, Format, Frame, Inherit, Kind, Level, Memory, OutOfMemory, Page,
    Permissions, Purpose, Reach, Reservation, Tlb, VirtAddr, VirtRange,
};

/// How a fault was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The frame that the address leads to now.
    pub frame: Frame,
    /// Tables copied.
    pub table_splits: u32,
    /// What was done about the page itself.
    pub action: Action,
}

/// What a fault did about the page it hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the descriptors allow the access already. Another core repaired it, or a TLB
    /// entry was stale.
    Nothing,
    /// Write permission came back: the page is no longer shared.
    Reuse,
    /// The page was shared and was copied.
    Copy,
    /// A reserved page was backed with fresh zeroes.
    DemandZero,
    /// A reserved page was read, and the page of zeroes is mapped there.
    ZeroPage,
}

/// Why an access cannot be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is mapped or reserved there.
    Unmapped,
    /// The permissions there forbid the access.
    Denied(Permissions),
    /// It would be allowed, but there is no frame for it. The tree is unchanged.
    OutOfMemory,
    /// The space, under a guarantee, needs a committed frame that another core holds for a moment, because that core
    /// copies the same table or page at the same time. Try again.
    Contended,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Fault::Unmapped => f.write_str("nothing is mapped there"),
            Fault::Denied(permissions) => write!(f, "{permissions:?} forbids the access"),
            Fault::OutOfMemory => f.write_str("out of memory"),
            Fault::Contended => f.write_str("another core copies the same table or page: try again"),
        }
    }
}

impl core::error::Error for Fault {}

impl From<OutOfMemory> for Fault {
    fn from(_: OutOfMemory) -> Fault {
        Fault::OutOfMemory
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Answers a fault that the processor took: as [`resolve`](Self::resolve), and where the descriptors allow the
    /// access already, it invalidates the stale entry that caused the fault, so that a retry succeeds.
    ///
    /// # Errors
    /// See [`Fault`]; then nothing has changed.
    pub fn fault(&mut self, tlb: &impl Tlb, address: VirtAddr, access: Access) -> Result<Resolved, Fault> {
        let resolved = self.resolve(tlb, address, access)?;
        if resolved.action == Action::Nothing {
            tlb.upgrade(address);
        }
        Ok(resolved)
    }

    /// Makes an access possible: after it the address translates, with that permission, to the returned frame,
    /// for as long as `&mut self` is held. For the fault handler and for the kernel's own access to user memory alike.
    ///
    /// A read never breaks sharing of what is there, and a write splits only what it must.
    ///
    /// # Errors
    /// See [`Fault`]; then nothing has changed.
    pub fn resolve(&mut self, tlb: &impl Tlb, address: VirtAddr, access: Access) -> Result<Resolved, Fault> {
        if !address.is_user::<F>() {
            return Err(Fault::Unmapped);
        }
        let path = Path::new(self, address);
        match path.descriptor.entry(path.level) {
            Entry::Empty | Entry::Table(_) => Err(Fault::Unmapped),
            Entry::Reserved(reservation) => {
                if !reservation.permissions.allow(access) {
                    return Err(Fault::Denied(reservation.permissions));
                }
                back(tlb, path, access, reservation)
            }
            Entry::Page(page) => {
                if !page.permissions.allow(access) {
                    return Err(Fault::Denied(page.permissions));
                }
                if access != Access::Write || (page.writable && !path.read_only) {
                    return Ok(Resolved { frame: page.frame, table_splits: 0, action: Action::Nothing });
                }
                let sole = match page.kind {
                    Kind::Private | Kind::NoInherit => gate::is_sole(path.memory, page.frame),
                    Kind::Zero => false,
                    Kind::Shared | Kind::Foreign | Kind::Device => true,
                };
                if sole && path.shared.is_none() { Ok(reuse(tlb, path, page)) } else { copy(tlb, path, page) }
            }
        }
    }
}

/// The last owner of page and tables gets write permission back; nothing is copied.
#[inline(always)]
fn reuse<F: Format, M: Memory>(tlb: &impl Tlb, mut path: Path<'_, F, M>, page: Page) -> Resolved {
    path.open();
    let index = path.index(Level::LAST);
    let descriptor = path.descriptor.write_enabled(Level::LAST);
    path.lowest().store(path.memory, index, descriptor);
    // An upgrade: what is cached with less permission is harmless, but without an
    // invalidation nothing obliges the processor ever to drop it, and the store would fault forever.
    tlb.upgrade(path.address);
    Resolved { frame: page.frame, table_splits: 0, action: Action::Reuse }
}

/// A write to a shared page, or below a shared table.
#[inline(always)]
fn copy<F: Format, M: Memory>(tlb: &impl Tlb, mut path: Path<'_, F, M>, page: Page) -> Result<Resolved, Fault> {
    let memory = path.memory;
    let source = path.commit.source();
    let stock = Stock::allocate(memory, frozen_tables(&path), source)?;
    // The first write to a page of zeroes is no copy that a fork has caused.
    let page_source = if page.kind == Kind::Zero { Source::Free } else { source };
    let fresh = match page_source.allocate(memory, Purpose::Page) {
        Ok(fresh) => fresh,
        Err(shortage) => {
            stock.give_back(memory);
            return Err(shortage.into());
        }
    };
    let (frame, kind, action, change) = if page.kind == Kind::Zero {
        let frame = memory.zero_page_in(fresh);
        (frame, Kind::Private, Action::DemandZero, Counts { pages: 1, reserved: -1, ..Counts::ZERO })
    } else {
        // The content cannot change meanwhile: the page has been read-only in every space that maps it since the fork
        // that shared it, and stays so while we hold a reference.
        let frame = memory.copy_page_to(fresh, page.frame);
        (frame, page.kind, Action::Copy, Counts::ZERO)
    };
    let descriptor = Descriptor::new(Entry::Page(Page { frame, kind, writable: true, ..page }), Level::LAST);
    let table_splits = replace(tlb, &mut path, descriptor, change, stock);
    Ok(Resolved { frame, table_splits, action })
}

/// The first touch of reserved memory.
fn back<F: Format, M: Memory>(
    tlb: &impl Tlb,
    mut path: Path<'_, F, M>,
    access: Access,
    reservation: Reservation,
) -> Result<Resolved, Fault> {
    let memory = path.memory;
    let Reservation { permissions, inherit } = reservation;
    let writable = access == Access::Write;
    // Memory that a child does not get is backed at once: the descriptor of the page of zeroes has no mark for it.
    let kind = match (writable, inherit) {
        (false, Inherit::Yes) => Kind::Zero,
        (true, Inherit::Yes) => Kind::Private,
        (_, Inherit::No) => Kind::NoInherit,
    };
    if kind == Kind::Zero && path.level == Level::LAST {
        let frame = memory.zero_page();
        let descriptor = Descriptor::<F>::new(Entry::Page(Page { frame, permissions, kind, writable }), Level::LAST);
        gate::show_zero_page(memory, path.tables[path.level.number()], path.index(Level::LAST), descriptor);
        tlb.publish();
        return Ok(Resolved { frame, table_splits: 0, action: Action::ZeroPage });
    }

    if path.level == Level::LAST && path.shared.is_none() {
        return back_page(tlb, path, Page { frame: memory.zero_page(), permissions, kind, writable });
    }
    let tables_between = Level::LAST.number() - path.level.number();
    let splits = Stock::allocate(memory, frozen_tables(&path), path.commit.source())?;
    let mut between = match Stock::allocate(memory, tables_between, Source::Free) {
        Ok(stock) => stock,
        Err(shortage) => {
            splits.give_back(memory);
            return Err(shortage.into());
        }
    };
    let (frame, action) = if kind == Kind::Zero {
        (memory.zero_page(), Action::ZeroPage)
    } else {
        let fresh = match Source::Free.allocate(memory, Purpose::Page) {
            Ok(fresh) => fresh,
            Err(shortage) => {
                splits.give_back(memory);
                between.give_back(memory);
                return Err(shortage.into());
            }
        };
        (memory.zero_page_in(fresh), Action::DemandZero)
    };
    // Bottom up: the page, and tables full of the same reservation for the levels between.
    let mut descriptor = Descriptor::new(Entry::Page(Page { frame, permissions, kind, writable }), Level::LAST);
    let mut level = Level::LAST;
    while level > path.level {
        let mut table = Exclusive::<F>::filled(memory, between.take(memory), level, path.descriptor);
        let index = path.index(level);
        let change = gate::weight(memory, descriptor, level) - gate::weight(memory, path.descriptor, level);
        table.store(memory, index, descriptor);
        table.account(memory, change);
        descriptor = table.descriptor();
        level = level.above();
    }
    let change = gate::weight(memory, descriptor, level) - gate::weight(memory, path.descriptor, level);
    let table_splits = replace(tlb, &mut path, descriptor, change, splits);
    Ok(Resolved { frame, table_splits, action })
}

/// The first touch of a page whose table exists and is this space's alone: the common case of [`back`].
fn back_page<F: Format, M: Memory>(tlb: &impl Tlb, mut path: Path<'_, F, M>, page: Page) -> Result<Resolved, Fault> {
    let memory = path.memory;
    let fresh = Source::Free.allocate(memory, Purpose::Page)?;
    let frame = memory.zero_page_in(fresh);
    path.open();
    path.account(Counts { pages: 1, reserved: -1, ..Counts::ZERO });
    let index = path.index(Level::LAST);
    gate::complete();
    path.lowest().store(memory, index, Descriptor::new(Entry::Page(Page { frame, ..page }), Level::LAST));
    if path.read_only {
        // Marks came off on the way: see `reuse`.
        tlb.upgrade(path.address);
    } else {
        tlb.publish();
    }
    Ok(Resolved { frame, table_splits: 0, action: Action::DemandZero })
}

/// Tables on the path that must be copied before its descriptor may change.
fn frozen_tables<F: Format, M: Memory>(path: &Path<'_, F, M>) -> usize {
    path.shared.map_or(0, |shared| path.level.number() - shared.number() + 1)
}

/// Replaces the path's descriptor and splits the shared tables above it. Returns how many. Cannot fail:
/// the stock holds a frame for each.
fn replace<F: Format, M: Memory>(
    tlb: &impl Tlb,
    path: &mut Path<'_, F, M>,
    descriptor: Descriptor<F>,
    change: Counts,
    mut stock: Stock,
) -> u32 {
    let memory = path.memory;
    let mut lowest = path.lowest();
    let (level, address) = (lowest.level(), path.address);
    let index = path.index(level);
    let old = lowest.load(memory, index);
    let splits = frozen_tables(path) as u32;

    // Copies, bottom up, each leading to the one below and sharing everything else.
    let mut descriptor = descriptor;
    if let Some(shared) = path.shared {
        let mut copied = path.level;
        loop {
            let original = path.tables[copied.number()];
            let substitute = Some((path.index(copied), descriptor));
            let mut copy = copy_table::<F>(memory, original, stock.take(memory), copied, substitute);
            copy.account(memory, change);
            descriptor = copy.descriptor();
            if copied == shared {
                break;
            }
            copied = copied.above();
        }
    }
    debug_assert!(stock.is_empty());

    gate::complete();
    path.open();
    path.account(change);
    if !old.is_present() {
        lowest.store(memory, index, descriptor);
        if path.read_only {
            // Marks came off on the way: see `reuse`.
            tlb.upgrade(address);
        } else {
            tlb.publish();
        }
    } else {
        // A table descriptor covers more than the page; and where marks came off, walk caches may still hold them.
        let reach = if level == Level::LAST && !path.read_only { Reach::Pages } else { Reach::Tables };
        let stale = Stale { range: VirtRange::entry(address, level), reach };
        lowest.redirect(memory, tlb, index, descriptor, stale);
        release_copied(memory, old, level, path.commit.source());
    }
    splits
}

/// A copy of a frozen table that shares everything below it with the original, except for one substituted entry.
///
/// Every entry loses its write permission on both sides and what it leads to gains a reference. If the original kept
/// the permission, its last owner would later write to pages that the copy still reads. The substituted entry needs
/// neither: nothing is shared through it.
pub(crate) fn copy_table<F: Format>(
    memory: &Frames<impl Memory>,
    original: Frame,
    fresh: Fresh,
    level: Level,
    substitute: Option<(usize, Descriptor<F>)>,
) -> Exclusive<F> {
    let counts = memory.counts(original);
    let bounds = counts.bounds();
    let mut copy = Exclusive::to_fill(memory, fresh, level, counts);
    debug_assert!(!counts.has_unshareable(), "a table with unshareable entries is never shared");
    match substitute {
        None => {
            gate::share_entries(memory, original, bounds, &mut copy);
        }
        Some((index, descriptor)) => {
            gate::share_entries(memory, original, bounds.start..index, &mut copy);
            gate::share_entries(memory, original, index + 1..bounds.end, &mut copy);
            copy.put(memory, index, descriptor);
        }
    }
    copy
}
