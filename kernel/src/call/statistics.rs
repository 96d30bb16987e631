//! Calls that only look: at processes, at their tables, at the system.

#![forbid(unsafe_code)]

use super::outcome::named_process;
use crate::arch::{self, MAX_CORES, timer};
use crate::memory::{frames, user_copy};
use crate::object::process::Process;
use crate::object::system::System;
use crate::object::thread::Thread;
use crate::platform::platform;
use crate::trace::{self, Copied};
use crate::{lock, sched};
use core::mem::size_of;
use core::ops::ControlFlow;
use graft_abi::{
    CORES_MAX, EntryKind, EntryRecord, Error, Handle, MemorySizes, PAGE_SIZE, Permissions, Rights, SystemInfo,
    TablesRequest, ThreadInfo, TraceEvent, TraceRequest, USER_END,
};
use graft_paging::{Entry, Kind, Level, PartialSizes, Place, Visit};

/// Records gathered at once on the kernel's stack.
const BATCH: usize = 16;
/// Most records of one call, so that it ends soon; the caller goes on with another.
const RECORDS_MAX: usize = 64;
/// Most events that one call copies, likewise.
const EVENTS_MAX: usize = 64;
/// Most descriptors that are looked at for one batch, empty ones included.
const LOOKS: u32 = 128;
/// Most descriptors that one call adds up, likewise.
const DESCRIPTORS_MAX: usize = 64;
const _: () = assert!(graft_paging::Sizes::PART_BITS == MemorySizes::PART_BITS && MAX_CORES <= CORES_MAX);

/// The result of a look at another process's memory.
pub(super) enum Look {
    /// The call answers this.
    Done(u64),
    /// The memory is busy: the caller lets others go first, and makes its call again.
    Busy,
}

/// `process_info`.
pub(super) fn process_info(thread: &Thread, handle: Handle, result: u64) -> Result<u64, Error> {
    let info = named_process(thread, handle, Rights::INSPECT)?.info();
    user_copy::write_figures(&*thread.process, result, &info)?;
    Ok(0)
}

/// `thread_info`.
pub(super) fn thread_info(thread: &Thread, handle: Handle, result: u64) -> Result<u64, Error> {
    if handle == Handle::SELF {
        return write_thread_info(&thread.process, thread, result);
    }
    let named = thread.process.object::<Thread>(handle, Rights::INSPECT)?;
    write_thread_info(&thread.process, &named, result)
}

fn write_thread_info(caller: &Process, thread: &Thread, result: u64) -> Result<u64, Error> {
    let (times, clock) = sched::times_now(thread);
    let scheduling = thread.scheduling();
    let info = ThreadInfo {
        own_time: timer::to_nanoseconds(times.own),
        caller_time: timer::to_nanoseconds(times.callers),
        clock: timer::to_nanoseconds(clock),
        priority: thread.priority().into(),
        own_priority: scheduling.priority().into(),
        limit: scheduling.limit().into(),
        cores: scheduling.cores() & sched::online_cores(),
    };
    user_copy::write_figures(caller, result, &info)?;
    Ok(0)
}

/// `system_info`.
pub(super) fn system_info(process: &Process, handle: Handle, result: u64) -> Result<u64, Error> {
    process.object::<System>(handle, Rights::INSPECT)?;
    let frames = frames::figures();
    let (lock_waits, lock_turns) = lock::waited();
    let mut machine = [0; 32];
    for (to, &from) in machine.iter_mut().zip(platform().machine.as_bytes()).take(31) {
        *to = from;
    }
    let now = timer::counts();
    let (mut core_times, mut idle_times) = ([0; CORES_MAX], [0; CORES_MAX]);
    for (core, (time, idle)) in core_times.iter_mut().zip(&mut idle_times).enumerate().take(MAX_CORES) {
        let counts = sched::core_times(core, now);
        (*time, *idle) = (timer::to_nanoseconds(counts.0), timer::to_nanoseconds(counts.1));
    }
    let info = SystemInfo {
        total_frames: frames.total,
        free_frames: frames.free,
        table_frames: frames.tables,
        page_frames: frames.pages,
        object_frames: frames.objects,
        committed_frames: frames::committed(),
        cores: sched::online(),
        lock_waits,
        lock_turns,
        processes: Process::alive(),
        clock: timer::to_nanoseconds(now),
        core_times,
        idle_times,
        gone_time: timer::to_nanoseconds(Process::gone_time()),
        machine,
    };
    user_copy::write_figures(process, result, &info)?;
    Ok(0)
}

/// A place in a tour as programs see it: the address of a page, with the level in its low bits.
fn cursor(place: Place) -> u64 {
    place.address | place.level.number() as u64
}

/// `memory_sizes`: how much of a process's memory is its own, step by step.
pub(super) fn memory_sizes(thread: &Thread, handle: Handle, request: u64) -> Result<Look, Error> {
    let caller = &*thread.process;
    let target = named_process(thread, handle, Rights::INSPECT)?;
    let mut wanted: MemorySizes = user_copy::read(caller, request)?;
    let level = Level::new((wanted.cursor % 16) as u8).ok_or(Error::BadArgument)?;
    let from = Place { address: wanted.cursor & !(PAGE_SIZE as u64 - 1), level };
    // Unlocked before the answer is stored: the caller may be looking at itself.
    let Some(tree) = target.space.lock_to_look()? else { return Ok(Look::Busy) };
    let PartialSizes { sizes, next } = tree.sizes(from, DESCRIPTORS_MAX);
    drop(tree);
    wanted.cursor = next.map_or(USER_END as u64, cursor);
    for (sum, more) in [
        (&mut wanted.private_pages, sizes.private_pages),
        (&mut wanted.shared_pages, sizes.shared_pages),
        (&mut wanted.private_tables, sizes.private_tables),
        (&mut wanted.shared_tables, sizes.shared_tables),
        (&mut wanted.parts, sizes.parts),
    ] {
        *sum = sum.wrapping_add(more);
    }
    user_copy::write(caller, request, &[wanted])?;
    Ok(Look::Done(0))
}

/// `trace`: what this core has done.
pub(super) fn trace(process: &Process, handle: Handle, request: u64) -> Result<u64, Error> {
    process.object::<System>(handle, Rights::INSPECT)?;
    let mut wanted: TraceRequest = user_copy::read(process, request)?;
    let core = usize::try_from(wanted.core).ok().filter(|&core| core < MAX_CORES).ok_or(Error::BadArgument)?;
    if sched::online_cores() >> core & 1 == 0 {
        return Err(Error::BadArgument);
    }
    if core != arch::core_index() {
        return Err(Error::NotReady);
    }
    let room = usize::try_from(wanted.capacity).unwrap_or(usize::MAX).min(EVENTS_MAX);
    if room == 0 {
        return Err(Error::BadLength);
    }
    let mut events = [TraceEvent::default(); EVENTS_MAX];
    let Copied { first, count } = trace::copy(wanted.next, &mut events[..room]);
    user_copy::write(process, wanted.events, &events[..count])?;
    wanted.lost = first.saturating_sub(wanted.next);
    wanted.next = first.wrapping_add(count as u64);
    user_copy::write(process, request, &[wanted])?;
    Ok(count as u64)
}

/// `trace_switch`.
pub(super) fn trace_switch(process: &Process, handle: Handle, on: u64) -> Result<u64, Error> {
    process.object::<System>(handle, Rights::INSPECT)?;
    match on {
        0 | 1 => Ok(trace::switch(on == 1).into()),
        _ => Err(Error::BadArgument),
    }
}

/// `next_process`: a handle to the process after the one with this identifier.
pub(super) fn next_process(process: &Process, handle: Handle, identifier: u64) -> Result<(u64, u64), Error> {
    process.object::<System>(handle, Rights::INSPECT)?;
    let next = Process::next_after(identifier).ok_or(Error::NotFound)?;
    let identifier = next.identifier();
    let handle = process.handles.lock().insert(next.erase(), Rights::INSPECT)?;
    Ok((handle.0.into(), identifier))
}

/// `tables`: the descriptors of a process's translation tables.
pub(super) fn tables(thread: &Thread, handle: Handle, request: u64) -> Result<Look, Error> {
    let caller = &*thread.process;
    let target = named_process(thread, handle, Rights::INSPECT)?;
    let mut wanted: TablesRequest = user_copy::read(caller, request)?;
    let deepest = u8::try_from(wanted.deepest).ok().and_then(Level::new).ok_or(Error::BadArgument)?;
    let level = Level::new((wanted.cursor % 16) as u8).ok_or(Error::BadArgument)?;
    if wanted.padding != 0 {
        return Err(Error::BadArgument);
    }
    let capacity = usize::try_from(wanted.capacity).unwrap_or(usize::MAX).min(RECORDS_MAX);
    if capacity == 0 {
        return Err(Error::BadLength);
    }
    let end = wanted.end.min(USER_END as u64).next_multiple_of(PAGE_SIZE as u64);
    let mut from = Place { address: wanted.cursor & !(PAGE_SIZE as u64 - 1), level };
    let mut stored = 0;
    loop {
        let mut batch = [EntryRecord::default(); BATCH];
        let room = BATCH.min(capacity - stored);
        let mut count = 0;
        // Unlocked before the records are stored: the caller may be looking at itself.
        let Some(tree) = target.space.lock_to_look()? else {
            if stored == 0 {
                return Ok(Look::Busy);
            }
            // What there is so far; the caller goes on from there.
            wanted.cursor = cursor(from);
            break;
        };
        let stopped = tree.visit_some(from, end, deepest, LOOKS, |visit| {
            if count == room {
                return ControlFlow::Break(visit.place());
            }
            batch[count] = record(&visit);
            count += 1;
            ControlFlow::Continue(())
        });
        drop(tree);
        let offset = (stored * size_of::<EntryRecord>()) as u64;
        let address = wanted.records.checked_add(offset).ok_or(Error::BadAddress)?;
        user_copy::write(caller, address, &batch[..count])?;
        stored += count;
        match stopped {
            ControlFlow::Break(next) if stored < capacity && count == room => from = next,
            ControlFlow::Break(next) => {
                wanted.cursor = cursor(next);
                break;
            }
            ControlFlow::Continue(()) => {
                wanted.cursor = end.max(from.address);
                break;
            }
        }
    }
    user_copy::write(caller, request, &[wanted])?;
    Ok(Look::Done(stored as u64))
}

fn record(visit: &Visit<arch::Format>) -> EntryRecord {
    let (kind, permissions) = match visit.entry {
        // A table says nothing about permissions; empty entries are not shown.
        Entry::Empty | Entry::Table(_) => (EntryKind::Table, Permissions::None),
        Entry::Reserved(reservation) => (EntryKind::Reserved, permissions(reservation.permissions)),
        Entry::Page(page) => (page_kind(page.kind), permissions(page.permissions)),
    };
    EntryRecord {
        address: visit.address.get(),
        descriptor: visit.descriptor.raw(),
        table: visit.table.address(),
        references: visit.references,
        level: visit.level.number() as u8,
        kind: kind as u8,
        permissions: permissions as u8,
        writable_now: visit.writable_now.into(),
        pages_below: visit.pages_below,
        tables_below: visit.tables_below,
    }
}

const fn page_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::Private => EntryKind::Page,
        Kind::Shared => EntryKind::SharedPage,
        Kind::NoInherit => EntryKind::NoInheritPage,
        Kind::Zero => EntryKind::ZeroPage,
        Kind::Foreign | Kind::Device => EntryKind::ForeignPage,
    }
}

const fn permissions(permissions: graft_paging::Permissions) -> Permissions {
    match permissions {
        graft_paging::Permissions::None => Permissions::None,
        graft_paging::Permissions::Read => Permissions::Read,
        graft_paging::Permissions::ReadWrite => Permissions::ReadWrite,
        graft_paging::Permissions::ReadExecute => Permissions::ReadExecute,
    }
}
