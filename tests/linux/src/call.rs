//! Linux's system calls, as far as they are needed (`include/uapi/asm-generic/unistd.h`).

use core::arch::asm;
use core::fmt;

use crate::span::Span;

/// A system call by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Mkdirat = 34,
    Mount = 40,
    Openat = 56,
    Close = 57,
    Pipe2 = 59,
    Read = 63,
    Write = 64,
    Ppoll = 73,
    Exit = 93,
    Nanosleep = 101,
    SchedSetscheduler = 119,
    SchedYield = 124,
    Kill = 129,
    Reboot = 142,
    Getpid = 172,
    Getppid = 173,
    Munmap = 215,
    Clone = 220,
    Execve = 221,
    Mmap = 222,
    Wait4 = 260,
}

/// `reboot`'s two words of proof that it is meant, and its request to power off.
const REBOOT: [usize; 3] = [0xfee1_dead, 0x2812_1969, 0x4321_fedc];

/// A call that Linux has refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    call: Call,
    /// The error's number, as in `errno`.
    error: usize,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} was refused with error {}", self.call, self.error)
    }
}

/// A call that was made, between two readings of the machine's counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) call: Call,
    pub(crate) x0: isize,
}

impl Timed {
    /// Whether this is the child that a fork has made.
    pub(crate) fn is_child(&self) -> bool {
        self.x0 == 0
    }

    /// What the call has returned.
    pub(crate) fn result(self) -> Result<usize, Refused> {
        result(self.call, self.x0)
    }

    /// From the reading before it to the one after it.
    pub(crate) fn span(self) -> Span {
        Span::between(self.begin, self.end)
    }
}

fn result(call: Call, x0: isize) -> Result<usize, Refused> {
    // The last page of addresses stands for errors.
    if (-4095..0).contains(&x0) { Err(Refused { call, error: x0.unsigned_abs() }) } else { Ok(x0 as usize) }
}

/// Makes a call. What is not said of the arguments is 0.
///
/// # Safety
///
/// The arguments are right for the call: memory that it writes or unmaps is the caller's to lose.
#[inline(always)]
pub(crate) unsafe fn call<const N: usize>(call: Call, arguments: [usize; N]) -> Result<usize, Refused> {
    let [a0, a1, a2, a3, a4, a5] = all(arguments);
    let x0: isize;
    // SAFETY: Linux changes no register but x0; the rest is the caller's contract.
    unsafe {
        asm!(
            "svc     #0",
            inlateout("x0") a0 => x0,
            in("x1") a1,
            in("x2") a2,
            in("x3") a3,
            in("x4") a4,
            in("x5") a5,
            in("x8") call as usize,
            options(nostack),
        );
    }
    result(call, x0)
}

/// Makes a call between two readings of the counter, with nothing else in between.
///
/// # Safety
///
/// As [`call`].
#[inline(always)]
pub(crate) unsafe fn timed<const N: usize>(call: Call, arguments: [usize; N]) -> Timed {
    let [a0, a1, a2, a3, a4, a5] = all(arguments);
    let (x0, begin, end): (isize, u64, u64);
    // SAFETY: as in `call`.
    unsafe {
        asm!(
            "isb",
            "mrs     {begin}, cntvct_el0",
            "svc     #0",
            "isb",
            "mrs     {end}, cntvct_el0",
            begin = out(reg) begin,
            end = lateout(reg) end,
            inlateout("x0") a0 => x0,
            in("x1") a1,
            in("x2") a2,
            in("x3") a3,
            in("x4") a4,
            in("x5") a5,
            in("x8") call as usize,
            options(nostack),
        );
    }
    Timed { begin, end, call, x0 }
}

const fn all<const N: usize>(arguments: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    let mut index = 0;
    while index < N {
        all[index] = arguments[index];
        index += 1;
    }
    all
}

/// The machine's counter.
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let counter: u64;
    // SAFETY: Linux lets programs read it.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) counter, options(nostack)) };
    counter
}

/// Ends the calling process.
#[inline(always)]
pub(crate) fn exit() -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { asm!("svc #0", in("x0") 0, in("x8") Call::Exit as usize, options(nostack, noreturn)) }
}

/// Switches the machine off.
pub(crate) fn power_off() -> ! {
    // SAFETY: touches no memory.
    let _ = unsafe { call(Call::Reboot, REBOOT) };
    // Linux panics when the first process ends.
    exit()
}
