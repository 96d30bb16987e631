//! The two device-tree parsers of `docs/dependencies.md` on the same trees, good and spoiled: which of them is fit to
//! read what a loader has left. The output is the page's evidence:
//!
//! ```sh
//! cargo test -p graft-kernel --test parsers -- --nocapture
//! ```
//!
//! The trees are QEMU's own for `virt`, if QEMU is there, and those that the set-up has put into `build/`.

use dtoolkit::{Node, Property};
use graft_kernel::platform::blob;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::{env, fs};

/// How often each good tree is spoiled by one changed byte, and how often by being cut off.
const CHANGES: u64 = 2000;
const CUTS: usize = 500;

/// What comes of reading everything in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// So many nodes, properties and bytes in them.
    Read([usize; 3]),
    /// An error.
    Refused,
    /// A panic, which ends a kernel.
    Panicked,
}

/// A way to read a tree.
type Reader = fn(&[u8]) -> Option<[usize; 3]>;

fn reading(read: impl FnOnce() -> Option<[usize; 3]>) -> Reading {
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(Some(size)) => Reading::Read(size),
        Ok(None) => Reading::Refused,
        Err(_) => Reading::Panicked,
    }
}

/// As the kernel does it: `dtoolkit` behind the project's own check.
fn with_dtoolkit(tree: &[u8]) -> Option<[usize; 3]> {
    fn add(node: dtoolkit::fdt::FdtNode, sum: &mut [usize; 3]) {
        sum[0] += 1;
        for property in node.properties() {
            sum[1] += 1;
            sum[2] += property.name().len() + property.value().len();
        }
        // What drivers ask for; the answer may be an error.
        let _ = node.compatible().map(Iterator::count);
        let _ = node
            .reg()
            .map(|blocks| blocks.into_iter().flatten().filter(|block| block.address::<u64>().is_ok()).count());
        let _ = node
            .ranges()
            .map(|ranges| ranges.into_iter().flatten().filter(|range| range.length::<u64>().is_ok()).count());
        node.children().for_each(|child| add(child, sum));
    }
    blob::check(tree).ok()?;
    let tree = dtoolkit::fdt::Fdt::new_unchecked(tree);
    let _ = tree.find_node("/chosen").and_then(|chosen| chosen.property("bootargs"));
    let mut sum = [tree.memory_reservations().count(), 0, 0];
    add(tree.root(), &mut sum);
    Some(sum)
}

fn with_fdt(tree: &[u8]) -> Option<[usize; 3]> {
    let tree = fdt::Fdt::new(tree).ok()?;
    let mut sum = [tree.memory_reservations().count(), 0, 0];
    for node in tree.all_nodes() {
        sum[0] += 1;
        for property in node.properties() {
            sum[1] += 1;
            sum[2] += property.name.len() + property.value.len();
        }
        node.compatible().map(|names| names.all().count());
        node.reg().map(Iterator::count);
    }
    // What a kernel asks for.
    let _ = tree.chosen().bootargs();
    let _ = tree.memory().regions().count();
    let _ = tree.cpus().map(|core| core.ids().all().count()).sum::<usize>();
    Some(sum)
}

/// The device trees that there are, by name. Looked for once: the tests of this program run side by side, and the
/// emulator writes a file for each.
fn good_trees() -> Vec<(String, Vec<u8>)> {
    static FOUND: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FOUND.get_or_init(find_good_trees).clone()
}

fn find_good_trees() -> Vec<(String, Vec<u8>)> {
    let build =
        env::var_os("BUILD").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../build"), PathBuf::from);
    let mut trees = Vec::new();
    let listed = fs::read_dir(&build).into_iter().flatten().flatten().map(|item| item.path());
    let mut paths: Vec<_> = listed.filter(|path| path.extension().is_some_and(|end| end == "dtb")).collect();
    paths.sort();
    for path in paths {
        trees.push((path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()));
    }
    for gic in [2, 3] {
        let path = env::temp_dir().join(format!("graft-parsers-{}-{gic}.dtb", std::process::id()));
        let machine = format!("virt,gic-version={gic},dumpdtb={}", path.display());
        let options = ["-cpu", "cortex-a72", "-smp", "4", "-m", "1G", "-display", "none", "-nic", "none"];
        let emulator = env::var_os("QEMU").unwrap_or_else(|| "qemu-system-aarch64".into());
        if Command::new(emulator).arg("-M").arg(machine).args(options).output().is_ok_and(|ran| ran.status.success()) {
            trees.push((format!("virt, GICv{gic}"), fs::read(&path).unwrap()));
            fs::remove_file(&path).unwrap();
        }
    }
    trees
}

/// Spoiled copies of a tree: one byte of header, structure or strings changed; cut off, with the length in the header
/// as it was and as it is; and what `make test` boots with.
fn bad_trees(good: &[u8]) -> Vec<Vec<u8>> {
    let word = |offset: usize| u32::from_be_bytes(good[offset..offset + 4].try_into().unwrap()) as usize;
    let used = (word(8) + word(36)).max(word(12) + word(32));
    let patched = |offset: usize, value: u32| {
        let mut bad = good.to_vec();
        bad[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        bad
    };
    let mut bad = vec![patched(20, 1), patched(4, u32::MAX), patched(8, 0x7FFF_FFF0), patched(12, 0x7FFF_FFF0)];
    bad.push([&good[..40], &vec![0xA5; good.len() - 40]].concat());
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..CHANGES {
        let mut changed = good.to_vec();
        changed[random(used)] = random(256) as u8;
        bad.push(changed);
    }
    for cut in 0..CUTS {
        let mut rest = good[..40 + random(used - 40)].to_vec();
        if cut % 2 == 0 {
            let length = rest.len() as u32;
            rest[4..8].copy_from_slice(&length.to_be_bytes());
        }
        bad.push(rest);
    }
    bad
}

#[test]
fn dtoolkit_behind_the_check_never_panics_and_fdt_does() {
    let trees = good_trees();
    if trees.is_empty() {
        println!("no device tree here: `make test` fetches some");
        return;
    }
    let said: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let listener = said.clone();
    panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        *listener.lock().unwrap().entry(text).or_default() += 1;
    }));
    println!("{:<24}{:>8}{:>12}{:>14}{:>16}", "device tree", "nodes", "properties", "dtoolkit", "fdt 0.1.5");
    for (name, tree) in &trees {
        let (ours, theirs) = (reading(|| with_dtoolkit(tree)), reading(|| with_fdt(tree)));
        let Reading::Read([nodes, properties, _]) = ours else { panic!("{name}: {ours:?}") };
        let verdict = if theirs == ours { "the same".into() } else { format!("{theirs:?}") };
        println!("{name:<24}{nodes:>8}{properties:>12}{:>14}{verdict:>16}", "reads it");
    }

    let bad: Vec<_> = trees.iter().flat_map(|(_, tree)| bad_trees(tree)).collect();
    let ways: [(&str, Reader); 3] = [
        ("dtoolkit behind the check", with_dtoolkit),
        ("fdt 0.1.5", with_fdt),
        ("fdt 0.1.5 behind the check", |tree| blob::check(tree).ok().and_then(|()| with_fdt(tree))),
    ];
    println!("\n{:<28}{:>8}{:>8}{:>9}{:>10}", "spoiled trees", "of", "read", "refused", "panics");
    let mut panics = Vec::new();
    for (name, read) in ways {
        said.lock().unwrap().clear();
        let readings: Vec<_> = bad.iter().map(|tree| reading(|| read(tree))).collect();
        let count = |wanted: fn(&Reading) -> bool| readings.iter().filter(|reading| wanted(reading)).count();
        let refused = count(|reading| *reading == Reading::Refused);
        let panicked = count(|reading| *reading == Reading::Panicked);
        println!("{name:<28}{:>8}{:>8}{refused:>9}{panicked:>10}", bad.len(), bad.len() - refused - panicked);
        panics.push(panicked);
    }
    let _ = panic::take_hook();
    println!("\nwhat fdt says when it panics behind the check");
    said.lock().unwrap().iter().for_each(|(text, times)| println!("{times:>8}  {text}"));
    assert_eq!(panics[0], 0, "the kernel's way panics");
    assert!(panics[1] > 0, "fdt does not panic any more: see docs/dependencies.md");
}

/// A device's registers are where the buses above say (`ranges`), not where its own node says.
#[test]
fn a_bus_address_of_the_pi_needs_ranges_which_fdt_does_not_read() {
    let Some((_, bytes)) = good_trees().into_iter().find(|(name, _)| name == "bcm2711-rpi-4-b") else { return };
    let own = fdt::Fdt::new(&bytes).unwrap().find_compatible(&["arm,pl011"]).unwrap().reg().unwrap().next().unwrap();
    let tree = dtoolkit::fdt::Fdt::new_unchecked(&bytes);
    let bus = tree.find_node("/soc").unwrap();
    let address = own.starting_address as u64;
    let physical = bus.ranges().unwrap().unwrap().find_map(|range| {
        let offset = address.checked_sub(range.child_bus_address::<u64>().ok()?)?;
        let inside = offset < range.length::<u64>().ok()?;
        inside.then(|| range.parent_bus_address::<u64>().unwrap() + offset)
    });
    println!(
        "the Pi's PL011: {address:#x} on its bus, which is all that fdt tells; {:#x} by ranges",
        physical.unwrap()
    );
    assert_eq!((address, physical), (0x7E20_1000, Some(0xFE20_1000)));
}
