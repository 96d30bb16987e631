//! What calls that block have in common.
//!
//! While it is blocked, a thread's registers describe the call that it is about to make. One that waits for input makes
//! it again; one that waits for an end is given the answer.

#![forbid(unsafe_code)]

use super::outcome::Next;
use crate::arch::Context;
use crate::object::Ref;
use crate::object::end::Ends;
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::object::wait::Wait;
use crate::sched;

/// Answers with how something ended, now or when it has.
pub(super) fn until_end<T: Ends>(target: &Ref<T>, registers: &mut Context) -> Next {
    let answer = target.end().answer_or(|waiters| {
        registers.rewind();
        sched::block(waiters, Wait::in_object(target.clone()))
    });
    match answer {
        Ok(answer) => {
            registers.set_results(answer);
            Next::Resume
        }
        Err(ended) => blocked(ended),
    }
}

/// What follows when the calling thread has blocked, or has ended in the attempt.
pub(super) fn blocked(ended: Option<Ref<Thread>>) -> Next {
    if let Some(thread) = ended {
        Process::end_thread(thread, None);
    }
    Next::Switch
}
