//! Threads without a runtime: no closure, no stack, nothing to give back.

use core::arch::naked_asm;

use graft_abi::{Call, Error, Handle, STACK_TOP, SVC_IMMEDIATE, SVC_MESSAGE};

use crate::call::call;

/// What such a thread does. It needs no stack.
#[derive(Clone, Copy, Debug)]
pub enum Bare {
    /// It ends with its argument.
    End,
    /// It sleeps for as many nanoseconds as its argument says, again and again.
    Sleep,
    /// It calls through the connection whose handle its argument is, again and again.
    Call,
}

impl Bare {
    /// Makes such a thread.
    pub fn create(self, argument: u64) -> Result<Handle, Error> {
        // SAFETY: the thread touches no memory.
        let answer = unsafe { call(Call::ThreadCreate, [self.entry(), STACK_TOP as u64, argument, 0]) }?;
        Ok(answer.handle())
    }

    /// The address of its first instruction.
    pub fn entry(self) -> u64 {
        let entry = match self {
            Bare::End => end as extern "C" fn() -> !,
            Bare::Sleep => sleep as extern "C" fn() -> !,
            Bare::Call => calls as extern "C" fn() -> !,
        };
        entry as usize as u64
    }
}

#[unsafe(naked)]
extern "C" fn end() -> ! {
    naked_asm!(
        "mov     x8, #{exit}",
        "svc     #{svc}",
        "brk     #1",
        exit = const Call::ThreadExit as u64,
        svc = const SVC_IMMEDIATE,
    )
}

#[unsafe(naked)]
extern "C" fn sleep() -> ! {
    naked_asm!(
        "mov     x19, x0",
        "1:",
        "mov     x0, x19",
        "mov     x8, #{sleep}",
        "svc     #{svc}",
        "b       1b",
        sleep = const Call::Sleep as u64,
        svc = const SVC_IMMEDIATE,
    )
}

#[unsafe(naked)]
extern "C" fn calls() -> ! {
    naked_asm!(
        "mov     x19, x0",
        "1:",
        "mov     x0, x19",
        "mov     x7, xzr",
        "mov     x9, xzr",
        "mov     x8, #{call}",
        "svc     #{svc}",
        "b       1b",
        call = const Call::Call as u64,
        svc = const SVC_MESSAGE,
    )
}
