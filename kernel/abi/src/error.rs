//! Error codes: what a refused call returns.

use core::fmt;

macro_rules! errors {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// Why a call was refused. `x0` holds the negated discriminant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i64)]
        pub enum Error { $(#[doc = $message] $name = $code,)* }

        impl Error {
            /// Every error there is, in the order of their codes.
            pub const ALL: &'static [Error] = &[$(Error::$name,)*];

            /// The error with this code (positive, as in the discriminant).
            pub const fn from_code(code: i64) -> Option<Error> {
                match code { $($code => Some(Error::$name),)* _ => None }
            }

            /// What went wrong, for a person, as the end of a sentence.
            pub const fn message(self) -> &'static str {
                match self { $(Error::$name => $message,)* }
            }
        }
    };
}

errors! {
    BadCall = 1, "there is no system call with this number";
    BadHandle = 2, "the handle names nothing";
    WrongObject = 3, "the handle names an object of another kind";
    NoRight = 4, "the handle lacks the right for this";
    BadAddress = 5, "the address is outside user memory, unmapped or lacks the permission";
    Unaligned = 6, "address or length is not aligned as it must be";
    BadLength = 7, "the length is zero or too large";
    BadArgument = 8, "an argument has a value that means nothing";
    Occupied = 9, "something is mapped there already";
    NotMapped = 10, "nothing is mapped there";
    OutOfMemory = 11, "the machine is out of memory";
    HandlesExhausted = 12, "the process's handle table is full";
    AddressesExhausted = 13, "no gap of that size is left in the address space";
    NotFound = 14, "there is no such thing";
    NotAllowed = 15, "this may not be done to that object";
    ThreadsExhausted = 16, "the process has as many threads as a process can have";
    Gone = 17, "the other side does not exist any more";
    NotReady = 18, "the other side is not ready for a message";
    TimedOut = 19, "the deadline has passed";
    WouldDeadlock = 20, "the call would wait for its own caller";
    // Of program files, which a library reads: the kernel answers none of these.
    ImageTooShort = 32, "the program file ends before its headers do";
    ImageNotElf = 33, "the program file is not an ELF file";
    ImageWrongMachine = 34, "the program file is not a 64-bit little-endian AArch64 executable";
    ImageBadHeader = 35, "the program file has a broken ELF header";
    ImageBadSegment = 36, "a segment of the program file lies outside the file or outside user memory";
    ImageOverlap = 37, "segments of the program file overlap";
    ImageWritableText = 38, "a segment of the program file is writable and executable at once";
    ImageBadEntry = 39, "the program file's entry point is not in an executable segment";
    ImageDynamic = 40, "the program file wants a dynamic linker; only static programs run";
}

impl Error {
    /// What `x0` holds when a call fails in this way.
    pub const fn to_register(self) -> u64 {
        (-(self as i64)) as u64
    }

    /// Splits `x0` into success and failure. A code that this version does not know becomes
    /// [`Error::BadCall`].
    pub const fn from_register(x0: u64) -> Result<u64, Error> {
        let value = x0 as i64;
        if value >= 0 {
            return Ok(x0);
        }
        match Error::from_code(value.wrapping_neg()) {
            Some(error) => Err(error),
            None => Err(Error::BadCall),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_register() {
        for &error in Error::ALL {
            assert_eq!(Error::from_register(error.to_register()), Err(error));
        }
        assert_eq!(Error::from_register(0), Ok(0));
        assert_eq!(Error::from_register(i64::MAX as u64), Ok(i64::MAX as u64));
        assert_eq!(Error::from_register(i64::MIN as u64), Err(Error::BadCall));
    }
}
