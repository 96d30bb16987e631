//! The guest's memory and registers.

use crate::{self as qemu, Array};
use graft_cache_model::Memory;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::fs;
use std::ops::Range;

/// What QEMU calls memory of `memory-backend-memfd`.
const MEMFD: &str = "/memfd:memory-backend-memfd";

/// The guest's memory, in one piece at a physical address.
pub struct Ram {
    base: u64,
    host: Range<usize>,
}

impl Ram {
    /// Memory at this physical address, not found yet.
    pub fn at(base: u64) -> Ram {
        Ram { base, host: 0..0 }
    }

    /// Looks for it in this process, which is QEMU.
    pub fn find(&mut self) -> Result<(), String> {
        let maps = fs::read_to_string("/proc/self/maps").map_err(|error| format!("/proc/self/maps: {error}"))?;
        let line = maps.lines().find(|line| line.contains(MEMFD)).ok_or(
            "no guest memory is found: it needs -object memory-backend-memfd,id=ram,size=SIZE \
             and -M MACHINE,memory-backend=ram",
        )?;
        let (start, rest) = line.split_once('-').ok_or("a mapping has an end")?;
        let end = rest.split_whitespace().next().ok_or("a mapping has an end")?;
        let number = |text| usize::from_str_radix(text, 16).map_err(|_| format!("{text} is no address"));
        self.host = number(start)?..number(end)?;
        Ok(())
    }

    /// The physical address of what QEMU has at an address of its own.
    pub fn physical(&self, host: usize) -> Option<u64> {
        self.host.contains(&host).then(|| self.base + (host - self.host.start) as u64)
    }
}

impl Memory for Ram {
    fn descriptor(&self, address: u64) -> u64 {
        let Some(offset) = address.checked_sub(self.base) else { return 0 };
        let host = self.host.start.wrapping_add(offset as usize);
        if !self.host.contains(&host) || !host.is_multiple_of(8) {
            return 0;
        }
        // SAFETY: it is within QEMU's mapping, and QEMU is at a callback of ours, not at a store.
        u64::from_le(unsafe { std::ptr::with_exposed_provenance::<u64>(host).read_volatile() })
    }
}

/// Where QEMU has a core's general registers.
pub struct Registers {
    handles: Vec<*mut c_void>,
    buffer: *mut Array,
}

// SAFETY: handles are QEMU's names of registers, and the buffer is this value's alone.
unsafe impl Send for Registers {}

impl Registers {
    /// Those of the core that this callback is for.
    pub fn of_this_core() -> Result<Registers, String> {
        // SAFETY: QEMU returns an array of as many descriptors, with names that stay.
        let by_name: BTreeMap<&CStr, *mut c_void> = unsafe {
            let array = &*qemu::qemu_plugin_get_registers();
            let all = std::slice::from_raw_parts(array.data.cast::<qemu::Register>(), array.length as usize);
            all.iter().map(|register| (CStr::from_ptr(register.name), register.handle)).collect()
        };
        let handle = |number: usize| {
            let name = std::ffi::CString::new(format!("x{number}")).expect("without a zero");
            by_name.get(name.as_c_str()).copied().ok_or(format!("QEMU has no register x{number}"))
        };
        let handles = (0..31).map(handle).collect::<Result<_, _>>()?;
        // SAFETY: GLib makes an array, or ends the process.
        Ok(Registers { handles, buffer: unsafe { qemu::g_byte_array_new() } })
    }

    /// The value of a register; number 31 is always 0.
    pub fn read(&mut self, number: u8) -> u64 {
        let Some(handle) = self.handles.get(usize::from(number)) else { return 0 };
        // SAFETY: the handle is QEMU's, the callback is registered as one that reads registers, and a general register
        // has eight bytes.
        unsafe {
            qemu::g_byte_array_set_size(self.buffer, 0);
            let bytes = qemu::qemu_plugin_read_register(*handle, self.buffer);
            assert!(bytes == 8 && (*self.buffer).length == 8, "x{number} has {bytes} bytes");
            u64::from_le_bytes((*self.buffer).data.cast::<[u8; 8]>().read())
        }
    }
}
