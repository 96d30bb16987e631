//! Registers across a restore: general ones, SIMD and floating point, the thread pointer.

use core::arch::asm;

use graft_rt::abi::{Call, SVC_IMMEDIATE};
use graft_rt::test::Report;
use graft_rt::{Error, Handle, Share, claim_eq};

/// Takes a snapshot with marks in registers, changes them all, goes back once, and looks at what is there.
pub(crate) fn come_back(report: &Report, share: Share) -> Result<(), Error> {
    let (handle, value, general, vector, control, pointer): (u64, u64, u64, u64, u64, u64);
    // SAFETY: the block changes registers that are declared, and memory not at all; it comes out once, after the
    // restore.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            "mrs     x25, tpidr_el0",
            "mov     x20, #0x1111",
            "fmov    d8, x20",
            "fmov    d31, x20",
            "mov     x9, #0x400000",        // FPCR.RMode
            "msr     fpcr, x9",
            "msr     tpidr_el0, x20",
            "mov     w0, {this}",
            "mov     x2, xzr",
            "mov     x8, {snapshot}",
            "svc     {svc}",
            "tbnz    x0, #63, 9f",
            "cbnz    x1, 9f",
            "mov     x20, #0x2222",
            "fmov    d8, x20",
            "fmov    d31, x20",
            "msr     fpcr, xzr",
            "msr     tpidr_el0, x20",
            "mov     x1, x0",
            "mov     w0, {this}",
            "mov     x2, #77",
            "mov     x8, {restore}",
            "svc     {svc}",
            "9:",
            "fmov    x21, d8",
            "fmov    x9, d31",
            "eor     x22, x21, x9",
            "mrs     x23, fpcr",
            "mrs     x24, tpidr_el0",
            "add     x21, x21, x22",
            "msr     fpcr, xzr",
            "msr     tpidr_el0, x25",
            ".arch_extension nosimd",
            ".arch_extension nofp",
            this = const Handle::SELF.0 as i32,
            svc = const SVC_IMMEDIATE,
            snapshot = const Call::Snapshot as u64,
            restore = const Call::Restore as u64,
            inout("x1") share as u64 => value,
            lateout("x0") handle,
            out("x20") general,
            out("x21") vector,
            out("x22") _,
            out("x23") control,
            out("x24") pointer,
            out("x25") _,
            clobber_abi("C"),
            options(nostack),
        );
    }
    let handle = Error::from_register(handle)?;
    claim_eq!(report, value, 77, "the value given to restore");
    claim_eq!(report, general, 0x1111, "x20");
    claim_eq!(report, vector, 0x1111, "d8 and d31");
    claim_eq!(report, control, 0x40_0000, "the rounding mode");
    claim_eq!(report, pointer, 0x1111, "the thread pointer");
    graft_rt::process::close(Handle(handle as u32))
}
