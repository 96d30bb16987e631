//! The exception vectors: in from EL0 and back, and where an exception from EL1 ends.

use super::{context::Context, core_local::CoreLocal, fault::FaultFrame};
use core::arch::global_asm;

global_asm!(
    include_str!("vectors.s"),
    CALL_BIT = const graft_abi::SVC_IMMEDIATE.trailing_zeros(),
    MESSAGE_BIT = const graft_abi::SVC_MESSAGE.trailing_zeros(),
    X30_SP = const Context::X30_SP,
    PC_PSTATE = const Context::PC_PSTATE,
    THREAD_POINTER = const Context::THREAD_POINTER,
    STACK_TOP = const CoreLocal::STACK_TOP,
    EMERGENCY_TOP = const CoreLocal::EMERGENCY_TOP,
    FAULT = const CoreLocal::FAULT,
    FAULT_X30_SP = const FaultFrame::X30_SP,
    FAULT_PC_PSTATE = const FaultFrame::PC_PSTATE,
);

unsafe extern "C" {
    safe fn exception_vectors();
}

/// What goes into `VBAR_EL1`.
pub(super) fn address() -> u64 {
    exception_vectors as *const () as u64
}

/// Makes the three functions that the vectors call out of the four that the kernel gives, in one piece with them.
macro_rules! entries {
    ($call:ident, $message:ident, $more:ident, $trap:ident) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn message_from_user(context: *mut $crate::arch::Context, core: usize) -> ! {
            // SAFETY: as below; the answer is the context to resume. The index is one of the array that it comes from.
            unsafe {
                core::hint::assert_unchecked(core < $crate::arch::MAX_CORES);
                match $message(context, core) {
                    Some(resumed) => $crate::arch::resume(resumed),
                    None => more_from_user(context, core),
                }
            }
        }

        /// By itself, so that the way of words saves nothing for it; and as it does not return, it saves nothing either.
        #[inline(never)]
        unsafe extern "C" fn more_from_user(context: *mut $crate::arch::Context, core: usize) -> ! {
            // SAFETY: as above.
            unsafe {
                core::hint::assert_unchecked(core < $crate::arch::MAX_CORES);
                $crate::arch::resume($more(context, core))
            }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn call_from_user(context: *mut $crate::arch::Context) -> *mut $crate::arch::Context {
            // SAFETY: the vectors stored the registers of the thread that was resumed last on this core.
            unsafe { $call(context) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn trap_from_user(
            context: *mut $crate::arch::Context,
            syndrome: u64,
            fault_address: u64,
        ) -> *mut $crate::arch::Context {
            match $crate::arch::decode(syndrome, fault_address) {
                $crate::arch::Trap::Again => {
                    // Arm ARM, "TLB conflict aborts": invalidate and try again.
                    $crate::arch::tlb::invalidate_all();
                    context
                }
                // SAFETY: as above.
                trap => unsafe { $trap(context, trap) },
            }
        }
    };
}
pub(crate) use entries;
