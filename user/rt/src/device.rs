//! What a driver needs: interrupts, device registers, memory for devices, and the device tree.
//!
//! All of these are made with the system's handle, [`Handle::SYSTEM`], if that carries the right to
//! [devices](graft_abi::Rights::DEVICES). A driver that is to have nothing but its own gets the handles of
//! [`Interrupt`] and of [memory](Shared) from the program that starts it.

use graft_abi::{Call, DMA_MAX, Error, Handle, PAGE_SIZE, Permissions, TRIGGER_EDGE, TRIGGER_LEVEL};

use crate::call::call;
use crate::memory::{Region, Shared};
use crate::message::owner;

/// What of a device's line is an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Each rising edge.
    Edge,
    /// That it is high.
    Level,
}

owner! {
    /// The interrupt of one line of a device. It comes when it has been
    /// [bound](crate::notification::Notification::bind_interrupt).
    Interrupt
}

impl Interrupt {
    /// The interrupt of this line, by its number among the shared ones, as the device tree has it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the machine has no such line, [`Error::NotAllowed`] if the kernel or another program has
    /// it.
    pub fn new(line: u32, trigger: Trigger) -> Result<Interrupt, Error> {
        let trigger = match trigger {
            Trigger::Edge => TRIGGER_EDGE,
            Trigger::Level => TRIGGER_LEVEL,
        };
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::InterruptCreate, [Handle::SYSTEM.0.into(), line.into(), trigger]) };
        Ok(Interrupt::from_handle(answer?.handle()))
    }

    /// Lets the next one come, when the driver has done what the device has asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none has come since the last time.
    pub fn acknowledge(&self) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { call(Call::InterruptAcknowledge, [self.handle().0.into()]) }.map(drop)
    }
}

/// Device registers, mapped. A forked child does not have the mapping, and a program that goes back to a snapshot loses
/// it.
#[derive(Debug)]
pub struct Registers {
    pages: Region,
    /// Of the first register in its page.
    offset: usize,
    bytes: usize,
}

impl Registers {
    /// The registers at this physical address, as the device tree has it.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] where the tree has no device, or one that the kernel uses.
    pub fn new(address: u64, bytes: u64) -> Result<Registers, Error> {
        let offset = address % PAGE_SIZE as u64;
        let end = offset.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE as u64));
        let memory = device(address - offset, end.ok_or(Error::BadLength)?)?;
        Registers::of(&memory, offset as usize, bytes as usize)
    }

    /// The registers in a memory object that this program has been given.
    ///
    /// # Errors
    /// As [`Shared::map`].
    ///
    /// # Panics
    /// If they are not all in it.
    pub fn of(memory: &Shared, offset: usize, bytes: usize) -> Result<Registers, Error> {
        let pages = memory.map(Permissions::ReadWrite)?;
        assert!(offset <= pages.bytes() && bytes <= pages.bytes() - offset, "registers beyond their pages");
        Ok(Registers { pages, offset, bytes })
    }

    fn pointer(&self, register: usize) -> *mut u32 {
        let fits = register.is_multiple_of(4) && register.checked_add(4).is_some_and(|end| end <= self.bytes);
        assert!(fits, "register {register:#x} of {:#x} bytes", self.bytes);
        (self.pages.address() + self.offset + register) as *mut u32
    }

    /// Reads the register of 32 bits at this offset.
    ///
    /// # Panics
    /// If the offset is not a multiple of 4 or too large.
    pub fn read(&self, register: usize) -> u32 {
        // SAFETY: inside a mapping of device registers that this value owns; no reference leads there.
        unsafe { self.pointer(register).read_volatile() }
    }

    /// Writes the register of 32 bits at this offset. What it makes a device do is the driver's to know: a device that
    /// is told to store to memory that is not the program's can do anything.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    pub fn write(&self, register: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.pointer(register).write_volatile(value) }
    }
}

/// A memory object of device registers: whole pages, by their physical address.
///
/// # Errors
/// As [`Registers::new`]; [`Error::Unaligned`], [`Error::BadLength`].
pub fn device(address: u64, bytes: u64) -> Result<Shared, Error> {
    // SAFETY: the call touches no memory.
    let answer = unsafe { call(Call::DeviceCreate, [Handle::SYSTEM.0.into(), address, bytes]) }?;
    Ok(Shared::from_handle(answer.handle()))
}

/// The physical address of a memory object that has one.
///
/// # Errors
/// [`Error::NotAllowed`] for memory whose frames are anywhere.
pub fn address(memory: &Shared) -> Result<u64, Error> {
    // SAFETY: the call touches no memory.
    unsafe { call(Call::MemoryAddress, [memory.handle().0.into()]) }.map(|answer| answer.x0)
}

/// Memory that a device may access by itself: zeroes, in consecutive frames.
#[derive(Debug)]
pub struct Dma {
    // Unmapped first: then the frames go back in one piece.
    region: Region,
    memory: Shared,
    address: u64,
}

impl Dma {
    /// Most bytes.
    pub const MAX: usize = DMA_MAX;

    /// So many bytes, a multiple of the page size.
    ///
    /// # Errors
    /// [`Error::BadLength`] for more than [`MAX`](Self::MAX); [`Error::OutOfMemory`] if there are no such frames.
    pub fn new(bytes: usize) -> Result<Dma, Error> {
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::DmaCreate, [Handle::SYSTEM.0.into(), bytes as u64]) }?;
        let memory = Shared::from_handle(answer.handle());
        Ok(Dma { region: memory.map(Permissions::ReadWrite)?, address: address(&memory)?, memory })
    }

    /// Where the device finds it: a physical address, which the device's bus may have another name for.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Where the program finds it.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// The object, to be passed on.
    pub const fn memory(&self) -> &Shared {
        &self.memory
    }

    /// Writes back what caches hold of it, and has them forget it: before the device is told to read or to write, and
    /// before the program reads what the device has written. For devices that the tree does not call `dma-coherent`.
    pub fn clean_and_invalidate(&self) {
        clean_and_invalidate(self.region.address(), self.region.bytes());
    }

    /// Has everything that the program has stored here before be there for a device that is told of it afterwards.
    pub fn publish(&self) {
        barrier();
    }
}

#[cfg(target_os = "none")]
fn clean_and_invalidate(address: usize, bytes: usize) {
    let step = {
        let cache_type: u64;
        // SAFETY: reads a register that the kernel lets programs read.
        unsafe { core::arch::asm!("mrs {}, ctr_el0", out(reg) cache_type, options(nomem, nostack, preserves_flags)) };
        // DminLine: log2 of the words in the smallest line.
        4_usize << (cache_type >> 16 & 0xF)
    };
    barrier();
    for line in (address..address + bytes).step_by(step) {
        // SAFETY: maintenance of a line of the region's, which changes nothing that the program sees.
        unsafe { core::arch::asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    barrier();
}

#[cfg(not(target_os = "none"))]
fn clean_and_invalidate(_address: usize, _bytes: usize) {}

/// Completes all that has been stored before anything that follows.
fn barrier() {
    #[cfg(target_os = "none")]
    // SAFETY: a barrier.
    unsafe {
        core::arch::asm!("dsb sy", options(nostack, preserves_flags));
    }
}

/// The device tree that the machine was started with, mapped: a blob that the kernel has checked.
#[derive(Debug)]
pub struct Tree(Region);

impl Tree {
    /// The tree.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub fn new() -> Result<Tree, Error> {
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::DeviceTree, [Handle::SYSTEM.0.into()]) }?;
        Ok(Tree(Shared::from_handle(answer.handle()).map(Permissions::Read)?))
    }

    /// The blob: its header says how long it is; zeroes follow.
    pub fn blob(&self) -> &[u8] {
        // SAFETY: memory that is mapped for as long as this value lives, and that nothing ever writes to.
        unsafe { core::slice::from_raw_parts(self.0.address() as *const u8, self.0.bytes()) }
    }
}
