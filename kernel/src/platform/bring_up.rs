//! Finds out what machine this is, and starts its devices and cores.

use super::{
    PhysRange, Platform,
    archive::{self, ArchiveError},
    board::Board,
    boot_number, console,
    device_tree::{self, DeviceTree},
    devices,
    memory_map::{self, MemoryMap},
};
use crate::arch::{self, MAX_CORES, StartMethod, interrupts, kernel_map::KernelMapError, memory, power, timer};
use core::fmt;

/// Why the kernel cannot run here.
#[derive(Debug)]
pub enum Refusal {
    /// There is no usable device tree.
    DeviceTree(device_tree::Error),
    /// The board is none of those known.
    UnknownBoard(&'static str),
    /// The device tree is of this board, and of another machine than this one.
    OtherMachine(&'static str, Misfit),
    /// The device tree has no PL011 that is enabled.
    NoConsole,
    /// The device tree has no GIC.
    NoInterruptController,
    /// The device tree has a GIC where none can be.
    InterruptController(KernelMapError),
    /// Firmware has not set the counter's frequency.
    NoTimer,
    /// Memory is missing, too little or in too many pieces.
    Memory(memory_map::Error),
    /// The archive is not in memory.
    ArchiveElsewhere(PhysRange),
    /// The archive cannot be used.
    Archive(ArchiveError),
}

/// What shows that a device tree is not of this machine.
#[derive(Debug)]
pub enum Misfit {
    /// The kernel is here, which the tree does not call memory.
    Kernel(u64),
    /// The tree has the console here, where nothing is, or memory.
    Console(u64),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Kernel(address) => write!(f, "the kernel is at {address:#x}, where that one has no memory"),
            Misfit::Console(address) => write!(f, "there is no UART at {address:#x}"),
        }
    }
}

/// Looks for evidence that the tree is not of this machine: a loader can be given any file. Such a tree would lead to
/// a UART that is memory, and no message would ever be seen.
fn misfit(tree: &DeviceTree, console: u64) -> Option<Misfit> {
    let kernel = memory::image().start;
    let (mut has_memory, mut has_kernel, mut is_console_memory) = (false, false, false);
    tree.for_each_memory(|range| {
        has_memory = true;
        has_kernel |= (range.start..range.end).contains(&kernel);
        is_console_memory |= (range.start..range.end).contains(&console);
    });
    // If there is no memory at all, the memory map has the better message.
    if has_memory && !has_kernel {
        return Some(Misfit::Kernel(kernel));
    }
    (is_console_memory || !console::answers(console)).then_some(Misfit::Console(console))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::DeviceTree(error) => error.fmt(f),
            Refusal::UnknownBoard(model) => {
                write!(
                    f,
                    "unknown board: {model} is neither QEMU's virt nor a Raspberry Pi with a BCM2711 (4 B, 400, CM4)"
                )
            }
            Refusal::OtherMachine(model, misfit) => {
                write!(f, "the device tree is of another machine, {model}: {misfit}")
            }
            Refusal::NoConsole => f.write_str("the device tree has no enabled PL011 UART"),
            Refusal::NoInterruptController => f.write_str("the device tree has no GICv2 or GICv3"),
            Refusal::InterruptController(error) => {
                write!(f, "the registers of the interrupt controller cannot be mapped: {error}")
            }
            Refusal::NoTimer => f.write_str("firmware has not said how fast the counter counts"),
            Refusal::Memory(error) => error.fmt(f),
            Refusal::ArchiveElsewhere(PhysRange { start, end }) => {
                write!(f, "the initrd at {start:#x} to {end:#x} is not in memory")
            }
            Refusal::Archive(error) => error.fmt(f),
        }
    }
}

/// Finds out what machine this is from the device tree at this physical address, and starts its devices and cores.
pub fn bring_up(device_tree: u64) -> Result<(), Refusal> {
    let tree = DeviceTree::load(device_tree).map_err(Refusal::DeviceTree)?;
    let console = tree.console();
    let Some(board) = Board::recognise(&tree) else {
        if let Some(address) = console.map(|console| console.registers[0].0).filter(|&at| console::is_pl011(at)) {
            // Its clock is unknown, and the rate stays what firmware set.
            console::prepare(console::Description { address, clock: 0 });
        }
        return Err(Refusal::UnknownBoard(tree.model()));
    };
    let console = console.ok_or(Refusal::NoConsole)?;
    let registers = console.registers[0].0;
    if let Some(misfit) = misfit(&tree, registers) {
        return Err(Refusal::OtherMachine(tree.model(), misfit));
    }
    board.prepare_console(registers);

    timer::set_frequency(timer::frequency()).ok_or(Refusal::NoTimer)?;
    let archive = tree.archive();
    let mut memory = MemoryMap::build(&tree, archive).map_err(Refusal::Memory)?;
    if let Some(archive) = archive.filter(|&archive| !memory.is_mapped(archive)) {
        return Err(Refusal::ArchiveElsewhere(archive));
    }
    let archive = archive.map(|range| archive::settle(range, &mut memory)).transpose().map_err(Refusal::Archive)?;
    let controller = tree.interrupt_controller().ok_or(Refusal::NoInterruptController)?;
    interrupts::prepare(controller).map_err(Refusal::InterruptController)?;
    if let Some(conduit) = tree.conduit() {
        power::set_conduit(conduit);
    }
    start_cores(&tree, &memory);

    let device_tree = tree.copy(&mut memory);
    let megabytes = memory.total() >> 20;
    let free_memory = memory.into_free().map_err(Refusal::Memory)?;
    let platform = super::found(Platform {
        machine: tree.model(),
        free_memory,
        archive,
        device_tree,
        devices: devices::find(&tree),
        boot_arguments: tree.boot_arguments(),
        cores: arch::online_cores(),
    });
    let Platform { machine, cores, .. } = platform;
    let plural = if *cores == 1 { "" } else { "s" };
    println!("\rGraft {} on {machine}: {cores} core{plural}, {megabytes} MiB", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Starts every core of the tree, and says which do not start.
fn start_cores(tree: &DeviceTree, memory: &MemoryMap) {
    let mut spare = 0;
    let patience = boot_number(tree.boot_arguments(), "graft.core-patience=").unwrap_or(arch::PATIENCE);
    tree.for_each_core(|identifier, method| {
        if arch::is_this_core(identifier) {
            return;
        }
        if arch::online_cores() == MAX_CORES {
            spare += 1;
            return;
        }
        let method = method.filter(|method| match *method {
            StartMethod::Firmware => true,
            StartMethod::SpinTable { release } => {
                release.is_multiple_of(8)
                    && memory.is_mapped(PhysRange { start: release, end: release.saturating_add(8) })
            }
        });
        if !method.is_some_and(|method| arch::start_core(identifier, method, patience)) {
            println!("graft: core {identifier:#x} does not start");
        }
    });
    if spare > 0 {
        println!("graft: {spare} cores stay off: {MAX_CORES} are the most that are used");
    }
}
