//! An exception from EL1. The kernel expects two, both while it starts or ends: a load from an address
//! that a loader made up, and an emulator's semihosting call on a machine that has no emulator. Anything
//! else is a bug.

use super::{core_local, memory, power, semihosting};
use crate::arch::given;
use core::{
    fmt,
    mem::{offset_of, size_of},
};

/// The registers at the exception, where `vectors.s` stores them.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FaultFrame {
    /// General-purpose registers.
    x: [u64; 31],
    /// The stack pointer.
    sp: u64,
    /// `ELR_EL1`.
    pc: u64,
    /// `SPSR_EL1`.
    pstate: u64,
}

impl FaultFrame {
    pub(super) const ZEROED: FaultFrame = FaultFrame { x: [0; 31], sp: 0, pc: 0, pstate: 0 };
    pub(super) const X30_SP: usize = 30 * size_of::<u64>();
    pub(super) const PC_PSTATE: usize = offset_of!(FaultFrame, pc);

    /// Where the exception was taken.
    pub fn program_counter(&self) -> u64 {
        self.pc
    }

    /// The frame record of the function that was interrupted, see [`backtrace`](super::backtrace).
    pub fn frame_pointer(&self) -> u64 {
        self.x[29]
    }
}

impl fmt::Display for FaultFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  pc {:#018x}  sp {:#018x}  pstate {:#x}", self.pc, self.sp, self.pstate)?;
        for (row, registers) in self.x.chunks(4).enumerate() {
            f.write_str("\n ")?;
            for (column, value) in registers.iter().enumerate() {
                write!(f, " x{:<2} {value:016x}", row * 4 + column)?;
            }
        }
        Ok(())
    }
}

const _: () = assert!(offset_of!(FaultFrame, x) == 0 && offset_of!(FaultFrame, sp) == FaultFrame::X30_SP + 8);
const _: () = assert!(offset_of!(FaultFrame, pstate) == FaultFrame::PC_PSTATE + 8);

/// Called by the vectors, on the emergency stack. If it returns, execution goes on at the frame's program counter.
#[unsafe(no_mangle)]
extern "C" fn fault_in_kernel(frame: &mut FaultFrame, vector: u64, syndrome: u64, address: u64) -> *mut FaultFrame {
    const SYNCHRONOUS: u64 = 4;
    const UNKNOWN_REASON: u64 = 0x00;
    const DATA_ABORT: u64 = 0x25;
    match (vector, syndrome >> 26 & 0x3F) {
        (SYNCHRONOUS, UNKNOWN_REASON) if is_semihosting_call(frame) => {
            if frame.x[0] == semihosting::EXIT {
                power::stop_without_emulator();
            }
        }
        (SYNCHRONOUS, DATA_ABORT) if frame.pc == memory::probe_instruction_address() => {}
        _ => given::report_fault(frame, &Cause { vector, syndrome, address }),
    }
    frame.x[0] = u64::MAX;
    frame.pc += 4;
    frame
}

fn is_semihosting_call(frame: &FaultFrame) -> bool {
    // SAFETY: the core has just fetched this instruction from there.
    unsafe { (frame.pc as *const u32).read() == semihosting::INSTRUCTION }
}

/// What happened, for the report.
struct Cause {
    vector: u64,
    syndrome: u64,
    address: u64,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cause { vector, syndrome, address } = *self;
        let kind = ["synchronous exception", "IRQ", "FIQ", "SError"][vector as usize & 3];
        let from = ["EL1 with SP_EL0", "EL1", "EL0", "EL0 in AArch32 state"][vector as usize >> 2 & 3];
        write!(f, "{kind} from {from}")?;
        if vector & 3 != 0 {
            return Ok(());
        }
        let class = syndrome >> 26 & 0x3F;
        let what = match class {
            0x00 => "undefined instruction",
            0x0E => "illegal execution state",
            0x18 => "trapped system register",
            0x07 => "floating point switched off",
            0x21 => "instruction abort",
            0x22 => "unaligned program counter",
            0x25 => "data abort",
            0x26 => "unaligned stack pointer",
            0x3C => "breakpoint instruction",
            _ => "unexpected class",
        };
        write!(f, ": {what}")?;
        if let 0x21 | 0x25 = class {
            let access = match (class, syndrome & 1 << 6) {
                (0x21, _) => "fetch from",
                (_, 0) => "load from",
                _ => "store to",
            };
            let status = match syndrome & 0x3C {
                0x00 => "address size fault",
                0x04 => "translation fault",
                0x08 => "access flag fault",
                0x0C => "permission fault",
                0x10 => "external abort",
                0x20 => "alignment fault",
                _ => "other fault",
            };
            write!(f, ", {access} {address:#x}, {status}, level {}", syndrome & 3)?;
        }
        if core_local::is_stack_guard(address) {
            write!(f, ": a kernel stack overflowed")?;
        }
        write!(f, "\n  ESR {syndrome:#x}  FAR {address:#x}")
    }
}
