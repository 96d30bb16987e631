//! `test` and `[`.

use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
}

/// Why a condition is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionError {
    /// This is no operator with one operand, or with two.
    Operator(String),
    /// This is not a whole number.
    Number(String),
    /// More words than a condition has.
    TooMany,
    /// `[` without `]`.
    Unclosed,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConditionError::Operator(word) => write!(f, "{word:?} is no operator"),
            ConditionError::Number(word) => write!(f, "{word:?} is not a whole number"),
            ConditionError::TooMany => f.write_str("too many words; join conditions with && and ||"),
            ConditionError::Unclosed => f.write_str("[ needs ] as its last word"),
        }
    }
}

impl core::error::Error for ConditionError {}

/// Whether a condition holds. `words` begin with `test` or `[`; `look` answers what a path leads to.
///
/// # Errors
/// [`ConditionError`].
pub fn holds(words: &[&str], look: &mut dyn FnMut(&str) -> Option<Found>) -> Result<bool, ConditionError> {
    match words {
        ["[", words @ .., "]"] => condition(words, look),
        ["[", ..] => Err(ConditionError::Unclosed),
        [_, words @ ..] => condition(words, look),
        [] => Ok(false),
    }
}

/// What the words mean depends on their number first, so that no operand is taken for an operator.
fn condition(words: &[&str], look: &mut dyn FnMut(&str) -> Option<Found>) -> Result<bool, ConditionError> {
    match words {
        [] => Ok(false),
        [text] => Ok(!text.is_empty()),
        ["!", text] => Ok(text.is_empty()),
        [operator, operand] => match *operator {
            "-n" => Ok(!operand.is_empty()),
            "-z" => Ok(operand.is_empty()),
            "-e" => Ok(look(operand).is_some()),
            "-f" => Ok(matches!(look(operand), Some(Found::File(_)))),
            "-d" => Ok(look(operand) == Some(Found::Directory)),
            "-s" => Ok(matches!(look(operand), Some(Found::File(1..)))),
            _ => Err(ConditionError::Operator((*operator).into())),
        },
        [left, operator, right] => {
            let numbers = || Ok(number(left)?.cmp(&number(right)?));
            match *operator {
                "=" => Ok(left == right),
                "!=" => Ok(left != right),
                "-eq" => numbers().map(Ordering::is_eq),
                "-ne" => numbers().map(Ordering::is_ne),
                "-lt" => numbers().map(Ordering::is_lt),
                "-le" => numbers().map(Ordering::is_le),
                "-gt" => numbers().map(Ordering::is_gt),
                "-ge" => numbers().map(Ordering::is_ge),
                _ if *left == "!" => condition(&words[1..], look).map(|holds| !holds),
                _ => Err(ConditionError::Operator((*operator).into())),
            }
        }
        ["!", words @ ..] if words.len() == 3 => condition(words, look).map(|holds| !holds),
        _ => Err(ConditionError::TooMany),
    }
}

fn number(word: &str) -> Result<i64, ConditionError> {
    word.trim().parse().map_err(|_| ConditionError::Number(word.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(line: &str) -> Result<bool, ConditionError> {
        let words: Vec<&str> = line.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
        holds(&words, &mut |path| match path {
            "/tmp" => Some(Found::Directory),
            "motd" => Some(Found::File(5)),
            "empty" => Some(Found::File(0)),
            _ => None,
        })
    }

    #[test]
    fn conditions_look_at_texts_numbers_and_files() {
        for line in [
            "test a",
            "[ a ]",
            "[ -n a ]",
            "[ -z '' ]",
            "[ a = a ]",
            "[ a != b ]",
            "[ 2 -lt 10 ]",
            "[ 2 -le 2 ]",
            "[ -1 -gt -2 ]",
            "[ 2 -ge 2 ]",
            "[ 02 -eq 2 ]",
            "[ 2 -ne 3 ]",
            "[ -e /tmp ]",
            "[ -d /tmp ]",
            "[ -f motd ]",
            "[ -s motd ]",
            "[ -e empty ]",
            "[ -n ]",
            "[ = ]",
            "[ = = = ]",
            "[ ! = ! ]",
            "[ ! '' ]",
            "[ ! -e nosuch ]",
            "[ ! a = b ]",
            "test ! -f /tmp",
        ] {
            assert_eq!(test(line), Ok(true), "{line}");
        }
        for line in [
            "test",
            "[ ]",
            "[ '' ]",
            "[ -n '' ]",
            "[ -z a ]",
            "[ a = b ]",
            "[ a != a ]",
            "[ 10 -lt 2 ]",
            "[ 2 -eq 3 ]",
            "[ -e nosuch ]",
            "[ -d motd ]",
            "[ -f /tmp ]",
            "[ -s empty ]",
            "[ ! a ]",
            "[ ! a = a ]",
        ] {
            assert_eq!(test(line), Ok(false), "{line}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        use ConditionError::*;
        for (line, error) in [
            ("[ a", Unclosed),
            ("[ -q a ]", Operator("-q".into())),
            ("[ a like b ]", Operator("like".into())),
            ("[ a -lt 2 ]", Number("a".into())),
            ("[ 1 -eq '' ]", Number("".into())),
            ("[ a = b c ]", TooMany),
            ("[ ! a = b c ]", TooMany),
        ] {
            assert_eq!(test(line), Err(error), "{line}");
        }
    }
}
