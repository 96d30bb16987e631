//! The only `svc` of ordinary programs: numbers and registers in, numbers out.

use graft_abi::{Call, Error, Handle};

/// What a call leaves in `x0` and `x1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `x0`: the result, or a negated [`Error`].
    pub x0: u64,
    /// `x1`: the second result, where a call has one.
    pub x1: u64,
}

impl Answer {
    /// Splits the answer into success and failure.
    pub const fn result(self) -> Result<Answer, Error> {
        match Error::from_register(self.x0) {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// The handle in `x0`.
    pub(crate) const fn handle(self) -> Handle {
        Handle(self.x0 as u32)
    }
}

/// Makes the call with this number, which need not exist.
///
/// # Safety
///
/// The call must not change memory that Rust objects live in behind their back: neither unmap or
/// protect it nor store a result into it, unless the caller owns it.
#[cfg(target_os = "none")]
#[inline(always)]
pub unsafe fn raw(number: u64, arguments: [u64; 6]) -> Answer {
    let [mut x0, mut x1, x2, x3, x4, x5] = arguments;
    // SAFETY: the kernel preserves x18–x30 and sp (see graft-abi's "Calling convention"); what it
    // does not preserve is declared. What it does to memory is the caller's contract.
    unsafe {
        core::arch::asm!(
            "svc #{immediate}",
            immediate = const graft_abi::SVC_IMMEDIATE,
            inlateout("x0") x0,
            inlateout("x1") x1,
            inlateout("x2") x2 => _,
            inlateout("x3") x3 => _,
            inlateout("x4") x4 => _,
            inlateout("x5") x5 => _,
            inlateout("x8") number => _,
            lateout("x6") _, lateout("x7") _, lateout("x9") _, lateout("x10") _, lateout("x11") _,
            lateout("x12") _, lateout("x13") _, lateout("x14") _, lateout("x15") _, lateout("x16") _,
            lateout("x17") _,
            options(nostack),
        );
    }
    Answer { x0, x1 }
}

/// On a host there is no kernel to call.
///
/// # Panics
///
/// Always.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_os = "none"))]
pub unsafe fn raw(number: u64, _arguments: [u64; 6]) -> Answer {
    panic!("system call {number} on a machine that does not run Graft")
}

/// Makes a call and splits its answer into success and failure.
///
/// # Safety
///
/// As [`raw`].
#[inline(always)]
pub(crate) unsafe fn call<const N: usize>(call: Call, arguments: [u64; N]) -> Result<Answer, Error> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the caller's contract.
    unsafe { raw(call as u64, all) }.result()
}
