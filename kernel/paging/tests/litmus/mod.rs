//! The published litmus tests of Arm's relaxed virtual memory, run on the model's MMU: does it allow what the
//! architecture allows, and nothing that the architecture forbids?
//!
//! The TLBs are the model's ([`Machine`]), which keep everything they ever saw until an invalidation that reaches it.
//! The cores around them are as weak as the tests need:
//!
//! - a store waits in a buffer, which stores to different places leave in any order unless a barrier lies between them;
//!   an invalidation waits there, too, and only `dsb` waits for its end;
//! - a load may be satisfied at any moment since the last barrier before it;
//! - a walk may also read stores that wait in its own core's buffer;
//! - an address may have been translated, or found untranslatable, at any moment since the last context synchronisation
//!   (`isb`, exception, `eret`) that the architecture orders it after. What such a walk found stays valid for that
//!   access even if another core's invalidation ends meanwhile, but then the access itself came before the
//!   invalidation.
//!
//! Time counts the events that other cores can see: a store that leaves a buffer, an invalidation. Every order of them
//! is tried.
//!
//! A thread's operations, as `published.txt` writes them:
//!
//! ```text
//! W x 1      store to what x is mapped to (a number or a register); @r0: the address depends on r0
//! R r0 x     load; F is what a fault leaves in the register
//! P x a      store a descriptor of page a into x's slot at level 3; `-` stands for 0, `=` for another invalid one
//! L x        store the descriptor of x's level-3 table into its slot at level 2; `L x -` removes it
//! RP r0 x    load x's descriptor of level 3
//! tlbi x, tlbiis x, tlbiasidis 1      for x on this core or all, or for an ASID on all (programs run under ASID 1)
//! dsb, isb, dmb, dmbst, svc, eret, and `ctrl r0` for a branch that depends on r0
//! ```

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use graft_paging::{AArch64, Entry, Format, Frame, Kind, Level, Memory, Page, Permissions, Purpose, Reach, Table};
use graft_paging::{VirtAddr, VirtRange};

use crate::machine::{Cached, Machine, Shared};

const PUBLISHED: &str = include_str!("published.txt");

/// Stores a descriptor into a table that only this test has.
#[expect(unsafe_code, reason = "frames of the model")]
fn put(memory: &impl Memory, table: Frame, index: usize, raw: u64) {
    // SAFETY: no tree has these tables, and nothing is counted in them.
    unsafe { memory.store(table, index, raw) };
}

/// The value that a fault leaves in a register.
const FAULT: u64 = u64::MAX;
/// An invalid descriptor that is not 0.
const OTHER_INVALID: u64 = 2;
/// The address space identifier that all threads run under.
const ASID: u16 = 1;

type Time = usize;
/// A place in memory, by its number in [`Test::places`].
type Place = usize;

/// A machine that is wrong in one way: the tests must fail on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    /// The TLBs keep nothing.
    Forgetful,
    /// The TLBs do not hear of invalidations.
    Deaf,
    /// A context synchronisation orders nothing.
    Unsynchronised,
    /// A `dsb` does not wait.
    Hasty,
    /// Walks happen in program order.
    Prompt,
}

/// A test with its machine, and what is published about it.
struct Test {
    planted: Option<Planted>,
    name: String,
    verdict: String,
    /// Why the test is not counted, and whether it is expressed nevertheless.
    remark: Option<(String, String)>,
    threads: Vec<Thread>,
    /// What must hold at the end: alternatives for each register or place.
    wanted: Vec<(Wanted, Vec<u64>)>,
    machine: Rc<Machine<AArch64>>,
    addresses: BTreeMap<String, u64>,
    places: Vec<(Frame, usize)>,
    initial: Vec<u64>,
    is_table: Vec<bool>,
}

enum Wanted {
    Register(usize, String),
    Place(Place),
}

#[derive(Default)]
struct Thread {
    code: Vec<Operation>,
    handler: Vec<Operation>,
}

#[derive(Clone, Debug)]
enum Operand {
    Number(u64),
    Register(String),
}

#[derive(Clone, Debug)]
enum Operation {
    /// Through an address: the place, the value, and the register that the address depends on.
    Store(u64, Operand, Option<String>),
    Load(String, u64, Option<String>),
    /// Of a table's word, which is always mapped.
    StoreWord(Place, u64, Option<String>),
    LoadWord(String, Place),
    /// On this core alone or on all cores; of an address, or of all addresses under an identifier.
    Invalidate(Option<u64>, u16, Everywhere),
    WaitForAll,
    WaitForStores,
    FenceStores,
    Synchronise,
    Branch(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Everywhere {
    Yes,
    No,
}

/// What waits in a core's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Waiting {
    Store { place: Place, value: u64, view: Time },
    Fence,
    Invalidation(Option<u64>, u16, Everywhere),
}

/// One way in which a walk can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    /// At an invalid descriptor of this level.
    Nothing(usize),
    Page {
        frame: Frame,
        read: bool,
        write: bool,
    },
}

#[derive(Clone, Hash, Default)]
struct Core {
    /// Next operation, of the handler where there is one.
    next: usize,
    handler: Option<usize>,
    /// Register values, each with the earliest moment at which it can have been known.
    registers: BTreeMap<String, (u64, Time)>,
    buffer: Vec<Waiting>,
    /// Loads are satisfied after this.
    loads: Time,
    /// Walks happen after this.
    walks: Time,
    /// The end of the last `dsb`, and the latest moment on which a branch depended: a context synchronisation waits for
    /// both.
    ordered: Time,
    /// The last store to each place that was seen.
    coherent: BTreeMap<Place, Time>,
}

#[derive(Clone, Hash)]
struct State {
    cores: Vec<Core>,
    /// Every store that left a buffer, by place: its moment and its value.
    history: Vec<Vec<(Time, u64)>>,
    /// After each event, by core and address: how a walk can end.
    answers: Vec<Rc<Vec<Vec<Vec<Answer>>>>>,
    /// Which core invalidated at each event.
    invalidated_by: Vec<Option<usize>>,
    caches: Vec<Vec<(u16, Cached)>>,
}

impl State {
    fn now(&self) -> Time {
        self.answers.len() - 1
    }
}

/// How an access can end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// With the place and moment of the store that it reads, unless that is in the core's own buffer, and with the
    /// earliest moment at which the value can have been known.
    Value(u64, Option<(Place, Time)>, Time),
    Stored(Place),
    Fault(usize, Time),
}

impl Test {
    fn parse(text: &str) -> Test {
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().expect("a test has a name").splitn(4, ' ').collect();
        let remark = head.get(2).map(|kind| (kind.to_string(), head.get(3).unwrap_or(&"").to_string()));
        // x and others share a level-3 table; X has one of its own.
        let names = ["x", "y", "z", "u", "v", "w", "f", "n", "X"];
        let address = |name: &str| match names.iter().position(|known| *known == name) {
            Some(8) => 2 << 20,
            Some(number) => (number as u64) << 12,
            None => panic!("the address {name}"),
        };
        let addresses: BTreeMap<String, u64> =
            names.iter().filter(|name| text.contains(**name)).map(|name| (name.to_string(), address(name))).collect();
        let machine = Rc::new(Machine::new(12, addresses.values().copied().collect()));
        let memory = Shared(machine.clone());
        let allocate = |purpose| {
            let frame = memory.allocate(purpose).expect("a new machine has memory");
            // SAFETY: fresh from the allocator.
            #[expect(unsafe_code, reason = "frames of the model")]
            unsafe {
                memory.zero(frame);
            }
            frame
        };
        let tables: [Frame; 5] = std::array::from_fn(|_| allocate(Purpose::Table));
        let pages: BTreeMap<&str, Frame> = ["a", "b", "c"].map(|page| (page, allocate(Purpose::Page))).into();
        let link = |frame| AArch64::encode(Entry::Table(Table { frame, read_only: false }), Level::ROOT);
        put(&memory, tables[0], 0, link(tables[1]));
        put(&memory, tables[1], 0, link(tables[2]));
        put(&memory, tables[2], 0, link(tables[3]));
        put(&memory, tables[2], 1, link(tables[4]));

        let mut test = Test {
            planted: None,
            name: head[0].into(),
            verdict: head[1].into(),
            remark,
            threads: Vec::new(),
            wanted: Vec::new(),
            machine: machine.clone(),
            places: Vec::new(),
            initial: Vec::new(),
            is_table: Vec::new(),
            addresses,
        };
        for frame in pages.values() {
            test.places.push((*frame, 0));
        }
        for name in names {
            let at = VirtAddr::new(address(name)).expect("a lower address");
            let table = tables[3 + usize::from(name == "X")];
            test.places.push((table, Level::LAST.index(at)));
        }
        test.places.push((tables[2], 1));
        test.places.push((tables[2], 0));
        test.is_table = (0..test.places.len()).map(|place| place >= pages.len()).collect();
        let slot = |name: &str| pages.len() + names.iter().position(|known| *known == name).expect("an address");
        let above = |name: &str| pages.len() + names.len() + usize::from(name != "X");
        let descriptor = |text: &str| match text {
            "-" | "-2" => 0,
            "=" => OTHER_INVALID,
            _ => {
                let (page, writable) = text.strip_suffix(":ro").map_or((text, true), |page| (page, false));
                let page =
                    Page { frame: pages[page], permissions: Permissions::ReadWrite, kind: Kind::Private, writable };
                AArch64::encode(Entry::Page(page), Level::LAST)
            }
        };
        let value = |text: &str| match text {
            "F" => FAULT,
            _ => text.parse().unwrap_or_else(|_| descriptor(text)),
        };

        for line in lines {
            let (what, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match what {
                "init" => {
                    for (name, text) in rest.split(' ').filter_map(|word| word.split_once('=')) {
                        match pages.get(name) {
                            Some(frame) => memory.word(*frame, 0).set(value(text)),
                            None => {
                                let (table, index) = test.places[slot(name)];
                                put(&memory, table, index, descriptor(text));
                                if text == "-2" {
                                    let (table, index) = test.places[above(name)];
                                    put(&memory, table, index, 0);
                                }
                            }
                        }
                    }
                }
                "final" => {
                    for (name, text) in rest.split(' ').filter_map(|word| word.split_once('=')) {
                        let wanted = match name.split_once(':') {
                            Some((thread, register)) => {
                                Wanted::Register(thread.parse().expect("a thread"), register.into())
                            }
                            None => Wanted::Place(
                                pages.keys().position(|page| *page == name.trim_start_matches('*')).expect("a page"),
                            ),
                        };
                        test.wanted.push((wanted, text.split('|').map(value).collect()));
                    }
                }
                thread => {
                    let thread: usize = thread.parse().expect("a thread's number");
                    let (handler, rest) = rest.strip_prefix("fault ").map_or((false, rest), |rest| (true, rest));
                    let operations = rest.split(" ; ").map(|text| {
                        let mut words: Vec<&str> = text.split(' ').collect();
                        let dependency = words.last().and_then(|word| word.strip_prefix('@')).map(str::to_owned);
                        if dependency.is_some() {
                            words.pop();
                        }
                        let number = |text: &str| match text.starts_with('r') {
                            true => Operand::Register(text.into()),
                            false => Operand::Number(value(text)),
                        };
                        match words[..] {
                            ["W", x, what] => Operation::Store(address(x), number(what), dependency),
                            ["R", register, x] => Operation::Load(register.into(), address(x), dependency),
                            ["P", x, what] => Operation::StoreWord(slot(x), descriptor(what), dependency),
                            ["L", x] => Operation::StoreWord(above(x), link(tables[4]), None),
                            ["L", x, "-"] => Operation::StoreWord(above(x), 0, None),
                            ["RP", register, x] => Operation::LoadWord(register.into(), slot(x)),
                            ["tlbi", x] => Operation::Invalidate(Some(address(x)), ASID, Everywhere::No),
                            ["tlbiis", x] => Operation::Invalidate(Some(address(x)), ASID, Everywhere::Yes),
                            ["tlbiasidis", asid] => {
                                Operation::Invalidate(None, asid.parse().expect("a number"), Everywhere::Yes)
                            }
                            ["dsb"] => Operation::WaitForAll,
                            ["dmb"] => Operation::WaitForStores,
                            ["dmbst"] => Operation::FenceStores,
                            ["isb" | "eret" | "svc"] => Operation::Synchronise,
                            ["ctrl", register] => Operation::Branch(register.into()),
                            _ => panic!("{}: the operation {text}", test.name),
                        }
                    });
                    let operations = operations.collect();
                    test.threads.resize_with(test.threads.len().max(thread + 1), Thread::default);
                    match handler {
                        true => test.threads[thread].handler = operations,
                        false => test.threads[thread].code = operations,
                    }
                }
            }
        }
        test.initial = test.places.iter().map(|(frame, index)| machine.word(*frame, *index).get()).collect();
        // Cores run from here on: the stores above are the initial state, not events.
        (0..test.threads.len()).for_each(|core| machine.activate(core, Some((ASID, tables[0]))));
        test
    }

    /// Whether the final state that the test asks about can be reached.
    fn is_possible(&self) -> bool {
        let begin = State {
            cores: vec![Core::default(); self.threads.len()],
            history: self.initial.iter().map(|value| vec![(0, *value)]).collect(),
            answers: vec![Rc::new(self.answers())],
            invalidated_by: vec![None],
            caches: self.machine.caches(),
        };
        let mut known = HashSet::new();
        let mut open = vec![begin];
        while let Some(mut state) = open.pop() {
            (0..state.cores.len()).for_each(|core| while self.go_on(&mut state, core) {});
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            if !known.insert(hasher.finish()) {
                continue;
            }
            let before = open.len();
            for core in 0..state.cores.len() {
                self.accesses(&state, core, &mut open);
                self.events(&state, core, &mut open);
            }
            if open.len() == before && self.holds(&state) {
                return true;
            }
        }
        false
    }

    fn holds(&self, state: &State) -> bool {
        let mut ended = state.cores.iter().zip(&self.threads).map(|(core, thread)| core.next == thread.code.len());
        ended.all(|ended| ended)
            && self.wanted.iter().all(|(wanted, values)| match wanted {
                Wanted::Register(thread, register) => {
                    state.cores[*thread].registers.get(register).is_some_and(|(value, _)| values.contains(value))
                }
                Wanted::Place(place) => state.history[*place].last().is_some_and(|(_, value)| values.contains(value)),
            })
    }

    /// How walks can end at this moment.
    fn answers(&self) -> Vec<Vec<Vec<Answer>>> {
        let on = |core: usize| {
            let of = |address: &u64| {
                let pages = self.machine.answers(core, *address).into_iter().flatten();
                let pages = pages.map(|(frame, rights)| Answer::Page { frame, read: rights.read, write: rights.write });
                let ends = self.machine.dead_ends(core, *address).into_iter().map(Answer::Nothing);
                pages.chain(ends).collect()
            };
            self.addresses.values().map(of).collect()
        };
        (0..self.threads.len()).map(on).collect()
    }

    fn operation(&self, core: &Core, thread: usize) -> Option<&Operation> {
        match core.handler {
            Some(next) => self.threads[thread].handler.get(next),
            None => self.threads[thread].code.get(core.next),
        }
    }

    /// A context synchronisation: later walks and loads come after what a barrier or a branch has ordered before it.
    fn synchronise(&self, core: &mut Core) {
        if self.planted != Some(Planted::Unsynchronised) {
            core.walks = core.walks.max(core.ordered);
            core.loads = core.loads.max(core.walks);
        }
    }

    /// Carries out operations that no other core can observe and that can happen at once; `false` if there are none
    /// left.
    fn go_on(&self, state: &mut State, number: usize) -> bool {
        let now = state.now();
        let core = &mut state.cores[number];
        let view = |core: &Core, register: &Option<String>| {
            register.as_ref().map_or(0, |register| core.registers.get(register).map_or(0, |(_, view)| *view))
        };
        match self.operation(core, number) {
            None if core.handler.is_some() => {
                core.handler = None;
                self.synchronise(core);
                return true;
            }
            Some(Operation::StoreWord(place, value, dependency)) => {
                let view = view(core, dependency);
                core.buffer.push(Waiting::Store { place: *place, value: *value, view });
            }
            Some(Operation::Invalidate(address, asid, everywhere)) => {
                core.buffer.push(Waiting::Invalidation(*address, *asid, *everywhere));
            }
            Some(Operation::WaitForAll) if self.planted == Some(Planted::Hasty) => {}
            Some(Operation::WaitForAll) if core.buffer.iter().all(|waiting| *waiting == Waiting::Fence) => {
                core.buffer.clear();
                (core.loads, core.ordered) = (now, now);
            }
            Some(Operation::WaitForStores)
                if !core.buffer.iter().any(|waiting| matches!(waiting, Waiting::Store { .. })) =>
            {
                core.loads = now;
            }
            Some(Operation::FenceStores) => core.buffer.push(Waiting::Fence),
            Some(Operation::Synchronise) => self.synchronise(core),
            Some(Operation::Branch(register)) => {
                core.ordered = core.ordered.max(view(core, &Some(register.clone())));
            }
            _ => return false,
        }
        advance(core);
        true
    }

    /// The possible results of a thread's next load or store.
    fn accesses(&self, state: &State, number: usize, open: &mut Vec<State>) {
        let core = &state.cores[number];
        let depends = |register: &Option<String>| {
            register.as_ref().map_or(0, |register| core.registers.get(register).map_or(0, |(_, view)| *view))
        };
        let Some(operation) = self.operation(core, number) else { return };
        let outcomes = match operation {
            Operation::LoadWord(_, place) => self.values(state, number, *place, (core.loads, state.now()), 0),
            Operation::Load(_, address, dependency) | Operation::Store(address, _, dependency) => {
                let is_store = matches!(operation, Operation::Store(..));
                self.access(state, number, *address, depends(dependency), is_store)
            }
            _ => return,
        };
        for outcome in outcomes {
            let mut next = state.clone();
            let core = &mut next.cores[number];
            match (outcome, operation) {
                (
                    Outcome::Value(value, seen, view),
                    Operation::Load(register, ..) | Operation::LoadWord(register, _),
                ) => {
                    core.registers.insert(register.clone(), (value, view));
                    if let Some((place, at)) = seen {
                        core.coherent.insert(place, at);
                    }
                    advance(core);
                }
                (Outcome::Stored(place), Operation::Store(_, what, dependency)) => {
                    let (value, data) = match what {
                        Operand::Number(value) => (*value, 0),
                        Operand::Register(register) => core.registers.get(register).copied().unwrap_or_default(),
                    };
                    let view = depends(dependency).max(data);
                    core.buffer.push(Waiting::Store { place, value, view });
                    advance(core);
                }
                (Outcome::Fault(level, at), _) => {
                    if let Operation::Load(register, ..) = operation {
                        core.registers.insert(register.clone(), (FAULT, at));
                    }
                    core.registers.insert("fault".into(), (1, at));
                    core.registers.insert("level".into(), (level as u64, at));
                    advance(core);
                    core.ordered = core.ordered.max(at);
                    self.synchronise(core);
                    core.handler = Some(0);
                }
                other => unreachable!("{other:?}"),
            }
            if self.may_hold(&next.cores[number], number) {
                open.push(next);
            }
        }
    }

    /// Whether the final state is still possible, by the registers of a thread: no test writes a register twice.
    fn may_hold(&self, core: &Core, number: usize) -> bool {
        self.wanted.iter().all(|(wanted, values)| match wanted {
            Wanted::Register(thread, register) if *thread == number => {
                core.registers.get(register).is_none_or(|(value, _)| values.contains(value))
            }
            _ => true,
        })
    }

    /// The values that a load of a place can read if it is satisfied between two moments.
    fn values(&self, state: &State, number: usize, place: Place, (from, to): (Time, Time), view: Time) -> Vec<Outcome> {
        let core = &state.cores[number];
        let own = core.buffer.iter().rev().find_map(|waiting| match waiting {
            Waiting::Store { place: stored, value, view } if *stored == place => Some((*value, *view)),
            _ => None,
        });
        if let Some((value, known)) = own {
            return vec![Outcome::Value(value, None, known.max(view))];
        }
        let history = &state.history[place];
        let mut outcomes = Vec::new();
        for (number, &(at, value)) in history.iter().enumerate() {
            let overwritten = history.get(number + 1).map_or(Time::MAX, |(next, _)| *next);
            if at <= to && overwritten > from && at >= core.coherent.get(&place).copied().unwrap_or(0) {
                outcomes.push(Outcome::Value(value, Some((place, at)), at.max(view)));
            }
        }
        outcomes
    }

    /// The possible results of an access through an address.
    fn access(&self, state: &State, number: usize, address: u64, view: Time, is_store: bool) -> Vec<Outcome> {
        let core = &state.cores[number];
        let index = self.addresses.values().position(|known| *known == address).expect("an address of the test");
        let now = state.now();
        let answers = |at: Time| &state.answers[at][number][index];
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut add = |outcome: Outcome| {
            if !outcomes.contains(&outcome) {
                outcomes.push(outcome);
            }
        };
        let earliest = if self.planted == Some(Planted::Prompt) { now } else { core.walks.max(view) };
        for at in earliest..=now {
            for answer in answers(at) {
                match *answer {
                    Answer::Nothing(level) => add(Outcome::Fault(level, at)),
                    Answer::Page { read, write, .. } if !(if is_store { write } else { read }) => {
                        add(Outcome::Fault(Level::LAST.number(), at));
                    }
                    Answer::Page { frame, .. } => {
                        let place = self.places.iter().position(|place| *place == (frame, 0)).expect("a page");
                        let mut last = at;
                        while last < now && answers(last + 1).contains(answer) {
                            last += 1;
                        }
                        if is_store {
                            if last == now {
                                add(Outcome::Stored(place));
                            }
                            continue;
                        }
                        // Another core's invalidation waits for accesses that are under way.
                        let by_another = last < now && state.invalidated_by[last + 1] != Some(number);
                        let span = if by_another { (at, last) } else { (core.loads.max(at), now) };
                        self.values(state, number, place, span, at.max(view)).into_iter().for_each(&mut add);
                    }
                }
            }
        }
        // A walk may read a store that waits in its own core's buffer, and then it waits for what that store waits for.
        let stores = core.buffer.iter().filter_map(|waiting| match *waiting {
            Waiting::Store { place, value, view } if self.is_table[place] => Some((place, value, view)),
            _ => None,
        });
        let (mut at, mut forwards) = (core.walks.max(view), false);
        self.recall(state);
        for (place, value, view) in stores {
            let (table, index) = self.places[place];
            self.machine.word(table, index).set(value);
            (at, forwards) = (at.max(view), true);
        }
        if forwards {
            for (frame, rights) in self.machine.answers(number, address).into_iter().flatten() {
                let place = self.places.iter().position(|place| *place == (frame, 0)).expect("a page");
                if is_store && rights.write {
                    add(Outcome::Stored(place));
                } else if !is_store && rights.read {
                    self.values(state, number, place, (core.loads.max(at), now), at).into_iter().for_each(&mut add);
                }
            }
        }
        outcomes
    }

    /// Lets a store or an invalidation leave a core's buffer.
    fn events(&self, state: &State, number: usize, open: &mut Vec<State>) {
        for (position, waiting) in state.cores[number].buffer.iter().enumerate() {
            let before = &state.cores[number].buffer[..position];
            let mut next = state.clone();
            self.recall(state);
            match *waiting {
                Waiting::Fence => continue,
                Waiting::Store { place, value, .. } => {
                    let waits = |earlier: &Waiting| match earlier {
                        Waiting::Fence => before.iter().any(|earlier| matches!(earlier, Waiting::Store { .. })),
                        Waiting::Store { place: other, .. } => *other == place,
                        Waiting::Invalidation(..) => false,
                    };
                    if before.iter().any(waits) {
                        continue;
                    }
                    if self.is_table[place] {
                        let (table, index) = self.places[place];
                        put(&Shared(self.machine.clone()), table, index, value);
                    }
                    let at = state.now() + 1;
                    next.history[place].push((at, value));
                    next.cores[number].coherent.insert(place, at);
                    next.invalidated_by.push(None);
                }
                Waiting::Invalidation(address, asid, everywhere) => {
                    let page = |address| VirtRange::page(VirtAddr::new(address).expect("a lower address"));
                    let range = address.map_or(VirtRange::ALL, page);
                    if self.planted != Some(Planted::Deaf) {
                        self.machine.forget(
                            (everywhere == Everywhere::No).then_some(number),
                            asid,
                            range,
                            Reach::Tables,
                        );
                    }
                    next.invalidated_by.push(Some(number));
                }
            }
            next.cores[number].buffer.remove(position);
            if self.planted == Some(Planted::Forgetful) {
                self.machine.set_caches(vec![Vec::new(); self.threads.len()]);
            }
            next.answers.push(Rc::new(self.answers()));
            next.caches = self.machine.caches();
            open.push(next);
        }
    }

    /// Puts the machine into the state's condition.
    fn recall(&self, state: &State) {
        for (place, (table, index)) in self.places.iter().enumerate() {
            if self.is_table[place] {
                let (_, value) = state.history[place].last().expect("every place has a value");
                self.machine.word(*table, *index).set(*value);
            }
        }
        self.machine.set_caches(state.caches.clone());
    }
}

fn advance(core: &mut Core) {
    match &mut core.handler {
        Some(next) => *next += 1,
        None => core.next += 1,
    }
}

fn published() -> Vec<Test> {
    let mut texts: Vec<String> = Vec::new();
    for line in PUBLISHED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(' ') {
            let last = texts.last_mut().expect("a test begins with its name");
            last.push('\n');
            last.push_str(line);
        } else {
            texts.push(line.into());
        }
    }
    texts.iter().map(|text| Test::parse(text)).collect()
}

/// Whether the verdict of a test on the machine, possibly a wrong one, agrees with the published one.
fn agrees(mut test: Test, planted: Option<Planted>) -> Result<(), String> {
    test.planted = planted;
    let verdict = if test.is_possible() { "allowed" } else { "forbidden" };
    if verdict == test.verdict { Ok(()) } else { Err(format!("{}: {}, here {verdict}", test.name, test.verdict)) }
}

#[test]
fn the_published_litmus_tests_have_their_verdicts() {
    let (judged, others): (Vec<Test>, Vec<Test>) = published().into_iter().partition(|test| test.remark.is_none());
    let total = judged.len();
    let wrong: Vec<String> = judged.into_iter().filter_map(|test| agrees(test, None).err()).collect();
    println!("litmus: agreement {} of {total}", total - wrong.len());
    for kind in ["disputed", "none"] {
        let remarks = others.iter().filter_map(|test| test.remark.as_ref()).filter(|(of, _)| of == kind);
        let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
        remarks.for_each(|(_, reason)| *reasons.entry(reason).or_default() += 1);
        for (reason, number) in reasons {
            println!("litmus: {number} {}: {reason}", if kind == "none" { "not expressed" } else { kind });
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_published_litmus_tests_notice_a_wrong_mmu() {
    use Planted::{Deaf, Forgetful, Hasty, Prompt, Unsynchronised};
    for planted in [Forgetful, Deaf, Unsynchronised, Hasty, Prompt] {
        let judged = published().into_iter().filter(|test| test.remark.is_none());
        let wrong = judged.filter_map(|test| agrees(test, Some(planted)).err()).count();
        println!("litmus: {planted:?}: {wrong} verdicts change");
        assert!(wrong > 0, "{planted:?}");
    }
}
