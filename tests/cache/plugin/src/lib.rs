//! A plugin for QEMU's TCG that models the caches and the TLB of a Cortex-A72 beside the guest and counts what it
//! misses between readings of its counter.
//!
//! ```text
//!   QEMU ──▶ plugin: each block, each load and store ──▶ graft_cache_model ──▶ out=FILE, a row for each span
//! ```
//!
//! It needs version 4 of the plugin interface, which QEMU has since 9.2; an older QEMU refuses it in one line. Tested
//! with QEMU 10.0. The guest has to be an AArch64 system at EL1, counted with `-icount` so that its cores take turns,
//! and its memory a `memory-backend-memfd`: that is where the plugin reads the translation tables.
//!
//! ```text
//! qemu-system-aarch64 -M virt,memory-backend=ram -object memory-backend-memfd,id=ram,size=3G -m 3G -icount
//! shift=0,sleep=off \
//!     -plugin target/release/libgraft_cache_plugin.so,out=spans.csv …
//! ```
//!
//! A row is `BEGIN,END` (values of the counter, as a program read them), then seven counts with the caches emptied at
//! the begin and seven with the caches as they were: [`Counts::NAMES`]. With `missed=FILE` that file gets
//! `BEGIN,END,INSTRUCTION` with the lines that its loads and stores missed in L1D and in L2, cold, and the pages they
//! are in. The last row is `end,` and how many accesses the translation tables did not explain: 0, or the counts are
//! not to be trusted.
#![deny(missing_docs)]

use graft_cache_model::{Access, Bench, Control, Counts, Detail, Instruction, LINE_SHIFT, Missed, Reach, Span};
use graft_plugin::guest::{Ram, Registers};
use graft_plugin::{self as qemu, Accesses, Block, DataAccess, Flags, Info, Token};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Mutex;

/// The version of the interface that this is written for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 4;

/// Everything; one core of the guest acts at a time.
static PLUGIN: Mutex<Option<Plugin>> = Mutex::new(None);

/// The message for a file that does not.
const TAKES_ROWS: &str = "the file takes rows";

struct Plugin {
    bench: Bench,
    ram: Ram,
    /// Where the registers of each core are.
    registers: Vec<Registers>,
    /// The core whose last instruction was a reading of the counter, and where that went.
    reading: Option<(usize, u8)>,
    /// Whether the counter has been read: nothing before that is of interest.
    is_on: bool,
    out: BufWriter<File>,
    /// For the instructions that missed, where they were asked for.
    missed: Option<BufWriter<File>>,
}

/// A translated block of instructions, which lie in one page.
struct Fetch {
    address: u64,
    physical: u64,
    lines: u64,
    instructions: u64,
}

impl Fetch {
    /// Programs are in the lower half of addresses, the kernel is in the upper.
    fn is_at_el0(&self) -> bool {
        self.address >> 63 == 0
    }
}

impl Plugin {
    /// What a core has left in a register.
    fn register(&mut self, core: usize, register: u8) -> u64 {
        self.registers[core].read(register)
    }

    /// After a reading of the counter: it marks the time.
    fn settle(&mut self, core: usize) {
        let Some((reader, register)) = self.reading else { return };
        if reader != core {
            return;
        }
        self.reading = None;
        self.is_on = true;
        let counter = self.register(core, register);
        for Span { begin, end, cold, warm, missed } in self.bench.mark(counter) {
            let counts = [cold, warm].map(|counts| counts.values().map(|count| count.to_string()).join(","));
            writeln!(self.out, "{begin},{end},{}", counts.join(",")).expect(TAKES_ROWS);
            for Missed { instruction, l1d, l2d, pages } in missed {
                let out = self.missed.as_mut().expect("instructions are noted for this file");
                writeln!(out, "{begin},{end},{instruction:#x},{l1d},{l2d},{pages}").expect(TAKES_ROWS);
            }
        }
        self.out.flush().expect(TAKES_ROWS);
    }

    fn fetch(&mut self, core: usize, fetch: &Fetch) {
        self.settle(core);
        if !self.is_on {
            return;
        }
        if fetch.is_at_el0() {
            self.bench.at_el0(fetch.instructions);
        }
        for line in 0..fetch.lines {
            let offset = line << LINE_SHIFT;
            self.bench.fetch(core, fetch.address + offset, fetch.physical + offset, &self.ram);
        }
    }

    fn access(&mut self, core: usize, instruction: u64, kind: Access, address: u64, physical: u64, bytes: u64) {
        if !self.is_on {
            return;
        }
        self.bench.access(core, instruction, kind, address, physical, &self.ram);
        let last = address + bytes - 1;
        if last >> LINE_SHIFT != address >> LINE_SHIFT
            && let Some(physical) = self.bench.regime(core).translate(last, &self.ram)
        {
            self.bench.access(core, instruction, kind, last, physical, &self.ram);
        }
    }

    fn execute(&mut self, core: usize, instruction: Instruction) {
        let only = |reach| if reach == Reach::Core { Some(core) } else { None };
        match instruction {
            Instruction::ReadCounter(register) => self.reading = Some((core, register)),
            Instruction::Set(control, register) => {
                let value = self.register(core, register);
                let mut regime = self.bench.regime(core);
                *match control {
                    Control::Lower => &mut regime.lower,
                    Control::Upper => &mut regime.upper,
                    Control::Control => &mut regime.control,
                } = value;
                self.bench.set_regime(core, regime);
            }
            Instruction::Invalidate(operand, reach, register) => {
                let scope = operand.scope(self.register(core, register));
                self.bench.invalidate(only(reach), scope);
            }
            Instruction::EmptyInstructionCaches(reach) => self.bench.empty_instruction_caches(only(reach)),
            Instruction::ZeroLine(register) => {
                let address = self.register(core, register) >> LINE_SHIFT << LINE_SHIFT;
                // Where it leads nowhere, the instruction faults, and is executed again.
                if let Some(physical) = self.bench.regime(core).translate(address, &self.ram) {
                    self.access(core, 0, Access::Zero, address, physical, 1);
                }
            }
        }
    }
}

fn with(act: impl FnOnce(&mut Plugin)) {
    if let Some(plugin) = PLUGIN.lock().expect("a panic ends QEMU").as_mut() {
        act(plugin);
    }
}

/// Loads the plugin: `out=FILE` for the rows, `missed=FILE` for the instructions that miss, and `ram=ADDRESS` where the
/// guest's memory does not begin at 1 GiB.
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
    match install(id, info, &arguments) {
        Ok(()) => 0,
        Err(problem) => {
            eprintln!("cache plugin: {problem}");
            1
        }
    }
}

fn install(id: u64, info: &Info, arguments: &[String]) -> Result<(), String> {
    let (mut out, mut missed, mut base) = (None, None, 1 << 30);
    for argument in arguments {
        match argument.split_once('=') {
            Some(("out", path)) => out = Some(path),
            Some(("missed", path)) => missed = Some(path),
            Some(("ram", address)) => {
                let digits = address.trim_start_matches("0x");
                base = u64::from_str_radix(digits, 16).map_err(|_| format!("ram={address} is no address"))?;
            }
            _ => return Err(format!("there is out=FILE, missed=FILE and ram=ADDRESS, and no {argument}")),
        }
    }
    let path = out.ok_or("out=FILE is missing")?;
    let cores = info.cores().ok_or("it plays the caches of an AArch64 system, and this is none")?;
    let names = ["cold", "warm"].map(|state| Counts::NAMES.map(|name| format!("{state}_{name}")).join(","));
    let out = begun(path, &format!("begin,end,{}", names.join(",")))?;
    let missed = missed.map(|path| begun(path, "begin,end,instruction,l1d,l2d,pages")).transpose()?;
    let detail = if missed.is_some() { Detail::Instructions } else { Detail::Counts };
    *PLUGIN.lock().expect("nothing has run yet") = Some(Plugin {
        bench: Bench::new(cores, detail),
        ram: Ram::at(base),
        registers: Vec::new(),
        reading: None,
        is_on: false,
        out,
        missed,
    });
    qemu::register(id, vcpu_init, translate, at_exit);
    Ok(())
}

/// A new file with this first row.
fn begun(path: &str, row: &str) -> Result<BufWriter<File>, String> {
    let failed = |error| format!("cannot write {path}: {error}");
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    writeln!(out, "{row}").map_err(failed)?;
    Ok(out)
}

extern "C" fn vcpu_init(_: u64, core: c_uint) {
    let problem = PLUGIN.lock().expect("a panic ends QEMU").as_mut().and_then(|plugin| {
        let found = plugin.ram.find().and_then(|()| Registers::of_this_core());
        found.map(|registers| plugin.registers.push(registers)).err()
    });
    if let Some(problem) = problem {
        eprintln!("cache plugin: core {core}: {problem}");
        std::process::exit(1);
    }
}

extern "C" fn translate(_: u64, block: Token<Block>) {
    let instructions: Vec<_> = block.instructions().collect();
    let (Some(first), Some(last)) = (instructions.first(), instructions.last()) else { return };
    let line = |address: u64| address >> LINE_SHIFT;
    let address = first.address();
    let physical =
        PLUGIN.lock().expect("a panic ends QEMU").as_ref().and_then(|plugin| plugin.ram.physical(first.host_address()));
    if let Some(physical) = physical {
        let fetch = Fetch {
            address,
            physical,
            lines: line(last.address()) - line(address) + 1,
            instructions: instructions.len() as u64,
        };
        // QEMU does not tell when it forgets a block.
        block.on_execution(fetched, Flags::READS_REGISTERS, (Box::leak(Box::new(fetch)) as *const Fetch).cast());
    }
    for (number, instruction) in instructions.iter().enumerate() {
        instruction.on_access(accessed, Accesses::ALL, instruction.address());
        let word = instruction.word();
        match Instruction::decode(word) {
            // What the kernel reads for its own purposes is no mark.
            Some(Instruction::ReadCounter(_)) if address >> 63 != 0 => {}
            Some(Instruction::ReadCounter(_)) => {
                instruction.on_execution(executed, word as usize);
                if let Some(next) = instructions.get(number + 1) {
                    next.on_execution(settled, 0);
                }
            }
            Some(_) => instruction.on_execution(executed, word as usize),
            None => {}
        }
    }
}

extern "C" fn fetched(core: c_uint, fetch: *mut c_void) {
    // SAFETY: `translate` made and leaked it.
    let fetch = unsafe { &*fetch.cast::<Fetch>() };
    with(|plugin| plugin.fetch(core as usize, fetch));
}

extern "C" fn executed(core: c_uint, word: *mut c_void) {
    if let Some(instruction) = Instruction::decode(word.addr() as u32) {
        with(|plugin| plugin.execute(core as usize, instruction));
    }
}

extern "C" fn settled(core: c_uint, _: *mut c_void) {
    with(|plugin| plugin.settle(core as usize));
}

extern "C" fn accessed(core: c_uint, access: DataAccess, address: u64, instruction: *mut c_void) {
    with(|plugin| {
        if plugin.is_on
            && let Some(physical) = access.physical(address)
        {
            let kind = if access.is_store() { Access::Store } else { Access::Load };
            plugin.access(core as usize, instruction.addr() as u64, kind, address, physical, access.bytes());
        }
    });
}

extern "C" fn at_exit(_: u64, _: *mut c_void) {
    with(|plugin| {
        let unwalked = plugin.bench.unwalked();
        let missed = plugin.missed.as_mut().map_or(Ok(()), |missed| missed.flush());
        let _ = missed.and_then(|()| writeln!(plugin.out, "end,{unwalked}")).and_then(|()| plugin.out.flush());
    });
}
