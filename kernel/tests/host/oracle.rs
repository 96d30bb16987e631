//! Random histories of calls, compared with the specification (`tests/spec`) step by step: results, words, handles,
//! badges, who goes on and who does not; the tables of handles, and the processes that there are.
//!
//! ```text
//!   conductor: the test's thread       board: a slot for each thread           actors: threads of the kernel
//!   chooses a call ──▶ request, bell ──────────────────────────────────────▶ makes it
//!   waits until all threads wait   ◀── registers of those that went on ◀──── waits for its bell
//! ```
//!
//! `GRAFT_HISTORIES` and `GRAFT_FIRST_SEED` say how many histories, and which is the first one.

mod actor;
mod audit;

use crate::machine::{CORES, Machine};
use crate::program::DATA;
use actor::{Board, SLOTS, actor};
use graft_abi::{ExitStatus, ProcessState, Rights};
use graft_kernel::arch::{Context, interrupts, timer};
use graft_kernel::object::Ref;
use graft_kernel::object::notification::{Binding, Notification};
use graft_kernel::object::process::Process;
use graft_kernel::object::thread::{Scheduling, Thread};
use graft_spec::history::{self, Random, Stage};
use graft_spec::{Deadline, Disagreement, Outcome, Registers, Request, SPECIFIED, Seen, State, Trap, permitted};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{env, thread};

const STEPS: usize = if cfg!(miri) { 10 } else { 150 };
const HISTORIES: u64 = if cfg!(miri) { 1 } else { 400 };
/// How long a wait with a deadline that comes soon takes, in nanoseconds.
const SOON: u64 = 300_000;
/// How long something may be missing before that is a verdict: only on a machine that hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for histories that are known to fail.
const SHORT_PATIENCE: Duration = Duration::from_millis(400);

/// What all histories have in common.
struct Theatre {
    machine: Machine,
    board: Arc<Board>,
    /// The program of all threads, and where further ones begin.
    file: Vec<u8>,
    entry: u64,
    stacks: Vec<u64>,
}

impl Theatre {
    fn new() -> Theatre {
        let (machine, board) = (Machine::take(), Arc::new(Board::new()));
        let (program, entry) = actor(&board);
        let file = program.file();
        program.put();
        let stacks = (1..=SLOTS as u64).map(|number| DATA + 0x8000 + number * 16).collect();
        Theatre { machine, board, file, entry, stacks }
    }
}

/// A history that is under way.
struct Conductor<'a> {
    theatre: &'a Theatre,
    board: &'a Board,
    bells: Vec<Ref<Notification>>,
    root: Ref<Process>,
    /// All states that agree with what has been seen so far.
    states: Vec<State>,
    patience: Duration,
    log: Vec<String>,
    /// Numbers of the calls that have been made and not been refused.
    granted: BTreeSet<u64>,
}

impl<'a> Conductor<'a> {
    fn new(theatre: &'a Theatre, patience: Duration) -> Conductor<'a> {
        let board = &*theatre.board;
        board.clear();
        let bells: Vec<_> = (0..SLOTS).map(|_| Notification::new().expect("there is memory")).collect();
        let handles = bells.iter().map(|bell| (bell.clone().erase(), Rights::READ));
        let root = theatre.machine.spawn_file(&theatre.file, handles);
        let cores = (1 << CORES) - 1;
        let setting = graft_spec::Machine { cores, reserved: 1 + SLOTS as u32, buffer: DATA };
        let states = vec![State::new(setting, [root.identifier(), 0], 0, theatre.stacks[0], [16, 31])];
        let (log, granted) = (Vec::new(), BTreeSet::new());
        Conductor { theatre, board, bells, root, states, patience, log, granted }
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
    fn begin(&self, slot: u64, request: &Request) {
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

    /// Makes the next call, and compares; whether a thread could make one.
    fn step(&mut self, step: u64) -> Result<bool, String> {
        let stage = Stage { entry: self.theatre.entry, stacks: &self.theatre.stacks, slots: SLOTS as u64 };
        let Some((thread, request)) = history::next(&self.states[0], &stage, step) else { return Ok(false) };
        let &graft_spec::state::Thread { process, slot, .. } = self.states[0].get(thread);
        self.log.push(format!("process {process}, thread {thread}: {request}"));
        let outcomes: Vec<_> = self.states.iter().flat_map(|state| permitted(state, thread, &request)).collect();
        self.begin(slot, &request);
        self.states = self.observe(&outcomes)?;
        let is_refused = |answer: Registers| (answer.x[0] as i64) < 0;
        if request.trap != Trap::Foreign && !self.board.slot(slot).answer.is_some_and(is_refused) {
            self.granted.insert(request.number);
        }
        self.board.slots.iter().for_each(|slot| slot.lock().expect("no actor panics").answer = None);
        Ok(true)
    }

    /// The states after the outcomes that agree with what is seen.
    fn observe(&self, outcomes: &[Outcome]) -> Result<Vec<State>, String> {
        let start = Instant::now();
        loop {
            let late = if self.is_quiet() {
                match self.compare(outcomes) {
                    Ok(states) => return Ok(states),
                    // What is wrong stays wrong; what is missing may come.
                    Err((reasons, Verdict::Final)) => return Err(reasons),
                    Err((reasons, Verdict::Early)) => reasons,
                }
            } else {
                "  threads go on and on\n".into()
            };
            if start.elapsed() > self.patience {
                return Err(late);
            }
            thread::yield_now();
        }
    }

    /// The same of this moment; what none of them permits, if none agrees.
    fn compare(&self, outcomes: &[Outcome]) -> Result<Vec<State>, (String, Verdict)> {
        let answers: Vec<_> = (0..SLOTS as u64).map(|slot| self.board.slot(slot).answer).collect();
        let (mut states, mut reasons, mut verdict) = (Vec::new(), String::new(), Verdict::Final);
        for outcome in outcomes {
            let agrees = self.seen(&answers, &outcome.after).and_then(|seen| outcome.agrees(&seen));
            // What the kernel tidies up behind a call may not be over.
            let audited = agrees.and_then(|after| match self.audit(&after) {
                Ok(()) => Ok(after),
                Err(what) => Err(Disagreement::Late(what)),
            });
            match audited {
                Ok(after) if states.contains(&after) => {}
                Ok(after) => states.push(after),
                Err(reason) => {
                    reasons += &format!("  not permitted: {reason}\n");
                    if !matches!(reason, Disagreement::Wrong(_)) {
                        verdict = Verdict::Early;
                    }
                }
            }
        }
        if states.is_empty() { Err((reasons, verdict)) } else { Ok(states) }
    }

    /// The threads that have gone on. One that this call has ended may have gone on before.
    fn seen(&self, answers: &[Option<Registers>], after: &State) -> Result<Seen, Disagreement> {
        let mut seen = Seen::new();
        for (slot, answer) in (0..).zip(answers) {
            let Some(registers) = *answer else { continue };
            match after.in_slot(slot) {
                Some(thread) => _ = seen.insert(thread, registers),
                None if self.states[0].in_slot(slot).is_some() => {}
                None => return Err(Disagreement::Wrong(format!("there is no thread in slot {slot}, and it goes on"))),
            }
        }
        Ok(seen)
    }
}

/// Whether what does not agree can still come to agree.
enum Verdict {
    Early,
    Final,
}

impl Drop for Conductor<'_> {
    /// Ends everything that the history has left.
    fn drop(&mut self) {
        let context = Context::new_user(0, 0, [0, 0]);
        let nobody = Thread::new(self.root.clone(), Scheduling::FIRST, &context, |_| {}).expect("there is memory");
        let start = Instant::now();
        loop {
            let all = self.processes();
            let has_ended = |process: &Ref<Process>| {
                let info = process.info();
                info.state == ProcessState::Ended as u32 && info.threads == 0
            };
            if all.iter().all(has_ended) {
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

/// Runs a history; the calls that were granted, and how many were made; or what was wrong.
fn run(theatre: &Theatre, steps: &[u64], patience: Duration) -> Result<(BTreeSet<u64>, usize), String> {
    let mut conductor = Conductor::new(theatre, patience);
    for &step in steps {
        match conductor.step(step) {
            Ok(true) => {}
            Ok(false) => break,
            Err(what) => return Err(format!("{}\n{what}", conductor.log.join("\n"))),
        }
    }
    Ok((std::mem::take(&mut conductor.granted), conductor.log.len()))
}

/// A short part of a history that fails, too.
fn shrink(theatre: &Theatre, mut steps: Vec<u64>, mut what: String) -> (Vec<u64>, String) {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..steps.len().min(at + size));
            match run(theatre, &fewer, SHORT_PATIENCE) {
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
    let (histories, first) = (number("GRAFT_HISTORIES", HISTORIES), number("GRAFT_FIRST_SEED", 1_u64));
    let theatre = Theatre::new();
    let (mut granted, mut calls) = (BTreeSet::new(), 0);
    for seed in first..first + histories {
        match run(&theatre, &steps(seed), PATIENCE) {
            Ok((more, made)) => {
                granted.extend(more);
                calls += made;
            }
            Err(what) => {
                println!("seed {seed}:\n{what}");
                let (steps, what) = shrink(&theatre, steps(seed), what);
                panic!("again: GRAFT_HISTORIES=1 GRAFT_FIRST_SEED={seed}; cut to {} steps:\n{what}", steps.len());
            }
        }
    }
    println!("{histories} histories, {calls} calls");
    if !cfg!(miri) && histories >= HISTORIES {
        let never: Vec<_> = SPECIFIED.iter().filter(|&&call| !granted.contains(&(call as u64))).collect();
        assert!(never.is_empty(), "made in no history, or always refused: {never:?}");
    }
}
