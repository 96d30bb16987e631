//! Floating point: whose values the registers of a core hold, and who may use them.
//!
//! They are switched off whenever a thread begins to run. Its first use traps, and only then are its values
//! loaded, unless they are still there; they are saved when it stops running. So a thread that uses none pays
//! nothing, and none ever sees another's.

use super::this;
use crate::arch::floating_point;
use crate::thread::{FloatingPoint, Thread};

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

/// Gives a new thread the floating-point state of the current one.
pub fn copy_floating_point(current: &Thread, new: &Thread) {
    let (index, core) = this();
    if core.own.floating_point.get() {
        // SAFETY: the current thread is this core's own, and the registers are its.
        unsafe { current.save_floating_point(index) };
    }
    // SAFETY: as above; nobody runs the new one yet.
    unsafe { new.copy_floating_point(current) };
}

/// Forgets the floating-point state of the current thread, which begins another program.
pub fn reset_floating_point(current: &Thread) {
    let (_, core) = this();
    if core.own.floating_point.replace(false) {
        floating_point::disable();
    }
    core.own.floating_point_owner.set(core::ptr::null());
    // SAFETY: the current thread is this core's own.
    unsafe { current.reset_floating_point() };
}
