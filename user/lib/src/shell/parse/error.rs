//! What can be wrong with a text.

use alloc::string::String;
use core::fmt;

use super::{DEPTH_MAX, LENGTH_MAX};

/// Why a text is no script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub problem: Problem,
    /// The line where it is, from 1.
    pub line: usize,
    /// The character in the line where it is, from 1.
    pub column: usize,
}

impl SyntaxError {
    /// Whether more text could mend it.
    pub const fn is_incomplete(&self) -> bool {
        use Problem::*;
        matches!(self.problem, Unclosed(_) | NothingToEscape | NoCommandAfter(_) | Missing { .. })
    }
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A quote or a bracket, shown here, is opened and not closed.
    Unclosed(&'static str),
    /// The last character is a backslash.
    NothingToEscape,
    /// An operator or a reserved word stands where a command is expected.
    NoCommandBefore(&'static str),
    /// The text ends where a command is expected.
    NoCommandAfter(&'static str),
    /// The text ends before the reserved word that a command needs.
    Missing {
        /// What the command begins with.
        of: &'static str,
        /// What it needs.
        word: &'static str,
    },
    /// Another word stands where a command needs a reserved word.
    Instead {
        /// What the command begins with.
        of: &'static str,
        /// What it needs.
        word: &'static str,
    },
    /// No word follows a redirection.
    NoFileAfter(&'static str),
    /// What follows `for`, or stands in `${…}`, is no name.
    NotAName(String),
    /// Something that is never expected here.
    Unexpected(String),
    /// `2>` and its kin.
    NumberedStream,
    /// `NAME=VALUE PROGRAM`.
    AssignmentForCommand,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// Longer than [`LENGTH_MAX`].
    TooLong,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unclosed(quote) => write!(f, "{quote} is not closed"),
            Problem::NothingToEscape => f.write_str("the line ends in a backslash"),
            Problem::NoCommandBefore(operator) => write!(f, "there is no command before {operator}"),
            Problem::NoCommandAfter(operator) => write!(f, "there is no command after {operator}"),
            Problem::Missing { of, word } => write!(f, "{of} needs {word}, and the text ends"),
            Problem::Instead { of, word } => write!(f, "{of} needs {word} here"),
            Problem::NoFileAfter(operator) => write!(f, "there is no file after {operator}"),
            Problem::NotAName(name) => write!(f, "{name:?} is no name of a variable"),
            Problem::Unexpected(text) => write!(f, "{text} is not expected here"),
            Problem::NumberedStream => {
                f.write_str("only input and output can be redirected: what a program complains goes to the console")
            }
            Problem::AssignmentForCommand => f.write_str("programs do not get variables: NAME=VALUE stands alone"),
            Problem::TooDeep => write!(f, "this is nested more than {DEPTH_MAX} deep"),
            Problem::TooLong => write!(f, "more than {} KiB are too long", LENGTH_MAX >> 10),
        }
    }
}

impl core::error::Error for SyntaxError {}
