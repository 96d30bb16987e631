//! The kernel on the host: four threads are its cores, and the test's own thread is one more, which makes processes and
//! looks at them but never runs one.

use crate::program::Program;
use graft_abi::{Error, ExitStatus, ProcessState, Rights, TraceKind};
use graft_kernel::arch::{self, PhysRange, interrupts, memory, processor};
use graft_kernel::memory::{frames, space};
use graft_kernel::object::process::{Name, Process};
use graft_kernel::object::system::System;
use graft_kernel::object::terminal::Terminal;
use graft_kernel::object::thread::{Scheduling, Thread};
use graft_kernel::object::{AnyRef, Ref};
use graft_kernel::platform::{self, Platform};
use graft_kernel::{program, sched, trap};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Cores that run programs.
pub const CORES: usize = if cfg!(miri) { 2 } else { 4 };
/// How long a test waits for a machine that makes no progress: only the verdict on a machine that hangs depends on it.
const PATIENCE: Duration = Duration::from_secs(120);
const SYSTEM_RIGHTS: Rights = Rights::INSPECT.or(Rights::DEVICES).or(Rights::DUPLICATE);
/// Registers that no test touches: behind the memory.
pub static DEVICES: [PhysRange; 1] = [PhysRange { start: memory::SIZE, end: memory::SIZE + 4 * memory::PAGE }];

static ONE_AT_A_TIME: Mutex<bool> = Mutex::new(false);
static CONSOLE: OnceLock<Ref<Terminal>> = OnceLock::new();
/// A core has panicked; what it said is in the test's output.
static FAILED: AtomicBool = AtomicBool::new(false);

/// The machine, one test's alone.
pub struct Machine {
    _turn: MutexGuard<'static, bool>,
    before: (u64, u64, u64),
}

/// Frames by use.
fn in_use() -> (u64, u64, u64) {
    let figures = frames::figures();
    (figures.tables, figures.pages, figures.objects)
}

fn wait_until(mut condition: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(!FAILED.load(Ordering::Acquire), "a core has failed");
        if start.elapsed() > PATIENCE {
            // The next test must not wait as long for the same.
            FAILED.store(true, Ordering::Release);
            panic!("the machine hangs: {what}");
        }
        thread::yield_now();
    }
}

impl Machine {
    /// Waits for the machine, and starts it for the first test.
    pub fn take() -> Machine {
        let mut turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        arch::adopt(CORES);
        if !*turn {
            start_machine();
            *turn = true;
        }
        Machine { _turn: turn, before: in_use() }
    }

    /// A process that runs this program, with the system's handle as its first.
    pub fn spawn(&self, program: Program) -> Ref<Process> {
        start_process(program)
    }

    /// As [`spawn`](Self::spawn), of one that has a console, which nothing is connected to, as its second handle.
    pub fn spawn_at_console(&self, program: Program) -> Ref<Process> {
        let console = CONSOLE.get().expect("the machine has started").clone().erase();
        let file = program.file();
        program.put();
        self.spawn_file(&file, [(console, Rights::READ.or(Rights::WRITE))])
    }

    /// A process of a program whose instructions are there already, with these handles behind the system's.
    pub fn spawn_file(&self, file: &[u8], handles: impl IntoIterator<Item = (AnyRef, Rights)>) -> Ref<Process> {
        let thread = load_file(file, Scheduling::FIRST).expect("there is memory");
        for (object, rights) in handles {
            thread.process.handles.lock().insert(object, rights).expect("there is room");
        }
        start(thread)
    }

    /// As [`spawn`](Self::spawn), of one that may go no higher than the priority that it has.
    pub fn spawn_limited(&self, program: Program) -> Ref<Process> {
        start(load(program, Scheduling::FIRST.limited()).expect("there is memory"))
    }

    /// Waits until something holds; does not hold up the machine meanwhile.
    pub fn wait_until(&self, condition: impl FnMut() -> bool, what: &str) {
        wait_until(condition, what);
    }

    /// How a process ends.
    pub fn wait(&self, process: &Process) -> ExitStatus {
        wait_until(|| process.info().state == ProcessState::Ended as u32, "a process does not end");
        ExitStatus::from_register(process.info().exit_status).expect("a status that this kernel stores")
    }

    /// Runs a program to its end.
    pub fn run(&self, program: Program) -> ExitStatus {
        let process = self.spawn(program);
        self.wait(&process)
    }

    /// Runs a program that exits with 0 at its end, and returns how it ended.
    pub fn run_with(&self, make: impl FnOnce(&mut Program)) -> ExitStatus {
        let mut program = Program::new();
        make(&mut program);
        program.exit(0);
        self.run(program)
    }
}

/// Runs a program that makes claims, and exits with 0 when all of them hold.
pub fn run(make: impl FnOnce(&mut Program)) {
    assert_eq!(Machine::take().run_with(make), ExitStatus::Exited(0));
}

impl Drop for Machine {
    /// No test leaves a frame behind, whatever it has done.
    fn drop(&mut self) {
        if !thread::panicking() {
            wait_until(|| in_use() == self.before, &std::format!("frames were lost: {:?} before", self.before));
        }
    }
}

fn load(program: Program, scheduling: Scheduling) -> Result<Ref<Thread>, Error> {
    let file = program.file();
    program.put();
    load_file(&file, scheduling)
}

fn load_file(file: &[u8], scheduling: Scheduling) -> Result<Ref<Thread>, Error> {
    let (tree, registers) = program::first(file, b"test\0".iter().copied())?;
    let process = Process::new(None, Name::of("test"))?;
    let system = process.handles.lock().insert(Ref::new(|_| System)?.erase(), SYSTEM_RIGHTS)?;
    assert_eq!(system, crate::program::SYSTEM);
    let thread = Thread::new(process.clone(), scheduling, &registers, |_| {})?;
    process.space.install(tree.take());
    Ok(thread)
}

fn start_process(program: Program) -> Ref<Process> {
    start(load(program, Scheduling::FIRST).expect("there is memory"))
}

fn start(thread: Ref<Thread>) -> Ref<Process> {
    let process = thread.process.clone();
    Process::start(thread, None, TraceKind::Spawn, |_, _| {});
    // It stands in the queue of the test's own core, which runs nothing: let the others look.
    (0..CORES).for_each(interrupts::wake);
    process
}

/// Starts the machine: memory, cores, and a first process, whose end would be the machine's, that sleeps.
fn start_machine() {
    static FREE: [PhysRange; 1] = [PhysRange { start: memory::PAGE, end: memory::SIZE }];
    platform::found(Platform {
        machine: "host",
        free_memory: &FREE,
        archive: None,
        device_tree: None,
        devices: &DEVICES,
        boot_arguments: "",
        cores: CORES + 1,
    });
    frames::initialise(&FREE).expect("there is memory");
    space::initialise(None);
    CONSOLE.set(Ref::new(|_| Terminal).expect("there is memory")).expect("a machine starts once");
    processor::set_entries(trap::ENTRIES);
    for core in 0..CORES {
        thread::spawn(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(|| {
                arch::adopt(core);
                sched::enter()
            }));
            if result.is_err() {
                FAILED.store(true, Ordering::Release);
            }
        });
    }
    let mut first = Program::new();
    let again = first.label();
    first.place(&again);
    first.call(graft_abi::Call::Sleep, [u64::MAX / 2, 0, 0, 0]);
    first.jump(&again);
    let process = start_process(first);
    wait_until(|| process.info().state == ProcessState::Blocked as u32, "the first process does not sleep");
    wait_until(|| sched::online() == CORES as u64, "a core does not enter the scheduler");
}
