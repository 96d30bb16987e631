//! Every order of the events of a test: which final states there are.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use graft_paging::{Reach, VirtAddr, VirtRange};

use super::program::{Everywhere, Operand, Operation, Test, Wanted};
use super::state::{Core, Outcome, State, Waiting};
use super::{FAULT, Planted, put};
use crate::machine::Shared;

impl Test {
    /// Whether the final state that the test asks about can be reached.
    pub(super) fn is_possible(&self) -> bool {
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
    pub(super) fn recall(&self, state: &State) {
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
