//! What the device tree says, as physical addresses and interrupt numbers.
//!
//! Devicetree Specification, release 0.4: chapter 2 for `reg`, `ranges` and `interrupts`, chapter 3 for
//! the nodes every machine has, chapter 5 for the blob.

use super::blob::{Broken, check};
use crate::{
    arch::{
        Format, StartMethod,
        interrupts::Description,
        kernel_map::{MAP, Mapping},
        memory::{self, DEVICE_TREE_BASE, DIRECT_LIMIT, PAGE},
        power::Conduit,
    },
    platform::{PhysRange, memory_map::MemoryMap},
};
use core::{fmt, slice};
use dtoolkit::{
    Node, Property,
    fdt::{Fdt, FdtNode},
    standard::NodeStandard,
};
use graft_paging::Format as _;

/// Largest blob that is read, as in the arm64 boot protocol.
const LARGEST: u64 = 2 << 20;
const MAGIC: u32 = 0xD00D_FEED;

/// A device tree that has been checked from end to end.
pub struct DeviceTree {
    tree: Fdt<'static>,
    bytes: &'static [u8],
    range: PhysRange,
}

/// Why there is no usable device tree.
#[derive(Debug)]
pub enum Error {
    /// The loader passed an address at which no device tree can be.
    NoAddress(u64),
    /// Memory at the address does not begin with the magic number.
    NoMagic(u64),
    /// The header's total size makes no sense.
    Size(u64),
    /// The blob is broken.
    Broken(Broken),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoAddress(address) => write!(f, "no device tree: the loader passed {address:#x}"),
            Error::NoMagic(address) => write!(f, "no device tree: nothing at {address:#x} looks like one"),
            Error::Size(size) => write!(f, "broken device tree: it claims to be {size} bytes long"),
            Error::Broken(error) => write!(f, "broken device tree: {error}"),
        }
    }
}

/// A device: its register blocks.
pub struct Device {
    /// Physical address and length of up to two register blocks.
    pub registers: [(u64, u64); 2],
}

/// Who uses a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The kernel itself.
    Kernel,
    /// Whichever program it is given to.
    None,
}

/// Interrupt controllers that the kernel drives: GICv3, and two names of GICv2.
const CONTROLLERS: [&str; 3] = ["arm,gic-v3", "arm,cortex-a15-gic", "arm,gic-400"];

/// Bytes of a header (Devicetree Specification 0.4, 5.2).
const HEADER: u64 = 40;

impl DeviceTree {
    /// Maps and checks the device tree at this physical address. What it holds stays mapped, read-only.
    pub fn load(address: u64) -> Result<Self, Error> {
        if address == 0 || !address.is_multiple_of(8) || address >= DIRECT_LIMIT - LARGEST {
            return Err(Error::NoAddress(address));
        }
        let page = address & !(PAGE - 1);
        let header = (DEVICE_TREE_BASE + (address - page)) as *const u32;
        let map = |offset, bytes| MAP.lock().map(DEVICE_TREE_BASE + offset, page + offset, bytes, Mapping::ReadOnly);
        map(0, PAGE).map_err(|_| Error::NoAddress(address))?;
        // SAFETY: mapped and aligned. If it is not memory, a load of a word is the least that can be done to it.
        if unsafe { memory::probe(header) }.map(u32::from_be) != Some(MAGIC) {
            return Err(Error::NoMagic(address));
        }
        // SAFETY: the alignment to eight bytes keeps this word within the page.
        let size = u64::from(u32::from_be(unsafe { header.add(1).read() }));
        if !(HEADER..=LARGEST).contains(&size) {
            return Err(Error::Size(size));
        }
        let end = (address + size).next_multiple_of(PAGE);
        map(PAGE, end - page - PAGE).map_err(|_| Error::Size(size))?;
        let last_word = (DEVICE_TREE_BASE + (end - page) - 4) as *const u32;
        // SAFETY: mapped and aligned, as above.
        if unsafe { memory::probe(last_word) }.is_none() {
            return Err(Error::Size(size));
        }
        // SAFETY: the whole blob is mapped, read-only, for good; its memory is never given away.
        let bytes = unsafe { slice::from_raw_parts(header.cast(), size as usize) };
        check(bytes).map_err(Error::Broken)?;
        let tree = Fdt::new_unchecked(bytes);
        Ok(DeviceTree { tree, bytes, range: PhysRange { start: address, end: address + size } })
    }

    /// Where the blob is.
    pub fn range(&self) -> PhysRange {
        self.range
    }

    /// Copies the blob, without the room that a loader has left at its end, to whole pages of its own; `None` if there
    /// is no memory for it.
    pub fn copy(&self, memory: &mut MemoryMap) -> Option<PhysRange> {
        /// Offsets of fields of the header (5.2): the blob's size; the places of its three parts and the sizes of two.
        const SIZE: usize = 4;
        const PARTS: [(usize, usize); 2] = [(8, 36), (12, 32)];
        const RESERVATIONS: usize = 16;
        const RESERVATION: usize = 16;
        let field = |offset: usize| self.bytes.get(offset..offset + 4).and_then(number).unwrap_or(0) as usize;
        let reservations = (self.tree.memory_reservations().count() + 1) * RESERVATION;
        let ends = PARTS.map(|(place, size)| field(place) + field(size));
        let used = ends.into_iter().fold(field(RESERVATIONS) + reservations, usize::max).min(self.bytes.len());
        let copy = memory.take(used as u64)?;
        // SAFETY: in the direct map, and free memory until now, in whole pages.
        let pages =
            unsafe { slice::from_raw_parts_mut(memory::direct(copy.start), used.next_multiple_of(PAGE as usize)) };
        pages[..used].copy_from_slice(&self.bytes[..used]);
        pages[used..].fill(0);
        pages[SIZE..SIZE + 4].copy_from_slice(&(used as u32).to_be_bytes());
        Some(copy)
    }

    /// Whether the machine is, or works like, the one with this name.
    pub fn is_compatible(&self, name: &str) -> bool {
        self.tree.root().is_compatible(name)
    }

    /// The machine's name for a person.
    pub fn model(&self) -> &'static str {
        let root = self.tree.root();
        let compatible = root.compatible().and_then(|mut names| names.next());
        root.model().ok().flatten().or(compatible).unwrap_or("nameless machine")
    }

    /// `bootargs` of `/chosen`.
    pub fn boot_arguments(&self) -> &'static str {
        let arguments = self.tree.find_node("/chosen").and_then(|chosen| chosen.property("bootargs"));
        arguments.and_then(|arguments| arguments.value_as::<&str>().ok()).unwrap_or("")
    }

    /// The initial archive, as `/chosen` says.
    pub fn archive(&self) -> Option<PhysRange> {
        let chosen = self.tree.find_node("/chosen")?;
        let start = number(chosen.property("linux,initrd-start")?.value())?;
        let end = number(chosen.property("linux,initrd-end")?.value())?;
        (start < end).then_some(PhysRange { start, end })
    }

    /// Calls `each` with every range of memory.
    pub fn for_each_memory(&self, mut each: impl FnMut(PhysRange)) {
        for node in self.tree.root().children() {
            let kind = node.property("device_type");
            if kind.is_some_and(|kind| kind.value() == b"memory\0") && is_enabled(&node) {
                ranges_of(node).for_each(&mut each);
            }
        }
    }

    /// Calls `each` with every range that is memory and not ours to use, and whether it must not even be
    /// mapped.
    pub fn for_each_reservation(&self, mut each: impl FnMut(PhysRange, bool)) {
        for reservation in self.tree.memory_reservations() {
            let start = reservation.address();
            each(PhysRange { start, end: start.saturating_add(reservation.size()) }, false);
        }
        let Some(parent) = self.tree.find_node("/reserved-memory") else { return };
        for node in parent.children().filter(is_enabled) {
            let unmapped = node.property("no-map").is_some();
            ranges_of(node).for_each(|range| each(range, unmapped));
        }
    }

    /// Calls `each` with every core's affinity and the way to start it.
    pub fn for_each_core(&self, mut each: impl FnMut(u64, Option<StartMethod>)) {
        let Some(cpus) = self.tree.find_node("/cpus") else { return };
        for node in cpus.children() {
            if node.name_without_address() != "cpu" || !is_enabled(&node) {
                continue;
            }
            let affinity = node.property("reg").and_then(|reg| number(reg.value()));
            let release = node.property("cpu-release-addr").and_then(|release| number(release.value()));
            let method = node.property("enable-method").or_else(|| cpus.property("enable-method"));
            let start = method.and_then(|method| match (method.value(), release) {
                (b"psci\0", _) => Some(StartMethod::Firmware),
                (b"spin-table\0", Some(release)) => Some(StartMethod::SpinTable { release }),
                _ => None,
            });
            if let Some(affinity) = affinity {
                each(affinity, start);
            }
        }
    }

    /// How firmware is called, if it answers PSCI.
    pub fn conduit(&self) -> Option<Conduit> {
        let node = self.tree.find_node("/psci").filter(is_enabled)?;
        match node.property("method")?.value() {
            b"hvc\0" => Some(Conduit::Hypervisor),
            b"smc\0" => Some(Conduit::SecureMonitor),
            _ => None,
        }
    }

    /// Calls `each` with every range of registers of every enabled device, and who uses it.
    pub fn for_each_register_block(&self, mut each: impl FnMut(PhysRange, Keeper)) {
        visit(self.tree.root(), Bus::Root, DEEPEST, &mut |node, range| {
            let is_kernels = CONTROLLERS.iter().any(|name| node.is_compatible(name));
            each(range, if is_kernels { Keeper::Kernel } else { Keeper::None });
        });
    }

    /// The interrupt controller.
    pub fn interrupt_controller(&self) -> Option<Description> {
        let [v3, v2 @ ..] = CONTROLLERS;
        if let Some(device) = self.device(&[v3]) {
            let [distributor, redistributors] = device.registers;
            return Some(Description::V3 { distributor, redistributors });
        }
        let device = self.device(&v2)?;
        let [distributor, cpu_interface] = device.registers;
        Some(Description::V2 { distributor, cpu_interface })
    }

    /// The first PL011 that is enabled.
    pub fn console(&self) -> Option<Device> {
        self.device(&["arm,pl011"])
    }

    /// The first enabled device, in the order of the tree, that is compatible with one of these.
    fn device(&self, compatible: &[&str]) -> Option<Device> {
        find(self.tree.root(), Bus::Root, compatible, DEEPEST)
    }
}

/// The way from a node's addresses to physical ones: `ranges` of every bus above it.
#[derive(Clone, Copy)]
enum Bus<'a> {
    Root,
    Behind(&'a Bus<'a>, FdtNode<'static>),
}

impl Bus<'_> {
    fn to_physical(self, address: u64) -> Option<u64> {
        let Bus::Behind(parent, node) = self else { return Some(address) };
        if node.property("ranges")?.value().is_empty() {
            return parent.to_physical(address);
        }
        let inside = node.ranges().ok()??.find_map(|range| {
            let child: u64 = range.child_bus_address().ok()?;
            let length: u64 = range.length().ok()?;
            let offset = address.checked_sub(child)?;
            if offset < length { range.parent_bus_address::<u64>().ok()?.checked_add(offset) } else { None }
        })?;
        parent.to_physical(inside)
    }
}

/// Deepest nesting of buses that is searched: a made-up tree must not exhaust the stack.
const DEEPEST: u32 = 8;

fn find(node: FdtNode<'static>, bus: Bus, compatible: &[&str], depth: u32) -> Option<Device> {
    let depth = depth.checked_sub(1)?;
    for child in node.children().filter(is_enabled) {
        if compatible.iter().any(|name| child.is_compatible(name)) {
            return describe(child, bus);
        }
        let found = find(child, Bus::Behind(&bus, child), compatible, depth);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Shows every range of registers below a node.
fn visit(node: FdtNode<'static>, bus: Bus, depth: u32, each: &mut dyn FnMut(&FdtNode<'static>, PhysRange)) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for child in node.children().filter(is_enabled) {
        if child.property("device_type").is_some_and(|kind| kind.value() == b"memory\0") {
            continue;
        }
        for block in child.reg().ok().flatten().into_iter().flatten() {
            let (Ok(address), Ok(bytes)) = (block.address::<u64>(), block.size::<u64>()) else { continue };
            let start = bus.to_physical(address);
            let range = start.and_then(|start| Some(PhysRange { start, end: start.checked_add(bytes)? }));
            if let Some(range) = range.filter(|range| range.size() > 0 && range.end <= ADDRESS_LIMIT) {
                each(&child, range);
            }
        }
        visit(child, Bus::Behind(&bus, child), depth, each);
    }
}

/// Beyond what descriptors can name there is no device.
const ADDRESS_LIMIT: u64 = 1 << Format::PHYSICAL_BITS;
/// No device that the kernel uses has more registers than the redistributors of a GICv3, in bytes.
const LARGEST_BLOCK: u64 = 64 << 20;

fn describe(node: FdtNode<'static>, bus: Bus) -> Option<Device> {
    let mut registers = [(0, 0); 2];
    for (slot, block) in registers.iter_mut().zip(node.reg().ok()??) {
        let address = bus.to_physical(block.address().ok()?)?;
        let bytes: u64 = block.size().ok()?;
        if address >= ADDRESS_LIMIT || bytes > LARGEST_BLOCK {
            return None;
        }
        *slot = (address, bytes);
    }
    (registers[0].1 > 0).then_some(Device { registers })
}

fn ranges_of(node: FdtNode<'static>) -> impl Iterator<Item = PhysRange> {
    node.reg().ok().flatten().into_iter().flatten().filter_map(|block| {
        let start: u64 = block.address().ok()?;
        let size: u64 = block.size().ok()?;
        Some(PhysRange { start, end: start.saturating_add(size) })
    })
}

fn is_enabled(node: &FdtNode<'static>) -> bool {
    // "ok" is not in the specification, and in many trees.
    node.property("status").is_none_or(|status| matches!(status.value(), b"okay\0" | b"ok\0"))
}

/// One or two cells as a number.
fn number(bytes: &[u8]) -> Option<u64> {
    match bytes.len() {
        4 => Some(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        8 => Some(u64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
