//! A plugin for QEMU's TCG that measures for how many instructions the kernel keeps interrupts waiting.
//!
//! Graft's kernel runs with interrupts masked from a trap until it resumes a thread. In between it may ask the
//! interrupt controller what is pending and answer that, so a *stretch* begins with a trap or with such a question, and
//! ends with the next question, with the return to EL0, or where the core sleeps until an interrupt comes. The plugin
//! counts the instructions of each.
//!
//! ```text
//! qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 1 -icount shift=0,sleep=off -plugin
//! libgraft_masked_plugin.so,out=FILE …
//! ```
//!
//! A program marks the begin and the end of what it wants to know with two hints that do nothing else: `hint #64` and
//! `hint #65`. At each end the plugin writes a row, `LONGEST,ADDRESS`: the longest stretch between the two, or that
//! reaches into them, and where it ended. The last row, `all,LONGEST,ADDRESS`, is about the whole run.
//!
//! One core, and an interrupt controller of version 2: a question is a load from `GICC_IAR`.
#![deny(missing_docs)]

use graft_plugin::{self as qemu, Accesses, Block, DataAccess, Flags, Info, Token};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

/// The version of the interface that this is written for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 4;

/// `hint #64`.
const BEGIN: u32 = 0xd503_281f;
/// `hint #65`.
const END: u32 = 0xd503_283f;
/// `wfi`.
const SLEEP: u32 = 0xd503_207f;
/// Where the page with `GICC_IAR` lies on `virt`, and the register in it.
const GICC_IAR: u64 = 0x0c;

static PLUGIN: Mutex<Option<Plugin>> = Mutex::new(None);

struct Plugin {
    out: File,
    /// Instructions since the stretch began.
    stretch: u64,
    /// The longest since the last mark, and the longest of all.
    longest: Longest,
    of_all: Longest,
}

#[derive(Clone, Copy, Default)]
struct Longest {
    instructions: u64,
    address: u64,
}

impl Longest {
    fn see(&mut self, instructions: u64, address: u64) {
        if instructions > self.instructions {
            *self = Longest { instructions, address };
        }
    }
}

/// A translated block.
struct Part {
    address: u64,
    instructions: u64,
}

fn with(act: impl FnOnce(&mut Plugin)) {
    if let Some(plugin) = PLUGIN.lock().expect("a panic ends QEMU").as_mut() {
        act(plugin);
    }
}

/// Loads the plugin: `out=FILE` for the rows.
///
/// # Safety
/// QEMU calls it, once, with what its interface promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    info: *const Info,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU's contract.
    let (info, arguments) = unsafe { (&*info, qemu::strings(arguments, count)) };
    let path = arguments.iter().find_map(|argument| argument.strip_prefix("out="));
    let (Some(path), Some(1)) = (path, info.cores()) else {
        eprintln!("masked plugin: it wants out=FILE and an AArch64 system with one core");
        return 1;
    };
    match File::create(path) {
        Ok(out) => {
            let none = Longest::default();
            *PLUGIN.lock().expect("nothing has run yet") =
                Some(Plugin { out, stretch: 0, longest: none, of_all: none });
            qemu::register(id, started, translate, at_exit);
            0
        }
        Err(error) => {
            eprintln!("masked plugin: cannot write {path}: {error}");
            1
        }
    }
}

extern "C" fn started(_: u64, _: c_uint) {}

extern "C" fn translate(_: u64, block: Token<Block>) {
    let instructions: Vec<_> = block.instructions().collect();
    let Some(first) = instructions.first() else { return };
    let part = Part { address: first.address(), instructions: instructions.len() as u64 };
    // QEMU does not tell when it forgets a block.
    block.on_execution(executed, Flags::NONE, (Box::leak(Box::new(part)) as *const Part).cast());
    for instruction in &instructions {
        if let word @ (BEGIN | END | SLEEP) = instruction.word() {
            instruction.on_execution(marked, word as usize);
        }
        if instruction.address() >> 63 == 1 {
            instruction.on_access(accessed, Accesses::ALL, 0);
        }
    }
}

extern "C" fn executed(_: c_uint, part: *mut c_void) {
    // SAFETY: `translate` has leaked it.
    let part = unsafe { &*part.cast::<Part>() };
    with(|plugin| {
        if part.address >> 63 == 0 {
            plugin.stretch = 0;
        } else {
            plugin.stretch += part.instructions;
            plugin.longest.see(plugin.stretch, part.address);
            plugin.of_all.see(plugin.stretch, part.address);
        }
    });
}

extern "C" fn accessed(_: c_uint, access: DataAccess, address: u64, _: *mut c_void) {
    if address & 0xfff == GICC_IAR && !access.is_store() && access.physical(address).is_none() {
        with(|plugin| plugin.stretch = 0);
    }
}

extern "C" fn marked(_: c_uint, word: *mut c_void) {
    with(|plugin| match word.addr() as u32 {
        BEGIN => plugin.longest = Longest::default(),
        END => {
            let Longest { instructions, address } = plugin.longest;
            writeln!(plugin.out, "{instructions},{address:#x}").expect("the file takes rows");
        }
        _ => plugin.stretch = 0,
    });
}

extern "C" fn at_exit(_: u64, _: *mut c_void) {
    with(|plugin| {
        let Longest { instructions, address } = plugin.of_all;
        writeln!(plugin.out, "all,{instructions},{address:#x}").expect("the file takes rows");
    });
}
