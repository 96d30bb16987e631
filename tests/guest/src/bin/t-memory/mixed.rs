//! One level-3 table with memory of every kind, and neighbours with private memory only.
//!
//! ```text
//!   TABLE − 2 MiB   private pages                                 level-3 table of its own, shared
//!   TABLE           private | object | not inherited | archive    copied, because of what is in it
//!   TABLE + 2 MiB   private pages                                 shared
//!   TABLE + 1 GiB   private pages                                 below a level-2 table of its own, shared
//!   TABLE + 1 TiB   private pages                                 below a level-1 table of its own, shared
//! ```

use alloc::vec::Vec;

use graft_lib::table_view::check::{check, check_references};
use graft_lib::table_view::tree::Tree;
use graft_rt::abi::PAGE_SIZE;
use graft_rt::memory::{self, Inherit, Shared};
use graft_rt::process::own_info;
use graft_rt::tables::mapped;
use graft_rt::test::depths::{EDGE, Test, byte, mark};
use graft_rt::test::{Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Handle, Permissions, Process, Region, Share, claim, claim_eq, tables};

use crate::{place, references};

/// First address of the table in question: its neighbours on both sides hang below the same level-2 table.
const TABLE: usize = EDGE - (4 << 20);
/// Pages of each kind, in runs that alternate.
const RUN: usize = 4;
const NEIGHBOURS: [usize; 4] = [TABLE - (2 << 20), TABLE + (2 << 20), TABLE + (1 << 30), TABLE + (1 << 40)];

struct Mixed {
    private: [Region; 2],
    shared: [Region; 2],
    own: [Region; 2],
    archive: Region,
    neighbours: Vec<Region>,
}

impl Mixed {
    fn new(object: &Shared) -> Result<Mixed, Error> {
        let at = |run: usize| TABLE + byte(run * RUN);
        let mixed = Mixed {
            private: [Region::at(at(0), byte(RUN))?, Region::at(at(4), byte(RUN))?],
            shared: [object.map_at(at(1), Permissions::ReadWrite)?, object.map_at(at(5), Permissions::Read)?],
            own: [Region::with(at(2), byte(RUN), Inherit::No)?, Region::with(at(6), byte(RUN), Inherit::No)?],
            archive: archive_at(at(8))?,
            neighbours: NEIGHBOURS
                .into_iter()
                .map(|address| Region::at(address, byte(RUN)))
                .collect::<Result<_, _>>()?,
        };
        mixed.private.iter().chain(&mixed.neighbours).for_each(|region| region.fill(mark));
        mixed.shared[0].fill(|page| mark(page) ^ 0x80);
        // The second region that is not inherited stays untouched.
        mixed.own[0].fill(|page| mark(page) ^ 0x40);
        Ok(mixed)
    }

    /// Whether everything is as it was made, so far as a child sees it.
    fn is_whole(&self) -> bool {
        let private = self.private.iter().chain(&self.neighbours).all(|region| region.first_difference(mark).is_none());
        let shared = self.shared.iter().all(|region| region.first_difference(|page| mark(page) ^ 0x80).is_none());
        private && shared && self.archive.read(257) == b'u'
    }

    /// The child's part: what it sees, what it writes, and what the parent writes meanwhile.
    fn inherited(&self, steps: &Steps) -> i32 {
        let absent = self.own.iter().all(|own| mapped(place(own)).map(Iterator::count) == Ok(0));
        if !absent || !self.is_whole() {
            return 1;
        }
        self.shared[0].write(1, 0xc1);
        self.private[1].write(byte(1), 0xc2);
        self.neighbours.iter().for_each(|neighbour| neighbour.write(byte(2), 0xc3));
        steps.reach(2);
        if !steps.wait(3) {
            return 2;
        }
        let shared = self.shared.iter().all(|region| region.read(1) == 0xc1 && region.read(2) == 0xa1);
        let private = self.private[0].first_difference(mark).is_none()
            && self.private[1].first_difference(|page| if page == 1 { 0xc2 } else { mark(page) }).is_none();
        let neighbours = self
            .neighbours
            .iter()
            .all(|neighbour| neighbour.first_difference(|page| if page == 2 { 0xc3 } else { mark(page) }).is_none());
        i32::from(!shared) * 3 + i32::from(!private) * 4 + i32::from(!neighbours) * 8
    }
}

/// The first pages of the archive, and nothing mapped behind them.
fn archive_at(address: usize) -> Result<Region, Error> {
    let (_, bytes) = memory::map_object(Handle::ARCHIVE, address, Permissions::Read)?;
    let rest = bytes.next_multiple_of(PAGE_SIZE) - byte(RUN);
    // SAFETY: mapped just now, and no reference to it exists.
    #[allow(unsafe_code)]
    unsafe {
        memory::unmap(address + byte(RUN), rest)?;
        Ok(Region::from_raw(address, byte(RUN)))
    }
}

pub(crate) fn side_by_side(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    let object = Shared::new(byte(RUN))?;
    let mixed = Mixed::new(&object)?;
    let steps = Steps::new()?;
    claim!(report, mixed.is_whole(), "what was made is there");
    let child = Process::fork_into(test.share, || {
        if !steps.wait(1) {
            return 2;
        }
        mixed.inherited(&steps)
    })?;

    // What is shared with whom, and do the raw bits say so? Looking takes several calls: both are at rest when two
    // looks show the same. The child may only just begin, and the first look changes what it looks at: the heap grows.
    let look =
        || -> Result<_, Error> { Ok((tables::all_entries(Handle::SELF)?, tables::all_entries(child.handle())?)) };
    let mut seen = look()?;
    let (own, its) = loop {
        let before = core::mem::replace(&mut seen, look()?);
        if before == seen {
            break before;
        }
    };
    let shared = u32::from(test.share != Share::Copy) + 1;
    claim_eq!(report, references(&own, TABLE), 1, "references to the mixed table");
    for neighbour in NEIGHBOURS {
        claim_eq!(report, references(&own, neighbour), shared, "references on the way to {neighbour:#x}");
        claim_eq!(report, references(&its, neighbour), shared, "references on the child's way to {neighbour:#x}");
    }
    match (Tree::new(&own), Tree::new(&its)) {
        (Ok(own), Ok(its)) => {
            for tree in [&own, &its] {
                let verdict = check(tree);
                claim!(report, verdict.is_ok(), "descriptors keep their promises: {verdict:?}");
            }
            let verdict = check_references(&[&own, &its]);
            claim!(report, verdict.is_ok(), "references are as many as descriptors: {verdict:?}");
        }
        trees => _ = claim!(report, false, "records are those of trees: {trees:?}"),
    }

    steps.reach(1);
    claim!(report, steps.wait(2), "the child has seen everything and written");
    claim_eq!(
        report,
        (mixed.shared[0].read(1), mixed.shared[1].read(1)),
        (0xc1, 0xc1),
        "what the child wrote to share"
    );
    let private = mixed.private.iter().chain(&mixed.neighbours).all(|region| region.first_difference(mark).is_none());
    claim!(report, private, "private memory after the child's writes");
    own_info();
    let faults = own_info().faults;
    mixed.shared[0].write(2, 0xa1);
    mixed.own[0].write(0, 0xa2);
    claim_eq!(report, own_info().faults, faults, "faults of writes to what is shared and to what is not inherited");
    mixed.private[0].write(byte(1), 0xa3);
    mixed.own[1].write(0, 0xa4);
    mixed.neighbours.iter().for_each(|neighbour| neighbour.write(byte(1), 0xa5));
    steps.reach(3);
    claim_success(report, &child, format_args!("the child (1: what it got, 3: shared, 4: private, 8: beside)"));

    let expected = |page: usize| if page == 1 { 0xa3 } else { mark(page) };
    claim_eq!(report, mixed.private[0].first_difference(expected), None, "a private page after the child's end");
    claim_eq!(report, mixed.private[1].first_difference(mark), None, "a page that the child has written for itself");
    let expected = |page: usize| if page == 1 { 0xa5 } else { mark(page) };
    for neighbour in &mixed.neighbours {
        let address = neighbour.address();
        claim_eq!(report, neighbour.first_difference(expected), None, "a page at {address:#x}");
    }
    claim_eq!(report, (mixed.own[0].read(0), mixed.own[1].read(0)), (0xa2, 0xa4), "what is not inherited");
    forbidden(test, &mixed)
}

/// Changes that no child may make to inherited memory.
fn forbidden(test: Test<'_>, mixed: &Mixed) -> Result<(), Error> {
    let cases: [(&str, &Region, FaultKind); 3] = [
        ("a mapping to read", &mixed.shared[1], FaultKind::WriteDenied),
        ("the archive", &mixed.archive, FaultKind::WriteDenied),
        ("what it did not inherit", &mixed.own[0], FaultKind::Unmapped),
    ];
    for (what, region, fault) in cases {
        let child = Process::fork_into(test.share, || {
            region.write(0, 1);
            0
        })?;
        claim_end(test.report, &child, ExitStatus::Faulted(fault), format_args!("a child that writes to {what}"));
    }
    Ok(())
}
