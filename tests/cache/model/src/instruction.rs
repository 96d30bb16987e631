//! The few AArch64 instructions that change what caches and TLBs hold and are no loads and stores, or that mark time.

use crate::tlb::Scope;

/// A register by its number; 31 reads as zero.
pub type Register = u8;

/// An instruction that the model has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `MRS Xt, CNTVCT_EL0`: a program looks at the time.
    ReadCounter(Register),
    /// `MSR` to one of the registers that say how addresses are translated.
    Set(Control, Register),
    /// `TLBI`, with the operand in a register.
    Invalidate(Operand, Reach, Register),
    /// `IC IALLU` and `IC IALLUIS`: instruction caches lose everything.
    EmptyInstructionCaches(Reach),
    /// `DC ZVA`: zeroes the line at the address in a register. As a store it is the only one that QEMU does not report.
    ZeroLine(Register),
}

/// A register that says how addresses are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `TTBR0_EL1`
    Lower,
    /// `TTBR1_EL1`
    Upper,
    /// `TCR_EL1`
    Control,
}

/// What the register of a `TLBI` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Nothing: everything goes. Also stands for all kinds that neither Graft nor Linux uses at EL1.
    All,
    /// `ASID`: an identifier in bits 63 to 48.
    Asid,
    /// `VA`: bits 55 to 12 of an address in bits 43 to 0, and an identifier.
    Address {
        /// `VAL`, `VAAL`: of the last level only.
        last_level: bool,
        /// `VAA`: of any identifier.
        any_asid: bool,
    },
}

/// How far maintenance reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The core that executes it.
    Core,
    /// All cores: "inner shareable".
    All,
}

impl Instruction {
    /// Recognises an instruction (Arm ARM C5.3 to C5.5 for the encodings); `None` for all others.
    pub fn decode(word: u32) -> Option<Instruction> {
        let register = (word & 0x1f) as Register;
        let field = |shift: u32, bits: u32| word >> shift & ((1 << bits) - 1);
        let (op1, cn, cm, op2) = (field(16, 3), field(12, 4), field(8, 4), field(5, 3));
        Some(match (word & !0x1f, word >> 19) {
            (0xd53b_e040, _) => Instruction::ReadCounter(register),
            (0xd518_2000, _) => Instruction::Set(Control::Lower, register),
            (0xd518_2020, _) => Instruction::Set(Control::Upper, register),
            (0xd518_2040, _) => Instruction::Set(Control::Control, register),
            (0xd508_7100, _) => Instruction::EmptyInstructionCaches(Reach::All),
            (0xd508_7500, _) => Instruction::EmptyInstructionCaches(Reach::Core),
            (0xd50b_7420, _) => Instruction::ZeroLine(register),
            (_, 0x1aa1) if cn == 8 => {
                let operand = match (op1, op2) {
                    (0, 2) => Operand::Asid,
                    (0, 1 | 3 | 5 | 7) => Operand::Address { last_level: op2 & 4 != 0, any_asid: op2 & 2 != 0 },
                    _ => Operand::All,
                };
                // The inner-shareable ones are numbered from 0 on, those of one core from 4 on.
                Instruction::Invalidate(operand, if cm & 4 == 0 { Reach::All } else { Reach::Core }, register)
            }
            _ => return None,
        })
    }
}

impl Operand {
    /// What an invalidation with this value in its register is about.
    pub fn scope(self, value: u64) -> Scope {
        let asid = (value >> 48) as u16;
        match self {
            Operand::All => Scope::All,
            Operand::Asid => Scope::Space(asid),
            Operand::Address { last_level, any_asid } => {
                let address = (value & 0xfff_ffff_ffff) << 12;
                Scope::Address { address, asid: (!any_asid).then_some(asid), last_level }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_known_by_their_encoding() {
        // As an assembler makes them.
        for (word, instruction) in [
            (0xd53b_e054, Instruction::ReadCounter(20)),
            (0xd518_2000, Instruction::Set(Control::Lower, 0)),
            (0xd518_2021, Instruction::Set(Control::Upper, 1)),
            (0xd518_2045, Instruction::Set(Control::Control, 5)),
            (0xd508_711f, Instruction::EmptyInstructionCaches(Reach::All)),
            (0xd508_751f, Instruction::EmptyInstructionCaches(Reach::Core)),
            (0xd50b_7429, Instruction::ZeroLine(9)),
            // tlbi vmalle1is; tlbi vmalle1; tlbi aside1is, x3
            (0xd508_831f, Instruction::Invalidate(Operand::All, Reach::All, 31)),
            (0xd508_871f, Instruction::Invalidate(Operand::All, Reach::Core, 31)),
            (0xd508_8343, Instruction::Invalidate(Operand::Asid, Reach::All, 3)),
        ] {
            assert_eq!(Instruction::decode(word), Some(instruction), "{word:#x}");
        }
        let address = |last_level, any_asid| Operand::Address { last_level, any_asid };
        // tlbi vae1is, x1; vaae1is; vale1is; vaale1is; vale1
        for (word, operand, reach) in [
            (0xd508_8321, address(false, false), Reach::All),
            (0xd508_8361, address(false, true), Reach::All),
            (0xd508_83a1, address(true, false), Reach::All),
            (0xd508_83e1, address(true, true), Reach::All),
            (0xd508_87a1, address(true, false), Reach::Core),
        ] {
            assert_eq!(Instruction::decode(word), Some(Instruction::Invalidate(operand, reach, 1)), "{word:#x}");
        }
        // mrs x0, cntfrq_el0; mrs x0, ttbr0_el1; dc civac, x0; nop; dsb ish; svc #0
        for word in [0xd53b_e000, 0xd538_2000, 0xd50b_7e20, 0xd503_201f, 0xd503_3b9f, 0xd400_0001] {
            assert_eq!(Instruction::decode(word), None, "{word:#x}");
        }
    }

    #[test]
    fn an_operand_carries_identifier_and_address() {
        let value = 0x1107 << 48 | 0xff_8000_1234_5000_u64 >> 12;
        let operand = Operand::Address { last_level: true, any_asid: false };
        let scope = Scope::Address { address: 0xff_8000_1234_5000, asid: Some(0x1107), last_level: true };
        assert_eq!(operand.scope(value), scope);
        assert_eq!(Operand::Asid.scope(value), Scope::Space(0x1107));
    }
}
