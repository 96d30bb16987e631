//! A wait for an answer that is ended from three sides at once: by the answer, by the deadline of the call, by the end
//! of the caller's process.

use crate::scene::{NEVER, PREEMPTIONS, SOON, explore_within, leave, on_core, reply, results, run, thread};
use graft_abi::Error;
use graft_kernel_loom::object::Ref;
use graft_kernel_loom::object::endpoint::Reply;
use graft_kernel_loom::object::process::Process;
use graft_kernel_loom::object::thread::State;
use graft_kernel_loom::sched::{self, local::CORES};

const ANSWER: [u64; 2] = [0, 7];

/// Answers the call that is kept in a reply, as `reply` does it.
fn answer(reply: &Ref<Reply>) -> bool {
    let taken = reply.take(&mut reply.lock());
    let Some(caller) = taken.and_then(|taken| taken.claim()) else { return false };
    // SAFETY: its wait has been ended by this core, which therefore owns it.
    unsafe { &mut *caller.context() }.set_results(ANSWER);
    sched::make_ready(caller);
    true
}

/// Takes a caller's wait over and gives it back, as a server does that copies what is lent.
fn copy(reply: &Ref<Reply>, deadline: u64) {
    let taken = reply.take_lent(&mut reply.lock(), false);
    let Ok(caller) = taken else { return };
    assert!(caller.deadline_core().is_none(), "no deadline comes meanwhile");
    sched::set_deadline(&caller, deadline);
    let kept = reply.bring_back(&mut reply.lock(), caller);
    kept.settle().into_iter().for_each(|thread| Process::end_thread(thread, None));
    sched::wake_sleepers();
}

/// What the server does.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    Answers,
    CopiesFirst,
}

/// Whether the caller's process ends meanwhile.
#[derive(Clone, Copy, PartialEq)]
enum Caller {
    Ends,
    GoesOn,
}

fn claim_one_ends_it(deadline: u64, fate: Caller, does: Server) {
    let kill = fate == Caller::Ends;
    let copies = does == Server::CopiesFirst;
    explore_within((copies || deadline == SOON && kill).then_some(PREEMPTIONS), move || {
        let reply = reply();
        let caller = thread();
        run(0, &caller);
        let kept_in = reply.clone();
        let server = on_core(1, move || {
            if copies {
                copy(&kept_in, deadline);
            }
            answer(&kept_in);
        });
        let killed = caller.clone();
        let killer = kill.then(|| on_core(2, move || killed.process.terminate(&killed)));

        // As in a call that a server has taken.
        let current = CORES[0].own.current.get().expect("it runs");
        leave(0);
        sched::set_deadline(&current, deadline);
        let kept = reply.keep(&mut reply.lock(), current);
        kept.settle().into_iter().for_each(|thread| Process::end_thread(thread, None));
        sched::wake_sleepers();

        server.join().expect("no core fails");
        killer.into_iter().for_each(|killer| killer.join().expect("no core fails"));
        let (made_ready, ended) = caller.let_run();
        // A server that has looked too early answers later, if nothing else has ended the call.
        let late = answer(&reply);
        assert_eq!(made_ready + ended + u32::from(late), 1, "it goes on once");
        assert!(!late || deadline == NEVER && !kill, "what has come has ended the call");
        assert!(caller.state() != State::Blocked || ended == 1);
        assert_eq!(caller.deadline_core(), None, "its deadline is forgotten");
        let results = results(&caller);
        let timed_out = results[0] == Error::TimedOut.to_register();
        assert!(kill || timed_out || results == ANSWER);
        assert!(!timed_out || deadline == SOON);
    });
}

#[test]
fn an_answer_and_a_deadline_end_a_call_once() {
    claim_one_ends_it(SOON, Caller::GoesOn, Server::Answers);
}

#[test]
fn an_answer_and_the_end_of_the_process_end_a_call_once() {
    claim_one_ends_it(NEVER, Caller::Ends, Server::Answers);
}

#[test]
fn an_answer_a_deadline_and_the_end_of_the_process_end_a_call_once() {
    claim_one_ends_it(SOON, Caller::Ends, Server::Answers);
}

#[test]
fn a_copy_of_what_is_lent_and_a_deadline_leave_one_end() {
    claim_one_ends_it(SOON, Caller::GoesOn, Server::CopiesFirst);
}

/// A receiver that has waited with the same reply gets another call in the middle of the copy.
#[test]
fn a_copy_does_not_take_the_place_of_a_call_that_has_come_meanwhile() {
    explore_within(Some(PREEMPTIONS), || {
        let reply = reply();
        let (first, second) = (thread(), thread());
        run(0, &first);
        leave(0);
        let kept = reply.keep(&mut reply.lock(), first.clone());
        assert!(kept.settle().is_none());
        let copied_by = reply.clone();
        let copier = on_core(1, move || copy(&copied_by, NEVER));

        run(0, &second);
        leave(0);
        let kept = reply.keep(&mut reply.lock(), second.clone());
        assert!(kept.settle().is_none());
        copier.join().expect("no core fails");
        assert!(answer(&reply), "a call is kept");
        assert_eq!(results(&second), ANSWER, "it is the second one, which has the answer");
        assert_eq!(results(&first)[0], Error::Gone.to_register());
        assert_eq!((first.let_run(), second.let_run()), ((1, 0), (1, 0)));
    });
}

#[test]
fn a_copy_of_what_is_lent_and_the_end_of_the_process_leave_one_end() {
    claim_one_ends_it(NEVER, Caller::Ends, Server::CopiesFirst);
}
