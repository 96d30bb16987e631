//! Work that a thread has in the kernel: none of the few that wait here leaves any.

use super::crowd::Rest;

pub enum Task {
    Wake(Rest),
}

pub struct Work;

impl Work {
    pub fn give(&self, task: Option<Task>) {
        assert!(task.is_none(), "a crowd of a few");
    }
}
