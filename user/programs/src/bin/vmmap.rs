//! Shows the translation tables of a process: `vmmap [--dump] [--plain] [PID]`, its own without PID.
//!
//! `--dump` prints the kernel's records one a line, for tools on a host; `graft_lib::table_view` reads them.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_lib::table_view::dump::Line;
use graft_lib::table_view::listing;
use graft_lib::table_view::paint::Palette;
use graft_lib::table_view::tree::Tree;
use graft_rt::abi::{EntryRecord, MemorySizes, PAGE_SIZE, ProcessInfo};
use graft_rt::size::Size;
use graft_rt::{Arguments, Error, Handle, eprintln, println, process, system, tables};

graft_rt::program!(main);

fn main(arguments: Arguments) -> Result<i32, String> {
    let mut dump = false;
    let mut palette = Palette::Colours;
    let mut identifier = None;
    for argument in arguments.skip(1) {
        match (argument, argument.parse::<u64>()) {
            ("--dump", _) => dump = true,
            ("--plain", _) => palette = Palette::Plain,
            (_, Ok(number)) if identifier.is_none() => identifier = Some(number),
            _ => {
                eprintln!("vmmap: {argument}");
                eprintln!("usage: vmmap [--dump] [--plain] [PID]");
                return Ok(2);
            }
        }
    }
    let Looked { info, sizes, records } = look(identifier)?;
    if dump {
        println!("process {} {}", info.identifier, system::name(&info.name));
        for record in records {
            println!("{}", Line(record));
        }
    } else {
        let tree =
            Tree::new(&records).map_err(|error| format!("the kernel's records are not those of a tree: {error}"))?;
        show(&info, &sizes, &tree, palette);
    }
    Ok(0)
}

/// What the kernel reports of a process's memory.
struct Looked {
    info: ProcessInfo,
    sizes: MemorySizes,
    records: Vec<EntryRecord>,
}

/// Looks at the process with this identifier, or at this program.
fn look(identifier: Option<u64>) -> Result<Looked, String> {
    let refused = |error: Error| format!("{error}");
    let named = match identifier {
        Some(identifier) => {
            let process = system::process(identifier).map_err(refused)?;
            Some(process.ok_or_else(|| format!("there is no process {identifier}; `ps` lists them"))?)
        }
        None => None,
    };
    let handle = named.as_ref().map_or(Handle::SELF, |process| process.handle());
    Ok(Looked {
        info: process::info(handle).map_err(refused)?,
        sizes: process::memory_sizes(handle).map_err(refused)?,
        records: tables::all_entries(handle).map_err(refused)?,
    })
}

fn show(info: &ProcessInfo, sizes: &MemorySizes, tree: &Tree, palette: Palette) {
    println!("process {} {}", info.identifier, system::name(&info.name));
    for line in listing::list(tree, palette) {
        println!("{line}");
    }
    let summary = listing::summary(tree);
    let size = |pages: u64| Size(pages * PAGE_SIZE as u64);
    println!(
        "{} tables ({}), {} of them shared; {} pages ({}), {} of them shared; {} reserved",
        summary.tables,
        size(summary.tables),
        summary.shared_tables,
        summary.pages,
        size(summary.pages),
        summary.shared_pages,
        size(summary.reserved_pages),
    );
    println!(
        "private {}, shared {}, proportional {}",
        size(sizes.private_pages + sizes.private_tables),
        size(sizes.shared_pages + sizes.shared_tables),
        Size(sizes.proportional_bytes()),
    );
}
