//! What Linux tells and lets be set: files, `/proc`, the scheduling policy.

use core::ffi::CStr;
use core::ptr;

use crate::call::{Call, Refused, call};

/// Stands for the current folder where a file is named.
const CURRENT_FOLDER: usize = -100_isize as usize;
const READ_ONLY: usize = 0;
const WRITE_ONLY: usize = 1;
/// The policy under which a process runs until it sleeps or gives way.
const SCHED_FIFO: usize = 1;
const PRIORITY: u32 = 50;

/// A small file's text.
pub(crate) struct Text {
    bytes: [u8; 4096],
    length: usize,
}

impl Text {
    /// The text; nothing where it is not UTF-8.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Mounts `/proc`.
pub(crate) fn mount() -> Result<(), Refused> {
    let (folder, kind) = (c"/proc".as_ptr().addr(), c"proc".as_ptr().addr());
    // SAFETY: Linux only reads the texts.
    unsafe {
        call(Call::Mkdirat, [CURRENT_FOLDER, folder, 0o755])?;
        call(Call::Mount, [kind, folder, kind])?;
    }
    Ok(())
}

/// Keeps Linux from running anything else while this process, or a child of it, has something to do.
pub(crate) fn run_alone() -> Result<(), Refused> {
    // Otherwise one twentieth of each second is kept for the others.
    write_file(c"/proc/sys/kernel/sched_rt_runtime_us", b"-1")?;
    // SAFETY: Linux only reads the number.
    unsafe { call(Call::SchedSetscheduler, [0, SCHED_FIFO, ptr::from_ref(&PRIORITY).addr()])? };
    Ok(())
}

/// Bytes of this process's translation tables, as Linux counts them: without the one at the root.
pub(crate) fn table_bytes() -> Result<u64, Refused> {
    let status = read_file(c"/proc/self/status")?;
    let line = status.as_str().lines().find_map(|line| line.strip_prefix("VmPTE:"));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    Ok(number.expect("VmPTE is in /proc/self/status") * 1024)
}

/// A file's beginning, as far as it fits.
pub(crate) fn read_file(path: &CStr) -> Result<Text, Refused> {
    let mut text = Text { bytes: [0; 4096], length: 0 };
    let file = open(path, READ_ONLY)?;
    text.length = read(file, &mut text.bytes)?;
    close(file)?;
    Ok(text)
}

fn write_file(path: &CStr, text: &[u8]) -> Result<(), Refused> {
    let file = open(path, WRITE_ONLY)?;
    write(file, text)?;
    close(file)
}

/// Reads from an open file; returns how many bytes there were.
pub(crate) fn read(file: usize, buffer: &mut [u8]) -> Result<usize, Refused> {
    // SAFETY: Linux stores no more than the buffer's length to it.
    unsafe { call(Call::Read, [file, buffer.as_mut_ptr().addr(), buffer.len()]) }
}

/// Writes to an open file; returns how much of `text` it has taken.
pub(crate) fn write(file: usize, text: &[u8]) -> Result<usize, Refused> {
    // SAFETY: Linux only reads the text.
    unsafe { call(Call::Write, [file, text.as_ptr().addr(), text.len()]) }
}

fn open(path: &CStr, flags: usize) -> Result<usize, Refused> {
    // SAFETY: Linux only reads the path.
    unsafe { call(Call::Openat, [CURRENT_FOLDER, path.as_ptr().addr(), flags]) }
}

/// Closes an open file.
pub(crate) fn close(file: usize) -> Result<(), Refused> {
    // SAFETY: touches no memory.
    unsafe { call(Call::Close, [file]).map(drop) }
}
