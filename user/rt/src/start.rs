//! From the first instruction to `main` and from its result to `exit`.

use core::fmt::Display;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// What a grant begins with; see [`grants`](crate::grants).
pub(crate) const GRANT: u8 = 1;

/// What the program was started with: strings, each ended by a zero byte, in its own memory.
static ARGUMENTS: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static ARGUMENTS_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Makes `main` the function that the program starts with: `program!(main);`.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// The entry point: `x0` is the address of the arguments, `x1` their length in bytes.
        #[cfg(target_os = "none")]
        #[allow(unsafe_code)]
        // SAFETY: no other symbol of a program is called `_start`; the kernel's contract for x0
        // and x1 is that of `start`.
        #[unsafe(no_mangle)]
        extern "C" fn _start(address: *mut u8, length: usize) -> ! {
            $crate::start(address, length, $main)
        }
    };
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    /// What [`program!`] has made.
    fn _start();
}

/// Runs `main` and ends the process with what it returns. Only [`program!`] calls this.
pub fn start<T: Termination>(address: *mut u8, length: usize, main: fn(Arguments) -> T) -> ! {
    ARGUMENTS.store(address, Ordering::Relaxed);
    ARGUMENTS_LENGTH.store(length, Ordering::Relaxed);
    #[cfg(target_os = "none")]
    crate::template::offer(_start as *const () as u64);
    let code = main(arguments()).report();
    crate::process::exit(code)
}

/// The program's arguments, from anywhere in it.
pub fn arguments() -> Arguments {
    let address = ARGUMENTS.load(Ordering::Relaxed);
    let length = ARGUMENTS_LENGTH.load(Ordering::Relaxed);
    if address.is_null() {
        return Arguments { rest: &[] };
    }
    // SAFETY: the kernel has copied `length` bytes of arguments to this address before the first
    // instruction ran (see graft-abi's SpawnRequest); they are never written or unmapped.
    Arguments { rest: unsafe { core::slice::from_raw_parts(address, length) } }
}

/// What stands behind the arguments: grants, each ended by a zero byte.
pub(crate) fn raw_grants() -> &'static [u8] {
    grants_of(arguments().rest)
}

fn grants_of(text: &[u8]) -> &[u8] {
    let begins = |index: &usize| text[*index] == GRANT && (*index == 0 || text[*index - 1] == 0);
    (0..text.len()).find(begins).map_or(&[], |index| &text[index..])
}

/// The arguments that are left, the program's own name first.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    rest: &'static [u8],
}

impl Arguments {
    /// The argument with this index, 0 being the program's name.
    pub fn get(self, index: usize) -> Option<&'static str> {
        { self }.nth(index)
    }
}

impl Iterator for Arguments {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        // Behind the arguments stand the grants.
        if self.rest.is_empty() || self.rest[0] == GRANT {
            return None;
        }
        let end = self.rest.iter().position(|&byte| byte == 0).unwrap_or(self.rest.len());
        let (argument, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        // What is not text cannot be meant for a program that reads text: show it as such.
        Some(core::str::from_utf8(argument).unwrap_or("\u{fffd}"))
    }
}

/// What `main` may return: something that becomes an exit code.
pub trait Termination {
    /// Prints the error, if `main` has returned one, and returns the exit code.
    fn report(self) -> i32;
}

impl Termination for () {
    fn report(self) -> i32 {
        0
    }
}

impl Termination for i32 {
    fn report(self) -> i32 {
        self
    }
}

impl<T: Termination, E: Display> Termination for Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                crate::eprintln!("{}: {error}", arguments().next().unwrap_or("program"));
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_cut_at_zero_bytes_and_keep_empty_ones() {
        let arguments = Arguments { rest: b"sh\0-c\0\0last\0" };
        assert_eq!(arguments.collect::<Vec<_>>(), ["sh", "-c", "", "last"]);
        assert_eq!(arguments.get(1), Some("-c"));
        assert_eq!(arguments.get(4), None);
    }

    #[test]
    fn grants_are_no_arguments() {
        let arguments = Arguments { rest: b"cat\0a\x01b\0\x01files=4\0\x01out=file:5\0" };
        assert_eq!(arguments.collect::<Vec<_>>(), ["cat", "a\u{1}b"]);
        assert_eq!(grants_of(arguments.rest), b"\x01files=4\0\x01out=file:5\0");
        assert_eq!(grants_of(b"cat\0"), b"");
    }

    #[test]
    fn an_argument_that_is_not_text_is_shown_as_such() {
        assert_eq!(Arguments { rest: b"a\0\xff\xfe\0b" }.collect::<Vec<_>>(), ["a", "\u{fffd}", "b"]);
    }
}
