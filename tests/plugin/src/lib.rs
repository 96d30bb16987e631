//! The part of QEMU's plugin interface that is used here (`include/qemu/qemu-plugin.h`, version 4).

pub mod guest;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// What QEMU tells about the guest: `qemu_info_t`.
#[repr(C)]
pub struct Info {
    target: *const c_char,
    oldest_version: c_int,
    newest_version: c_int,
    is_system: bool,
    cores: c_int,
    most_cores: c_int,
}

impl Info {
    /// Number of cores of an AArch64 system; `None` for any other guest.
    pub fn cores(&self) -> Option<usize> {
        // SAFETY: QEMU passes the name as a string.
        let target = unsafe { CStr::from_ptr(self.target) };
        (self.is_system && target == c"aarch64").then_some(self.cores as usize)
    }
}

/// A thing of QEMU's, valid during the callback that got it.
#[repr(transparent)]
pub struct Token<T>(NonNull<c_void>, PhantomData<T>);

/// A block of instructions that is being translated.
pub struct Block;
/// One of its instructions.
pub struct Instruction;

/// Whether a callback reads registers.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Flags(c_int);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const READS_REGISTERS: Flags = Flags(1);
}

/// Which accesses a callback is for.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Accesses(c_int);

impl Accesses {
    pub const STORES: Accesses = Accesses(2);
    pub const ALL: Accesses = Accesses(3);
}

/// `qemu_plugin_mem_value`: the type says how many bytes it has, as a power of two.
#[repr(C)]
struct Value {
    shift: c_int,
    /// Of fewer than eight bytes, the lowest.
    low: u64,
    high: u64,
}

/// Called for a block or an instruction: with the core, and what was given with the callback.
pub type OnExecution = extern "C" fn(c_uint, *mut c_void);
/// Called for an access: with the core, the access, its virtual address, and what was given with the callback.
pub type OnAccess = extern "C" fn(c_uint, DataAccess, u64, *mut c_void);
type OnCore = extern "C" fn(u64, c_uint);
type OnTranslation = extern "C" fn(u64, Token<Block>);
type OnExit = extern "C" fn(u64, *mut c_void);

/// GLib's arrays, as far as they are open to all: of `GByteArray` and `GArray`.
#[repr(C)]
pub struct Array {
    pub data: *mut u8,
    pub length: c_uint,
}

/// `qemu_plugin_reg_descriptor`
#[repr(C)]
pub struct Register {
    pub handle: *mut c_void,
    pub name: *const c_char,
    feature: *const c_char,
}

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_init_cb(id: u64, act: OnCore);
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, act: OnTranslation);
    fn qemu_plugin_register_atexit_cb(id: u64, act: OnExit, with: *mut c_void);
    fn qemu_plugin_register_vcpu_tb_exec_cb(block: NonNull<c_void>, act: OnExecution, flags: Flags, with: *mut c_void);
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: NonNull<c_void>,
        act: OnExecution,
        flags: Flags,
        with: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: NonNull<c_void>,
        act: OnAccess,
        flags: Flags,
        kind: Accesses,
        with: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: NonNull<c_void>) -> usize;
    fn qemu_plugin_tb_get_insn(block: NonNull<c_void>, index: usize) -> NonNull<c_void>;
    fn qemu_plugin_insn_data(instruction: NonNull<c_void>, to: *mut c_void, bytes: usize) -> usize;
    fn qemu_plugin_insn_vaddr(instruction: NonNull<c_void>) -> u64;
    fn qemu_plugin_insn_haddr(instruction: NonNull<c_void>) -> *mut c_void;
    fn qemu_plugin_mem_size_shift(access: DataAccess) -> c_uint;
    fn qemu_plugin_mem_get_value(access: DataAccess) -> Value;
    fn qemu_plugin_mem_is_store(access: DataAccess) -> bool;
    fn qemu_plugin_get_hwaddr(access: DataAccess, address: u64) -> *const c_void;
    fn qemu_plugin_hwaddr_is_io(place: *const c_void) -> bool;
    fn qemu_plugin_hwaddr_phys_addr(place: *const c_void) -> u64;
    pub fn qemu_plugin_get_registers() -> *mut Array;
    pub fn qemu_plugin_read_register(register: *mut c_void, to: *mut Array) -> c_int;
    pub fn g_byte_array_new() -> *mut Array;
    pub fn g_byte_array_set_size(array: *mut Array, length: c_uint) -> *mut Array;
}

/// Has QEMU call these.
pub fn register(id: u64, core: OnCore, translation: OnTranslation, exit: OnExit) {
    // SAFETY: the functions have the interface's types and stay as long as QEMU runs.
    unsafe {
        qemu_plugin_register_vcpu_init_cb(id, core);
        qemu_plugin_register_vcpu_tb_trans_cb(id, translation);
        qemu_plugin_register_atexit_cb(id, exit, std::ptr::null_mut());
    }
}

/// Copies an array of strings.
///
/// # Safety
/// There are `count` strings.
pub unsafe fn strings(strings: *const *const c_char, count: c_int) -> Vec<String> {
    // SAFETY: the caller's contract.
    let string = |index| unsafe { CStr::from_ptr(*strings.add(index)) };
    (0..count as usize).map(|index| string(index).to_string_lossy().into_owned()).collect()
}

impl Token<Block> {
    /// Its instructions in their order.
    pub fn instructions(&self) -> impl Iterator<Item = Token<Instruction>> {
        // SAFETY: the block is valid during this callback.
        let count = unsafe { qemu_plugin_tb_n_insns(self.0) };
        // SAFETY: there are as many instructions.
        (0..count).map(|index| Token(unsafe { qemu_plugin_tb_get_insn(self.0, index) }, PhantomData))
    }

    /// Has QEMU call this before the block is executed.
    pub fn on_execution(&self, act: OnExecution, flags: Flags, with: *const c_void) {
        // SAFETY: the block is valid during this callback.
        unsafe { qemu_plugin_register_vcpu_tb_exec_cb(self.0, act, flags, with.cast_mut()) };
    }
}

impl Token<Instruction> {
    /// Its virtual address.
    pub fn address(&self) -> u64 {
        // SAFETY: the instruction is valid during this callback.
        unsafe { qemu_plugin_insn_vaddr(self.0) }
    }

    /// Where QEMU has it in its own memory.
    pub fn host_address(&self) -> usize {
        // SAFETY: the instruction is valid during this callback.
        unsafe { qemu_plugin_insn_haddr(self.0) }.addr()
    }

    /// Its encoding.
    pub fn word(&self) -> u32 {
        let mut word = [0; 4];
        // SAFETY: QEMU copies at most so many bytes.
        unsafe { qemu_plugin_insn_data(self.0, word.as_mut_ptr().cast(), word.len()) };
        u32::from_le_bytes(word)
    }

    /// Has QEMU call this with `with` before the instruction is executed. The callback may read registers.
    pub fn on_execution(&self, act: OnExecution, with: usize) {
        let with = std::ptr::without_provenance_mut(with);
        // SAFETY: the instruction is valid during this callback.
        unsafe { qemu_plugin_register_vcpu_insn_exec_cb(self.0, act, Flags::READS_REGISTERS, with) };
    }

    /// Has QEMU call this with `with` after each of these accesses to memory of the instruction.
    pub fn on_access(&self, act: OnAccess, accesses: Accesses, with: u64) {
        let with = std::ptr::without_provenance_mut(with as usize);
        // SAFETY: the instruction is valid during this callback.
        unsafe { qemu_plugin_register_vcpu_mem_cb(self.0, act, Flags::NONE, accesses, with) };
    }
}

/// An access to memory, valid during the callback that got it: `qemu_plugin_meminfo_t`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct DataAccess(u32);

impl DataAccess {
    /// Where it went; `None` if to a device.
    pub fn physical(self, address: u64) -> Option<u64> {
        // SAFETY: the access is valid during this callback, and so is what QEMU finds out about it.
        unsafe {
            let place = qemu_plugin_get_hwaddr(self, address);
            (!place.is_null() && !qemu_plugin_hwaddr_is_io(place)).then(|| qemu_plugin_hwaddr_phys_addr(place))
        }
    }

    /// Whether it was a store.
    pub fn is_store(self) -> bool {
        // SAFETY: the access is valid during this callback.
        unsafe { qemu_plugin_mem_is_store(self) }
    }

    /// What was loaded or stored, at most 16 bytes of it: the lower ones first.
    pub fn value(self) -> [u64; 2] {
        // SAFETY: the access is valid during this callback.
        let Value { shift, low, high } = unsafe { qemu_plugin_mem_get_value(self) };
        match shift {
            0..3 => [low & ((1 << (8 << shift)) - 1), 0],
            3 => [low, 0],
            _ => [low, high],
        }
    }

    /// How many bytes it was about.
    pub fn bytes(self) -> u64 {
        // SAFETY: the access is valid during this callback.
        1 << unsafe { qemu_plugin_mem_size_shift(self) }
    }
}
