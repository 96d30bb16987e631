//! Names of the kernel's functions, for backtraces.
//!
//! The linker leaves room for them in the section `.symbols`, all zeroes; the tool that makes the flat
//! image out of the ELF file fills it in. A kernel without names prints addresses only.
//!
//! ```text
//! u32 count
//! count × { u32 offset of the function from the image's start, u32 offset of its name in the section }
//! names, UTF-8, each ended by a zero byte
//! ```
//!
//! Little-endian, in ascending order of functions, each of which reaches up to the next.

use core::{arch::global_asm, slice, str};
use graft_boot::IMAGE_BASE;

/// Bytes of the section.
const SIZE: usize = 64 << 10;

// In assembly, because the compiler would otherwise know that the table is all zeroes.
global_asm!(
    ".section .symbols, \"a\"",
    ".balign 8",
    ".global FUNCTION_NAMES",
    "FUNCTION_NAMES: .skip {SIZE}",
    ".text",
    SIZE = const SIZE,
);

unsafe extern "C" {
    static FUNCTION_NAMES: u8;
}

/// The name of the function that holds `address`, and how far into it that is.
pub fn find(address: u64) -> Option<(&'static str, u64)> {
    // SAFETY: the section is that long and read-only.
    let table = unsafe { slice::from_raw_parts(&raw const FUNCTION_NAMES, SIZE) };
    let word = |index: usize| {
        let bytes = table.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let wanted = u32::try_from(address.checked_sub(IMAGE_BASE)?).ok()?;
    let (mut low, mut high) = (0, word(0)? as usize);
    while low < high {
        let middle = low.midpoint(high);
        if word(1 + middle * 2)? <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let entry = low.checked_sub(1)?;
    let name = table.get(word(2 + entry * 2)? as usize..)?;
    let name = str::from_utf8(&name[..name.iter().position(|&byte| byte == 0)?]).ok()?;
    Some((name, u64::from(wanted - word(1 + entry * 2)?)))
}
