//! What the device tree says about a device (Devicetree Specification, release 0.4, chapters 2 and 5).
//!
//! ```text
//!   soc       ranges       a bus: its addresses as the processor has them
//!     timer   compatible   what kind of device it is
//!             reg          where its registers are, in the bus's addresses
//!             interrupts   the lines of the interrupt controller that it moves
//! ```

use alloc::vec::Vec;

use dtoolkit::{
    Node, Property,
    fdt::{Fdt, FdtNode},
    standard::NodeStandard,
};

/// A device of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Its node's name.
    pub name: &'a str,
    /// Where its registers are.
    pub registers: Vec<Registers>,
    /// Its lines of the interrupt controller; none if another controller is between.
    pub interrupts: Vec<Line>,
    /// Whether what it does to memory, and what caches hold of it, are always the same.
    pub is_coherent: bool,
}

/// A range of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A shared interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub number: u32,
    /// Whether each rising edge is an interrupt; otherwise it is one while the line is high.
    pub edge: bool,
}

/// Deepest nesting of nodes that is searched.
const DEEPEST: usize = 8;
const MAGIC: u32 = 0xD00D_FEED;
const CONTROLLERS: [&str; 3] = ["arm,gic-v3", "arm,cortex-a15-gic", "arm,gic-400"];

/// Every enabled device in a tree, in its order, that is compatible with this name.
///
/// The blob is one that the kernel has checked.
pub fn find<'a>(blob: &'a [u8], compatible: &str) -> Vec<Device<'a>> {
    let mut found = Vec::new();
    let size = blob.get(4..8).and_then(cell).unwrap_or(0) as usize;
    let Some(blob) = blob.get(..size).filter(|blob| blob.get(..4).and_then(cell) == Some(MAGIC)) else { return found };
    let root = Fdt::new_unchecked(blob).root();
    let controller = controller(root, DEEPEST);
    search(&mut Vec::from([root]), controller, compatible, &mut found);
    found
}

/// The number by which other nodes name the interrupt controller.
fn controller(node: FdtNode<'_>, depth: usize) -> Option<u32> {
    if depth == 0 {
        return None;
    }
    node.children().find_map(|child| {
        if CONTROLLERS.iter().any(|name| child.is_compatible(name)) {
            return child.property("phandle").and_then(|number| cell(number.value()));
        }
        controller(child, depth - 1)
    })
}

/// Looks below the last node of the path, which begins with the root.
fn search<'a>(path: &mut Vec<FdtNode<'a>>, controller: Option<u32>, compatible: &str, found: &mut Vec<Device<'a>>) {
    let Some(&node) = path.last().filter(|_| path.len() < DEEPEST) else { return };
    for child in node.children().filter(is_enabled) {
        if child.is_compatible(compatible) {
            found.push(describe(child, path, controller));
        }
        path.push(child);
        search(path, controller, compatible, found);
        path.pop();
    }
}

fn describe<'a>(node: FdtNode<'a>, path: &[FdtNode<'a>], controller: Option<u32>) -> Device<'a> {
    let blocks = node.reg().ok().flatten().into_iter().flatten();
    let registers = blocks.filter_map(|block| {
        let address = path.iter().skip(1).rev().try_fold(block.address().ok()?, |address, bus| beyond(bus, address))?;
        Some(Registers { address, bytes: block.size().ok()? })
    });
    // The nearest node that says so decides.
    let parent = [node].iter().chain(path.iter().rev()).find_map(|node| node.property("interrupt-parent"));
    let is_direct = parent.and_then(|parent| cell(parent.value())) == controller && controller.is_some();
    let cells = node.property("interrupts").filter(|_| is_direct);
    let lines = |cells: &[u8]| cells.chunks_exact(12).filter_map(line).collect();
    Device {
        name: node.name(),
        registers: registers.collect(),
        interrupts: cells.map(|cells| lines(cells.value())).unwrap_or_default(),
        is_coherent: node.dma_coherent(),
    }
}

/// An address of a bus as the bus above it has it.
fn beyond(bus: &FdtNode<'_>, address: u64) -> Option<u64> {
    if bus.property("ranges")?.value().is_empty() {
        return Some(address);
    }
    bus.ranges().ok()??.find_map(|range| {
        let offset = address.checked_sub(range.child_bus_address().ok()?)?;
        if offset < range.length().ok()? { range.parent_bus_address::<u64>().ok()?.checked_add(offset) } else { None }
    })
}

/// Kind, number, flags: a shared interrupt with a trigger that those have.
fn line(cells: &[u8]) -> Option<Line> {
    const SHARED: u32 = 0;
    const RISING: u32 = 1;
    const HIGH: u32 = 4;
    let [kind, number, flags] = [0, 4, 8].map(|at| cells.get(at..at + 4).and_then(cell));
    let edge = match (kind?, flags? & 0xF) {
        (SHARED, RISING) => true,
        (SHARED, HIGH) => false,
        _ => return None,
    };
    Some(Line { number: number?, edge })
}

fn is_enabled(node: &FdtNode<'_>) -> bool {
    node.property("status").is_none_or(|status| matches!(status.value(), b"okay\0" | b"ok\0"))
}

fn cell(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob of these nodes and properties.
    #[derive(Default)]
    struct Builder {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn word(&mut self, word: u32) {
            self.structure.extend(word.to_be_bytes());
        }

        fn padded(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
            self.word(1);
            self.padded(&[name.as_bytes(), &[0]].concat());
            inside(self);
            self.word(2);
        }

        fn bytes(&mut self, name: &str, value: &[u8]) {
            [3, value.len() as u32, self.strings.len() as u32].into_iter().for_each(|word| self.word(word));
            self.padded(value);
            self.strings.extend(name.bytes().chain([0]));
        }

        fn cells(&mut self, name: &str, cells: &[u32]) {
            self.bytes(name, &cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<_>>());
        }

        fn finish(mut self) -> Vec<u8> {
            self.word(9);
            let (start, end) = (56, 56 + self.structure.len());
            let header =
                [MAGIC as usize, end + self.strings.len(), start, end, 40, 17, 16, 0, self.strings.len(), end - start];
            let mut blob: Vec<u8> = header.iter().flat_map(|&field| (field as u32).to_be_bytes()).collect();
            blob.extend([0; 16]);
            blob.extend(self.structure);
            blob.extend(self.strings);
            blob
        }
    }

    /// A bus as the Raspberry Pi has one, and two devices on it.
    fn sample() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.node("", |root| {
            root.cells("#address-cells", &[2]);
            root.cells("#size-cells", &[1]);
            root.cells("interrupt-parent", &[1]);
            root.node("soc", |soc| {
                soc.cells("#address-cells", &[1]);
                soc.cells("#size-cells", &[1]);
                soc.cells("ranges", &[0x7e00_0000, 0, 0xfe00_0000, 0x180_0000, 0x4000_0000, 0, 0xff80_0000, 0x80_0000]);
                soc.node("timer@7e003000", |timer| {
                    timer.bytes("compatible", b"vendor,timer\0generic,timer\0");
                    timer.cells("reg", &[0x7e00_3000, 0x1000, 0x1234, 4]);
                    timer.cells("interrupts", &[0, 64, 4, 0, 65, 1, 1, 66, 4, 0, 67, 8]);
                    timer.bytes("dma-coherent", b"");
                });
                soc.node("timer@7e004000", |timer| {
                    timer.bytes("compatible", b"vendor,timer\0");
                    timer.bytes("status", b"disabled\0");
                });
                soc.node("key@40041000", |key| {
                    key.bytes("compatible", b"vendor,key\0");
                    key.cells("interrupt-parent", &[2]);
                    key.cells("interrupts", &[0, 1, 4]);
                });
                soc.node("controller@40041000", |controller| {
                    controller.bytes("compatible", b"arm,gic-400\0");
                    controller.cells("phandle", &[1]);
                });
            });
        });
        builder.finish()
    }

    #[test]
    fn a_device_is_found_with_its_addresses_and_lines_as_the_processor_has_them() {
        let mut blob = sample();
        // As the kernel hands it out: up to the end of a page.
        blob.resize(4096, 0);
        let timer = Device {
            name: "timer@7e003000",
            // What no range of the bus leads to is left out.
            registers: Vec::from([Registers { address: 0xfe00_3000, bytes: 0x1000 }]),
            // So are interrupts of one core, and those with a trigger that no shared one has.
            interrupts: Vec::from([Line { number: 64, edge: false }, Line { number: 65, edge: true }]),
            is_coherent: true,
        };
        let timers = [timer];
        assert_eq!(find(&blob, "generic,timer"), timers);
        assert_eq!(find(&blob, "vendor,timer"), timers, "and not the one that is disabled");
    }

    #[test]
    fn a_line_of_another_controller_is_none_of_ours() {
        assert_eq!(find(&sample(), "vendor,key")[0].interrupts, []);
    }

    #[test]
    fn what_is_no_tree_has_no_devices() {
        assert_eq!(find(&[], "vendor,key"), []);
        assert_eq!(find(&[0; 64], "vendor,key"), []);
        assert_eq!(find(&sample()[..80], "vendor,key"), []);
    }
}
