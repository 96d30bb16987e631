//! What machine this is: found once, before the other cores start, and the same for good.

#[macro_use]
pub mod console;

#[cfg(target_os = "none")]
pub mod archive;
pub mod blob;
#[cfg(target_os = "none")]
pub mod board;
#[cfg(target_os = "none")]
mod bring_up;
#[cfg(target_os = "none")]
pub use bring_up::{Refusal, bring_up};
#[cfg(target_os = "none")]
pub mod device_tree;
#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
pub mod memory_map;
pub mod pieces;

pub use crate::arch::PhysRange;
use core::str::FromStr;
use spin::Once;

static PLATFORM: Once<Platform> = Once::new();

/// The machine. Panics before it has been found.
pub fn platform() -> &'static Platform {
    PLATFORM.get().expect("the platform is found before anything asks")
}

/// Says what machine this is, once.
pub fn found(platform: Platform) -> &'static Platform {
    PLATFORM.call_once(|| platform)
}

/// What is known about the machine.
pub struct Platform {
    /// What the device tree calls it.
    pub machine: &'static str,
    /// RAM that nothing occupies, in pages, in ascending order, in the direct map.
    pub free_memory: &'static [PhysRange],
    /// The archive of programs that the loader brought, unpacked, in whole pages of the direct map: what follows it in
    /// its last page is zero.
    pub archive: Option<PhysRange>,
    /// The device tree blob, likewise.
    pub device_tree: Option<PhysRange>,
    /// Pages of device registers that programs may be given, each the pages of one range of a device.
    pub devices: &'static [PhysRange],
    /// The kernel's command line.
    pub boot_arguments: &'static str,
    /// Cores that run.
    pub cores: usize,
}

/// The number behind `name` among the words of the boot arguments that come before the shell's line.
pub fn boot_number<T: FromStr>(arguments: &str, name: &str) -> Option<T> {
    let words = arguments.split_ascii_whitespace();
    words.take_while(|word| !word.starts_with("graft.cmd=")).find_map(|word| word.strip_prefix(name)?.parse().ok())
}
