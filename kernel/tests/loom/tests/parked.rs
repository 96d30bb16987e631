//! A thread that stands aside because its process is suspended, while that is resumed and ended.

use crate::scene::{PREEMPTIONS, explore_within, leave, on_core, run, thread};
use graft_kernel_loom::sched;

/// What other cores do.
#[derive(Clone, Copy, PartialEq)]
enum Happens {
    Resume,
    Kill,
    /// Resumed, and suspended again.
    ResumeAndSuspend,
}

fn claim_it_is_found(happens: &[Happens]) {
    let [resume, kill, again] =
        [Happens::Resume, Happens::Kill, Happens::ResumeAndSuspend].map(|event| happens.contains(&event));
    let sides = usize::from(resume || again) + usize::from(kill);
    explore_within((sides > 1).then_some(PREEMPTIONS), move || {
        let aside = thread();
        aside.process.suspend();
        run(0, &aside);
        let resumed = aside.clone();
        let resumer = (resume || again).then(|| {
            on_core(1, move || {
                resumed.process.resume();
                if again {
                    resumed.process.suspend();
                }
            })
        });
        let killed = aside.clone();
        let killer = kill.then(|| on_core(2, move || killed.process.terminate(&killed)));

        leave(0);
        sched::park(aside.clone());

        [resumer, killer].into_iter().flatten().for_each(|core| core.join().expect("no core fails"));
        let (made_ready, ended) = aside.let_run();
        if again && !kill {
            // It may have come after both.
            if made_ready + ended == 0 {
                aside.process.resume();
                assert_eq!(aside.let_run(), (1, 0), "it is found where it stands aside");
                return;
            }
        }
        assert_eq!(made_ready + ended, 1, "it goes on once, or ends");
    });
}

#[test]
fn a_thread_that_stands_aside_while_its_process_is_resumed_goes_on_once() {
    claim_it_is_found(&[Happens::Resume]);
}

#[test]
fn a_thread_that_stands_aside_while_its_process_is_ended_meets_the_end() {
    claim_it_is_found(&[Happens::Kill]);
}

#[test]
fn a_thread_that_stands_aside_while_its_process_is_resumed_and_ended_goes_on_once() {
    claim_it_is_found(&[Happens::Resume, Happens::Kill]);
}

#[test]
fn a_thread_that_stands_aside_while_its_process_is_resumed_and_suspended_again_is_found() {
    claim_it_is_found(&[Happens::ResumeAndSuspend]);
}
