//! Calls between two readings of the machine's counter.

use core::arch::asm;

use graft_rt::abi::{Call, SVC_IMMEDIATE};
use graft_rt::process::{Process, yield_now};
use graft_rt::{Error, Share};

use crate::span::Span;

/// Yields until both processes have all that they write to.
const WARM_UP: usize = 4;

/// A call that was made.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// The first reading.
    pub begin: u64,
    /// The second.
    pub end: u64,
    /// What the call has left in `x0`, or why it has failed.
    pub x0: Result<u64, Error>,
}

impl Timed {
    /// From the one to the other.
    pub fn span(&self) -> Span {
        Span::between(self.begin, self.end)
    }
}

/// Makes a call.
///
/// # Safety
///
/// As [`graft_rt::call::raw`].
pub unsafe fn timed<const N: usize>(call: Call, arguments: [u64; N]) -> Timed {
    let mut all = [0; 4];
    all[..N].copy_from_slice(&arguments);
    let [x0, x1, x2, x3] = all;
    let (begin, end, result): (u64, u64, u64);
    // SAFETY: what the kernel does not preserve is declared; the rest is the caller's contract.
    unsafe {
        asm!(
            "isb",
            "mrs     x20, cntvct_el0",
            "svc     {svc}",
            "isb",
            "mrs     x21, cntvct_el0",
            svc = const SVC_IMMEDIATE,
            inout("x0") x0 => result,
            inout("x1") x1 => _,
            inout("x2") x2 => _,
            inout("x3") x3 => _,
            inout("x8") call as u64 => _,
            out("x20") begin,
            out("x21") end,
            clobber_abi("C"),
            options(nostack),
        );
    }
    Timed { begin, end, x0: Error::from_register(result) }
}

/// Counts of one write to `address`.
pub fn write(address: usize) -> Span {
    let (begin, end): (u64, u64);
    // SAFETY: the caller owns the page, and no Rust object lives in it.
    unsafe {
        asm!(
            "isb",
            "mrs     {begin}, cntvct_el0",
            "strb    wzr, [{address}]",
            "isb",
            "mrs     {end}, cntvct_el0",
            address = in(reg) address,
            begin = out(reg) begin,
            end = out(reg) end,
            options(nostack),
        );
    }
    Span::between(begin, end)
}

/// Counts from one process to another and back, by a yield of each. There must be one core:
/// with a second core, neither process would have to give way.
pub fn yield_and_back() -> Result<Span, Error> {
    let other = Process::fork_into(Share::default(), || {
        loop {
            yield_now();
        }
    })?;
    // SAFETY: the call touches no memory.
    let back = || unsafe { timed(Call::Yield, []) };
    for _ in 0..WARM_UP {
        back();
    }
    let call = back();
    other.kill(0)?;
    other.wait()?;
    Ok(call.span())
}
