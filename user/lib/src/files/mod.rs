//! Files in memory: names, directories and contents as a library, which the file server puts on a connection.

mod names;
mod ramfs;

pub use names::{NAME_MAX, PATH_MAX, components};
pub use ramfs::{Entry, Limits, Node, PAGE, RamFs, Usage};
