//! The acts.

use core::arch::asm;

use graft_rt::abi::{PAGE_SIZE, USER_END};
use graft_rt::memory::Shared;
use graft_rt::{FaultKind, Permissions, Region, arguments};

/// Something that no program may do.
pub(crate) struct Act {
    pub(crate) name: &'static str,
    pub(crate) purpose: &'static str,
    pub(crate) commit: fn(),
    /// What the process may be ended for.
    pub(crate) ends: &'static [FaultKind],
}

/// An address of the kernel's half, mapped or not.
const KERNEL: usize = 0xffff_ff80_4000_0000;

impl Act {
    pub(crate) const ALL: &'static [Act] = &[
        Act {
            name: "garbage",
            purpose: "executes what is no instruction",
            commit: garbage,
            ends: &[FaultKind::Undefined],
        },
        Act {
            name: "kernel-jump",
            purpose: "jumps to an address of the kernel",
            commit: || jump(KERNEL),
            ends: &[FaultKind::KernelAddress],
        },
        Act {
            name: "kernel-read",
            purpose: "reads an address of the kernel",
            commit: || read(KERNEL),
            ends: &[FaultKind::KernelAddress],
        },
        Act {
            name: "kernel-write",
            purpose: "writes to an address of the kernel",
            commit: || write(KERNEL),
            ends: &[FaultKind::KernelAddress],
        },
        Act {
            name: "write-text",
            purpose: "writes to its own instructions",
            commit: || write(garbage as fn() as usize),
            ends: &[FaultKind::WriteDenied],
        },
        Act {
            name: "write-constant",
            purpose: "writes to its own constants",
            commit: || write("constant".as_ptr().addr()),
            ends: &[FaultKind::WriteDenied],
        },
        Act {
            name: "execute-data",
            purpose: "jumps into memory that it can write",
            commit: execute_data,
            ends: &[FaultKind::ExecuteDenied],
        },
        Act {
            name: "read-none",
            purpose: "reads memory that it has reserved without permissions",
            commit: || protected(Permissions::None, read),
            ends: &[FaultKind::ReadDenied],
        },
        Act {
            name: "write-read-only",
            purpose: "writes to memory that it has made read-only",
            commit: || protected(Permissions::Read, write),
            ends: &[FaultKind::WriteDenied],
        },
        Act {
            name: "write-shared",
            purpose: "writes to shared memory that it has mapped to read",
            commit: || shared(write),
            ends: &[FaultKind::WriteDenied],
        },
        Act {
            name: "execute-shared",
            purpose: "jumps into shared memory",
            commit: || shared(jump),
            ends: &[FaultKind::ExecuteDenied],
        },
        Act {
            name: "read-moved",
            purpose: "reads memory that it has moved elsewhere",
            commit: read_moved,
            ends: &[FaultKind::Unmapped],
        },
        Act {
            name: "stack-overflow",
            purpose: "calls itself without end",
            commit: || _ = deeper(0),
            ends: &[FaultKind::StackOverflow],
        },
        Act { name: "null", purpose: "follows a null pointer", commit: || read(8), ends: &[FaultKind::Unmapped] },
        Act { name: "null-jump", purpose: "calls a null pointer", commit: || jump(0), ends: &[FaultKind::Unmapped] },
        Act {
            name: "no-mans-land",
            purpose: "reads an address that belongs to neither half",
            commit: || read(USER_END),
            ends: &[FaultKind::Unmapped, FaultKind::KernelAddress],
        },
        Act {
            name: "unaligned",
            purpose: "uses an address that is not aligned for an exclusive load",
            commit: unaligned,
            ends: &[FaultKind::Unaligned],
        },
        Act {
            name: "unaligned-jump",
            purpose: "jumps between two instructions",
            commit: || jump((garbage as fn() as usize) + 2),
            ends: &[FaultKind::Unaligned],
        },
        Act {
            name: "privileged",
            purpose: "changes the translation table base register",
            commit: privileged,
            ends: &[FaultKind::Undefined],
        },
        Act {
            name: "mask-interrupts",
            purpose: "masks interrupts",
            commit: mask_interrupts,
            ends: &[FaultKind::Undefined],
        },
        Act {
            name: "hypervisor-call",
            purpose: "calls a hypervisor",
            commit: hypervisor_call,
            ends: &[FaultKind::Undefined],
        },
        Act { name: "secure-call", purpose: "calls the firmware", commit: secure_call, ends: &[FaultKind::Undefined] },
        Act {
            name: "semihosting",
            purpose: "asks the emulator to end the machine",
            commit: semihosting,
            ends: &[FaultKind::Undefined],
        },
        Act {
            name: "breakpoint",
            purpose: "executes a breakpoint",
            commit: breakpoint,
            ends: &[FaultKind::Breakpoint],
        },
        Act {
            name: "svc0",
            purpose: "makes another system's call",
            commit: foreign_call,
            ends: &[FaultKind::ForeignCall],
        },
    ];
}

fn read(address: usize) {
    // SAFETY: none. That is the point: the processor must stop it.
    unsafe { asm!("ldrb {0:w}, [{0}]", inout(reg) address => _, options(nostack)) };
}

fn write(address: usize) {
    // SAFETY: none. That is the point: the processor must stop it.
    unsafe { asm!("strb wzr, [{}]", in(reg) address, options(nostack)) };
}

fn jump(address: usize) {
    // SAFETY: none. That is the point: the processor must stop it.
    unsafe { asm!("blr {}", in(reg) address, clobber_abi("C")) };
}

fn garbage() {
    // SAFETY: a permanently undefined instruction, which is the point.
    unsafe { asm!("udf #0", options(nostack)) };
}

/// Fresh memory whose first instruction, if it could be executed, would return.
fn page() -> Option<Region> {
    let region = Region::new(PAGE_SIZE).ok()?;
    for (offset, byte) in 0xd65f_03c0_u32.to_le_bytes().into_iter().enumerate() {
        region.write(offset, byte);
    }
    Some(region)
}

fn execute_data() {
    if let Some(page) = page() {
        jump(page.address());
    }
}

fn protected(permissions: Permissions, access: fn(usize)) {
    if let Some(page) = page()
        && page.protect(0..PAGE_SIZE, permissions).is_ok()
    {
        access(page.address());
    }
}

fn shared(access: fn(usize)) {
    let memory = Shared::new(PAGE_SIZE).and_then(|object| object.map(Permissions::Read));
    if let Ok(memory) = memory {
        // Neither of which makes it writable or executable.
        let _ = memory.protect(0..PAGE_SIZE, Permissions::ReadWrite);
        let _ = memory.protect(0..PAGE_SIZE, Permissions::ReadExecute);
        access(memory.address());
    }
}

fn read_moved() {
    let Some(page) = page() else { return };
    let old = page.address();
    if let Ok(_moved) = page.move_to(0) {
        read(old);
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    // The addition after the call keeps it from becoming a loop.
    deeper(core::hint::black_box(depth + 1)).wrapping_add(frame[arguments().count() % 64])
}

fn unaligned() {
    let Some(page) = page() else { return };
    // Across 16 bytes: within them, processors with FEAT_LSE2 allow it.
    let address = page.address() + 12;
    // SAFETY: none. Such an exclusive load faults with any value of SCTLR_EL1.A.
    unsafe { asm!("ldxr {0}, [{0}]", inout(reg) address => _, options(nostack)) };
}

fn privileged() {
    // SAFETY: none. The register belongs to EL1.
    unsafe { asm!("msr ttbr0_el1, xzr", options(nostack)) };
}

fn mask_interrupts() {
    // SAFETY: none. SCTLR_EL1.UMA keeps this from programs.
    unsafe { asm!("msr daifset, #2", options(nostack)) };
}

fn hypervisor_call() {
    // SAFETY: none. Undefined at EL0.
    unsafe { asm!("hvc #0", options(nostack)) };
}

fn secure_call() {
    // SAFETY: none. Undefined at EL0. In w0 is PSCI's SYSTEM_OFF.
    unsafe { asm!("smc #0", in("x0") 0x8400_0008_u64, options(nostack)) };
}

fn semihosting() {
    // SAFETY: none. SYS_EXIT, which must not reach the emulator from a program.
    unsafe { asm!("hlt #0xf000", in("x0") 0x18, in("x1") 0x20026, options(nostack)) };
}

fn breakpoint() {
    // SAFETY: none. No debugger is there to take it.
    unsafe { asm!("brk #1", options(nostack)) };
}

fn foreign_call() {
    // SAFETY: none. Another system's `exit`.
    unsafe { asm!("svc #0", in("x8") 93, in("x0") 0, options(nostack)) };
}
