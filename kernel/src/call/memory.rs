//! Calls about memory: the caller's own, or that of a process whose stopped thread the caller acts for.

#![forbid(unsafe_code)]

use super::outcome::Outcome;
use crate::memory::change::{self as changes, check_length, range as checked};
use crate::memory::space::Locked;
use crate::object::Ref;
use crate::object::memory::MemoryObject;
use crate::object::pieces::{Edited, Moved};
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::sched::work::Task;
use graft_abi::{Error, Handle, MAP_BASE, MAP_NO_INHERIT, Permissions, Rights};
use graft_paging::{Change, Inherit, Progress, Reservation, Search, VirtAddr, VirtRange};

/// `map`: reserves demand-zero memory.
pub(super) fn map(
    thread: &Thread,
    process: &Ref<Process>,
    address: u64,
    bytes: u64,
    permissions: u64,
    flags: u64,
) -> Result<Outcome, Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let inherit = match flags {
        0 => Inherit::Yes,
        MAP_NO_INHERIT => Inherit::No,
        _ => return Err(Error::BadArgument),
    };
    // As `protect` has it.
    if inherit == Inherit::No && permissions == Permissions::ReadExecute {
        return Err(Error::NotAllowed);
    }
    let Some(tree) = process.space.lock_to_change()? else { return Ok(Outcome::Busy) };
    let Some(range) = place(thread, &tree, address, bytes)? else { return Ok(Outcome::Searching) };
    let reservation = Reservation { permissions: changes::permissions(permissions), inherit };
    let result = change(thread, process, tree, range, Change::Reserve(reservation), None, (range.start(), 0));
    keep_place(thread, address, range, result)
}

/// `unmap`: removes everything that is mapped in a range.
pub(super) fn unmap(thread: &Thread, process: &Ref<Process>, address: u64, bytes: u64) -> Result<Outcome, Error> {
    let range = checked(address, bytes)?;
    let Some(tree) = process.space.lock_to_change()? else { return Ok(Outcome::Busy) };
    change(thread, process, tree, range, Change::Unmap, None, (0, 0))
}

/// `protect`: changes what is mapped in a range.
pub(super) fn protect(
    thread: &Thread,
    process: &Ref<Process>,
    address: u64,
    bytes: u64,
    permissions: u64,
) -> Result<Outcome, Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let range = checked(address, bytes)?;
    let Some(tree) = process.space.lock_to_change()? else { return Ok(Outcome::Busy) };
    change(thread, process, tree, range, Change::Protect(changes::permissions(permissions)), None, (0, 0))
}

/// `discard`: gives up the content of private memory.
pub(super) fn discard(thread: &Thread, process: &Ref<Process>, address: u64, bytes: u64) -> Result<Outcome, Error> {
    let range = checked(address, bytes)?;
    let Some(tree) = process.space.lock_to_change()? else { return Ok(Outcome::Busy) };
    change(thread, process, tree, range, Change::Discard, None, (0, 0))
}

/// `move`: gives what is mapped in a range other addresses.
pub(super) fn relocate(
    thread: &Thread,
    process: &Ref<Process>,
    from: u64,
    bytes: u64,
    to: u64,
) -> Result<Outcome, Error> {
    let from = checked(from, bytes)?;
    let Some(tree) = process.space.lock_to_change()? else { return Ok(Outcome::Busy) };
    let Some(range) = place(thread, &tree, to, bytes)? else { return Ok(Outcome::Searching) };
    let answer = (range.start(), 0);
    let later = |moved| thread.work.give(Some(Task::Move(moved, answer)));
    let result = Moved::begin(process, tree, from, range, later).map(|progress| match progress {
        Progress::Done => Outcome::Done(answer),
        Progress::More => Outcome::Begun,
    });
    keep_place(thread, to, range, result)
}

/// Whether `memory_create` wants more than the machine has, which no retry can help.
pub(super) fn is_hopeless(bytes: u64) -> bool {
    check_length(bytes).is_ok() && !MemoryObject::is_possible(bytes)
}

/// `memory_create`: a memory object of zeroes.
pub(super) fn create(thread: &Thread, bytes: u64) -> Result<Outcome, Error> {
    check_length(bytes)?;
    let mut making = MemoryObject::zeroed(bytes)?;
    Ok(match making.step()? {
        Progress::Done => Outcome::Done((making.finish(&thread.process.handles)?, 0)),
        Progress::More => {
            thread.work.give(Some(Task::Create(making)));
            Outcome::Begun
        }
    })
}

/// `map_object`: maps a memory object whole.
pub(super) fn map_object(
    thread: &Thread,
    process: &Ref<Process>,
    handle: Handle,
    address: u64,
    permissions: u64,
) -> Result<Outcome, Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let needed = if permissions == Permissions::ReadWrite { Rights::READ.or(Rights::WRITE) } else { Rights::READ };
    let memory = thread.process.object::<MemoryObject>(handle, needed)?;
    let mapping = memory.mapping(permissions)?;
    let Some(tree) = process.space.lock_to_change()? else { return Ok(Outcome::Busy) };
    let Some(range) = place(thread, &tree, address, memory.mapped_length())? else { return Ok(Outcome::Searching) };
    let answer = (range.start(), memory.length());
    let result = change(thread, process, tree, range, mapping, Some(memory), answer);
    keep_place(thread, address, range, result)
}

/// Changes a range of a process's memory; the call has this answer in the end.
#[inline(always)]
fn change(
    thread: &Thread,
    process: &Ref<Process>,
    tree: Locked<'_>,
    range: VirtRange,
    change: Change,
    object: Option<Ref<MemoryObject>>,
    answer: (u64, u64),
) -> Result<Outcome, Error> {
    let later = |edited| thread.work.give(Some(Task::Edit(edited, answer)));
    Ok(match Edited::begin(process, tree, (range, change), object, later)? {
        Progress::Done => Outcome::Done(answer),
        Progress::More => Outcome::Begun,
    })
}

/// Descriptors that are looked at before interrupts are answered.
const LOOKS: u32 = 500;

/// The range for a new mapping: where the program wants it, or, at address 0, where there is room. `None`: the search
/// goes on when the call is made again.
fn place(thread: &Thread, tree: &Locked<'_>, address: u64, bytes: u64) -> Result<Option<VirtRange>, Error> {
    if address != 0 {
        return checked(address, bytes).map(Some);
    }
    // The program has named no address that could be wrong: there are too few addresses.
    let range = checked(MAP_BASE as u64, bytes).map_err(|error| match error {
        Error::BadAddress => Error::AddressesExhausted,
        other => other,
    })?;
    let base = VirtAddr::new(range.start().max(thread.work.take_search())).ok_or(Error::BadAddress)?;
    match tree.search_gap(base, bytes, LOOKS) {
        Search::Found(start) => checked(start.get(), bytes).map(Some),
        Search::Nowhere => Err(Error::AddressesExhausted),
        Search::Later(start) => {
            thread.work.note_search(start.get());
            Ok(None)
        }
    }
}

/// Has a call that is made again for want of memory begin where it has found room, or it would search each time anew,
/// and never be refused.
#[inline(always)]
fn keep_place(
    thread: &Thread,
    address: u64,
    found: VirtRange,
    result: Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    if address == 0 && matches!(result, Err(Error::OutOfMemory)) {
        thread.work.note_search(found.start());
    }
    result
}
