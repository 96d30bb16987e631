//! The words of the file protocol.
//!
//! A request is `[operation, file, a, b, c, 0]`, an answer `[status, a, b, c, 0, 0]`, where the status is 0 or the code
//! of a [`FileError`].

use core::fmt;

use graft_abi::Error;

/// Bytes of a window: the most that one request carries.
pub const WINDOW: usize = 16 << 10;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What is asked for: the first word of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum Operation { $($(#[$doc])* $name = $number,)* }

        impl Operation {
            /// Every operation there is.
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// The operation with this number.
            pub const fn from_number(number: u64) -> Option<Operation> {
                match number { $($number => Some(Operation::$name),)* _ => None }
            }
        }
    };
}

operations! {
    /// With a window: a session, whose connection is answered.
    Session = 1,
    /// A path of `a` bytes, opened as the [`Flags`] in `b` say: file, [kind](FileKind), bytes.
    Open = 2,
    /// `b` bytes at most of a file, from byte `a`, into the window: how many.
    Read = 3,
    /// `b` bytes of the window into a file, from byte `a`, or with [`u64::MAX`] at its end: all of them, or an error.
    Write = 4,
    /// A file's length becomes `a`.
    Truncate = 5,
    /// A path of `a` bytes becomes the one of the `b` bytes behind it.
    Rename = 6,
    /// Takes the name of `a` bytes away; a directory has to be empty.
    Unlink = 7,
    /// Makes a directory with the path of `a` bytes.
    MakeDirectory = 8,
    /// The entry of a directory with number `a`: bytes of its name, which is in the window, or 0 after the last;
    /// kind; bytes.
    ReadDirectory = 9,
    /// Of the path of `a` bytes: kind, bytes.
    Status = 10,
    /// Gives a file up.
    Close = 11,
    /// A file as memory to read: a memory object, the offset there, bytes. What a file in memory holds is copied.
    Map = 12,
    /// A session that has one file, this one, as number 0: its connection. It has no window yet.
    Share = 13,
    /// The session's window, where it has none yet.
    Attach = 14,
    /// Of the file system in memory: pages used, pages at most, files and directories; open files; sessions.
    Usage = 15,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u64);

impl Flags {
    /// It is written to.
    pub const WRITE: Flags = Flags(1);
    /// It is made if it is not there.
    pub const CREATE: Flags = Flags(2);
    /// It must not be there.
    pub const NEW: Flags = Flags(4);
    /// Its content is given up.
    pub const TRUNCATE: Flags = Flags(8);
    /// All of them.
    pub const ALL: Flags = Flags(15);

    /// Both.
    #[must_use]
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether one of `other` is among them.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum FileKind {
    /// Bytes.
    File = 0,
    /// Names.
    Directory = 1,
}

impl FileKind {
    /// The kind with this number; what is not known is a file.
    pub const fn from_number(number: u64) -> FileKind {
        if number == 1 { FileKind::Directory } else { FileKind::File }
    }
}

macro_rules! errors {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// Why a file operation failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FileError {
            $(#[doc = $message] $name,)*
            /// The server could not be called, or did not get what it needs from the kernel.
            Call(Error),
        }

        impl FileError {
            /// What the first word of an answer holds.
            pub const fn to_word(self) -> u64 {
                match self { $(FileError::$name => $code,)* FileError::Call(error) => CALL + error as u64 }
            }

            /// What the first word of an answer says.
            ///
            /// # Errors
            /// All of them; [`FileError::BadRequest`] for one that there is not.
            pub const fn from_word(word: u64) -> Result<(), FileError> {
                Err(match word {
                    0 => return Ok(()),
                    $($code => FileError::$name,)*
                    CALL.. => match Error::from_code((word - CALL) as i64) {
                        Some(error) => FileError::Call(error),
                        None => FileError::BadRequest,
                    },
                    _ => FileError::BadRequest,
                })
            }
        }

        impl fmt::Display for FileError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(FileError::$name => f.write_str($message),)* FileError::Call(error) => error.fmt(f) }
            }
        }

        #[cfg(test)]
        const NAMED: &[FileError] = &[$(FileError::$name,)*];
    };
}

/// Where the codes of kernel errors begin.
const CALL: u64 = 1000;

errors! {
    Again = 1, "the server was brought back while it worked on this, and nothing was done: try again";
    NoSuchFile = 2, "no such file or directory";
    NotADirectory = 3, "a part of the path is not a directory";
    IsADirectory = 4, "it is a directory";
    Exists = 5, "it exists already";
    NotEmpty = 6, "the directory is not empty";
    ReadOnly = 7, "it cannot be written to";
    NameTooLong = 8, "the name is too long";
    BadName = 9, "the name has characters that no name may have";
    BadFile = 10, "no such open file";
    NoSpace = 11, "no space is left for files";
    TooLarge = 12, "the file would be too large";
    TooManyFiles = 13, "too many files are open";
    TooManyClients = 14, "the server has as many clients as it can have";
    BadRequest = 15, "the request means nothing";
    NoWindow = 16, "the session has no window";
    NotAllowed = 17, "this cannot be done to it";
    NoServer = 18, "there is no file server";
    Damaged = 19, "the archive is damaged there";
}

impl core::error::Error for FileError {}

impl From<Error> for FileError {
    fn from(error: Error) -> FileError {
        FileError::Call(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_word() {
        let calls = Error::ALL.iter().map(|&error| FileError::Call(error));
        for error in NAMED.iter().copied().chain(calls) {
            assert_eq!(FileError::from_word(error.to_word()), Err(error));
        }
        assert_eq!(FileError::from_word(0), Ok(()));
        for word in [999, CALL, u64::MAX] {
            assert_eq!(FileError::from_word(word), Err(FileError::BadRequest));
        }
    }

    #[test]
    fn every_operation_has_its_number() {
        for &operation in Operation::ALL {
            assert_eq!(Operation::from_number(operation as u64), Some(operation));
        }
        assert_eq!(Operation::from_number(0), None);
    }
}
