//! The kernel's own map compared with how the processors read it, and with an oracle: a list of what was mapped.
//!
//! The processor here keeps every translation that it has ever made until it is told to forget it.

mod machine;
mod world;

use graft_paging::{AArch64, KernelMapError, Level, Mapping, X86_64};

use crate::mmu::Architecture;
use world::World;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MAPPINGS: [Mapping; 4] = [Mapping::ReadOnly, Mapping::ReadWrite, Mapping::ReadExecute, Mapping::Device];

/// A test of both formats, each with the root that its kernels have: Graft's own begins at level 1, for a half of 39
/// bits.
macro_rules! cases {
    ($($(#[$doc:meta])* fn $name:ident<$format:ident>($root:ident) $body:block)*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            fn case<$format: Architecture>($root: Level) $body
            case::<AArch64>(Level::ROOT.below());
            case::<AArch64>(Level::ROOT);
            case::<X86_64>(Level::ROOT);
        }
    )* };
}

/// How many leaves there are at levels 1, 2 and 3.
fn sizes<F: Architecture>(world: &mut World<F>) -> [usize; 3] {
    let leaves = world.leaves();
    [1, 2, 3].map(|level| leaves.iter().filter(|(of, _)| *of == level).count())
}

cases! {
    /// Ranges of all sizes, with addresses and memory of any alignment; some of them are unmapped again.
    fn any_set_of_ranges_is_what_a_walk_sees<F>(root) {
        for seed in 1..=60 {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
            let mut random = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) % below
            };
            let mut world = World::<F>::new(root, usize::MAX);
            // A window of four blocks of 1 GiB, so that ranges meet.
            let window = world.map.first_address() + random(100) * GIB;
            for _ in 0..40 {
                let alignment = [PAGE, PAGE, 2 * MIB, GIB][random(4) as usize];
                // The last gives memory any alignment, so that pages have to map it, but not too many.
                let (most, offset) = match (alignment, random(3)) {
                    (PAGE, 0 | 1) => (1500, None),
                    (GIB, 0 | 1) => (2, None),
                    (_, 0 | 1) => (600, None),
                    _ => ((1500 * PAGE / alignment).max(1), Some(random(1 << 18) * PAGE)),
                };
                let bytes = (1 + random(most)) * alignment;
                let bytes = if offset.is_some() { bytes.min(1500 * PAGE) } else { bytes };
                let address = window + random((4 * GIB - bytes) / alignment + 1) * alignment;
                // Aligned as the address is, relative to a block of 1 GiB or of 2 MiB.
                let offset = offset.unwrap_or([address % GIB, address % (2 * MIB)][random(2) as usize]);
                let physical = random(30) * GIB + offset;
                let mapping = MAPPINGS[random(4) as usize];
                if random(4) == 0 && let Some(&range) = world.oracle.get(random(40) as usize) {
                    // A part of what is mapped; it may cut blocks, and then nothing happens.
                    let skipped = random(range.bytes / PAGE) * PAGE;
                    let length = (1 + random((range.bytes - skipped) / PAGE)) * PAGE;
                    let whole = random(2) == 0;
                    let (skipped, length) = if whole { (0, range.bytes) } else { (skipped, length) };
                    let result = world.unmap(range.address + skipped, length);
                    assert!(matches!(result, Ok(()) | Err(KernelMapError::PartOfBlock(_))), "{result:?}");
                } else if world.is_free(address, bytes) {
                    world.map(address, physical, bytes, mapping);
                } else {
                    assert!(matches!(world.refused(address, physical, bytes), KernelMapError::Occupied(_)));
                }
                let around = [window + random(4 * GIB), window + random(4 * GIB), address - 1, address + (bytes - 1)];
                let borders = world.borders();
                world.check(borders.into_iter().chain(around.into_iter().filter(|&at| at >= window)));
            }
        }
    }

    /// One page more or less on either side of a block, of 2 MiB and of 1 GiB, and memory that is aligned differently
    /// from the addresses.
    fn leaves_are_the_largest_that_fit<F>(root) {
        let base = World::<F>::new(root, 1).map.first_address() + GIB;
        let (block, few) = (2 * MIB, PAGE);
        for (address, physical, bytes, expected) in [
            (base, 0, PAGE, [0, 0, 1]),
            (base, 0, block - few, [0, 0, 511]),
            (base, 0, block, [0, 1, 0]),
            (base, 0, block + few, [0, 1, 1]),
            (base - few, block - few, block + few, [0, 1, 1]),
            (base - few, block - few, block + 2 * few, [0, 1, 2]),
            (base + few, few, block - few, [0, 0, 511]),
            (base + few, few, block, [0, 0, 512]),
            (base, few, 2 * block, [0, 0, 1024]),
            (base, block, GIB, [0, 512, 0]),
            (base, 0, GIB - few, [0, 511, 511]),
            (base, 3 * GIB, GIB, [1, 0, 0]),
            (base, 3 * GIB, GIB + few, [1, 0, 1]),
            (base - few, GIB - few, GIB + 2 * few, [1, 0, 2]),
            (base - block, GIB - block, 2 * GIB + block, [2, 1, 0]),
        ] {
            let mut world = World::<F>::new(root, usize::MAX);
            world.map(address, physical, bytes, Mapping::ReadWrite);
            assert_eq!(sizes(&mut world), expected, "{address:#x} {physical:#x} {bytes:#x}");
            let level = world.map.translate(address + bytes / 2).unwrap().level.number();
            assert!(world.leaves().iter().any(|(of, range)| *of == level && range.bytes <= bytes));
            let borders = world.borders();
            world.check(borders);
        }
        let mut world = World::<F>::new(root, usize::MAX);
        world.map.memory_mut().largest_leaf = Level::LAST.above();
        world.map(base, 0, GIB, Mapping::ReadWrite);
        assert_eq!(sizes(&mut world), [0, 512, 0], "a processor without blocks of 1 GiB");
        let mut world = World::<F>::new(root, usize::MAX);
        world.map.memory_mut().largest_leaf = Level::ROOT;
        world.map(world.map.first_address(), 0, 512 * GIB, Mapping::ReadWrite);
        assert_eq!(sizes(&mut world), [512, 0, 0], "no format has leaves of 512 GiB");
    }

    /// Before, in and behind a page, a block of 2 MiB and one of 1 GiB: the refusal names the address, and nothing has
    /// changed.
    fn an_overlap_is_refused<F>(root) {
        let mut world = World::<F>::new(root, usize::MAX);
        let base = world.map.first_address() + 4 * GIB;
        for (address, bytes) in [(base, GIB), (base - GIB, 2 * MIB), (base - 2 * GIB, PAGE)] {
            world.map(address, 8 * GIB, bytes, Mapping::ReadOnly);
            let end = address + bytes;
            for (start, pages, first) in [
                (address, bytes / PAGE, address),
                (address - PAGE, 2, address),
                (end - PAGE, 2, end - PAGE),
                (end - PAGE, 1, end - PAGE),
                (address, 1, address),
                (address - 2 * MIB, 1 << 18, address),
            ] {
                let refused = world.refused(start, start % GIB, pages * PAGE);
                assert_eq!(refused, KernelMapError::Occupied(first), "{start:#x}, {pages} pages");
            }
            world.map(end, 8 * GIB + bytes, PAGE, Mapping::ReadOnly);
            world.map(address - PAGE, 8 * GIB - PAGE, PAGE, Mapping::ReadOnly);
        }
        let borders = world.borders();
        world.check(borders);
    }

    /// For every number of missing tables: nothing is mapped, and once they are there the map succeeds.
    fn without_memory_for_every_table_nothing_is_mapped<F>(root) {
        let mut needed = World::<F>::new(root, usize::MAX);
        let address = needed.map.first_address() + 2 * GIB - PAGE;
        // A page before 1 GiB, and one behind: tables on both sides.
        let (physical, bytes) = (2 * GIB - PAGE, GIB + 2 * PAGE);
        needed.map(address, physical, bytes, Mapping::ReadWrite);
        let tables = needed.tables().len();
        assert!(tables >= 5);
        let mut world = World::<F>::new(root, 1);
        for most in 1..tables {
            world.map.memory_mut().most = most;
            assert_eq!(world.refused(address, physical, bytes), KernelMapError::OutOfMemory);
        }
        world.map.memory_mut().most = tables;
        world.map(address, physical, bytes, Mapping::ReadWrite);
        let borders = world.borders();
        world.check(borders);
    }

    /// A guard page; unmapping a hole and a part of a block is refused; nothing is left in the TLB, and the tables lose
    /// nothing else.
    fn what_is_unmapped_faults_at_once<F>(root) {
        let mut world = World::<F>::new(root, usize::MAX);
        let base = world.map.first_address() + GIB;
        world.map(base, 0, 4 * MIB + 8 * PAGE, Mapping::ReadWrite);
        let stack = base + 4 * MIB;
        world.check([stack, stack + PAGE, base + PAGE, stack + 8 * PAGE]);
        world.unmap(stack, PAGE).unwrap();
        world.check([stack - 1, stack, stack + PAGE]);
        for (address, pages, error) in [
            (stack, 1, KernelMapError::NotMapped(stack)),
            (stack - 2 * MIB, 513, KernelMapError::NotMapped(stack)),
            (stack + 7 * PAGE, 2, KernelMapError::NotMapped(stack + 8 * PAGE)),
            (base + PAGE, 511, KernelMapError::PartOfBlock(base)),
            (base, 513, KernelMapError::PartOfBlock(base + 2 * MIB)),
            (stack - PAGE, 1, KernelMapError::PartOfBlock(base + 2 * MIB)),
        ] {
            assert_eq!(world.unmap(address, pages * PAGE), Err(error), "{address:#x}");
        }
        let tables = world.tables().len();
        world.unmap(base, 4 * MIB).unwrap();
        world.unmap(stack + PAGE, 7 * PAGE).unwrap();
        world.check([base, stack, stack + PAGE]);
        world.map(stack, 0, 8 * PAGE, Mapping::Device);
        assert_eq!(world.tables().len(), tables, "the table was there already");
        world.check([stack, stack + PAGE]);
    }

    /// The first and the last page of the kernel's half, and of physical memory; nothing beyond, and nothing between
    /// two pages.
    fn the_ends_of_the_addresses_are_no_trap<F>(root) {
        let mut world = World::<F>::new(root, usize::MAX);
        let first = world.map.first_address();
        let expected = match (F::NAME, root.number()) {
            ("AArch64", 0) => 0xffff_0000_0000_0000,
            ("AArch64", _) => 0xffff_ff80_0000_0000,
            _ => 0xffff_8000_0000_0000,
        };
        assert_eq!(first, expected, "the kernel's half: {first:#x}");
        let physical = 1_u64 << F::PHYSICAL_BITS;
        world.map(first, physical - PAGE, PAGE, Mapping::ReadWrite);
        world.map(0_u64.wrapping_sub(3 * PAGE), 0, 3 * PAGE, Mapping::ReadOnly);
        world.map(0_u64.wrapping_sub(GIB), GIB, GIB - 3 * PAGE, Mapping::ReadOnly);
        world.check([first, first + PAGE - 1, u64::MAX, u64::MAX - 2 * PAGE]);
        for (address, from, bytes, error) in [
            (first - PAGE, 0, PAGE, KernelMapError::OutOfRange(first - PAGE)),
            (0, 0, PAGE, KernelMapError::OutOfRange(0)),
            (first, 0, first.wrapping_neg() + PAGE, KernelMapError::OutOfRange(first)),
            (u64::MAX - PAGE + 1, 0, 2 * PAGE, KernelMapError::OutOfRange(u64::MAX - PAGE + 1)),
            (first + PAGE, physical, PAGE, KernelMapError::NoPhysical(physical)),
            (first + PAGE, physical - PAGE, 2 * PAGE, KernelMapError::NoPhysical(physical - PAGE)),
            (first + PAGE, u64::MAX - PAGE + 1, 2 * PAGE, KernelMapError::NoPhysical(u64::MAX - PAGE + 1)),
            (first + PAGE + 8, 0, PAGE, KernelMapError::Unaligned(first + PAGE + 8)),
            (first + PAGE, 8, PAGE, KernelMapError::Unaligned(8)),
            (first + PAGE, 0, 100, KernelMapError::Unaligned(100)),
        ] {
            assert_eq!(world.refused(address, from, bytes), error, "{address:#x} {from:#x} {bytes:#x}");
        }
        assert_eq!(world.map.translate(first - 1), None);
        assert_eq!(world.map.map(first + PAGE, 0, 0, Mapping::ReadWrite), Ok(()));
        world.check([first + PAGE]);
    }

    /// What is mapped in a range that was prepared changes no entry of the root.
    fn a_prepared_range_maps_nothing_and_keeps_the_root<F>(root) {
        let mut world = World::<F>::new(root, usize::MAX);
        let first = world.map.first_address();
        world.map.prepare(first, 3 * GIB).unwrap();
        world.check([first, first + GIB]);
        let before = world.tables();
        assert_eq!(before.len(), if root == Level::ROOT { 2 } else { 4 });
        world.map(first, 0, PAGE, Mapping::ReadWrite);
        world.map(first + GIB, GIB, GIB, Mapping::ReadWrite);
        world.check([first, first + GIB]);
        assert!(world.tables()[0] == before[0], "the root has changed");
        assert_eq!(world.map.prepare(first - PAGE, PAGE), Err(KernelMapError::OutOfRange(first - PAGE)));
    }

    /// Every mapping, by leaves of every size.
    fn user_mode_gets_nothing_and_the_kernel_what_was_asked_for<F>(root) {
        let mut world = World::<F>::new(root, usize::MAX);
        let mut address = world.map.first_address();
        for bytes in [GIB, 2 * MIB, PAGE] {
            for mapping in MAPPINGS {
                world.map(address, 0, bytes, mapping);
                // `check` asks the processor for the rights of user mode as well.
                world.check([address, address + bytes - 1]);
                address += GIB;
            }
        }
        assert_eq!(sizes(&mut world), [4, 4, 4]);
    }
}
