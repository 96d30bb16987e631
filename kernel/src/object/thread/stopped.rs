//! Threads that are stopped at a fault: their registers are put aside while they make a call of the kernel's.

use super::{Scheduling, Stop, Thread};
use crate::arch::Context;
use core::sync::atomic::Ordering;
use graft_abi::FaultKind;

/// What a thread was when it was stopped.
pub(super) struct Stopped {
    registers: Context,
    fault: Fault,
}

/// Why a thread cannot go on.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What it did.
    pub kind: FaultKind,
    /// The address that it used, if it was one.
    pub address: Option<u64>,
    /// Where it was.
    pub pc: u64,
}

impl Thread {
    /// Whether it is stopped.
    pub fn is_stopped(&self) -> bool {
        self.scheduling.load(Ordering::Relaxed) & Scheduling::STOPPED != 0
    }

    /// Stops it at a fault: its registers are put aside, so that it can make a call of the kernel's, and it
    /// [goes on](Self::go_on) as its work when that has been answered.
    ///
    /// # Safety
    /// The caller owns the thread, which is not stopped.
    pub unsafe fn stop(&self, fault: Fault) {
        // SAFETY: room for it, this thread's alone.
        unsafe {
            let own = &mut *self.own.as_ptr();
            let stopped = own.stopped.as_mut_ptr();
            own.context.copy_to(&raw mut (*stopped).registers);
            (&raw mut (*stopped).fault).write(fault);
        }
        self.scheduling.fetch_or(Scheduling::STOPPED, Ordering::Relaxed);
        self.work.note_stop(Stop::Stopped);
    }

    /// Gives it its registers back, and tells why it was stopped.
    ///
    /// # Safety
    /// The caller owns the thread, which is stopped.
    pub unsafe fn go_on(&self) -> Fault {
        self.scheduling.fetch_and(!Scheduling::STOPPED, Ordering::Relaxed);
        self.work.note_stop(Stop::GoesOn);
        // SAFETY: initialised when it was stopped.
        unsafe {
            let own = &mut *self.own.as_ptr();
            let stopped = own.stopped.assume_init_ref();
            stopped.registers.copy_to(&raw mut own.context);
            stopped.fault
        }
    }

    /// The registers with which it will go on.
    ///
    /// # Safety
    /// The caller owns the thread, which is stopped.
    #[expect(clippy::mut_from_ref, reason = "the owner alone has it")]
    pub unsafe fn stopped_registers(&self) -> &mut Context {
        // SAFETY: initialised when it was stopped.
        unsafe { &mut (*self.own.as_ptr()).stopped.assume_init_mut().registers }
    }
}
