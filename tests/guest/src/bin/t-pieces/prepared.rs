//! What a case begins with: memory, and the tables that lead to it.

use graft_rt::message::Endpoint;
use graft_rt::supervise::Stopped;
use graft_rt::{Error, Permissions, Process, memory};

use crate::{MIB, PAGE};

pub(crate) const GIB: usize = 1 << 30;
pub(crate) const BASE: usize = 0x80_0000_0000;
pub(crate) const ELSEWHERE: usize = 0x100_0000_0000;
pub(crate) const TEBIBYTE: usize = 1 << 40;

pub(crate) fn touch(address: usize, bytes: usize, step: usize) {
    for offset in (0..bytes).step_by(step) {
        // SAFETY: the caller has mapped it to be read and written.
        unsafe { ((address + offset) as *mut u8).write_volatile(1) };
    }
}

pub(crate) fn look(address: usize, bytes: usize) {
    for offset in (0..bytes).step_by(PAGE) {
        // SAFETY: the caller has mapped it to be read.
        unsafe { ((address + offset) as *const u8).read_volatile() };
    }
}

/// A table of each level on the way to [`BASE`] without an empty entry.
pub(crate) fn three_full_tables() -> Result<(), Error> {
    memory::map(BASE, 512 * GIB, Permissions::ReadWrite)?;
    touch(BASE, 512 * GIB, GIB);
    touch(BASE, GIB, 2 * MIB);
    touch(BASE, 2 * MIB, PAGE);
    Ok(())
}

/// Where two pages lie that have never been touched, side by side below different entries of the root, with nothing but
/// full tables of levels 1 and 2 on the way to either: the middle of what is returned, which is a page long.
pub(crate) fn two_reservations_beside_full_tables() -> Result<usize, Error> {
    const BORDER: usize = ELSEWHERE + 512 * GIB;
    memory::map(ELSEWHERE, TEBIBYTE, Permissions::ReadWrite)?;
    touch(ELSEWHERE + 4 * MIB, TEBIBYTE - 4 * MIB, GIB);
    touch(BORDER - GIB, GIB - 2 * MIB, 2 * MIB);
    touch(BORDER + 2 * MIB, GIB - 2 * MIB, 2 * MIB);
    Ok(BORDER - PAGE / 2)
}

/// Gives the last segment of a program file another 16 pages, which are not there yet. Returns how long the file is
/// with them.
pub(crate) fn lengthened(image: &mut [u8]) -> usize {
    const MORE: u64 = 16 * PAGE as u64;
    let word = |image: &[u8], at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap_or_default());
    let (headers, count) = (word(image, 32) as usize, usize::from(image[56]));
    // Of 56 bytes each; a loadable one begins with a 1.
    let loaded = (0..count).map(|index| headers + 56 * index).filter(|&at| image[at] == 1);
    let last = loaded.max_by_key(|&at| word(image, at + 8)).unwrap_or(headers);
    let bytes = word(image, last + 32) + MORE;
    let room = bytes.max(word(image, last + 40));
    image[last + 32..last + 40].copy_from_slice(&bytes.to_le_bytes());
    image[last + 40..last + 48].copy_from_slice(&room.to_le_bytes());
    (word(image, last + 8) + bytes) as usize
}

pub(crate) fn touched(bytes: usize) -> Result<(), Error> {
    memory::map(BASE, bytes, Permissions::ReadWrite)?;
    touch(BASE, bytes, PAGE);
    Ok(())
}

/// Has what is done to a process that has touched so much, and stands still, measured from `marked` on; and its end.
pub(crate) fn with_stopped(
    bytes: usize,
    marked: &dyn Fn(),
    act: impl FnOnce(Stopped<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let (connection, receiver) = (endpoint.connect(0)?, endpoint.receiver()?);
    let process = Process::empty(&connection, "stopped")?;
    receiver.receive()?;
    let stopped = receiver.stopped();
    stopped.map(BASE, bytes, Permissions::ReadWrite)?;
    for offset in (0..bytes).step_by(PAGE) {
        process.write_memory(BASE + offset, &[1])?;
    }
    marked();
    act(stopped)?;
    process.kill(0)?;
    process.wait().map(drop)
}
