//! The Graft microkernel.
//!
//! `boot/` brings every core here with its MMU on; from then on this crate has the machine.

#![no_std]
#![no_main]

#[macro_use]
mod console;

mod arch;
mod archive;
mod board;
mod call;
mod device_tree;
mod end;
mod frames;
mod kernel_memory;
mod loader;
mod lock;
mod memory_map;
mod memory_object;
mod object;
mod panic;
mod platform;
mod process;
mod scheduler;
mod snapshot;
mod space;
mod start;
mod statistics;
mod symbols;
mod terminal;
mod thread;
mod trap;
mod user_copy;

/// The first core, on a temporary stack. Physical addresses of the device tree and of the image.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(device_tree: u64, image: u64) -> ! {
    arch::prepare_first_core(image);
    match platform::bring_up(device_tree) {
        Ok(()) => arch::run_on_own_stack(first_core),
        Err(refusal) => panic::last_words(&refusal),
    }
}

extern "C" fn first_core() -> ! {
    arch::release_cores();
    start::start()
}

/// Every other core, on its own stack.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(core: usize) -> ! {
    arch::wait_for_first_core(core);
    start::start_secondary()
}
