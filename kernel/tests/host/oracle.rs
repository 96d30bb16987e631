//! Random histories of calls, compared with the specification (`tests/spec`) step by step: results, words, handles,
//! badges, who goes on and who does not; the tables of handles, and the processes that there are.
//!
//! ```text
//!   conductor: the test's thread       board: a slot for each thread           actors: threads of the kernel
//!   chooses a call ──▶ request, bell ──────────────────────────────────────▶ makes it
//!   waits until all threads wait   ◀── registers of those that went on ◀──── waits for its bell
//! ```
//!
//! `GRAFT_HISTORIES` and `GRAFT_SEED` say how many histories, and which is the first one.

use crate::machine::{CORES, Machine};
use crate::program::{DATA, Program};
use graft_abi::{Call, ExitStatus, Handle, ProcessState, Rights};
use graft_kernel::arch::processor::{Effect, User};
use graft_kernel::arch::{Context, interrupts, timer};
use graft_kernel::object::endpoint::{Connection, Endpoint, Reply};
use graft_kernel::object::memory::MemoryObject;
use graft_kernel::object::notification::{Binding, Notification};
use graft_kernel::object::process::Process;
use graft_kernel::object::snapshot::Snapshot;
use graft_kernel::object::thread::{Scheduling, Thread};
use graft_kernel::object::{AnyRef, Object, Ref};
use graft_spec::history::{self, Random, Stage};
use graft_spec::{Deadline, Disagreement, Id, Outcome, Registers, Request, Seen, State, Trap, permitted};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

/// Threads at a time.
const SLOTS: usize = 8;
const STEPS: usize = if cfg!(miri) { 10 } else { 150 };
const HISTORIES: u64 = if cfg!(miri) { 1 } else { 150 };
/// How long a wait with a deadline that comes soon takes, in nanoseconds.
const SOON: u64 = 300_000;
/// How long something may be missing before that is a verdict: only on a machine that hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for histories that are known to fail.
const SHORT_PATIENCE: Duration = Duration::from_millis(400);
/// The number of a slot, in a register that calls leave alone; and of the call that is under way.
const SLOT: usize = 19;
const NUMBER: usize = 24;
const TRAP: usize = 25;

/// What conductor and actors tell each other.
struct Board {
    slots: [Mutex<Slot>; SLOTS],
    /// The slot of the thread that makes a call, and of the one that it may make.
    active: AtomicU64,
    newcomer: AtomicU64,
}

#[derive(Default)]
struct Slot {
    request: Option<Request>,
    answer: Option<Registers>,
}

impl Board {
    fn new() -> Board {
        Board { slots: Default::default(), active: AtomicU64::new(0), newcomer: AtomicU64::new(0) }
    }

    fn slot(&self, number: u64) -> std::sync::MutexGuard<'_, Slot> {
        self.slots[number as usize].lock().expect("no actor panics")
    }

    /// Has an actor's registers ask for its call.
    fn begin(&self, user: &mut User) -> Result<(), graft_kernel::arch::Failure> {
        // The instruction is run again when its store has faulted: nothing is taken before.
        let request = self.slot(user.x[SLOT]).request.expect("the conductor rings");
        user.store(DATA, request.data)?;
        user.x[..10].copy_from_slice(&request.x);
        user.x[20..24].copy_from_slice(&request.lent);
        (user.x[8], user.x[NUMBER], user.x[TRAP]) = (request.number, request.number, request.trap as u64);
        Ok(())
    }

    /// Tells what an actor's call has left.
    fn end(&self, user: &mut User) -> Result<(), graft_kernel::arch::Failure> {
        // One that goes on with the registers of an earlier call is another thread now, or at another time.
        if [Call::Fork as u64, Call::Snapshot as u64].contains(&user.x[NUMBER]) {
            let child = user.x[0] == 0;
            user.x[SLOT] = if child { &self.newcomer } else { &self.active }.load(SeqCst);
        }
        let mut registers = Registers::default();
        registers.x.copy_from_slice(&user.x[..10]);
        for (word, value) in registers.data.iter_mut().enumerate() {
            *value = user.load(DATA + word as u64 * 8)?;
        }
        self.slot(user.x[SLOT]).answer = Some(registers);
        Ok(())
    }
}

/// What every thread of a history does. The second value is where further threads begin.
fn actor(board: &Arc<Board>) -> (Program, u64) {
    let mut program = Program::new();
    let (again, message, foreign, done) = (program.label(), program.label(), program.label(), program.label());
    // The first thread has slot 0; the others come in behind.
    program.jump(&again);
    let entry = program.base() + 4;
    program.act(|user| {
        user.x[SLOT] = user.x[0];
        Ok(())
    });
    program.place(&again);
    program.call_with(Call::NotificationWait, |user| [2 + user.x[SLOT], 0, 0, 0]);
    let begin = board.clone();
    program.act(move |user| begin.begin(user));
    program.jump_if(&message, |user| user.x[TRAP] == Trap::Message as u64);
    program.jump_if(&foreign, |user| user.x[TRAP] == Trap::Foreign as u64);
    program.enter(|| Effect::Call);
    program.jump(&done);
    program.place(&message);
    program.enter(|| Effect::Message);
    program.jump(&done);
    program.place(&foreign);
    program.foreign_call();
    program.place(&done);
    let end = board.clone();
    program.act(move |user| end.end(user));
    program.jump(&again);
    (program, entry)
}

/// A history that is under way.
struct Conductor {
    board: Arc<Board>,
    bells: Vec<Ref<Notification>>,
    root: Ref<Process>,
    entry: u64,
    stacks: Vec<u64>,
    state: State,
    patience: Duration,
    log: Vec<String>,
}

impl Conductor {
    fn new(machine: &Machine, patience: Duration) -> Conductor {
        let board = Arc::new(Board::new());
        let (program, entry) = actor(&board);
        let bells: Vec<_> = (0..SLOTS).map(|_| Notification::new().expect("there is memory")).collect();
        let handles = bells.iter().map(|bell| (bell.clone().erase(), Rights::READ)).collect::<Vec<_>>();
        let root = machine.spawn_with(program, handles);
        let stacks: Vec<u64> = (1..=SLOTS as u64).map(|number| DATA + 0x8000 + number * 16).collect();
        let cores = (1 << CORES) - 1;
        let setting = graft_spec::Machine { cores, reserved: 1 + SLOTS as u32, buffer: DATA };
        let state = State::new(setting, [root.identifier(), 0], 0, stacks[0], [16, 31]);
        Conductor { board, bells, root, entry, stacks, state, patience, log: Vec::new() }
    }

    fn processes(&self) -> Vec<Ref<Process>> {
        let mut last = self.root.identifier() - 1;
        let next = || {
            let process = Process::next_after(last)?;
            last = process.identifier();
            Some(process)
        };
        std::iter::from_fn(next).collect()
    }

    /// Whether no thread of the history runs: twice, so that none was behind the first look.
    fn is_quiet(&self) -> bool {
        let quiet = |process: &Ref<Process>| {
            let info = process.info();
            match info.state {
                state if state == ProcessState::Ready as u32 => false,
                state if state == ProcessState::Ended as u32 => info.threads == 0,
                _ => true,
            }
        };
        (0..2).all(|_| self.processes().iter().all(quiet))
    }

    /// Has a thread make a call.
    fn begin(&self, thread: Id, request: &Request) {
        let slot = self.state.get::<graft_spec::state::Thread>(thread).slot;
        let mut request = *request;
        if let Some(register) = request.deadline_register() {
            request.x[register] = match request.deadline {
                Deadline::Never => 0,
                Deadline::Past => 1,
                Deadline::Soon => timer::now() + SOON,
            };
        }
        self.board.active.store(slot, SeqCst);
        self.board.newcomer.store(request.newcomer, SeqCst);
        self.board.slot(slot).request = Some(request);
        Binding { notification: self.bells[slot as usize].clone(), bits: 1 }.fire();
        (0..CORES).for_each(interrupts::wake);
    }

    /// The threads that have gone on. One that this call has ended may have gone on before.
    fn seen(&self, after: &State) -> Result<Seen, String> {
        let lives = |state: &State, slot| {
            let has_slot = |(id, thread): (Id, &graft_spec::state::Thread)| {
                (thread.slot == slot && thread.is_alive()).then_some(id)
            };
            state.all().find_map(has_slot)
        };
        let mut seen = Seen::new();
        for (slot, board) in (0..).zip(&self.board.slots) {
            let Some(registers) = board.lock().expect("no actor panics").answer else { continue };
            match lives(after, slot) {
                Some(thread) => _ = seen.insert(thread, registers),
                None if lives(&self.state, slot).is_some() => {}
                None => return Err(format!("there is no thread in slot {slot}, and it goes on")),
            }
        }
        Ok(seen)
    }

    /// Makes the next call, and compares.
    fn step(&mut self, step: u64) -> Result<bool, String> {
        let stage = Stage { entry: self.entry, stacks: &self.stacks, slots: SLOTS as u64 };
        let Some((thread, request)) = history::next(&self.state, &stage, step) else { return Ok(false) };
        let process = self.state.get::<graft_spec::state::Thread>(thread).process;
        let call = Call::from_number(request.number).filter(|_| request.trap != Trap::Foreign);
        let Request { x, deadline, .. } = &request;
        self.log.push(format!("process {process}, thread {thread}: {call:?} {x:x?} {deadline:?}"));
        let outcomes = permitted(&self.state, thread, &request);
        self.begin(thread, &request);
        let start = Instant::now();
        loop {
            let reasons = if !self.is_quiet() {
                vec![Disagreement::Wrong("threads go on and on".into())]
            } else {
                match self.compare(&outcomes) {
                    Ok(after) => {
                        self.state = after;
                        self.board.slots.iter().for_each(|slot| slot.lock().expect("no actor panics").answer = None);
                        return Ok(true);
                    }
                    // What is wrong stays wrong; what is missing may come.
                    Err(reasons) if reasons.iter().all(|reason| matches!(reason, Disagreement::Wrong(_))) => {
                        return Err(listed(&reasons));
                    }
                    Err(reasons) => reasons,
                }
            };
            if start.elapsed() > self.patience {
                return Err(listed(&reasons));
            }
            thread::yield_now();
        }
    }

    /// The state after the outcome that agrees with what is seen, or why none does.
    fn compare(&self, outcomes: &[Outcome]) -> Result<State, Vec<Disagreement>> {
        let mut reasons = Vec::new();
        for outcome in outcomes {
            let verdict = self.seen(&outcome.after).map_err(Disagreement::Wrong).and_then(|seen| outcome.agrees(&seen));
            match verdict {
                // What the kernel tidies up behind a call may not be over.
                Ok(after) => match self.audit(&after) {
                    Ok(()) => return Ok(after),
                    Err(what) => reasons.push(Disagreement::Late(what)),
                },
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons)
    }

    /// Whether there are these processes, with these statuses and handles.
    fn audit(&self, state: &State) -> Result<(), String> {
        let there = self.processes();
        let mut objects = Objects::default();
        let expected: BTreeMap<u64, &graft_spec::state::Process> =
            state.all().map(|(_, process): (Id, &graft_spec::state::Process)| (process.identifier, process)).collect();
        let identifiers: Vec<u64> = there.iter().map(|process| process.identifier()).collect();
        // The conductor keeps the first one.
        let differ = |identifier: &u64| *identifier != self.root.identifier() && !expected.contains_key(identifier);
        if let Some(other) = identifiers.iter().find(|identifier| differ(identifier)) {
            return Err(format!("process {other} is still there"));
        }
        for (identifier, expected) in expected {
            let process = there.iter().find(|process| process.identifier() == identifier);
            let process = process.ok_or_else(|| format!("process {identifier} is gone"))?;
            let info = process.info();
            let status = (info.state == ProcessState::Ended as u32).then_some(info.exit_status);
            if status != expected.status {
                return Err(format!("process {identifier} has the status {status:x?}, not {:x?}", expected.status));
            }
            let handles = process.handles.lock();
            for number in state.machine.reserved + 1..=100 {
                let found = handles.get(Handle(number), Rights::NONE).ok();
                let wanted = expected.handles.get(&number);
                let fits = match (found, wanted) {
                    (None, None) => true,
                    (Some((object, rights)), Some(entry)) => {
                        rights == entry.rights && objects.is(object, entry.object, state)
                    }
                    _ => false,
                };
                if !fits {
                    let found = found.map(|(_, rights)| rights);
                    return Err(format!("handle {number} of process {identifier} is {found:x?}, not {wanted:x?}"));
                }
            }
        }
        Ok(())
    }
}

fn listed(reasons: &[Disagreement]) -> String {
    reasons.iter().map(|reason| format!("  not permitted: {reason}\n")).collect()
}

/// Which object of the kernel's is which of the specification's.
#[derive(Default)]
struct Objects {
    by_address: BTreeMap<usize, Id>,
    by_name: BTreeMap<Id, usize>,
}

impl Objects {
    fn is(&mut self, object: &AnyRef, id: Id, state: &State) -> bool {
        use graft_spec::Object as Model;
        fn address<T: Object>(object: &AnyRef) -> Option<usize> {
            object.as_kind::<T>().map(|object| std::ptr::from_ref::<T>(object).addr())
        }
        let address = match state.objects[&id] {
            Model::Process(_) => address::<Process>(object),
            Model::Thread(_) => address::<Thread>(object),
            Model::Endpoint(_) => address::<Endpoint>(object),
            Model::Connection(_) => address::<Connection>(object),
            Model::Reply(_) => address::<Reply>(object),
            Model::Notification(_) => address::<Notification>(object),
            Model::Memory(_) => address::<MemoryObject>(object),
            Model::Snapshot(_) => address::<Snapshot>(object),
        };
        let Some(address) = address else { return false };
        *self.by_address.entry(address).or_insert(id) == id && *self.by_name.entry(id).or_insert(address) == address
    }
}

impl Drop for Conductor {
    /// Ends everything that the history has left.
    fn drop(&mut self) {
        let context = Context::new_user(0, 0, [0, 0]);
        let nobody = Thread::new(self.root.clone(), Scheduling::FIRST, &context, |_| {}).expect("there is memory");
        let start = Instant::now();
        loop {
            let all = self.processes();
            let lives = |process: &&Ref<Process>| process.info().state != ProcessState::Ended as u32;
            if !all.iter().any(|process| lives(&process)) {
                return;
            }
            for process in &all {
                process.terminate(ExitStatus::Killed(0), &nobody);
            }
            (0..CORES).for_each(interrupts::wake);
            drop(all);
            assert!(start.elapsed() < PATIENCE, "a process does not end");
            thread::yield_now();
        }
    }
}

/// Runs a history; how far it went, and what was wrong.
fn run(machine: &Machine, steps: &[u64], patience: Duration) -> Result<usize, String> {
    let mut conductor = Conductor::new(machine, patience);
    let result = steps.iter().enumerate().find_map(|(number, &step)| match conductor.step(step) {
        Ok(true) => None,
        Ok(false) => Some(Ok(number)),
        Err(what) => Some(Err(format!("{}\n{what}", conductor.log.join("\n")))),
    });
    result.unwrap_or(Ok(steps.len()))
}

/// A short part of a history that fails, too.
fn shrink(machine: &Machine, mut steps: Vec<u64>, mut what: String) -> (Vec<u64>, String) {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..steps.len().min(at + size));
            match run(machine, &fewer, SHORT_PATIENCE) {
                Ok(_) => at += size,
                Err(other) => (steps, what) = (fewer, other),
            }
        }
        size /= 2;
    }
    (steps, what)
}

fn steps(seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    (0..STEPS).map(|_| random.number()).collect()
}

#[test]
fn every_call_does_what_the_specification_permits() {
    let number = |name: &str, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (histories, first) = (number("GRAFT_HISTORIES", HISTORIES), number("GRAFT_SEED", 1_u64));
    let machine = Machine::take();
    let mut calls = 0;
    for seed in first..first + histories {
        match run(&machine, &steps(seed), PATIENCE) {
            Ok(number) => calls += number,
            Err(what) => {
                println!("seed {seed}:\n{what}");
                let (steps, what) = shrink(&machine, steps(seed), what);
                panic!("again: GRAFT_HISTORIES=1 GRAFT_SEED={seed}; cut to {} steps:\n{what}", steps.len());
            }
        }
    }
    println!("{histories} histories, {calls} calls");
}
