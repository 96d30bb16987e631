//! The operations, each done to one fresh process.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use graft_rt::abi::{ARGUMENTS_MAX, Call, MAP_BASE, STACK_SIZE, STACK_TOP, Segment, SpawnRequest, THREADS_MAX, Text};
use graft_rt::call::raw;
use graft_rt::elf::stack;
use graft_rt::memory::Inherit;
use graft_rt::message::{Endpoint, Message};
use graft_rt::notification::Notification;
use graft_rt::process::{exec, memory_sizes, sleep, wait};
use graft_rt::{Error, ExitStatus, Handle, Permissions, Process, Share, memory, snapshot, sync, tables};

use crate::prepared::*;
use crate::{Board, MIB, PAGE, waiters};

/// What is done to one fresh process.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Prepares it; then the marked part.
    pub(crate) run: fn(usize, &dyn Fn()) -> Result<(), Error>,
}

macro_rules! cases {
    ($($name:literal: |$bytes:ident, $marked:ident| $body:block)*) => {
        &[$(Case { name: $name, run: |$bytes, $marked| { $body; Ok(()) } }),*]
    };
}

/// Each in a process of its own. The end of the process is measured, too, as the end of each case.
pub(crate) const CASES: &[Case] = cases! {
    "exit of nothing": |_bytes, marked| { marked() }
    "exit": |bytes, marked| { touched(bytes)?; marked() }
    "unmap": |bytes, marked| {
        touched(bytes)?;
        marked();
        // SAFETY: nothing lives there.
        unsafe { memory::unmap(BASE, bytes) }?
    }
    "unmap, but a page at each end": |bytes, marked| {
        touched(bytes)?;
        marked();
        // SAFETY: nothing lives there.
        unsafe { memory::unmap(BASE + PAGE, bytes - 2 * PAGE) }?
    }
    "unmap of a child's, l3": |bytes, marked| {
        touched(bytes)?;
        let child = Process::fork_into(Share::L3, || 0)?;
        touch(BASE, bytes, 4 * MIB);
        marked();
        // SAFETY: nothing lives there.
        unsafe { memory::unmap(BASE + PAGE, bytes - PAGE) }?;
        drop(child)
    }
    "map and unmap a tebibyte": |_bytes, marked| {
        marked();
        memory::map(BASE + PAGE, TEBIBYTE, Permissions::ReadWrite)?;
        // SAFETY: nothing lives there.
        unsafe { memory::unmap(BASE + PAGE, TEBIBYTE) }?
    }
    "unmap a tebibyte, a page in each 2 MiB": |bytes, marked| {
        memory::map(BASE, TEBIBYTE, Permissions::ReadWrite)?;
        touch(BASE + 512 * MIB, bytes * 8, 2 * MIB);
        marked();
        // SAFETY: nothing lives there.
        unsafe { memory::unmap(BASE + PAGE, TEBIBYTE - PAGE) }?
    }
    "protect, read": |bytes, marked| { touched(bytes)?; marked(); memory::protect(BASE, bytes, Permissions::Read)? }
    "protect, execute": |bytes, marked| {
        touched(bytes)?;
        marked();
        memory::protect(BASE, bytes, Permissions::ReadExecute)?
    }
    "protect pages of zeroes, execute": |bytes, marked| {
        memory::map(BASE, bytes, Permissions::ReadWrite)?;
        look(BASE, bytes);
        marked();
        memory::protect(BASE, bytes, Permissions::ReadExecute)?
    }
    "protect, shared l1": |bytes, marked| {
        touched(bytes)?;
        let child = Process::fork_into(Share::L1, || { sleep(Duration::from_millis(500)); 0 })?;
        marked();
        memory::protect(BASE, bytes, Permissions::Read)?;
        child.wait()?
    }
    "discard": |bytes, marked| {
        touched(bytes)?;
        marked();
        // SAFETY: nothing lives there.
        unsafe { memory::discard(BASE, bytes) }?
    }
    "memory_create": |bytes, marked| { marked(); memory::Shared::new(bytes)? }
    "map_object": |bytes, marked| {
        let object = memory::Shared::new(bytes)?;
        marked();
        object.map(Permissions::ReadWrite)?
    }
    "close of the last handle": |bytes, marked| {
        let object = memory::Shared::new(bytes)?;
        marked();
        drop(object)
    }
    "fork and exit l3": |bytes, marked| {
        touched(bytes)?;
        marked();
        Process::fork_into(Share::L3, || 0)?.wait()?
    }
    "fork and exit copy": |bytes, marked| {
        touched(bytes)?;
        marked();
        Process::fork_into(Share::Copy, || 0)?.wait()?
    }
    "snapshot copy": |bytes, marked| {
        touched(bytes)?;
        marked();
        snapshot::take(Share::Copy)?
    }
    "exit of a child that wrote everywhere": |bytes, marked| {
        touched(bytes)?;
        let board = Board::found();
        let child = Process::fork_into(Share::L1, || {
            touch(BASE, bytes, PAGE);
            board.set(Board::READY, 1);
            sleep(Duration::from_millis(30));
            0
        })?;
        board.wait_until_ready();
        marked();
        child.wait()?
    }
    "first write, l1": |bytes, marked| {
        touched(bytes)?;
        let child = Process::fork_into(Share::L1, || { sleep(Duration::from_millis(100)); 0 })?;
        marked();
        touch(BASE, PAGE, PAGE);
        child.wait()?
    }
    "kill": |bytes, marked| {
        let child = Process::fork_into(Share::L3, || {
            let _ = touched(bytes);
            Board::found().set(Board::READY, 1);
            sleep(Duration::from_secs(1 << 20));
            0
        })?;
        Board::found().wait_until_ready();
        marked();
        child.kill(1)?;
        child.wait()?
    }
    "kill in the middle of protect": |bytes, marked| {
        let child = Process::fork_into(Share::L3, || {
            let _ = memory::map(BASE, 8 * bytes, Permissions::ReadWrite);
            look(BASE, 8 * bytes);
            Board::found().set(Board::READY, 1);
            let _ = memory::protect(BASE, 8 * bytes, Permissions::ReadExecute);
            0
        })?;
        Board::found().wait_until_ready();
        marked();
        child.kill(1)?;
        child.wait()?
    }
    "tables": |bytes, marked| {
        touched(bytes)?;
        marked();
        tables::entries(Handle::SELF, BASE, BASE + 16 * MIB, 3)?
    }
    "move by a page": |bytes, marked| {
        touched(bytes)?;
        marked();
        // SAFETY: nothing lives there.
        unsafe { memory::relocate(BASE, bytes, ELSEWHERE + PAGE) }?
    }
    "restore l3, all written": |bytes, marked| {
        touched(bytes)?;
        if let snapshot::Taken::Now(snapshot) = snapshot::take(Share::L3)? {
            touch(BASE, bytes, PAGE);
            marked();
            Err::<(), Error>(snapshot.restore(1))?
        }
    }
    "exec": |bytes, marked| {
        touched(bytes)?;
        let archive = graft_rt::archive::Archive::open().map_err(|_| Error::NotFound)?;
        let image = archive.file("true").map_err(|_| Error::NotFound)?;
        marked();
        Err::<(), Error>(exec(image, &["true"]))?
    }
    "spawn": |_bytes, marked| {
        marked();
        Process::spawn(&["true"]).map_err(|_| Error::NotFound)?.wait()?
    }
    "memory_sizes": |bytes, marked| { touched(bytes)?; marked(); memory_sizes(Handle::SELF)? }
    "memory_create, not a power of two": |bytes, marked| { marked(); memory::Shared::new(bytes - PAGE)? }
    "fork l3, reservations that fill tables": |_bytes, marked| {
        for gibibyte in 0..256 {
            memory::map(BASE + gibibyte * GIB, GIB - 2 * MIB, Permissions::ReadWrite)?;
        }
        marked();
        Process::fork_into(Share::L3, || 0)?.wait()?
    }
    "fork l2, a page in each GiB": |_bytes, marked| {
        for gibibyte in 0..2048 {
            memory::map(BASE + gibibyte * GIB, PAGE, Permissions::ReadWrite)?;
        }
        marked();
        Process::fork_into(Share::L2, || 0)?.wait()?
    }
    "fork l1, a page that is not inherited": |_bytes, marked| {
        memory::map(BASE, 511 * GIB, Permissions::ReadWrite)?;
        memory::map(BASE + 511 * GIB, 511 * 2 * MIB, Permissions::ReadWrite)?;
        memory::map(BASE + 512 * GIB - 2 * MIB, 511 * PAGE, Permissions::ReadWrite)?;
        memory::reserve(BASE + 512 * GIB - PAGE, PAGE, Permissions::ReadWrite, Inherit::No)?;
        marked();
        Process::fork_into(Share::L1, || 0)?.wait()?
    }
    "first write, l1, three full tables": |_bytes, marked| {
        three_full_tables()?;
        marked();
        let write = || {
            touch(BASE, PAGE, PAGE);
            0
        };
        Process::fork_into(Share::L1, write)?.wait()?
    }
    "unmap of a page, l1, three full tables": |_bytes, marked| {
        three_full_tables()?;
        marked();
        // SAFETY: nothing lives there.
        Process::fork_into(Share::L1, || i32::from(unsafe { memory::unmap(BASE, PAGE) }.is_err()))?.wait()?
    }
    "move of a page, l1, three full tables": |_bytes, marked| {
        three_full_tables()?;
        marked();
        // SAFETY: nothing lives there.
        Process::fork_into(Share::L1, || i32::from(unsafe { memory::relocate(BASE, PAGE, ELSEWHERE) }.is_err()))?.wait()?
    }
    "copy of what is lent, full tables on both sides": |_bytes, marked| {
        three_full_tables()?;
        let lent = two_reservations_beside_full_tables()?;
        let endpoint = Endpoint::new()?;
        let (connection, receiver) = (endpoint.connect(0)?, endpoint.receiver()?);
        let lend = || {
            // SAFETY: mapped above, and read by no one but the server.
            let lent = unsafe { core::slice::from_raw_parts(lent as *const u8, PAGE) };
            i32::from(connection.call_lending(Message::default(), lent, &mut []).is_err())
        };
        let child = Process::fork_into(Share::L1, lend)?;
        receiver.receive()?;
        marked();
        // SAFETY: a page that has been mapped above.
        receiver.read(0, unsafe { core::slice::from_raw_parts_mut(BASE as *mut u8, PAGE) })?;
        receiver.reply(Message::default())?;
        if child.wait()? != ExitStatus::Exited(0) {
            return Err(Error::BadAddress);
        }
    }
    "an answer across the border between full tables": |_bytes, marked| {
        let border = two_reservations_beside_full_tables()?;
        marked();
        let ask = || {
            // SAFETY: an answer fits into the page that is mapped there, and is used by nothing else.
            let answer = unsafe { raw(Call::ProcessInfo as u64, [Handle::SELF.0.into(), border as u64 + 2040, 0, 0, 0, 0]) };
            i32::from(Error::from_register(answer.x0).is_err())
        };
        if Process::fork_into(Share::L1, ask)?.wait()? != ExitStatus::Exited(0) {
            return Err(Error::BadAddress);
        }
    }
    "spawn of an image whose end was never touched": |_bytes, marked| {
        let border = two_reservations_beside_full_tables()? + PAGE / 2;
        let archive = graft_rt::archive::Archive::open().map_err(|_| Error::NotFound)?;
        let mut image = archive.file("true").map_err(|_| Error::NotFound)?.to_vec();
        let length = lengthened(&mut image);
        marked();
        // The border comes after every number of pages that a piece can have loaded.
        for pages in 0..8 {
            let start = (border - image.len() - pages * PAGE) & !(PAGE - 1);
            // SAFETY: mapped above, and used by nothing else.
            unsafe { core::ptr::copy_nonoverlapping(image.as_ptr(), start as *mut u8, image.len()) };
            let spawn = || {
                // SAFETY: as above.
                let image = unsafe { core::slice::from_raw_parts(start as *const u8, length) };
                let ended = Process::spawn_image(image, &["true"], &[]).and_then(|child| child.wait());
                i32::from(ended != Ok(ExitStatus::Exited(0)))
            };
            if Process::fork_into(Share::L1, spawn)?.wait()? != ExitStatus::Exited(0) {
                return Err(Error::NotReady);
            }
        }
    }
    "spawn from a snapshot with full tables, arguments that were never touched": |_bytes, marked| {
        extern "C" fn begin() -> ! {
            graft_rt::process::exit(9)
        }
        // All that the arguments of the new process are below: the stack's table, and those above it.
        touch(STACK_TOP - STACK_SIZE, STACK_SIZE - 16 * PAGE, PAGE);
        for place in (2 * STACK_TOP..GIB).step_by(2 * MIB).chain((2 * GIB..512 * GIB).step_by(GIB)) {
            match memory::map(place, PAGE, Permissions::ReadWrite) {
                Ok(_) => touch(place, PAGE, PAGE),
                Err(Error::Occupied) => {}
                Err(error) => return Err(error),
            }
        }
        let arguments = two_reservations_beside_full_tables()?;
        let snapshot::Taken::Now(snapshot) = snapshot::take(Share::L1)? else { return Err(Error::NotReady) };
        marked();
        let text = Text { address: (arguments - 2 * PAGE) as u64, length: ARGUMENTS_MAX as u64 };
        let segment = Segment { size: 0, ..stack(text) };
        let request = SpawnRequest {
            segments: (&raw const segment).addr() as u64,
            segment_count: 1,
            entry: begin as *const () as u64,
            stack: segment.address,
            arguments: [segment.address, text.length],
            ..SpawnRequest::default()
        };
        let spawn = || {
            let words = [(&raw const request).addr() as u64, snapshot.handle().0.into(), 0, 0, 0, 0];
            // SAFETY: the request is read, and the process runs in memory of its own.
            let answer = unsafe { raw(Call::SpawnWarm as u64, words) };
            let ended = answer.result().and_then(|answer| wait(Handle(answer.x0 as u32)));
            i32::from(ended != Ok(ExitStatus::Exited(9)))
        };
        if Process::fork_into(Share::L1, spawn)?.wait()? != ExitStatus::Exited(0) {
            return Err(Error::NotReady);
        }
    }
    "map where there is room, behind many holes": |bytes, marked| {
        for offset in (0..4 * bytes).step_by(MIB) {
            memory::map(MAP_BASE + offset, MIB - PAGE, Permissions::ReadWrite)?;
        }
        marked();
        memory::map(0, 2 * PAGE, Permissions::ReadWrite)?
    }
    "wake behind as many waiters as there can be": |_bytes, marked| {
        let others = AtomicU32::new(0);
        for _ in 0..THREADS_MAX - 2 {
            waiters::wait_on(&others)?;
        }
        let last = AtomicU32::new(0);
        sleep(Duration::from_millis(20));
        waiters::wait_on(&last)?;
        sleep(Duration::from_millis(20));
        marked();
        if !sync::wake(&last) || !sync::wake(&others) {
            return Err(Error::NotReady);
        }
    }
    "notify among as many waiters as there can be": |_bytes, marked| {
        let notification = Notification::new()?;
        for _ in 0..THREADS_MAX - 1 {
            waiters::wait_for(&notification)?;
        }
        sleep(Duration::from_millis(20));
        marked();
        notification.notify(1)?;
    }
    "an end that as many wait for as there can be": |_bytes, marked| {
        let other = Process::fork_into(Share::default(), || {
            sleep(Duration::from_secs(60));
            0
        })?;
        for _ in 0..THREADS_MAX - 1 {
            waiters::wait_for_end(&other)?;
        }
        sleep(Duration::from_millis(20));
        marked();
        other.kill(0)?;
        other.wait()?;
        sleep(Duration::from_millis(20));
    }
    "close of an endpoint with as many in line as there can be": |_bytes, marked| {
        let endpoint = Endpoint::new()?;
        let connection = endpoint.connect(0)?;
        for _ in 0..THREADS_MAX - 1 {
            waiters::call_through(&connection)?;
        }
        sleep(Duration::from_millis(20));
        marked();
        drop(endpoint);
        sleep(Duration::from_millis(20));
    }
    "tables and memory_sizes, two pages in each 2 MiB": |bytes, marked| {
        for offset in (0..bytes).step_by(2 * MIB) {
            memory::map(BASE + offset, PAGE, Permissions::ReadWrite)?;
            memory::map(BASE + offset + 2 * MIB - PAGE, PAGE, Permissions::ReadWrite)?;
        }
        marked();
        tables::entries(Handle::SELF, BASE, BASE + bytes, 3)?;
        memory_sizes(Handle::SELF)?
    }
    "protect, of a stopped process": |bytes, marked| {
        with_stopped(bytes, marked, |stopped| stopped.protect(BASE, bytes, Permissions::ReadExecute))?
    }
    "unmap, of a stopped process": |bytes, marked| {
        with_stopped(bytes, marked, |stopped| stopped.unmap(BASE + PAGE, bytes - PAGE))?
    }
    "move by a page, of a stopped process": |bytes, marked| {
        with_stopped(bytes, marked, |stopped| stopped.relocate(BASE, bytes, ELSEWHERE + PAGE).map(drop))?
    }
    "fork copy, of a stopped process": |bytes, marked| {
        with_stopped(bytes, marked, |stopped| stopped.fork(Share::Copy, None)?.kill(0))?
    }
    "snapshot copy and restore, of a stopped process": |bytes, marked| {
        with_stopped(bytes, marked, |stopped| {
            let snapshot = stopped.snapshot(Share::Copy)?;
            stopped.unmap(BASE + PAGE, bytes - PAGE)?;
            stopped.restore(&snapshot)
        })?
    }
    "end of a supervisor in the middle of a change": |bytes, marked| {
        let supervisor = Process::fork_into(Share::L3, || {
            let act = |stopped: graft_rt::supervise::Stopped<'_>| {
                Board::found().set(Board::READY, 1);
                loop {
                    stopped.protect(BASE, bytes, Permissions::ReadExecute)?;
                }
            };
            i32::from(with_stopped(bytes, &|| {}, act).is_err())
        })?;
        Board::found().wait_until_ready();
        marked();
        supervisor.kill(1)?;
        supervisor.wait()?
    }
};
