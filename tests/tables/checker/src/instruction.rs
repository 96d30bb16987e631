//! The instructions of AArch64 that a trace is about, by their encoding (Arm ARM, C5.3 to C5.5 and C6.2).

use crate::{Event, Invalidation, Register};

/// An instruction, with the number of the general register that it takes its operand from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// A barrier.
    Barrier(Event),
    /// A broadcast `TLBI`.
    Invalidate(Operand, u8),
    /// `TLBI VMALLE1`: everything, on the core that executes it alone.
    InvalidateOwn,
    /// `MSR TTBR0_EL1, Xt`
    SetUser(u8),
    /// `MSR TTBR1_EL1, Xt`
    SetKernel(u8),
    /// `MSR` to one of the two others.
    Set(Register, u8),
    /// `DC ZVA, Xt`
    ZeroLine(u8),
}

/// What the register of a broadcast `TLBI` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// `VMALLE1IS`: nothing.
    All,
    /// `ASIDE1IS`
    Space,
    /// `VALE1IS`
    Leaf,
    /// `VAE1IS`
    Page,
    /// `RVAE1IS`
    Pages,
}

impl Instruction {
    /// Recognises an instruction; `None` for all others. A `TLBI` or barrier of another kind counts for nothing, so a
    /// kernel that relies on one is found to break the rules.
    pub fn decode(word: u32) -> Option<Instruction> {
        let register = (word & 0x1f) as u8;
        Some(match (word & !0x1f, register) {
            // DSB: SY and ISH, ISHST.
            (0xd503_3f80 | 0xd503_3b80, 0x1f) => Instruction::Barrier(Event::WaitForAll),
            (0xd503_3a80, 0x1f) => Instruction::Barrier(Event::WaitForStores),
            (0xd503_3fc0, 0x1f) => Instruction::Barrier(Event::Synchronise),
            (0xd508_8300, _) => Instruction::Invalidate(Operand::All, register),
            (0xd508_8320, _) => Instruction::Invalidate(Operand::Page, register),
            (0xd508_8340, _) => Instruction::Invalidate(Operand::Space, register),
            (0xd508_83a0, _) => Instruction::Invalidate(Operand::Leaf, register),
            (0xd508_8220, _) => Instruction::Invalidate(Operand::Pages, register),
            (0xd508_8700, _) => Instruction::InvalidateOwn,
            (0xd518_2000, _) => Instruction::SetUser(register),
            (0xd518_2020, _) => Instruction::SetKernel(register),
            (0xd518_2040, _) => Instruction::Set(Register::Translation, register),
            (0xd518_1000, _) => Instruction::Set(Register::System, register),
            (0xd50b_7420, _) => Instruction::ZeroLine(register),
            _ => return None,
        })
    }
}

impl Operand {
    /// The invalidation with this value in the register.
    pub fn invalidation(self, value: u64) -> Invalidation {
        let asid = (value >> 48) as u16;
        let page = value & ((1 << 44) - 1);
        match self {
            Operand::All => Invalidation::All,
            Operand::Space => Invalidation::Space(asid),
            Operand::Leaf => Invalidation::Leaf(asid, page),
            Operand::Page => Invalidation::Page(asid, page),
            Operand::Pages => {
                let (scale, units) = (value >> 44 & 0b11, (value >> 39 & 0x1f) + 1);
                // BaseADDR is sign-extended.
                let page = ((value << 27) as i64 >> 27) as u64 & ((1 << 44) - 1);
                Invalidation::Pages(asid, page, units << (5 * scale + 1))
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
            (0xd503_3b9f, Instruction::Barrier(Event::WaitForAll)),
            (0xd503_3f9f, Instruction::Barrier(Event::WaitForAll)),
            (0xd503_3a9f, Instruction::Barrier(Event::WaitForStores)),
            (0xd503_3fdf, Instruction::Barrier(Event::Synchronise)),
            (0xd508_831f, Instruction::Invalidate(Operand::All, 31)),
            (0xd508_8343, Instruction::Invalidate(Operand::Space, 3)),
            (0xd508_8321, Instruction::Invalidate(Operand::Page, 1)),
            (0xd508_83a1, Instruction::Invalidate(Operand::Leaf, 1)),
            (0xd508_8221, Instruction::Invalidate(Operand::Pages, 1)),
            (0xd508_871f, Instruction::InvalidateOwn),
            (0xd518_2000, Instruction::SetUser(0)),
            (0xd518_2021, Instruction::SetKernel(1)),
            (0xd518_2045, Instruction::Set(Register::Translation, 5)),
            (0xd518_1000, Instruction::Set(Register::System, 0)),
            (0xd50b_7429, Instruction::ZeroLine(9)),
        ] {
            assert_eq!(Instruction::decode(word), Some(instruction), "{word:#x}");
        }
        // dsb nsh; dsb ishld; dmb ish; tlbi vae1, x1; tlbi vaae1is, x1; tlbi vae2is, x1; mrs x0, ttbr0_el1; nop
        for word in
            [0xd503_379f, 0xd503_399f, 0xd503_3bbf, 0xd508_8721, 0xd508_8361, 0xd50c_8321, 0xd538_2000, 0xd503_201f]
        {
            assert_eq!(Instruction::decode(word), None, "{word:#x}");
        }
    }

    #[test]
    fn an_operand_says_what_goes() {
        let value = 0x1107 << 48 | 0x8_0001_2345;
        assert_eq!(Operand::Space.invalidation(value), Invalidation::Space(0x1107));
        assert_eq!(Operand::Page.invalidation(value), Invalidation::Page(0x1107, 0x8_0001_2345));
        // NUM 2 at scale 1: 3 units of 64 pages.
        let range = 0x1107 << 48 | 1 << 46 | 1 << 44 | 2 << 39 | 0x2345;
        assert_eq!(Operand::Pages.invalidation(range), Invalidation::Pages(0x1107, 0x2345, 192));
    }
}
