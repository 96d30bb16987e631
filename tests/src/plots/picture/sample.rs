//! A real run, without the descriptors of the program itself.

use super::dump::{Dump, parse};

pub(super) fn dump() -> Dump {
    parse(include_str!("sample.txt")).unwrap()
}
