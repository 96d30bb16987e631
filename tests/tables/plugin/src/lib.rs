//! A plugin for QEMU's TCG that writes down what a kernel does to its translation tables, in the form that
//! `graft-table-checker` judges.
//!
//! ```text
//!   TTBR0, TTBR1 ──▶ the roots ──▶ what their descriptors lead to: the tables
//!   each store of the kernel's into one of them, each TLBI, DSB, ISB, each frame that is freed ──▶ out=FILE
//! ```
//!
//! ```text
//! qemu-system-aarch64 -M virt,memory-backend=ram -object memory-backend-memfd,id=ram,size=1G -m 1G -smp 4 \
//!     -plugin build/table-plugin.so,out=trace.log,references=0xffffffc000000000 …
//! ```
//!
//! What a table is, the hardware says: the plugin keeps the checker's own state beside the guest, and a frame is a
//! table from the store of the first descriptor that leads to it until nothing does. A new table begins with what it
//! holds at that moment, read from the guest's memory. A space whose root no core has in `TTBR0_EL1` is released; when
//! a core comes back to it and its tables are not known any more, they are read again.
//!
//! That a frame has been freed, no instruction says. The kernel chains free frames through an array of reference
//! counts, a `u32` for each frame, at the virtual address `references`: a plain store of anything but 1 frees the
//! frame, while counts change by exclusive stores, and a frame that is allocated gets a plain 1.
//!
//! Each core's trace begins with its first `TLBI VMALLE1` in the upper half of addresses. With that it leaves the
//! identity map through which it was started, which is in no trace.
//!
//! Cores run side by side, each in a thread of QEMU's, and their events meet in one order here. Each core's are in the
//! order of its program: it writes one down, after a store and before everything else, and goes on then. So what one
//! core does because it has seen what another has done, under a lock or by a count, stands behind that. Several cores
//! that take turns (`-icount`) are no use: QEMU 10.0 then names in a callback the core for which an instruction was
//! translated, not the one that executes it.
//!
//! The guest's memory has to be a `memory-backend-memfd` (`ram=ADDRESS` says where it begins, if not at 1 GiB).
#![deny(missing_docs)]

use graft_cache_model::{Memory, Regime};
use graft_plugin::guest::{Ram, Registers};
use graft_plugin::{self as qemu, Accesses, Block, DataAccess, Info, Token};
use graft_table_checker::{Checker, ENTRIES, Event, FRAME, Instruction, OUTPUT, Register, Vocabulary};
use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::sync::Mutex;

/// The version of the interface that this is written for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 4;

/// Bytes of the array of reference counts that belong to a frame.
const COUNT: u64 = 4;
/// The array has a count for each frame of 48-bit addresses at most.
const COUNTS: u64 = COUNT << 36;

static PLUGIN: Mutex<Option<Plugin>> = Mutex::new(None);

struct Plugin {
    out: BufWriter<File>,
    ram: Ram,
    /// Where the reference counts are.
    references: Range<u64>,
    cores: Vec<Core>,
    /// What the tables are now; of no use after a rule was broken, and then nothing more is written.
    checker: Checker,
    is_broken: bool,
    events: usize,
    /// Frames that have been tables or pages of programs and have not been freed.
    used: BTreeSet<u64>,
}

struct Core {
    registers: Registers,
    regime: Regime,
    system: u64,
    is_on: bool,
    /// The last that was written down of it is an `ISB`: the kernel has one before each reading of its counter.
    is_synchronised: bool,
}

/// An instruction of the kernel.
#[derive(Clone, Copy)]
struct Place {
    address: u64,
    word: u32,
}

fn root(register: u64) -> u64 {
    register & OUTPUT
}

impl Plugin {
    fn note(&mut self, core: usize, place: Place, event: Event) {
        let is_synchronising = event == Event::Synchronise;
        let is_repeated =
            std::mem::replace(&mut self.cores[core].is_synchronised, is_synchronising) && is_synchronising;
        if self.is_broken || is_repeated {
            return;
        }
        self.events += 1;
        let line = Vocabulary::El1.line(self.events, core, event, &format!("{:#x}", place.address));
        writeln!(self.out, "{}", line.expect("what happens at EL1 has a word")).expect("the file takes lines");
        // The reader of the trace finds the same, and says it.
        self.is_broken = self.checker.step(core, event).is_err();
    }

    fn execute(&mut self, core: usize, place: Place) {
        let Some(instruction) = Instruction::decode(place.word) else { return };
        let in_kernel = place.address >> 63 == 1;
        let is_on = self.cores[core].is_on;
        let mut operand = |register| self.cores[core].registers.read(register);
        match instruction {
            Instruction::InvalidateOwn if in_kernel && !is_on => self.begin(core, place),
            Instruction::InvalidateOwn => {}
            Instruction::SetUser(register) => {
                let value = operand(register);
                let old = std::mem::replace(&mut self.cores[core].regime.lower, value);
                if is_on {
                    self.switch(core, place, old);
                }
            }
            Instruction::SetKernel(register) => {
                self.cores[core].regime.upper = operand(register);
                if is_on {
                    self.kernel(core, place);
                }
            }
            Instruction::Set(register, from) => {
                let value = operand(from);
                *match register {
                    Register::Translation => &mut self.cores[core].regime.control,
                    Register::System => &mut self.cores[core].system,
                } = value;
                if is_on {
                    self.note(core, place, Event::Set { register, value });
                }
            }
            _ if !is_on => {}
            Instruction::Barrier(event) => self.note(core, place, event),
            Instruction::Invalidate(kind, register) => {
                let event = Event::Invalidate(kind.invalidation(operand(register)));
                self.note(core, place, event);
            }
            // As a store it is the only one that QEMU does not report.
            Instruction::ZeroLine(register) => {
                let address = operand(register) & !0x3f;
                if let Some(physical) = self.cores[core].regime.translate(address, &self.ram) {
                    (0..64).step_by(8).for_each(|offset| self.store(core, place, physical + offset, 0));
                }
            }
        }
    }

    /// The core has left the map through which it was started.
    fn begin(&mut self, core: usize, place: Place) {
        let Core { regime, system, .. } = self.cores[core];
        self.cores[core].is_on = true;
        self.note(core, place, Event::Set { register: Register::Translation, value: regime.control });
        self.note(core, place, Event::Set { register: Register::System, value: system });
        self.kernel(core, place);
        self.run(core, place);
    }

    fn kernel(&mut self, core: usize, place: Place) {
        let root = root(self.cores[core].regime.upper);
        self.introduce(core, place, root, 1);
        self.note(core, place, Event::Kernel(root));
    }

    fn run(&mut self, core: usize, place: Place) {
        let Regime { lower, control, .. } = self.cores[core].regime;
        // The identifier is in this register (A1), and has 8 or 16 bits (AS).
        let regime = Regime { lower, upper: 0, control: control & !(1 << 22) };
        self.introduce(core, place, root(lower), 0);
        self.note(core, place, Event::Run { root: root(lower), asid: regime.asid() });
    }

    /// The core has another user space than before.
    fn switch(&mut self, core: usize, place: Place, old: u64) {
        if self.cores[core].regime.lower == old {
            return;
        }
        if !self.cores.iter().any(|core| core.is_on && root(core.regime.lower) == root(old)) {
            self.note(core, place, Event::Release(root(old)));
        }
        self.run(core, place);
    }

    /// A frame is about to become a table of this level: unless it is one, it begins with what it holds.
    fn introduce(&mut self, core: usize, place: Place, table: u64, level: usize) {
        if self.checker.is_table(table) {
            return;
        }
        self.used.insert(table);
        self.note(core, place, Event::Init(table));
        for index in 0..ENTRIES as u64 {
            let address = table + 8 * index;
            let value = self.ram.descriptor(address);
            if value != 0 {
                self.lead(core, place, value, level);
                self.note(core, place, Event::Write { address, value });
            }
        }
    }

    /// A descriptor is about to stand in a table of this level.
    fn lead(&mut self, core: usize, place: Place, value: u64, level: usize) {
        match value & 0b11 {
            0b11 if level < 3 => self.introduce(core, place, root(value), level + 1),
            0b01 | 0b11 => {
                self.used.insert(root(value));
            }
            _ => {}
        }
    }

    /// A word was stored at a physical address.
    fn store(&mut self, core: usize, place: Place, address: u64, value: u64) {
        if let Some(level) = self.checker.level(address & !(FRAME - 1)) {
            self.lead(core, place, value, level);
            self.note(core, place, Event::Write { address, value });
        }
    }

    fn free(&mut self, core: usize, place: Place, frame: u64) {
        if self.used.remove(&frame) {
            self.note(core, place, Event::Free(frame));
        }
    }
}

fn with(act: impl FnOnce(&mut Plugin)) {
    if let Some(plugin) = PLUGIN.lock().expect("a panic ends QEMU").as_mut() {
        act(plugin);
    }
}

/// Loads the plugin: `out=FILE` for the trace, `references=ADDRESS` where the reference counts of frames are, and
/// `ram=ADDRESS` where the guest's memory does not begin at 1 GiB.
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
            eprintln!("table plugin: {problem}");
            1
        }
    }
}

fn install(id: u64, info: &Info, arguments: &[String]) -> Result<(), String> {
    let (mut out, mut references, mut base) = (None, None, 1 << 30);
    for argument in arguments {
        let number = |text: &str| {
            let digits = text.trim_start_matches("0x");
            u64::from_str_radix(digits, 16).map_err(|_| format!("{argument} is no address"))
        };
        match argument.split_once('=') {
            Some(("out", path)) => out = Some(path),
            Some(("references", address)) => references = Some(number(address)?),
            Some(("ram", address)) => base = number(address)?,
            _ => return Err(format!("there is out=FILE, references=ADDRESS and ram=ADDRESS, and no {argument}")),
        }
    }
    let path = out.ok_or("out=FILE is missing")?;
    let references = references.ok_or("references=ADDRESS is missing")?;
    info.cores().ok_or("it watches an AArch64 system, and this is none")?;
    let out = BufWriter::new(File::create(path).map_err(|error| format!("cannot write {path}: {error}"))?);
    *PLUGIN.lock().expect("nothing has run yet") = Some(Plugin {
        out,
        ram: Ram::at(base),
        references: references..references.saturating_add(COUNTS),
        cores: Vec::new(),
        checker: Checker::default(),
        is_broken: false,
        events: 0,
        used: BTreeSet::new(),
    });
    qemu::register(id, vcpu_init, translate, at_exit);
    Ok(())
}

extern "C" fn vcpu_init(_: u64, core: c_uint) {
    let problem = PLUGIN.lock().expect("a panic ends QEMU").as_mut().and_then(|plugin| {
        let found = plugin.ram.find().and_then(|()| Registers::of_this_core());
        let add = |registers| {
            plugin.cores.push(Core {
                registers,
                regime: Regime::default(),
                system: 0,
                is_on: false,
                is_synchronised: false,
            });
        };
        found.map(add).err()
    });
    if let Some(problem) = problem {
        eprintln!("table plugin: core {core}: {problem}");
        std::process::exit(1);
    }
}

extern "C" fn translate(_: u64, block: Token<Block>) {
    for instruction in block.instructions() {
        let place = Place { address: instruction.address(), word: instruction.word() };
        // Programs run none of these, and their stores go where their descriptors lead: never to a table, says a rule.
        let in_kernel = place.address >> 63 == 1;
        let is_of_interest = Instruction::decode(place.word).is_some();
        if in_kernel || is_of_interest {
            // QEMU does not tell when it forgets a block.
            let place = (Box::leak(Box::new(place)) as *const Place).expose_provenance();
            if is_of_interest {
                instruction.on_execution(executed, place);
            }
            if in_kernel {
                instruction.on_access(accessed, Accesses::STORES, place as u64);
            }
        }
    }
}

/// What `translate` gave a callback.
fn place(place: *mut c_void) -> Place {
    // SAFETY: `translate` has made and leaked it.
    unsafe { *std::ptr::with_exposed_provenance::<Place>(place.addr()) }
}

extern "C" fn executed(core: c_uint, at: *mut c_void) {
    with(|plugin| plugin.execute(core as usize, place(at)));
}

extern "C" fn accessed(core: c_uint, access: DataAccess, address: u64, at: *mut c_void) {
    with(|plugin| {
        let (core, place) = (core as usize, place(at));
        if plugin.is_broken || !plugin.cores[core].is_on {
            return;
        }
        if plugin.references.contains(&address) {
            let frame = (address - plugin.references.start) / COUNT * FRAME;
            // Load and store exclusive, acquire and release: bits 29 to 24 are 001000 (C4.1).
            let is_exclusive = place.word >> 24 & 0x3f == 0b00_1000;
            if !is_exclusive && access.value()[0] != 1 {
                plugin.free(core, place, frame);
            }
            return;
        }
        let Some(physical) = access.physical(address) else { return };
        if !plugin.checker.is_table(physical & !(FRAME - 1)) {
            return;
        }
        let [low, high] = access.value();
        match access.bytes() {
            8 => plugin.store(core, place, physical, low),
            16 => {
                plugin.store(core, place, physical, low);
                plugin.store(core, place, physical + 8, high);
            }
            // No kernel writes a part of a descriptor; if it does, this is what it then says.
            _ => {
                let word = physical & !7;
                plugin.store(core, place, word, plugin.ram.descriptor(word));
            }
        }
    });
}

extern "C" fn at_exit(_: u64, _: *mut c_void) {
    with(|plugin| {
        let _ = plugin.out.flush();
    });
}
