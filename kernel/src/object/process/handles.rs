//! What a process can name.

use crate::object::AnyRef;
use crate::object::table::Table;

/// A process's handles.
pub type Handles = Table<'static, AnyRef>;
