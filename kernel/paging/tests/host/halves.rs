//! One root for user and kernel, as x86_64 has it: the tree leaves the kernel's half alone.
//!
//! The entries of that half lead nowhere in these tests: code that follows one of them panics.
#![expect(unsafe_code, reason = "descriptors that no processor follows")]

use std::ops::ControlFlow;

use graft_paging::{
    AArch64, Access, AddressSpace, Descriptor, ENTRIES, Entry, Error, Fault, Format, Frame, KernelMap, KernelMemory,
    Kind, Level, Mapping, Memory, OutOfMemory, PartialSizes, Permissions, Place, Purpose, Share, Table, VirtRange,
    X86_64,
};

use crate::memory::{GIB, Host, MEMORY, MIB, MapAnything, Notes, PAGE, at, range, space, write};

/// Where user space ends on x86_64.
const END: u64 = 1 << 47;

/// A descriptor of a table that is in no memory.
fn trap() -> u64 {
    X86_64::encode(Entry::Table(Table { frame: Frame(0x7_7777_7777), read_only: false }), Level::ROOT)
}

/// Sets the traps, or checks that they are unchanged.
fn set_traps(space: &mut AddressSpace<X86_64, Host>) {
    for index in [256, 300, 511] {
        // SAFETY: no processor walks these tables.
        unsafe { space.set_kernel_entry(index, Descriptor::from_raw(trap())) };
    }
}

fn check_traps(host: &Host, space: &AddressSpace<X86_64, Host>) {
    for index in [256, 300, 511] {
        // SAFETY: a root.
        assert_eq!(unsafe { host.load(space.root(), index) }, trap(), "entry {index}");
    }
}

#[test]
fn every_operation_leaves_the_kernels_half_alone() {
    for share in [Share::Pages, Share::Level3, Share::Level2, Share::Level1] {
        for guaranteed in [false, true] {
            let (host, tlb) = (Host::new(200), Notes::default());
            let mut parent = space::<X86_64>(&host, &[(GIB, 4 * PAGE), (GIB + 2 * MIB, PAGE), (END - PAGE, PAGE)]);
            set_traps(&mut parent);
            let frame = host.allocate(Purpose::Page).unwrap();
            let shared = range(512 * GIB, PAGE);
            parent.map_own_pages(&tlb, shared, Permissions::ReadWrite, Kind::Shared, |_| frame).unwrap();
            let before = parent.usage();

            let child = match guaranteed {
                true => parent.fork_guaranteed(&tlb, share),
                false => parent.fork(&tlb, share),
            };
            let mut child = child.unwrap();
            set_traps(&mut child);
            let mut snapshot = parent.snapshot(&tlb, share).unwrap();
            write(&mut child, GIB + PAGE);
            write(&mut parent, GIB);
            assert_eq!(snapshot.space().usage(), before);

            // Two restores: entry by entry, and with a table that has to be made again.
            parent.restore(&tlb, &mut snapshot).unwrap();
            parent.unmap(&tlb, shared).unwrap();
            parent.restore(&tlb, &mut snapshot).unwrap();
            assert_eq!(parent.usage(), before);
            let revived = snapshot.fork().unwrap();

            for space in [&parent, &child] {
                let mut last = 0;
                let _: ControlFlow<()> = space.visit(Place::START, 1 << 48, Level::LAST, |visit| {
                    last = visit.address.get();
                    ControlFlow::Continue(())
                });
                assert_eq!(last, END - PAGE);
                let PartialSizes { sizes, next } = space.sizes(Place::START, usize::MAX);
                assert_eq!((sizes.private_tables + sizes.shared_tables + 1, next), (space.usage().tables, None));
                check_traps(&host, space);
            }
            assert_eq!(parent.find_gap(at(END - 2 * PAGE), PAGE), Some(at(END - 2 * PAGE)));
            assert_eq!(parent.find_gap(at(END - 2 * PAGE), 2 * PAGE), None);
            let all = VirtRange::new(0, END).unwrap();
            child.unmap(&tlb, all).unwrap();
            check_traps(&host, &child);
            assert_eq!(child.usage().tables, 1);

            [revived, child, parent].into_iter().for_each(|space| space.destroy(&tlb));
            snapshot.destroy();
            host.give_back(frame);
            assert_eq!((host.in_use(), host.committed()), (0, 0), "{share:?}");
        }
    }
}

#[test]
fn addresses_of_the_kernels_half_are_refused() {
    let (host, tlb) = (Host::new(64), Notes::default());
    let mut space = space::<X86_64>(&host, &[(GIB, PAGE)]);
    set_traps(&mut space);
    for address in [END, 511 * 512 * GIB] {
        let page = range(address, PAGE);
        assert_eq!(space.translate(at(address)), None);
        assert_eq!(space.resolve(&tlb, at(address), Access::Read), Err(Fault::Unmapped));
        let refused = Err(Error::Kernel(at(address)));
        assert_eq!(space.reserve(&tlb, page, MEMORY), refused);
        assert_eq!(space.unmap(&tlb, page), refused);
        assert_eq!(space.discard(&tlb, page), refused);
        assert_eq!(space.protect(&tlb, page, Permissions::Read), refused);
        assert_eq!(space.relocate(&tlb, page, range(0, PAGE)), refused);
        assert_eq!(space.relocate(&tlb, range(GIB, PAGE), page), refused);
    }
    assert_eq!(space.unmap(&tlb, VirtRange::ALL), Err(Error::Kernel(at((1 << 48) - PAGE))));
    check_traps(&host, &space);
    space.destroy(&tlb);
    assert_eq!(host.in_use(), 0);
}

/// A root of its own for the kernel leaves all entries to the user.
#[test]
fn the_last_entry_is_the_users_where_the_kernel_has_another_root() {
    assert_eq!((AArch64::USER_ENTRIES, X86_64::USER_ENTRIES), (ENTRIES, ENTRIES / 2));
    let (host, tlb) = (Host::new(64), Notes::default());
    let space = space::<AArch64>(&host, &[((1 << 48) - PAGE, PAGE)]);
    assert!(space.translate(at((1 << 48) - PAGE)).is_some());
    space.destroy(&tlb);
}

#[test]
#[should_panic(expected = "entry 255 of the root is the user's")]
fn the_users_entries_are_not_for_the_kernel() {
    let mut space = space::<X86_64>(&Host::new(64), &[]);
    // SAFETY: no processor walks these tables.
    unsafe { space.set_kernel_entry(255, Descriptor::from_raw(trap())) };
}

/// The kernel's own map, with this root, in the same memory as the spaces.
struct Kernel {
    host: Host,
    root: Frame,
    ready: Vec<Frame>,
}

impl Kernel {
    fn new(host: &Host) -> Kernel {
        Kernel { host: host.clone(), root: table(host).unwrap(), ready: Vec::new() }
    }
}

fn table(host: &Host) -> Option<Frame> {
    let table = host.allocate(Purpose::Table)?;
    // SAFETY: it is fresh.
    unsafe { host.zero(table) };
    Some(table)
}

// SAFETY: the frames are the host's, and no processor walks these tables.
unsafe impl KernelMemory for Kernel {
    fn root(&self) -> (Frame, Level) {
        (self.root, Level::ROOT)
    }

    fn reserve(&mut self, tables: u64) -> Result<(), OutOfMemory> {
        let mut fresh = Vec::new();
        for _ in 0..tables {
            match table(&self.host) {
                Some(table) => fresh.push(table),
                None => {
                    // SAFETY: nothing leads to them yet.
                    fresh.into_iter().for_each(|table| unsafe { self.host.free(table, Purpose::Table) });
                    return Err(OutOfMemory);
                }
            }
        }
        self.ready.append(&mut fresh);
        Ok(())
    }

    fn allocate(&mut self) -> Frame {
        self.ready.pop().expect("it was reserved")
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { self.host.load(table, index) }
    }

    unsafe fn store(&mut self, table: Frame, index: usize, raw: u64) {
        // SAFETY: the caller's promise.
        unsafe { self.host.store(table, index, raw) };
    }

    fn publish(&self) {}

    fn invalidate(&self, _address: u64, _bytes: u64) {}
}

/// Where one root serves both, what the kernel maps later is in the root of every space that was linked; a child is
/// linked as any other space is, and a space that ends takes nothing of the kernel's with it.
#[test]
fn what_the_kernel_maps_later_is_in_every_root() {
    const WINDOW: u64 = 0xffff_ff00_0000_0000;
    let (host, tlb) = (Host::new(100), Notes::default());
    let mut map = KernelMap::<X86_64, _>::new(Kernel::new(&host));
    map.prepare(WINDOW, 1024 * GIB).unwrap();
    assert_eq!(host.in_use(), 3, "a root, and a table for each of its entries in the window");
    map.prepare(WINDOW, 1024 * GIB).unwrap();
    assert_eq!(host.in_use(), 3, "they are there");

    let mut parent = space::<X86_64>(&host, &[(GIB, PAGE)]);
    // SAFETY: no processor walks these tables.
    unsafe { map.link_into(&mut parent) };
    let mut child = parent.fork(&tlb, Share::Level1).unwrap();
    let seen = |space: &AddressSpace<X86_64, Host>, address| {
        let (host, root) = (host.clone(), space.root());
        KernelMap::<X86_64, _>::new(Kernel { host, root, ready: Vec::new() }).translate(address)
    };
    let addresses = [WINDOW + GIB, WINDOW + (1024 * GIB - PAGE)];
    map.map(addresses[0], 5 * GIB, GIB, Mapping::ReadWrite).unwrap();
    map.map(addresses[1], 7 * PAGE, PAGE, Mapping::Device).unwrap();
    for address in addresses {
        assert!(map.translate(address).is_some());
        assert_eq!(seen(&parent, address), map.translate(address));
        assert_eq!(seen(&child, address), None, "a fork passes nothing on");
    }
    // SAFETY: as above.
    unsafe { map.link_into(&mut child) };
    assert_eq!(addresses.map(|address| seen(&child, address)), addresses.map(|address| map.translate(address)));
    // SAFETY: no pointer leads there.
    unsafe { map.unmap(addresses[1], PAGE).unwrap() };
    assert_eq!([&parent, &child].map(|space| seen(space, addresses[1])), [None, None]);

    let kernel = 3 + 2;
    [child, parent].into_iter().for_each(|space| space.destroy(&tlb));
    assert_eq!(host.in_use(), kernel);
    assert_eq!(map.translate(addresses[0]).map(|found| found.physical), Some(5 * GIB));

    // If there is no memory for one of the two tables, none is made.
    host.limit_tables(kernel + 1);
    assert!(map.prepare(WINDOW - 1024 * GIB, 1024 * GIB).is_err());
    assert_eq!(host.in_use(), kernel);
}

/// Where the kernel has a root of its own, a space has nothing of it.
#[test]
fn a_root_that_is_the_users_alone_is_left_alone() {
    let host = Host::new(16);
    let mut map = KernelMap::<AArch64, _>::new(Kernel::new(&host));
    map.map(map.first_address(), 0, GIB, Mapping::ReadWrite).unwrap();
    let mut space = AddressSpace::<AArch64, Host>::new(host.clone()).unwrap();
    // SAFETY: no processor walks these tables.
    unsafe { map.link_into(&mut space) };
    // SAFETY: a root.
    assert!((0..ENTRIES).all(|index| unsafe { host.load(space.root(), index) } == 0));
    space.destroy(&Notes::default());
}
