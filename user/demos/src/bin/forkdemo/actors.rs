//! The two processes that are drawn: they store nowhere but where a picture says so.

use core::arch::naked_asm;

use graft_rt::abi::{Call, Handle, PAGE_SIZE};
use graft_rt::{Arguments, Region, Share, eprintln};

/// The argument that makes this program an actor.
pub(crate) const ROLE: &str = "--actor";

/// The first page of region A. It begins a level-2 table of its own, far from program and stack.
pub(crate) const A: u64 = 0x2_0000_0000;
/// The first page of region B, in the next level-3 table.
pub(crate) const B: u64 = A + (2 << 20);
/// Pages of A and of B.
pub(crate) const PAGES: (u64, u64) = (3, 2);

/// Gates that the actors pass or open; they find them as handles from [`Gate::FIRST`] on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gate {
    Prepared,
    Fork,
    Forked,
    ChildRead,
    ChildHasRead,
    ChildWrite,
    ChildHasWritten,
    ParentWrite,
    ParentHasWritten,
    ChildEnd,
    ChildHasEnded,
    ParentEnd,
}

impl Gate {
    pub(crate) const COUNT: usize = Gate::ParentEnd as usize + 1;
    /// After console, archive and system.
    const FIRST: u32 = 4;

    const fn handle(self) -> u32 {
        Gate::FIRST + self as u32
    }
}

/// What an actor's exit code other than 0 means.
pub(crate) const fn complaint(code: i32) -> &'static str {
    match code {
        70 => "it could not fork",
        71 => "the child did not end as it should",
        72 => "the parent saw what the child had written",
        73 => "the child did not see what the parent had written before the fork",
        74 => "the child saw what the parent had written after the fork",
        75 => "the child lost what it had written",
        _ => "it ended in an unexpected way",
    }
}

/// Prepares the memory and plays the parent, then the child.
pub(crate) fn play(mut arguments: Arguments) -> i32 {
    let Some(share) = arguments.next().and_then(Share::from_name) else { return 1 };
    let region = |address: u64, pages: u64| {
        let region = Region::at(address as usize, pages as usize * PAGE_SIZE)?;
        region.fill(|_| b'a');
        Ok(region)
    };
    match (region(A, PAGES.0), region(B, PAGES.1)) {
        (Ok(_a), Ok(_b)) => script(A, share as u64),
        (Err(error), _) | (_, Err(error)) => {
            let error: graft_rt::Error = error;
            eprintln!("forkdemo: cannot map memory: {error}");
            1
        }
    }
}

/// The rest of both processes' lives, in registers.
#[unsafe(naked)]
extern "C" fn script(a: u64, share: u64) -> ! {
    naked_asm!(
        ".macro pass gate",
        "    mov     x0, \\gate",
        "    mov     x8, {wait}",
        "    svc     {svc}",
        ".endm",
        ".macro open gate",
        "    mov     x0, \\gate",
        "    mov     x1, xzr",
        "    mov     x8, {kill}",
        "    svc     {svc}",
        ".endm",
        // Ends with `code` unless the byte at `address` is `value`.
        ".macro expect address, value, code",
        "    ldrb    w9, [\\address]",
        "    mov     x0, \\code",
        "    cmp     w9, \\value",
        "    b.ne    9f",
        ".endm",
        "mov     x19, x0",
        "add     x20, x19, {page}",
        "mov     x21, x1",
        "open    {prepared}",
        "pass    {fork_gate}",
        "mov     w0, {self}",
        "mov     x1, x21",
        "mov     x2, xzr",
        "mov     x8, {fork}",
        "svc     {svc}",
        "cbz     x0, 5f",
        "mov     x22, x0",
        "mov     x0, #70",
        "tbnz    x22, #63, 9f",
        // The parent.
        "open    {forked}",
        "pass    {parent_write}",
        "mov     w9, 'p'",
        "strb    w9, [x20]",
        "open    {parent_has_written}",
        "mov     x0, x22",
        "mov     x8, {wait}",
        "svc     {svc}",
        "mov     x9, x1",
        "mov     x0, #71",
        "cbnz    x9, 9f",
        "expect  x19, 'a', 72",
        "open    {child_has_ended}",
        "pass    {parent_end}",
        "b       8f",
        // The child.
        "5:",
        "pass    {child_read}",
        "expect  x19, 'a', 73",
        "open    {child_has_read}",
        "pass    {child_write}",
        "mov     w9, 'c'",
        "strb    w9, [x19]",
        "open    {child_has_written}",
        "pass    {child_end}",
        "expect  x20, 'a', 74",
        "expect  x19, 'c', 75",
        "8:",
        "mov     x0, xzr",
        "9:",
        "mov     x8, {exit}",
        "svc     {svc}",
        "brk     #0",
        svc = const graft_rt::abi::SVC_IMMEDIATE,
        page = const PAGE_SIZE,
        self = const Handle::SELF.0 as i32,
        fork = const Call::Fork as u64,
        wait = const Call::Wait as u64,
        kill = const Call::Kill as u64,
        exit = const Call::Exit as u64,
        prepared = const Gate::Prepared.handle(),
        fork_gate = const Gate::Fork.handle(),
        forked = const Gate::Forked.handle(),
        child_read = const Gate::ChildRead.handle(),
        child_has_read = const Gate::ChildHasRead.handle(),
        child_write = const Gate::ChildWrite.handle(),
        child_has_written = const Gate::ChildHasWritten.handle(),
        parent_write = const Gate::ParentWrite.handle(),
        parent_has_written = const Gate::ParentHasWritten.handle(),
        child_end = const Gate::ChildEnd.handle(),
        child_has_ended = const Gate::ChildHasEnded.handle(),
        parent_end = const Gate::ParentEnd.handle(),
    )
}
