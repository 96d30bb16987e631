//! One test for each bug that other kernels shipped with this design or a similar one, by name.
//!
//! Each runs in both formats, at every depth of sharing where depth matters, and ends with an audit of every count and
//! with no frame left.

/// A test of both formats.
macro_rules! cases {
    ($($(#[$doc:meta])* fn $name:ident<$format:ident>() $body:block)*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            fn case<$format: crate::mmu::Architecture + 'static>() $body
            case::<graft_paging::AArch64>();
            case::<graft_paging::X86_64>();
        }
    )* };
}

mod ranges;
mod sharing;
mod shortage;
mod snapshots;

use std::rc::Rc;

use graft_paging::{Access, Inherit, Permissions, Share, VirtRange};

use crate::history::{GIB, KIB, MIB, universe};
use crate::mmu::Architecture;
use crate::world::World;

pub const DEPTHS: [Share; 4] = [Share::Pages, Share::Level3, Share::Level2, Share::Level1];
pub const PAGE: u64 = 4 * KIB;
/// Where the tests map their memory: 4 MiB, two level-3 tables.
pub const HERE: u64 = GIB;
pub const SIZE: u64 = 4 * MIB;

pub struct Case<A: Architecture>(pub Rc<World<A>>);

impl<A: Architecture + 'static> Case<A> {
    /// Process 0 with [`SIZE`] bytes at [`HERE`], the first pages of both tables written.
    pub fn new() -> Self {
        Self::on(400, universe())
    }

    /// The same on a machine of so many frames, whose cores walk only these addresses.
    pub fn on(frames: usize, addresses: Vec<u64>) -> Self {
        let world = World::new(frames, addresses);
        world.create(0).unwrap();
        let case = Case(world);
        case.0.reserve(0, range(HERE, SIZE), Permissions::ReadWrite, Inherit::Yes).unwrap();
        for page in [0, PAGE, 2 * MIB, 2 * MIB + PAGE] {
            case.write(0, HERE + page);
        }
        case
    }

    /// As [`new`](Self::new), with the process forked into slot 1.
    fn forked(share: Share) -> Self {
        let case = Self::new();
        case.0.fork(0, 1, share).unwrap();
        case
    }

    pub fn write(&self, slot: usize, address: u64) {
        self.0.access(slot % 4, slot, address, Access::Write, 0x1000 + address + slot as u64).unwrap();
    }

    fn read(&self, slot: usize, address: u64) {
        self.0.access(slot % 4, slot, address, Access::Read, 0).unwrap();
    }

    /// Every process reads everything it has, on every core, and every count is right.
    fn check(&self) {
        self.read_everything(0..4);
        self.0.audit().unwrap();
    }

    /// Every process reads everything it has, on these cores.
    pub fn read_everything(&self, cores: std::ops::Range<usize>) {
        for slot in 0..crate::world::SPACES {
            for &address in &self.0.machine.universe.clone() {
                for core in cores.clone() {
                    self.0.access(core, slot, address, Access::Read, 0).unwrap();
                }
            }
        }
    }

    fn finish(self) {
        self.check();
        self.end();
    }

    /// Every process ends, and no frame leaks.
    pub fn end(self) {
        for slot in 0..crate::world::SPACES {
            self.0.exit(slot).unwrap();
        }
        self.0.close();
        self.0.machine.verdict().unwrap();
        assert_eq!(self.0.machine.frames_in_use(), 0, "frames leaked");
    }
}

pub fn range(start: u64, bytes: u64) -> VirtRange {
    VirtRange::new(start, bytes).unwrap()
}
