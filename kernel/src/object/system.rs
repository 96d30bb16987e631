//! The whole system, as an object that a process may hold.

use super::{Kind, Object};

/// The object behind [`Handle::SYSTEM`](graft_abi::Handle::SYSTEM): holding it is what permits looking at the whole
/// system, and with the right to [devices](graft_abi::Rights::DEVICES) handing out what it is made of.
pub struct System;

static SYSTEM_KIND: Kind<System> = Kind::new("system");

impl Object for System {
    fn kind() -> &'static Kind<Self> {
        &SYSTEM_KIND
    }
}
