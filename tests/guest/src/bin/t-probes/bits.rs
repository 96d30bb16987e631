//! What software keeps in descriptors: kind, permission to become writable, reservations.

use alloc::vec::Vec;

use graft_rt::abi::{EntryKind, EntryRecord, PAGE_SIZE};
use graft_rt::memory::{self, Inherit, Shared};
use graft_rt::tables::mapped;
use graft_rt::test::depths::{EDGE, TABLE, Test, byte};
use graft_rt::test::{Steps, claim_success};
use graft_rt::{Error, Handle, Permissions, Process, Region, claim, claim_eq};

/// `AP[2]` of a page descriptor: the one bit that comes and goes with copy-on-write.
const READ_ONLY: u64 = 1 << 7;
/// Bits 58 to 55 of a page descriptor, which the processor ignores.
const SOFTWARE: u64 = 0b1111 << 55;
/// The output address.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// A page of each kind that a program can have, in this order.
struct Kinds {
    private: Region,
    _zero: Region,
    _shared: Region,
    _own: Region,
    _archive: Region,
}

const KINDS: [EntryKind; 5] =
    [EntryKind::Page, EntryKind::ZeroPage, EntryKind::SharedPage, EntryKind::NoInheritPage, EntryKind::ForeignPage];
/// Those whose permission to write can be given up and regained.
const REGAIN: [bool; 5] = [true, true, false, true, false];
/// And those that a child gets.
const INHERITED: [bool; 5] = [true, true, true, false, true];

impl Kinds {
    fn new() -> Result<Kinds, Error> {
        let at = |page| EDGE + byte(page);
        let kinds = Kinds {
            private: Region::at(at(0), PAGE_SIZE)?,
            _zero: Region::at(at(1), PAGE_SIZE)?,
            _shared: Shared::new(PAGE_SIZE)?.map_at(at(2), Permissions::ReadWrite)?,
            _own: Region::with(at(3), PAGE_SIZE, Inherit::No)?,
            _archive: archive_at(at(4))?,
        };
        kinds.private.write(0, 1);
        kinds._zero.read(0);
        kinds._own.write(0, 1);
        Ok(kinds)
    }
}

/// The first page of the archive.
fn archive_at(address: usize) -> Result<Region, Error> {
    let (_, bytes) = memory::map_object(Handle::ARCHIVE, address, Permissions::Read)?;
    // SAFETY: mapped just now, and no reference to it exists.
    #[allow(unsafe_code)]
    unsafe {
        memory::unmap(address + PAGE_SIZE, bytes.next_multiple_of(PAGE_SIZE) - PAGE_SIZE)?;
        Ok(Region::from_raw(address, PAGE_SIZE))
    }
}

/// The descriptors of the pages, but for [`READ_ONLY`].
fn descriptors() -> Result<Vec<u64>, Error> {
    Ok(mapped(EDGE..EDGE + byte(KINDS.len()))?.map(|record| record.descriptor & !READ_ONLY).collect())
}

fn protect(page: usize, permissions: Permissions) -> Result<(), Error> {
    memory::protect(EDGE + byte(page), PAGE_SIZE, permissions)
}

pub(crate) fn pages(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    let kinds = Kinds::new()?;
    let found: Vec<u8> = mapped(EDGE..EDGE + byte(KINDS.len()))?.map(|record| record.kind).collect();
    claim_eq!(report, found, KINDS.map(|kind| kind as u8), "the kinds of the pages");
    let before = descriptors()?;
    let different: Vec<u64> = before.iter().map(|raw| raw & SOFTWARE).collect();
    claim!(
        report,
        (1..different.len()).all(|index| !different[..index].contains(&different[index])),
        "each kind has bits of its own: {different:x?}"
    );

    // Permissions down and up again, alone and while a child shares the table.
    let change = || -> Result<bool, Error> {
        let mut same = true;
        for (page, regain) in REGAIN.into_iter().enumerate() {
            let back = if regain { Permissions::ReadWrite } else { Permissions::Read };
            if !regain {
                protect(page, back)?;
            }
            let start = descriptors()?;
            for down in [Permissions::Read, Permissions::None] {
                protect(page, down)?;
                let kept = ADDRESS | SOFTWARE & !(1 << 55);
                same &= descriptors()?.iter().zip(&start).all(|(now, then)| (now ^ then) & kept == 0);
            }
            protect(page, back)?;
            same &= descriptors()? == start;
        }
        Ok(same)
    };
    let steps = Steps::new()?;
    let child = Process::fork_into(test.share, || {
        let gets = |all: &[u64]| -> Vec<u64> {
            all.iter().zip(INHERITED).filter(|(_, inherited)| *inherited).map(|(raw, _)| *raw).collect()
        };
        if descriptors() != Ok(gets(&before)) {
            return 1;
        }
        // A write splits the table and copies the page: its descriptor changes its address, and the others nothing.
        kinds.private.write(0, 2);
        let now = descriptors().unwrap_or_default();
        let copied =
            now.first().is_some_and(|raw| (raw ^ before[0]) & !ADDRESS == 0 && raw & ADDRESS != before[0] & ADDRESS);
        if !copied || now.get(1..) != gets(&before).get(1..) {
            return 2;
        }
        i32::from(!steps.wait(1)) * 3
    })?;
    claim_eq!(report, descriptors()?, before, "the parent's descriptors after the fork");
    claim!(report, change()?, "the parent's descriptors through changes of permissions while a child lives");
    steps.reach(1);
    claim_success(report, &child, format_args!("the child (1: not what it was to get, 2: the split)"));
    claim!(report, change()?, "the parent's descriptors through changes of permissions alone");
    Ok(())
}

pub(crate) fn reservations(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    // At every level: pages, a whole table, 1 GiB, 512 GiB.
    let lengths = [byte(3), 2 << 20, 1 << 30, 1 << 39];
    let start = 1 << 41;
    for (number, bytes) in lengths.into_iter().enumerate() {
        let address = start + number * (1 << 40);
        for inherit in [Inherit::Yes, Inherit::No] {
            let memory = Region::with(address, bytes, inherit)?;
            let look = || -> Result<Vec<EntryRecord>, Error> { Ok(mapped(address..address + bytes)?.collect()) };
            let before = look()?;
            claim_eq!(report, before.len(), if number == 0 { 3 } else { 1 }, "descriptors for {bytes:#x} bytes");
            for down in [Permissions::None, Permissions::Read, Permissions::ReadWrite] {
                let child = Process::fork_into(test.share, || {
                    let gets = if inherit == Inherit::Yes { before.len() } else { 0 };
                    i32::from(look().map(|all| all.len()) != Ok(gets))
                })?;
                claim_success(report, &child, format_args!("a child of a parent with a reservation of {bytes:#x}"));
                memory.protect(0..bytes, down)?;
            }
            claim_eq!(report, look()?, before, "a reservation of {bytes:#x} bytes ({inherit:?}) after all permissions");
            // In the middle of one: what is split off keeps the rest of the bits.
            memory.protect(byte(1)..byte(2), Permissions::Read)?;
            memory.protect(byte(1)..byte(2), Permissions::ReadWrite)?;
            let pages = look()?;
            let raw: Vec<u64> = pages.iter().map(|record| record.descriptor).collect();
            claim!(
                report,
                raw.iter().all(|&raw| raw == before[0].descriptor),
                "all parts of {bytes:#x} bytes: {raw:x?}"
            );
            claim!(report, number == 0 || raw.len() >= TABLE, "{bytes:#x} bytes in {} parts", raw.len());
        }
    }
    Ok(())
}
