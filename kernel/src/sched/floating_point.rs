//! Floating point: which thread's values the registers of a core hold, and which thread may use them.
//!
//! They are switched off whenever a thread begins to run. Its first use traps, and only then are its values
//! loaded, unless they are still there; they are saved when it stops running. So a thread that uses none pays
//! nothing, and none ever sees another's.

use super::this;
use crate::arch::floating_point::{self, State};
use crate::object::thread::{FloatingPoint, Thread};

/// Switches floating point on for the current thread, at its first use since it began to run.
pub fn use_floating_point(thread: &Thread) {
    let (index, core) = this();
    floating_point::enable();
    let own = &core.own;
    let still_there = core::ptr::eq(own.floating_point_owner.get(), thread)
        && thread.floating_point() == FloatingPoint::SavedOn(index);
    if !still_there {
        // SAFETY: the current thread is this core's own.
        unsafe { thread.load_floating_point() };
        own.floating_point_owner.set(thread);
    }
    own.floating_point.set(true);
}

/// Gives a new thread the floating-point state of the current one, which has rarely any.
#[inline(always)]
pub fn copy_floating_point(current: &Thread, new: &Thread) {
    if this().1.own.floating_point.get() || current.floating_point() != FloatingPoint::Unused {
        give_floating_point(new, floating_point(current));
    }
}

/// The floating-point state of the current thread; `None` if it has not used any.
pub fn floating_point(current: &Thread) -> Option<&State> {
    let (index, core) = this();
    if core.own.floating_point.get() {
        // SAFETY: the current thread is this core's own, and the registers are its.
        unsafe { current.save_floating_point(index) };
    }
    // SAFETY: as above.
    unsafe { current.saved_floating_point() }
}

/// Gives a new thread this floating-point state.
#[cold]
pub fn give_floating_point(new: &Thread, state: Option<&State>) {
    // SAFETY: no core runs it yet.
    unsafe { new.set_floating_point(state) };
}

/// Replaces the floating-point state of the current thread, which goes on with other registers.
pub fn replace_floating_point(current: &Thread, state: Option<&State>) {
    let (_, core) = this();
    if core.own.floating_point.replace(false) {
        floating_point::disable();
    }
    core.own.floating_point_owner.set(core::ptr::null());
    // SAFETY: the current thread is this core's own.
    unsafe { current.set_floating_point(state) };
}
