//! Barriers around TLB and cache maintenance, looked for on every path through the linked kernel: an emulator works
//! without them.
//!
//! ```text
//!   TLBI …IS          DSB ISHST before it, and no store between;   DSB ISH and ISB after it    Arm ARM, "TLB maintenance instructions"
//!   TLBI, IC IALLU                                                 DSB and ISB after it
//!   IC IALLUIS, IVAU  DSB ISH before it;                           DSB ISH after it            "Ordering and completion of data and
//!   DC                                                             DSB after it                instruction cache instructions"
//! ```
//!
//! A path ends where the barriers have come, and must not reach a call, a return or an exception return before.

use crate::binary::elf::Unfit;
use crate::binary::symbols;
use object::{Object, ObjectSection, SectionKind, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};

/// How far a barrier reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Domain {
    Core,
    Inner,
    System,
}

/// What an instruction is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    /// `DSB`; whether it waits for more than stores.
    Barrier(Domain, bool),
    Isb,
    Maintenance(Maintenance),
    /// To memory, but for the stack.
    Store,
    Call,
    /// To the word that many words further on.
    Branch(i64),
    /// There, or on.
    Conditional(i64),
    /// Nothing that is known here follows.
    End,
    Other,
}

/// Instructions that take effect only with barriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Maintenance {
    /// `TLBI VALE1IS`.
    LeafOfPage,
    /// `TLBI VAE1IS`.
    Page,
    /// `TLBI RVAE1IS`.
    Range,
    /// `TLBI ASIDE1IS`.
    Space,
    /// `TLBI VMALLE1IS`.
    AllSpaces,
    /// Another `TLBI` that is broadcast.
    OtherBroadcast,
    /// A `TLBI` for the core itself.
    Local,
    /// `IC IALLU`.
    LocalInstructions,
    /// `IC IALLUIS` or `IVAU`.
    Instructions,
    /// `DC` by address, but for `DC ZVA`, which stores.
    Data,
}

impl Maintenance {
    fn is_broadcast(self) -> bool {
        self <= Maintenance::OtherBroadcast
    }

    /// The barrier that must have come before: whether it has to wait for more than stores.
    fn before(self) -> Option<bool> {
        match self {
            Maintenance::Instructions => Some(true),
            other => other.is_broadcast().then_some(false),
        }
    }

    /// The domain of the barrier that must come after, and whether an `ISB` must.
    fn after(self) -> (Domain, bool) {
        match self {
            Maintenance::Local | Maintenance::LocalInstructions => (Domain::Core, true),
            Maintenance::Data | Maintenance::Instructions => (Domain::Inner, false),
            _ => (Domain::Inner, true),
        }
    }
}

/// Arm ARM, "A64 instruction set encoding".
fn decode(word: u32) -> Instruction {
    let bits = |high: u32, low: u32| word >> low & (u32::MAX >> (31 - high + low));
    let offset = |high: u32, low: u32| i64::from(((bits(high, low) << (31 - high + low)) as i32) >> (31 - high + low));
    if word & 0xffff_f01f == 0xd503_301f {
        let domain = match bits(11, 10) {
            0 | 3 => Domain::System,
            1 => Domain::Core,
            _ => Domain::Inner,
        };
        return match bits(7, 5) {
            4 => Instruction::Barrier(domain, bits(9, 8) == 3),
            6 => Instruction::Isb,
            _ => Instruction::Other,
        };
    }
    if word & 0xfff8_0000 == 0xd508_0000 {
        return match (bits(18, 16), bits(15, 12), bits(11, 8), bits(7, 5)) {
            (0, 8, 3, 5) => Instruction::Maintenance(Maintenance::LeafOfPage),
            (0, 8, 3, 1) => Instruction::Maintenance(Maintenance::Page),
            (0, 8, 2, 1) => Instruction::Maintenance(Maintenance::Range),
            (0, 8, 3, 2) => Instruction::Maintenance(Maintenance::Space),
            (0, 8, 3, 0) => Instruction::Maintenance(Maintenance::AllSpaces),
            (_, 8, 5..=7, _) => Instruction::Maintenance(Maintenance::Local),
            (_, 8, _, _) => Instruction::Maintenance(Maintenance::OtherBroadcast),
            (0, 7, 5, 0) => Instruction::Maintenance(Maintenance::LocalInstructions),
            (0, 7, 1, 0) | (3, 7, 5, 1) => Instruction::Maintenance(Maintenance::Instructions),
            (3, 7, 4, 1) => Instruction::Store,
            (0 | 3, 7, 6 | 10..=14, 1 | 2) => Instruction::Maintenance(Maintenance::Data),
            _ => Instruction::Other,
        };
    }
    match () {
        () if word & 0xfc00_0000 == 0x1400_0000 => Instruction::Branch(offset(25, 0)),
        () if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
            Instruction::Conditional(offset(23, 5))
        }
        () if word & 0x7e00_0000 == 0x3600_0000 => Instruction::Conditional(offset(18, 5)),
        () if word & 0xfc00_0000 == 0x9400_0000 || word & 0xffff_fc1f == 0xd63f_0000 => Instruction::Call,
        // BR, RET, ERET; BRK, UDF.
        () if word & 0xff9f_fc1f == 0xd61f_0000 || word == 0xd69f_03e0 => Instruction::End,
        () if word & 0xffe0_001f == 0xd420_0000 || word >> 16 == 0 => Instruction::End,
        // Loads and stores: bit 22 is set in loads. A load that is taken for a store does no harm.
        () if bits(28, 25) & 0b0101 == 0b0100 && bits(22, 22) == 0 && bits(9, 5) != 31 => Instruction::Store,
        () => Instruction::Other,
    }
}

/// Code, by the address of each word.
struct Code {
    words: BTreeMap<u64, Instruction>,
    entries: Vec<u64>,
}

impl Code {
    /// Where execution may begin: at the names that the file has, and where only a computed branch can lead, the table
    /// of a `match`.
    fn new(words: BTreeMap<u64, Instruction>, named: impl IntoIterator<Item = u64>) -> Code {
        let mut code = Code { words, entries: Vec::new() };
        let followed: BTreeSet<u64> = code.words.keys().flat_map(|&address| code.next(address)).collect();
        code.entries = code.words.keys().copied().filter(|address| !followed.contains(address)).collect();
        code.entries.extend(named.into_iter().filter(|address| code.words.contains_key(address)));
        code
    }

    /// Where execution goes on after the instruction at this address.
    fn next(&self, address: u64) -> impl Iterator<Item = u64> {
        let there = |offset: i64| address.wrapping_add_signed(offset * 4);
        let on = address + 4;
        match self.words.get(&address) {
            None | Some(Instruction::End) => [None, None],
            Some(&Instruction::Branch(offset)) => [Some(there(offset)), None],
            Some(&Instruction::Conditional(offset)) => [Some(there(offset)), Some(on)],
            Some(_) => [Some(on), None],
        }
        .into_iter()
        .flatten()
    }

    /// Before each instruction, whether barriers have come since the last store on every path: for stores, and for
    /// everything.
    fn barriers_before(&self) -> BTreeMap<u64, (bool, bool)> {
        let mut before: BTreeMap<u64, (bool, bool)> =
            self.entries.iter().map(|&entry| (entry, (false, false))).collect();
        let mut waiting = self.entries.clone();
        while let Some(address) = waiting.pop() {
            let (stores, all) = before[&address];
            let after = match self.words.get(&address) {
                Some(&Instruction::Barrier(domain, full)) if domain >= Domain::Inner => (true, all || full),
                Some(Instruction::Store | Instruction::Call | Instruction::Maintenance(Maintenance::Data)) => {
                    (false, false)
                }
                _ => (stores, all),
            };
            for next in self.next(address) {
                let known = before.get(&next).copied();
                let merged = known.map_or(after, |known| (known.0 && after.0, known.1 && after.1));
                if known != Some(merged) {
                    before.insert(next, merged);
                    waiting.push(next);
                }
            }
        }
        before
    }

    /// Whether the barriers come after the maintenance at this address on every path of execution.
    fn barriers_after(&self, address: u64, maintenance: Maintenance) -> bool {
        let (domain, isb) = maintenance.after();
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<_> = self.next(address).map(|next| (next, false)).collect();
        while let Some((address, waited)) = waiting.pop() {
            if !seen.insert((address, waited)) {
                continue;
            }
            let waited = match self.words.get(&address) {
                None | Some(Instruction::End | Instruction::Call) => return false,
                Some(&Instruction::Barrier(reached, true)) if reached >= domain => true,
                Some(Instruction::Isb) if waited => continue,
                Some(_) => waited,
            };
            if !waited || isb {
                waiting.extend(self.next(address).map(|next| (next, waited)));
            }
        }
        true
    }

    fn check(&self) -> Result<BTreeMap<Maintenance, usize>, Unfit> {
        let before = self.barriers_before();
        let mut found = BTreeMap::new();
        for (&address, &instruction) in &self.words {
            let Instruction::Maintenance(maintenance) = instruction else { continue };
            let failed = |what: &str| Err(Unfit(format!("{address:#x}: {maintenance:?} without {what} on some path")));
            *found.entry(maintenance).or_default() += 1;
            let Some(&(stores, all)) = before.get(&address) else { return failed("a way to it that is understood") };
            match maintenance.before() {
                Some(full) if !(if full { all } else { stores }) => return failed("the barrier before it"),
                _ => {}
            }
            if !self.barriers_after(address, maintenance) {
                return failed("the barriers after it");
            }
        }
        Ok(found)
    }
}

/// Accepts a kernel whose maintenance instructions all have their barriers. Returns how many there are of each.
pub fn check(kernel: &[u8]) -> Result<BTreeMap<Maintenance, usize>, Unfit> {
    let unfit = |error: object::Error| Unfit(format!("cannot be read: {error}"));
    let file = object::File::parse(kernel).map_err(unfit)?;
    let mut words = BTreeMap::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let data = section.data().map_err(unfit)?.chunks_exact(4);
        let decoded = data.map(|word| decode(u32::from_le_bytes(word.try_into().expect("four bytes"))));
        words.extend((section.address()..).step_by(4).zip(decoded));
    }
    let named = symbols::functions(kernel, &[SymbolKind::Text, SymbolKind::Label, SymbolKind::Unknown])?;
    Code::new(words, named.into_iter().map(|(address, _)| address)).check()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DSB_ISHST: u32 = 0xd503_3a9f;
    const DSB_ISH: u32 = 0xd503_3b9f;
    const DSB_SY: u32 = 0xd503_3f9f;
    const DSB_NSH: u32 = 0xd503_379f;
    const ISB: u32 = 0xd503_3fdf;
    const TLBI_VAE1IS_X8: u32 = 0xd508_8328;
    const TLBI_VALE1IS_X11: u32 = 0xd508_83ab;
    const TLBI_VMALLE1: u32 = 0xd508_871f;
    const TLBI_RVAE1IS_X8: u32 = 0xd508_8228;
    const IC_IALLU: u32 = 0xd508_751f;
    const IC_IALLUIS: u32 = 0xd508_711f;
    const DC_CVAU_X11: u32 = 0xd50b_7b2b;
    const DC_ZVA_X0: u32 = 0xd50b_7420;
    const STR_X1_X0: u32 = 0xf900_0001;
    const STR_X1_SP: u32 = 0xf900_03e1;
    const LDR_X1_X0: u32 = 0xf940_0001;
    const STP_X1_X2_X0: u32 = 0xa900_0801;
    const RET: u32 = 0xd65f_03c0;
    const ERET: u32 = 0xd69f_03e0;
    const NOP: u32 = 0xd503_201f;
    const BL_ON: u32 = 0x9400_0001;
    const B_BACK_2: u32 = 0x17ff_fffe;
    const B_NE_BACK_1: u32 = 0x54ff_ffe1;
    const CBZ_X0_ON_2: u32 = 0xb400_0040;
    const TBNZ_W8_29_ON_2: u32 = 0x37e8_0048;

    fn accepted(words: &[u32]) -> bool {
        let decoded = words.iter().map(|&word| decode(word));
        Code::new((0x1000..).step_by(4).zip(decoded).collect(), [0x1000]).check().is_ok()
    }

    #[test]
    fn whole_sequences_are_accepted() {
        assert!(accepted(&[STR_X1_X0, DSB_ISHST, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]));
        assert!(accepted(&[DSB_ISHST, STR_X1_SP, LDR_X1_X0, TLBI_RVAE1IS_X8, NOP, DSB_SY, NOP, ISB, RET]), "the stack");
        assert!(accepted(&[DSB_ISHST, TLBI_VALE1IS_X11, B_NE_BACK_1, DSB_ISH, ISB, RET]), "a loop");
        assert!(accepted(&[DSB_ISHST, CBZ_X0_ON_2, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]), "or not at all");
        assert!(accepted(&[TLBI_VMALLE1, IC_IALLU, DSB_NSH, ISB, RET]));
        assert!(accepted(&[DC_CVAU_X11, DSB_ISH, TBNZ_W8_29_ON_2, IC_IALLUIS, DSB_ISH, RET]));
    }

    #[test]
    fn a_missing_barrier_is_found() {
        assert!(!accepted(&[STR_X1_X0, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]));
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, ISB, RET]));
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, DSB_ISH, RET]));
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, DSB_ISH, ERET]));
        assert!(!accepted(&[DC_CVAU_X11, IC_IALLUIS, DSB_ISH, RET]));
        assert!(!accepted(&[DC_CVAU_X11, DSB_ISH, IC_IALLUIS, RET]));
        assert!(!accepted(&[DC_CVAU_X11, RET]));
    }

    #[test]
    fn a_weaker_one_is_not_enough() {
        assert!(!accepted(&[DSB_NSH, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]), "the own core");
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, DSB_NSH, ISB, RET]), "the own core");
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, DSB_ISHST, ISB, RET]), "stores");
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, ISB, DSB_ISH, RET]), "in the wrong order");
        assert!(!accepted(&[DSB_ISHST, IC_IALLUIS, DSB_ISH, RET]), "stores");
    }

    #[test]
    fn every_path_counts() {
        for store in [STR_X1_X0, STP_X1_X2_X0, DC_ZVA_X0] {
            assert!(!accepted(&[DSB_ISHST, store, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]), "a store too late");
        }
        assert!(!accepted(&[DSB_ISHST, BL_ON, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]), "a call may store");
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, BL_ON, DSB_ISH, ISB, RET]), "a call comes first");
        assert!(!accepted(&[CBZ_X0_ON_2, DSB_ISHST, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]), "a way around");
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, CBZ_X0_ON_2, DSB_ISH, ISB, RET]), "a way around");
        assert!(!accepted(&[DSB_ISHST, TLBI_VAE1IS_X8, STR_X1_X0, B_BACK_2]), "the second time round, and no end");
        assert!(!accepted(&[DSB_ISHST, RET, TLBI_VAE1IS_X8, DSB_ISH, ISB, RET]), "the path to it is unknown");
        assert!(!accepted(&[RET, DSB_ISHST, TLBI_VAE1IS_X8, B_NE_BACK_1, RET]), "reached by a computed branch");
    }
}
