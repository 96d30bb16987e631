//! A process with a thread that one of the cores runs, and what has become of it.

use graft_kernel_loom::arch;
use graft_kernel_loom::memory::frames;
use graft_kernel_loom::object::endpoint::{Endpoint, Reply};
use graft_kernel_loom::object::notification::Notification;
use graft_kernel_loom::object::process::Process;
use graft_kernel_loom::object::thread::{State, Thread};
use graft_kernel_loom::object::{Ref, parting};
use graft_kernel_loom::sched::local::{self, CORES};
use loom::model::Builder;
use loom::thread::{self, JoinHandle};

/// Any deadline: it is over when a core looks.
pub const SOON: u64 = 1;
/// Where three sides meet, every order would take hours.
pub const PREEMPTIONS: usize = 3;
/// No deadline.
pub const NEVER: u64 = 0;

/// Runs something in every order.
pub fn explore(run: impl Fn() + Sync + Send + 'static) {
    explore_within(None, run);
}

/// Runs something in every order in which cores are switched at most this often where they need not be.
pub fn explore_within(preemptions: Option<usize>, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        frames::begin();
        parting::begin();
        local::begin();
        run();
        assert!((0..arch::MAX_CORES).all(|core| !CORES[core].has_sleepers()), "a thread is left among the sleepers");
        assert_eq!(frames::in_use(), 0, "every object is gone");
    });
}

/// A thread of a process of its own.
pub fn thread() -> Ref<Thread> {
    let process = Process::new();
    Thread::new(process)
}

/// A notification without a bit.
pub fn notification() -> Ref<Notification> {
    let notification = Notification::new().expect("there is memory");
    // No core but this one knows of it yet.
    assert!(notification.take_or(|waiters| waiters.is_empty()) == Err(true));
    notification.clone()
}

/// A reply that keeps no call.
pub fn reply() -> Ref<Reply> {
    let endpoint = Endpoint::new().expect("there is memory");
    let reply = endpoint.reply(1).expect("there is memory");
    // No core but this one knows of it yet.
    assert!(reply.take(&mut reply.lock()).is_none());
    reply.clone()
}

/// Has the calling core run a thread.
pub fn run(core: usize, thread: &Ref<Thread>) {
    arch::adopt(core);
    thread.set_state(State::Running(core));
    CORES[core].own.current.set(Some(thread.clone()));
}

/// Another core.
pub fn on_core(index: usize, run: impl FnOnce() + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        arch::adopt(index);
        run();
    })
}

/// The calling core runs nothing any more.
pub fn leave(core: usize) {
    CORES[core].own.current.set(None);
}

/// What the thread's call has been answered with.
pub fn results(thread: &Ref<Thread>) -> [u64; 2] {
    // SAFETY: no core owns it any more.
    unsafe { &*thread.context() }.results
}
