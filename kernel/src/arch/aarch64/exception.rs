//! From the syndrome register to a typed trap.
//!
//! Arm ARM, `ESR_EL1`: EC is bits 31–26, ISS bits 24–0.

use graft_paging::Access;

/// Why a thread entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `svc` with this immediate.
    Call {
        /// The number in the instruction.
        immediate: u16,
    },
    /// A load, store or instruction fetch failed.
    Abort(Abort),
    /// A device, a timer or another core wants attention.
    Interrupt,
    /// An instruction that does not exist, or not for EL0.
    Undefined,
    /// `brk`, or another debug event.
    Breakpoint,
    /// The program counter or the stack pointer is not aligned; which of the two.
    Unaligned(Register),
    /// The first use of floating point or SIMD while it is switched off.
    FloatingPoint,
    /// An error that hardware reported late, with no relation to an instruction.
    SystemError,
    /// Anything else.
    Other {
        /// `ESR_EL1`.
        syndrome: u64,
    },
}

/// A register that must be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The program counter.
    ProgramCounter,
    /// The stack pointer.
    StackPointer,
}

/// A failed memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// The address used (`FAR_EL1`).
    pub address: u64,
    /// What was attempted.
    pub access: Access,
    /// Why it failed.
    pub cause: AbortCause,
    /// The level of the lookup at which it failed, 0 to 3, where the cause has one.
    pub level: u8,
}

/// The fault status code, without the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// No valid descriptor.
    Translation,
    /// A valid descriptor that does not permit the access.
    Permission,
    /// The access flag is clear.
    AccessFlag,
    /// An address beyond the implemented size, in a descriptor or in `TTBR`.
    AddressSize,
    /// Alignment that the memory type or the instruction demands.
    Alignment,
    /// Two TLB entries match.
    TlbConflict,
    /// The memory system answered with an error.
    External,
    /// A code that this kernel does not know.
    Other(u8),
}

/// The syndrome that the vectors hand over for an interrupt, which has none.
const INTERRUPT: u64 = u64::MAX;

/// What `syndrome` (`ESR_EL1`) and `fault_address` (`FAR_EL1`) say; `u64::MAX` is an interrupt.
#[inline(always)]
pub fn decode(syndrome: u64, fault_address: u64) -> Trap {
    if syndrome == INTERRUPT {
        return Trap::Interrupt;
    }
    match syndrome >> 26 & 0x3F {
        0x15 => Trap::Call { immediate: syndrome as u16 },
        0x24 => Trap::Abort(abort(syndrome, fault_address, data_access(syndrome))),
        0x20 => Trap::Abort(abort(syndrome, fault_address, Access::Execute)),
        0x07 => Trap::FloatingPoint,
        // Unknown; MRS and MSR; SVE, SME, pointer authentication and branch target; illegal state.
        0x00 | 0x18 | 0x19 | 0x1D | 0x09 | 0x1C | 0x0D | 0x0E => Trap::Undefined,
        0x22 => Trap::Unaligned(Register::ProgramCounter),
        0x26 => Trap::Unaligned(Register::StackPointer),
        0x2F => Trap::SystemError,
        0x30 | 0x32 | 0x34 | 0x3C => Trap::Breakpoint,
        _ => Trap::Other { syndrome },
    }
}

/// Cache maintenance by address reports a write (WnR) but needs no more than a read's permission; its
/// CM bit tells it apart. `DC ZVA` is a store in both respects.
fn data_access(syndrome: u64) -> Access {
    const WRITE_NOT_READ: u64 = 1 << 6;
    const CACHE_MAINTENANCE: u64 = 1 << 8;
    if syndrome & WRITE_NOT_READ != 0 && syndrome & CACHE_MAINTENANCE == 0 { Access::Write } else { Access::Read }
}

fn abort(syndrome: u64, address: u64, access: Access) -> Abort {
    let code = (syndrome & 0x3F) as u8;
    let cause = match code {
        0x00..=0x03 => AbortCause::AddressSize,
        0x04..=0x07 => AbortCause::Translation,
        0x08..=0x0B => AbortCause::AccessFlag,
        0x0C..=0x0F => AbortCause::Permission,
        0x10 | 0x14..=0x18 | 0x1C..=0x1F => AbortCause::External,
        0x21 => AbortCause::Alignment,
        0x30 => AbortCause::TlbConflict,
        _ => AbortCause::Other(code),
    };
    Abort { address, access, cause, level: code & 3 }
}
