//! The Graft microkernel.
//!
//! `boot/` brings every core here with its MMU on; from then on this crate has the machine. It is a library, so that
//! the host compiles it too, with [`arch`]'s stand-in, and tests it.

#![cfg_attr(not(test), no_std)]

#[cfg(not(target_os = "none"))]
extern crate std;

#[macro_use]
pub mod platform;

pub mod arch;
pub mod call;
pub mod ipc;
pub mod lock;
pub mod memory;
pub mod object;
pub mod program;
pub mod sched;
mod sync;
pub mod trace;
pub mod trap;

#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod start;

/// The first core, on a temporary stack. Physical addresses of the device tree and of the image.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn kernel_main(device_tree: u64, image: u64) -> ! {
    arch::prepare_first_core(image);
    match platform::bring_up(device_tree) {
        Ok(()) => arch::run_on_own_stack(first_core),
        Err(refusal) => panic::last_words(&refusal),
    }
}

#[cfg(target_os = "none")]
extern "C" fn first_core() -> ! {
    arch::release_cores();
    start::start()
}

/// Every other core, on its own stack.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn secondary_main(core: usize) -> ! {
    arch::wait_for_first_core(core);
    start::start_secondary()
}
