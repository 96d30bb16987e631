//! What one load, store or walk can find.

use graft_paging::Level;

use super::program::Test;
use super::state::{Answer, Outcome, State, Waiting};
use super::{Place, Planted, Time};

impl Test {
    /// How walks can end at this moment.
    pub(super) fn answers(&self) -> Vec<Vec<Vec<Answer>>> {
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

    /// The values that a load of a place can read if it is satisfied between two moments.
    pub(super) fn values(
        &self,
        state: &State,
        number: usize,
        place: Place,
        (from, to): (Time, Time),
        view: Time,
    ) -> Vec<Outcome> {
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
    pub(super) fn access(
        &self,
        state: &State,
        number: usize,
        address: u64,
        view: Time,
        is_store: bool,
    ) -> Vec<Outcome> {
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
}
