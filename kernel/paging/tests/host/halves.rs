//! One root for user and kernel, as x86_64 has it: the kernel's half is nobody's business here.
//!
//! The entries of that half lead nowhere in these tests: whoever follows one of them stops with a panic.
#![expect(unsafe_code, reason = "descriptors that no processor follows")]

use std::ops::ControlFlow;

use graft_paging::{
    AArch64, Access, AddressSpace, ENTRIES, Entry, Error, Fault, Format, Frame, Kind, Level, Memory, Permissions,
    Share, Table, VirtRange, X86_64,
};

use crate::memory::{GIB, Host, MEMORY, MIB, MapAnything, Notes, PAGE, at, range, space, write};

/// Where user space ends on x86_64.
const END: u64 = 1 << 47;

/// A descriptor of a table that is in no memory.
fn trap() -> u64 {
    X86_64::encode(Entry::Table(Table { frame: Frame(0x7_7777_7777), read_only: false }), Level::ROOT)
}

/// Sets the traps, or sees that they are as they were.
fn set_traps(space: &mut AddressSpace<X86_64, Host>) {
    for index in [256, 300, 511] {
        // SAFETY: no processor walks these tables.
        unsafe { space.set_kernel_entry(index, trap()) };
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
            let frame = host.allocate(graft_paging::Purpose::Page).unwrap();
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

            // Back to the snapshot: entry by entry; and with a table that has to be made again.
            parent.restore(&tlb, &mut snapshot).unwrap();
            parent.unmap(&tlb, shared).unwrap();
            parent.restore(&tlb, &mut snapshot).unwrap();
            assert_eq!(parent.usage(), before);
            let revived = snapshot.fork().unwrap();

            for space in [&parent, &child] {
                let mut last = 0;
                let _: ControlFlow<()> = space.visit((0, Level::ROOT), 1 << 48, Level::LAST, |visit| {
                    last = visit.address.get();
                    ControlFlow::Continue(())
                });
                assert_eq!(last, END - PAGE);
                let (sizes, rest) = space.sizes((0, Level::ROOT), usize::MAX);
                assert_eq!((sizes.private_tables + sizes.shared_tables + 1, rest), (space.usage().tables, None));
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
    unsafe { space.set_kernel_entry(255, trap()) };
}
