//! What a core does in user space: it executes instructions, which are functions of the test's.
//!
//! ```text
//!   loop: interrupt pending? ──▶ trap        otherwise: fetch at the program counter, through the tables
//!         ──▶ function ──▶ next, jump, call instruction, or an access that fails ──▶ trap
//! ```
//!
//! An instruction is at an address, four bytes each, that the program must have mapped as executable, and reaches
//! memory through the translation of `mmu.rs` only. So `fork`, `exec` and snapshots work as they do on a board:
//! registers and memory are all there is of a program.

use super::{Context, Entries, core_index, interrupts, memory, mmu};
use crate::arch::{Cause, Failure, Trap};
use graft_abi::FaultKind;
use graft_paging::Access;
use std::boxed::Box;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::vec::Vec;

/// What follows an instruction.
pub enum Effect {
    /// The next one.
    Next,
    /// Another one, by its address.
    Jump(u64),
    /// A call of the kernel's.
    Call,
    /// A call that carries a message.
    Message,
    /// The same one again, when floating point is switched on.
    FloatingPoint,
    /// A call of another system.
    Foreign,
    /// What no program may do.
    Error(FaultKind),
}

/// A function that acts as an instruction.
pub type Instruction = Box<dyn Fn(&mut User) -> Result<Effect, Failure> + Send + Sync>;

/// What an instruction can reach.
pub struct User<'a> {
    /// General-purpose registers.
    pub x: &'a mut [u64; 31],
    /// Stack pointer.
    pub sp: &'a mut u64,
    /// The thread's own word.
    pub thread_pointer: u64,
}

impl User<'_> {
    /// Loads a word.
    ///
    /// # Errors
    /// The failure that the kernel gets to see.
    pub fn load(&self, address: u64) -> Result<u64, Failure> {
        aligned(address, Access::Read)?;
        mmu::access(address, Access::Read, |word| {
            // SAFETY: an aligned word of memory, which programs access by atomics.
            unsafe { AtomicU64::from_ptr(word.cast()) }.load(Ordering::Relaxed)
        })
    }

    /// Stores a word.
    ///
    /// # Errors
    /// The failure that the kernel gets to see.
    pub fn store(&mut self, address: u64, value: u64) -> Result<(), Failure> {
        aligned(address, Access::Write)?;
        mmu::access(address, Access::Write, |word| {
            memory::mark_stored(word);
            // SAFETY: as in `load`.
            unsafe { AtomicU64::from_ptr(word.cast()) }.store(value, Ordering::Relaxed);
        })
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// The failure that the kernel gets to see; what was stored before stays.
    pub fn store_bytes(&mut self, address: u64, bytes: &[u8]) -> Result<(), Failure> {
        for (offset, &byte) in bytes.iter().enumerate() {
            mmu::access(address + offset as u64, Access::Write, |place| {
                memory::mark_stored(place);
                // SAFETY: a byte of memory, which programs access by atomics.
                unsafe { AtomicU8::from_ptr(place) }.store(byte, Ordering::Relaxed);
            })?;
        }
        Ok(())
    }
}

fn aligned(address: u64, access: Access) -> Result<(), Failure> {
    let cause = Cause::Error(FaultKind::Unaligned);
    if address.is_multiple_of(8) { Ok(()) } else { Err(Failure { address, access, cause }) }
}

/// Where the first program is put. A program begins at a page of its own.
pub const CODE_BASE: u64 = 0x20_0000;

static CODE: RwLock<Vec<Option<Arc<Instruction>>>> = RwLock::new(Vec::new());
static ENTRIES: OnceLock<Entries> = OnceLock::new();

/// The address that the next program will have.
pub fn next_code() -> u64 {
    let used = CODE.read().expect("no instruction panics while it is put there").len() as u64;
    (CODE_BASE + used * Context::INSTRUCTION).next_multiple_of(super::memory::PAGE)
}

/// Puts a program where cores find it, and returns the address of its first instruction. It stays for good.
pub fn put_code(instructions: Vec<Instruction>) -> u64 {
    let base = next_code();
    let mut code = CODE.write().expect("no instruction panics while it is put there");
    code.resize_with(((base - CODE_BASE) / Context::INSTRUCTION) as usize, || None);
    code.extend(instructions.into_iter().map(|instruction| Some(Arc::new(instruction))));
    base
}

/// Says what cores come back to the kernel through. Called once, before the first core resumes a thread.
pub fn set_entries(entries: Entries) {
    assert!(ENTRIES.set(entries).is_ok(), "a machine starts once");
}

/// Leaves the kernel for the thread whose registers these are; the core's thread stays here for good.
///
/// # Safety
/// The context is the calling core's alone until the kernel has been entered again.
pub unsafe fn resume(mut context: *mut Context) -> ! {
    let entries = ENTRIES.get().expect("a machine has been started");
    loop {
        // SAFETY: the context is this core's own until the next trap (the caller's promise, and the kernel's below).
        let event = run(unsafe { &mut *context });
        // SAFETY: it is the one that was resumed last on this core, and the borrow above has ended.
        context = unsafe {
            match event {
                Event::Call => match (entries.call)(context) {
                    resumed if resumed.is_null() => context,
                    resumed => resumed,
                },
                Event::Message => {
                    let core = core_index();
                    (entries.message)(context, core).unwrap_or_else(|| (entries.more)(context, core))
                }
                Event::Trap(trap) => (entries.trap)(context, trap),
            }
        };
    }
}

enum Event {
    Call,
    Message,
    Trap(Trap),
}

/// Executes instructions until one needs the kernel.
fn run(context: &mut Context) -> Event {
    loop {
        if interrupts::is_pending() {
            return Event::Trap(Trap::Interrupt);
        }
        let pc = context.pc;
        if let Err(failure) = mmu::access(pc, Access::Execute, |byte| memory::claim_fetchable(byte)) {
            return Event::Trap(Trap::Access(failure));
        }
        let index = pc.checked_sub(CODE_BASE).map(|offset| (offset / Context::INSTRUCTION) as usize);
        let instruction = index.and_then(|index| CODE.read().ok()?.get(index)?.clone());
        let Some(instruction) = instruction else { return Event::Trap(Trap::Error(FaultKind::Undefined)) };
        let mut user = User { x: &mut context.x, sp: &mut context.sp, thread_pointer: context.thread_pointer };
        match instruction(&mut user) {
            Ok(Effect::Next) => context.pc = pc + Context::INSTRUCTION,
            Ok(Effect::Jump(address)) => context.pc = address,
            Ok(Effect::Call) => {
                context.pc = pc + Context::INSTRUCTION;
                return Event::Call;
            }
            Ok(Effect::Message) => {
                context.pc = pc + Context::INSTRUCTION;
                return Event::Message;
            }
            Ok(Effect::Foreign) => {
                context.pc = pc + Context::INSTRUCTION;
                return Event::Trap(Trap::Error(FaultKind::ForeignCall));
            }
            Ok(Effect::FloatingPoint) => return Event::Trap(Trap::FloatingPoint),
            Ok(Effect::Error(kind)) => return Event::Trap(Trap::Error(kind)),
            Err(failure) => return Event::Trap(Trap::Access(failure)),
        }
    }
}
