//! The measured sequences.
//!
//! Each begins with freshly mapped memory whose every page has been written. With huge pages that is more than a
//! habit: one that a fork has made Linux map in parts would stay so.
//!
//! Within what is measured, a child stores nothing but what the figure is about: the few values are in registers, and
//! what a child has measured goes to a page that it shares with its parent and has written to before.

use core::arch::asm;
use core::ptr;

use crate::call::{Call, Refused, Timed, call, counter, exit, timed};
use crate::figures::Figures;
use crate::memory::{Memory, PAGE};
use crate::proc;
use crate::span::Span;

/// Where the measured memory begins, as in forkbench: on a level-1 boundary.
const MEMORY: usize = 0x2_0000_0000;
/// Where memory is that is touched for the first time.
const FRESH: usize = 0x800_0000;
/// Where a child's report goes.
const REPORT: usize = 0x900_0000;

/// What `clone` is told: only to signal the child's end, or also to lend it the memory until it starts a program.
const FORK: usize = 17;
const BORROW: usize = FORK | 0x100 | 0x4000;
const SIGKILL: usize = 9;

/// Seconds and nanoseconds for Linux to finish what it puts off, such as freeing what a process has left.
const PAUSE: [u64; 2] = [0, 20_000_000];
/// Rounds until both processes have all that they write to.
const WARM_UP: usize = 4;

/// Takes each figure once.
pub(crate) fn repetition(bytes: usize, figures: &mut Figures) -> Result<(), Refused> {
    figures.note("fork_exit_wait", fork_exit_wait(bytes)?);
    beside_a_child(bytes, figures)?;

    let ended = child(bytes, |_| counter())?;
    figures.note("exit", Span::between(ended.report, ended.at));
    let ended = child(bytes, |memory| memory.read(0).counts)?;
    figures.note("child_read", ended.reported());
    figures.note("last_owner_write", ended.last_owner_write);
    figures.note("child_first_write", child(bytes, |memory| memory.write(0).counts)?.reported());
    let after_the_first = |memory: &Memory| {
        memory.set(0, 0);
        memory.write(1).counts
    };
    figures.note("child_next_write", child(bytes, after_the_first)?.reported());
    figures.note("child_unmap", child(bytes, |memory| memory.unmap().span().counts)?.reported());
    let tables = |_: &Memory| proc::table_bytes().expect("/proc is there");
    figures.note_count("table_bytes_fork", child(bytes, tables)?.report);

    let unmapped = touched(bytes)?.unmap();
    unmapped.result()?;
    figures.note("unmap", unmapped.span());
    figures.note("demand_zero", demand_zero()?);
    // SAFETY: touches no memory.
    figures.note("null_call", unsafe { timed(Call::Getppid, []) }.span());
    spawn(figures)?;
    figures.note("context_switch", yield_and_back()?);
    figures.note("pipe_round_trip", pipe_round_trip()?);
    Ok(())
}

/// Memory whose every page has been written; two pages of it even if none was asked for.
fn touched(bytes: usize) -> Result<Memory, Refused> {
    // SAFETY: Linux only reads the time.
    unsafe { call(Call::Nanosleep, [ptr::from_ref(&PAUSE).addr()])? };
    let memory = Memory::private(MEMORY, bytes.max(2 * PAGE))?;
    memory.touch();
    Ok(memory)
}

#[inline(always)]
fn fork() -> Timed {
    // SAFETY: the child continues on a stack of its own, with the same content.
    unsafe { timed(Call::Clone, [FORK]) }
}

/// Waits for a child's end. It asks for no status: Linux would have to store that to memory, where the store could
/// fault.
#[inline(always)]
fn wait(child: usize) -> Result<(), Refused> {
    // SAFETY: without an address for the status, touches no memory.
    unsafe { call(Call::Wait4, [child]).map(drop) }
}

fn end(child: usize) -> Result<(), Refused> {
    // SAFETY: touches no memory of this process.
    unsafe { call(Call::Kill, [child, SIGKILL])? };
    wait(child)
}

#[inline(always)]
fn give_way() -> Timed {
    // SAFETY: touches no memory.
    unsafe { timed(Call::SchedYield, []) }
}

/// Forks a child that ends at once, and waits for it.
#[inline(never)]
fn fork_exit_wait(bytes: usize) -> Result<Span, Refused> {
    let _memory = touched(bytes)?;
    let forked = fork();
    if forked.is_child() {
        exit();
    }
    wait(forked.result()?)?;
    Ok(Span::between(forked.begin, counter()))
}

/// Forks a child that sleeps; the parent writes twice.
#[inline(never)]
fn beside_a_child(bytes: usize, figures: &mut Figures) -> Result<(), Refused> {
    let memory = touched(bytes)?;
    let forked = fork();
    if forked.is_child() {
        loop {
            // SAFETY: without descriptors and time, only sleeps.
            let _ = unsafe { call(Call::Ppoll, []) };
        }
    }
    let child = forked.result()?;
    // On a single core the child gets to its sleep now and not in the middle.
    give_way();
    let (first, next) = (memory.write(0), memory.write(1));
    end(child)?;
    figures.note("fork", forked.span());
    figures.note("parent_first_write", first);
    figures.note("parent_next_write", next);
    Ok(())
}

/// What a child has measured, and its parent after the child's end.
struct Ended {
    report: u64,
    /// The count when the parent had waited for it.
    at: u64,
    /// Counts of the parent's first write after that.
    last_owner_write: Span,
}

impl Ended {
    /// The report as a time that was taken before the parent had waited.
    fn reported(&self) -> Span {
        Span { counts: self.report, by: self.at }
    }
}

/// Forks a child that does its work and ends; when it is gone, the parent writes.
#[inline(always)]
fn child(bytes: usize, work: impl FnOnce(&Memory) -> u64) -> Result<Ended, Refused> {
    let memory = touched(bytes)?;
    let report = Memory::shared(REPORT, PAGE)?;
    let forked = fork();
    if forked.is_child() {
        report.set(0, 0);
        report.set(0, work(&memory));
        exit();
    }
    wait(forked.result()?)?;
    let at = counter();
    Ok(Ended { at, last_owner_write: memory.write(0), report: report.get(0) })
}

/// The first write to a page, beside one that has all tables.
fn demand_zero() -> Result<Span, Refused> {
    let fresh = Memory::private(FRESH, 2 * PAGE)?;
    fresh.set(0, 1);
    Ok(fresh.write(1))
}

/// Starts this program as another process, which ends at once.
fn spawn(figures: &mut Figures) -> Result<(), Refused> {
    let path = c"/init".as_ptr();
    let arguments = [path, ptr::null()];
    let (begin, end, x0): (u64, u64, isize);
    // SAFETY: the child stores nothing to the memory that it borrows.
    unsafe {
        asm!(
            "isb",
            "mrs     {begin}, cntvct_el0",
            "svc     #0",
            "cbnz    x0, 2f",
            "mov     x0, {path}",
            "mov     x1, {arguments}",
            "mov     x2, xzr",
            "mov     x8, {execve}",
            "svc     #0",
            "mov     x8, {exit}",
            "svc     #0",
            "2:",
            "isb",
            "mrs     {end}, cntvct_el0",
            begin = out(reg) begin,
            end = out(reg) end,
            path = in(reg) path,
            arguments = in(reg) &raw const arguments,
            execve = const Call::Execve as usize,
            exit = const Call::Exit as usize,
            inout("x0") BORROW => x0,
            inout("x1") 0 => _,
            inout("x2") 0 => _,
            in("x3") 0,
            in("x4") 0,
            inout("x8") Call::Clone as usize => _,
            options(nostack),
        );
    }
    let started = Timed { begin, end, call: Call::Clone, x0 };
    let mut status = 0_u32;
    // SAFETY: Linux stores one word.
    unsafe { call(Call::Wait4, [started.result()?, (&raw mut status).addr()])? };
    let ended = counter();
    assert!(status == 0, "/init ended with status {status:#x}");
    figures.note("spawn", started.span());
    figures.note("spawn_exit_wait", Span::between(begin, ended));
    Ok(())
}

/// Counts from one process to another and back.
fn yield_and_back() -> Result<Span, Refused> {
    let forked = fork();
    if forked.is_child() {
        loop {
            give_way();
        }
    }
    let child = forked.result()?;
    for _ in 0..WARM_UP {
        give_way();
    }
    let back = give_way();
    end(child)?;
    Ok(back.span())
}

/// Counts of one byte to another process and one back, through a pipe each.
fn pipe_round_trip() -> Result<Span, Refused> {
    let [there, back] = [pipe()?, pipe()?];
    let forked = fork();
    if forked.is_child() {
        loop {
            pass(there[0], back[1]).expect("both pipes are open");
        }
    }
    let child = forked.result()?;
    let round = || {
        let begin = counter();
        proc::write(there[1], b"!")?;
        proc::read(back[0], &mut [0])?;
        Ok(Span::between(begin, counter()))
    };
    for _ in 0..WARM_UP {
        round()?;
    }
    let span = round()?;
    end(child)?;
    there.into_iter().chain(back).try_for_each(proc::close)?;
    Ok(span)
}

/// Reads a byte and writes it.
fn pass(from: usize, to: usize) -> Result<(), Refused> {
    let mut byte = [0];
    proc::read(from, &mut byte)?;
    proc::write(to, &byte).map(drop)
}

/// The reading and the writing end of a new pipe.
fn pipe() -> Result<[usize; 2], Refused> {
    let mut ends = [0_u32; 2];
    // SAFETY: Linux stores two words.
    unsafe { call(Call::Pipe2, [(&raw mut ends).addr()])? };
    Ok(ends.map(|end| end as usize))
}
