//! What a call leaves in the registers that it need not preserve: values that the program itself has put there, never
//! values of the kernel.

use core::arch::asm;

use graft_rt::abi::{Call, PAGE_SIZE, SVC_IMMEDIATE};
use graft_rt::test::Report;
use graft_rt::{Error, Region, claim};

/// In `x2` to `x17` when the program last faulted, which saves all registers: this and the register's number.
const BEFORE: u64 = 0x5ee0_0000;
/// There when it makes the call.
const NOW: u64 = 0x0dd0_0000;

/// Fills the registers, faults, fills them again, makes a call, and returns what `x2` to `x17` hold then.
fn after(call: u64, fresh: usize) -> [u64; 16] {
    let mut found = [0; 16];
    // SAFETY: the call is one that works on no memory of Rust's; registers are declared or put back.
    unsafe {
        asm!(
            "mov     x2, {before}",
            "add     x3, x2, #3",
            "add     x4, x2, #4",
            "add     x5, x2, #5",
            "add     x6, x2, #6",
            "add     x7, x2, #7",
            "add     x8, x2, #8",
            "add     x9, x2, #9",
            "add     x10, x2, #10",
            "add     x11, x2, #11",
            "add     x12, x2, #12",
            "add     x13, x2, #13",
            "add     x14, x2, #14",
            "add     x15, x2, #15",
            "add     x16, x2, #16",
            "add     x17, x2, #17",
            "add     x2, x2, #2",
            "str     xzr, [{fresh}]",       // demand-zero: a fault
            "mov     x2, {now}",
            "add     x3, x2, #3",
            "add     x4, x2, #4",
            "add     x5, x2, #5",
            "add     x6, x2, #6",
            "add     x7, x2, #7",
            "add     x9, x2, #9",
            "add     x10, x2, #10",
            "add     x11, x2, #11",
            "add     x12, x2, #12",
            "add     x13, x2, #13",
            "add     x14, x2, #14",
            "add     x15, x2, #15",
            "add     x16, x2, #16",
            "add     x17, x2, #17",
            "add     x2, x2, #2",
            "mov     x0, xzr",
            "mov     x1, xzr",
            "mov     x8, {call}",
            "svc     {svc}",
            "stp     x2, x3, [{found}]",
            "stp     x4, x5, [{found}, #16]",
            "stp     x6, x7, [{found}, #32]",
            "stp     x8, x9, [{found}, #48]",
            "stp     x10, x11, [{found}, #64]",
            "stp     x12, x13, [{found}, #80]",
            "stp     x14, x15, [{found}, #96]",
            "stp     x16, x17, [{found}, #112]",
            svc = const SVC_IMMEDIATE,
            before = in(reg) BEFORE,
            now = in(reg) NOW,
            call = in(reg) call,
            fresh = in(reg) fresh,
            found = in(reg) found.as_mut_ptr(),
            out("x0") _, out("x1") _, out("x2") _, out("x3") _, out("x4") _, out("x5") _, out("x6") _, out("x7") _,
            out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _, out("x13") _, out("x14") _,
            out("x15") _, out("x16") _, out("x17") _,
            options(nostack)
        );
    }
    found
}

/// Calls that return at once, that are refused, that yield and that sleep.
pub(crate) fn hold_nothing_of_the_kernels(report: &Report) -> Result<(), Error> {
    let calls = [
        Call::Identify as u64,
        Call::Clock as u64,
        Call::Yield as u64,
        Call::Sleep as u64,
        Call::Map as u64,
        Call::Fork as u64,
        Call::Spawn as u64,
        Call::Close as u64,
        Call::Tables as u64,
        Call::ProcessInfo as u64,
        Call::MemoryCreate as u64,
        u64::MAX,
    ];
    let memory = Region::new(calls.len() * PAGE_SIZE)?;
    for (place, call) in calls.into_iter().enumerate() {
        for (index, value) in after(call, memory.address() + place * PAGE_SIZE).into_iter().enumerate() {
            let register = index as u64 + 2;
            let own = [BEFORE + register, NOW + register].contains(&value) || register == 8 && value == call;
            claim!(report, own, "call {call:#x} leaves {value:#x} in x{register}");
        }
    }
    report.done(format_args!("a call leaves nothing of the kernel's in registers"));
    Ok(())
}
