//! The measured forks, in registers from before the fork to the last reading of the counter.
//!
//! With tables shared at level 1 or 2, a single store to the stack after the fork splits them. So
//! neither process stores anywhere but where a figure says so, and what the child has measured
//! comes back as its exit code.

use core::arch::asm;

use graft_rt::abi::{Call, PAGE_SIZE, SVC_IMMEDIATE, SystemInfo};
use graft_rt::{Error, Handle, Region, Share};

use graft_demos::span::Span;

/// Counts of the machine's counter that a child and its parent have measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// From before the fork until the parent has waited for the child's end.
    pub(crate) fork_exit_wait: Span,
    /// From the child's last instruction until the parent has waited for its end.
    pub(crate) exit: Span,
}

/// The handle that fork has left in a register, or why it has not.
fn forked(x0: u64) -> Result<Handle, Error> {
    Error::from_register(x0).map(|handle| Handle(handle as u32))
}

/// Forks a child that ends at once, and waits for it.
pub(crate) fn life(share: Share) -> Result<Life, Error> {
    let (begin, end, child_end, handle): (u64, u64, u64, u64);
    // SAFETY: the parent comes out of the block with what is declared changed, the child never
    // comes out; neither stores to memory.
    unsafe {
        asm!(
            "mov     w0, {this}",
            "mov     x2, xzr",
            "mov     x8, {fork}",
            "isb",
            "mrs     x20, cntvct_el0",
            "svc     {svc}",
            "cbz     x0, 2f",
            "mov     x23, x0",
            "tbnz    x0, #63, 3f",
            "mov     x8, {wait}",
            "svc     {svc}",
            "isb",
            "mrs     x22, cntvct_el0",
            "b       3f",
            // The child's exit code is the count at its end, as far as it fits.
            "2:",
            "mov     x8, {exit}",
            "isb",
            "mrs     x9, cntvct_el0",
            "mov     w0, w9",
            "svc     {svc}",
            "3:",
            this = const Handle::SELF.0 as i32,
            svc = const SVC_IMMEDIATE,
            fork = const Call::Fork as u64,
            wait = const Call::Wait as u64,
            exit = const Call::Exit as u64,
            inout("x1") share as u64 => child_end,
            out("x20") begin,
            out("x22") end,
            out("x23") handle,
            clobber_abi("C"),
            options(nostack),
        );
    }
    graft_rt::process::close(forked(handle)?)?;
    // The child could return only the low half of the count, so the difference is one of low halves.
    let exit = u64::from((end as u32).wrapping_sub(child_end as u32));
    Ok(Life { fork_exit_wait: Span::between(begin, end), exit: Span { counts: exit, by: end } })
}

/// What a child measures before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildWork {
    /// Its first read of `first`.
    Read,
    /// Its first write, to `first`.
    FirstWrite,
    /// A write to `next`, after the one to `first`.
    NextWrite,
    /// Unmapping all that it has of the measured memory.
    Unmap,
}

/// Counts that a child has measured, and its parent after the child's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildTimes {
    /// What the child's work took.
    pub(crate) child: Span,
    /// The parent's first write, to `first`, when the child is gone.
    pub(crate) last_owner_write: Span,
}

/// Forks a child that does its work on the first two pages of `memory`, or on all of it, and ends;
/// when it is gone, the parent writes.
pub(crate) fn child(share: Share, work: ChildWork, memory: &Region) -> Result<ChildTimes, Error> {
    let (first, next) = (memory.address(), memory.address() + PAGE_SIZE);
    let (status, begin, end, handle): (u64, u64, u64, u64);
    // SAFETY: as in `life`; stores go to `first` and `next`, pages that the caller owns and that no
    // Rust object lives in. What is unmapped is the child's alone.
    unsafe {
        asm!(
            "mov     w0, {this}",
            "mov     x2, xzr",
            "mov     x8, {fork}",
            "svc     {svc}",
            "cbz     x0, 2f",
            "mov     x23, x0",
            "tbnz    x0, #63, 9f",
            "mov     x8, {wait}",
            "svc     {svc}",
            "isb",
            "mrs     x21, cntvct_el0",
            "strb    wzr, [x25]",
            "isb",
            "mrs     x22, cntvct_el0",
            "b       9f",
            // The child.
            "2:",
            "cmp     x24, {first_write}",
            "b.eq    4f",
            "cmp     x24, {next_write}",
            "b.eq    5f",
            "b.hi    7f",
            "isb",
            "mrs     x9, cntvct_el0",
            "ldrb    w10, [x25]",
            "isb",
            "mrs     x11, cntvct_el0",
            "b       6f",
            "4:",
            "isb",
            "mrs     x9, cntvct_el0",
            "strb    wzr, [x25]",
            "isb",
            "mrs     x11, cntvct_el0",
            "b       6f",
            "5:",
            "strb    wzr, [x25]",
            "isb",
            "mrs     x9, cntvct_el0",
            "strb    wzr, [x26]",
            "isb",
            "mrs     x11, cntvct_el0",
            "b       6f",
            // The call preserves x27, but not x9.
            "7:",
            "mov     x0, x25",
            "mov     x1, x27",
            "mov     x8, {unmap}",
            "isb",
            "mrs     x27, cntvct_el0",
            "svc     {svc}",
            "isb",
            "mrs     x11, cntvct_el0",
            "mov     x9, x27",
            "6:",
            "sub     w0, w11, w9",
            "mov     x8, {exit}",
            "svc     {svc}",
            "9:",
            this = const Handle::SELF.0 as i32,
            svc = const SVC_IMMEDIATE,
            fork = const Call::Fork as u64,
            wait = const Call::Wait as u64,
            exit = const Call::Exit as u64,
            unmap = const Call::Unmap as u64,
            first_write = const ChildWork::FirstWrite as u64,
            next_write = const ChildWork::NextWrite as u64,
            inout("x1") share as u64 => status,
            out("x21") begin,
            out("x22") end,
            out("x23") handle,
            in("x24") work as u64,
            in("x25") first,
            in("x26") next,
            inout("x27") memory.bytes() => _,
            clobber_abi("C"),
            options(nostack),
        );
    }
    graft_rt::process::close(forked(handle)?)?;
    let child = Span { counts: status & 0xffff_ffff, by: begin };
    Ok(ChildTimes { child, last_owner_write: Span::between(begin, end) })
}

/// Counts that a parent has measured while its child lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParentTimes {
    /// From before the fork until the parent goes on. If the processor is given to the child first,
    /// the child goes to sleep at once: the figure holds the fork alone and no part of an exit.
    pub(crate) fork: Span,
    /// The first write after the fork, to `first`.
    pub(crate) first_write: Span,
    /// The write after that, to `next`.
    pub(crate) next_write: Span,
}

/// Forks a child that sleeps; the parent writes twice and then ends it.
pub(crate) fn parent(share: Share, first: usize, next: usize) -> Result<ParentTimes, Error> {
    let (before_fork, after_fork, begin, after_first, before_next, end, handle): (u64, u64, u64, u64, u64, u64, u64);
    // SAFETY: as in `child`.
    unsafe {
        asm!(
            "mov     w0, {this}",
            "mov     x2, xzr",
            "mov     x8, {fork}",
            "isb",
            "mrs     x27, cntvct_el0",
            "svc     {svc}",
            "isb",
            "mrs     x28, cntvct_el0",
            "cbz     x0, 2f",
            "mov     x23, x0",
            "tbnz    x0, #63, 9f",
            // On a single core the child gets to its sleep now and not in the middle.
            "mov     x8, {yield}",
            "svc     {svc}",
            "isb",
            "mrs     x20, cntvct_el0",
            "strb    wzr, [x25]",
            "isb",
            "mrs     x21, cntvct_el0",
            "isb",
            "mrs     x22, cntvct_el0",
            "strb    wzr, [x26]",
            "isb",
            "mrs     x24, cntvct_el0",
            "b       9f",
            "2:",
            "mov     x0, #0xffffffffffff",
            "mov     x8, {sleep}",
            "svc     {svc}",
            "b       2b",
            "9:",
            this = const Handle::SELF.0 as i32,
            svc = const SVC_IMMEDIATE,
            fork = const Call::Fork as u64,
            sleep = const Call::Sleep as u64,
            yield = const Call::Yield as u64,
            inout("x1") share as u64 => _,
            out("x20") begin,
            out("x21") after_first,
            out("x22") before_next,
            out("x23") handle,
            out("x24") end,
            in("x25") first,
            in("x26") next,
            out("x27") before_fork,
            out("x28") after_fork,
            clobber_abi("C"),
            options(nostack),
        );
    }
    end_child(forked(handle)?)?;
    Ok(ParentTimes {
        fork: Span::between(before_fork, after_fork),
        first_write: Span::between(begin, after_first),
        next_write: Span::between(before_next, end),
    })
}

/// What a parent does between the fork and the look at the frame allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: the difference is what fork took.
    Looking,
    /// A write to `first`: the difference is what fork and the write took.
    Writing,
}

/// Forks a child that sleeps, and looks at the frame allocator before anything else is stored.
///
/// The kernel reads its counts before it stores them, so the page that they go to, which that store
/// may have to copy, is not among them.
pub(crate) fn frames(share: Share, before: Before, first: usize) -> Result<SystemInfo, Error> {
    let mut info = SystemInfo::default();
    let (handle, refusal): (u64, u64);
    // SAFETY: as in `child`; the kernel stores a SystemInfo to a variable that is borrowed mutably.
    unsafe {
        asm!(
            "mov     w0, {this}",
            "mov     x2, xzr",
            "mov     x8, {fork}",
            "svc     {svc}",
            "cbz     x0, 2f",
            "mov     x23, x0",
            "tbnz    x0, #63, 9f",
            "mov     x8, {yield}",
            "svc     {svc}",
            "cbz     x24, 4f",
            "strb    wzr, [x25]",
            "4:",
            "mov     x0, {system}",
            "mov     x1, x26",
            "mov     x8, {system_info}",
            "svc     {svc}",
            "b       9f",
            "2:",
            "mov     x0, #0xffffffffffff",
            "mov     x8, {sleep}",
            "svc     {svc}",
            "b       2b",
            "9:",
            this = const Handle::SELF.0 as i32,
            svc = const SVC_IMMEDIATE,
            system = const Handle::SYSTEM.0,
            fork = const Call::Fork as u64,
            sleep = const Call::Sleep as u64,
            yield = const Call::Yield as u64,
            system_info = const Call::SystemInfo as u64,
            inout("x1") share as u64 => _,
            lateout("x0") refusal,
            out("x23") handle,
            in("x24") before as u64,
            in("x25") first,
            in("x26") &raw mut info,
            clobber_abi("C"),
            options(nostack),
        );
    }
    end_child(forked(handle)?)?;
    Error::from_register(refusal)?;
    Ok(info)
}

fn end_child(handle: Handle) -> Result<(), Error> {
    graft_rt::process::kill(handle, 0)?;
    graft_rt::process::wait(handle)?;
    graft_rt::process::close(handle)
}
