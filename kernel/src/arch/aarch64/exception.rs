//! From the syndrome register to a typed trap.
//!
//! Arm ARM, `ESR_EL1`: EC is bits 31–26, ISS bits 24–0.

use crate::arch::{Cause, Failure, Trap};
use graft_abi::FaultKind;
use graft_paging::Access;

/// The syndrome that the vectors hand over for an interrupt, which has none.
const INTERRUPT: u64 = u64::MAX;

/// What `syndrome` (`ESR_EL1`) and `fault_address` (`FAR_EL1`) say; `u64::MAX` is an interrupt.
#[inline(always)]
pub fn decode(syndrome: u64, fault_address: u64) -> Trap {
    if syndrome == INTERRUPT {
        return Trap::Interrupt;
    }
    match syndrome >> 26 & 0x3F {
        0x24 => failure(syndrome, fault_address, data_access(syndrome)),
        0x20 => failure(syndrome, fault_address, Access::Execute),
        0x07 => Trap::FloatingPoint,
        // `svc`, but not the one of a native call, which does not come here.
        0x15 => Trap::Error(FaultKind::ForeignCall),
        // The program counter, the stack pointer.
        0x22 | 0x26 => Trap::Error(FaultKind::Unaligned),
        0x2F => Trap::Error(FaultKind::Machine),
        0x30 | 0x32 | 0x34 | 0x3C => Trap::Error(FaultKind::Breakpoint),
        // Unknown; MRS and MSR; SVE, SME, pointer authentication and branch target; illegal state; and classes not yet
        // defined.
        _ => Trap::Error(FaultKind::Undefined),
    }
}

/// Cache maintenance by address reports a write (WnR) but needs no more than a read's permission; its
/// CM bit tells it apart. `DC ZVA` is a store in both respects.
fn data_access(syndrome: u64) -> Access {
    const WRITE_NOT_READ: u64 = 1 << 6;
    const CACHE_MAINTENANCE: u64 = 1 << 8;
    if syndrome & WRITE_NOT_READ != 0 && syndrome & CACHE_MAINTENANCE == 0 { Access::Write } else { Access::Read }
}

/// By the fault status code: translation, access flag and permission faults are the tree's to answer.
#[inline(always)]
fn failure(syndrome: u64, address: u64, access: Access) -> Trap {
    let cause = match syndrome & 0x3F {
        0x04..=0x0F => Cause::Descriptor,
        0x21 => Cause::Error(FaultKind::Unaligned),
        // A TLB conflict.
        0x30 => return Trap::Again,
        // Address size, external aborts, and codes not yet defined.
        _ => Cause::Error(FaultKind::Machine),
    };
    Trap::Access(Failure { address, access, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A syndrome with this exception class, fault status code and WnR.
    fn syndrome(class: u64, status: u64, write: bool) -> u64 {
        class << 26 | 1 << 25 | u64::from(write) << 6 | status
    }

    fn access(status: u64, write: bool) -> Trap {
        decode(syndrome(0x24, status, write), 0x1234)
    }

    #[test]
    fn faults_of_descriptors_are_the_trees_and_others_are_not() {
        for status in 0..0x40 {
            let cause = match access(status, true) {
                Trap::Access(Failure { address: 0x1234, access: Access::Write, cause }) => Some(cause),
                Trap::Again => None,
                other => panic!("{status:#x}: {other:?}"),
            };
            let expected = match status {
                // Translation, access flag and permission faults, levels 0 to 3 each.
                0x04..=0x0F => Some(Cause::Descriptor),
                0x21 => Some(Cause::Error(FaultKind::Unaligned)),
                0x30 => None,
                _ => Some(Cause::Error(FaultKind::Machine)),
            };
            assert_eq!(cause, expected, "status {status:#x}");
        }
    }

    #[test]
    fn maintenance_by_address_is_no_store() {
        let read = Trap::Access(Failure { address: 0x1234, access: Access::Read, cause: Cause::Descriptor });
        assert_eq!(access(0x07, false), read);
        assert_eq!(decode(syndrome(0x24, 0x07, true) | 1 << 8, 0x1234), read, "CM");
    }

    #[test]
    fn a_fetch_is_known_as_one() {
        let fetch = Trap::Access(Failure { address: 8, access: Access::Execute, cause: Cause::Descriptor });
        assert_eq!(decode(syndrome(0x20, 0x0F, false), 8), fetch);
    }

    #[test]
    fn every_class_from_user_space_has_an_answer() {
        use FaultKind::*;
        assert_eq!(decode(u64::MAX, 0), Trap::Interrupt);
        assert_eq!(decode(syndrome(0x07, 0, false), 0), Trap::FloatingPoint);
        for (classes, kind) in [
            (&[0x15][..], ForeignCall),
            (&[0x22, 0x26], Unaligned),
            (&[0x2F], Machine),
            (&[0x30, 0x32, 0x34, 0x3C], Breakpoint),
            (&[0x00, 0x09, 0x0D, 0x0E, 0x18, 0x19, 0x1C, 0x1D, 0x3F], Undefined),
        ] {
            for &class in classes {
                assert_eq!(decode(syndrome(class, 0, false), 0), Trap::Error(kind), "class {class:#x}");
            }
        }
    }
}
