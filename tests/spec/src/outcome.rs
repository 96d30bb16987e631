//! What a call may lead to, and whether what was seen is that.
//!
//! A call's function is written as if the kernel had one way to go. Where it has several it
//! [chooses](Step::choose), and is run again until it has chosen everything.

use crate::request::{Deadline, Registers, Request};
use crate::state::{Binding, Entry, Id, Kind, Page, Process, State, Thread};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use graft_abi::{Error, MAP_BASE, PAGE_SIZE, USER_END};

/// Most handles that a process can be expected to hold.
const HANDLES: u32 = 200;

/// What a register, or a word of the thread's buffer, holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This register has this value.
    X(usize, u64),
    /// This register has the number of a new handle.
    Handle(usize, Entry),
    /// This register has a new process's identifier.
    Identifier(usize, Id),
    /// `x0` has an address where there was room for these pages.
    Place(u64, Vec<(u64, Page)>),
    /// `x0` is no error.
    Success,
    /// This word of the buffer has this value.
    Data(usize, u64),
}

/// A thread that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The thread.
    pub thread: Id,
    /// What it finds.
    pub expects: Vec<Expect>,
}

/// What a call may lead to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The state after it, but for the numbers that the kernel chooses.
    pub after: State,
    /// Who goes on. No other thread does.
    pub returns: Vec<Return>,
}

/// Why what was seen is not an outcome.
#[derive(Clone, Debug)]
pub enum Disagreement {
    /// This thread has not gone on, or not yet.
    Missing(Id),
    /// Something is not as it must be, or not yet; for a person.
    Late(String),
    /// Something else, for good; for a person.
    Wrong(String),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::Missing(thread) => write!(f, "thread {thread} does not go on"),
            Disagreement::Late(what) | Disagreement::Wrong(what) => f.write_str(what),
        }
    }
}

/// What was seen: threads that went on, and their registers.
pub type Seen = BTreeMap<Id, Registers>;

/// What follows for the calling thread.
pub(crate) enum Next {
    /// It goes on.
    Goes(Vec<Expect>),
    /// It waits, or has ended.
    Stays,
}

pub(crate) type Answer = Result<Next, Error>;

/// It goes on with `x0`.
pub(crate) fn x0(value: u64) -> Answer {
    Ok(Next::Goes(vec![Expect::X(0, value)]))
}

/// What is left to choose.
#[derive(Default)]
struct Script {
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Script {
    /// To the next choices; `false` after the last ones.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.choices.pop() {
            if chosen + 1 < of {
                self.choices.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// A call that is being carried out.
pub(crate) struct Step {
    pub(crate) state: State,
    pub(crate) returns: Vec<Return>,
    /// Bindings of what has happened.
    pub(crate) fires: Vec<Binding>,
    /// Processes that end of a fault with which their supervisor has not helped.
    pub(crate) dying: Vec<Id>,
    /// A thread whose deadline comes next.
    pub(crate) expires: Option<Id>,
    script: Script,
}

impl Step {
    /// One of so many ways.
    pub(crate) fn choose(&mut self, of: usize) -> usize {
        if of < 2 {
            return 0;
        }
        let Script { choices, at } = &mut self.script;
        if choices.len() == *at {
            choices.push((0, of));
        }
        *at += 1;
        choices[*at - 1].0
    }

    /// A thread goes on, unless it has ended with its process meanwhile.
    pub(crate) fn goes_on(&mut self, thread: Id, expects: Vec<Expect>) {
        if self.lives(thread) {
            self.returns.push(Return { thread, expects });
        }
    }

    pub(crate) fn lives(&self, thread: Id) -> bool {
        self.state.get::<Thread>(thread).is_alive()
    }

    pub(crate) fn process_of(&self, thread: Id) -> Id {
        self.state.get::<Thread>(thread).process
    }

    /// Whether a call that would have to wait may, or [`Error::TimedOut`].
    pub(crate) fn may_wait(&mut self, thread: Id, deadline: Deadline) -> Result<(), Error> {
        match deadline {
            Deadline::Never => Ok(()),
            Deadline::Past => Err(Error::TimedOut),
            // It may have come before the kernel looks.
            Deadline::Soon if self.choose(2) == 1 => Err(Error::TimedOut),
            Deadline::Soon => {
                self.expires = Some(thread);
                Ok(())
            }
        }
    }
}

/// Everything that a call may lead to.
pub fn permitted(state: &State, thread: Id, request: &Request) -> Vec<Outcome> {
    let (mut outcomes, mut script) = (Vec::new(), Script::default());
    loop {
        let mut step = Step {
            state: state.clone(),
            returns: Vec::new(),
            fires: Vec::new(),
            dying: Vec::new(),
            expires: None,
            script,
        };
        match step.carry_out(thread, request) {
            Ok(Next::Goes(expects)) => step.goes_on(thread, expects),
            Ok(Next::Stays) => {}
            Err(error) => step.goes_on(thread, vec![Expect::X(0, error.to_register())]),
        }
        // One that a call of its own has ended waits for nothing.
        if !step.lives(thread) {
            step.unblock(thread);
        }
        step.settle();
        outcomes.push(Outcome { after: step.state, returns: step.returns });
        script = step.script;
        if !script.advance() {
            return outcomes;
        }
    }
}

impl Outcome {
    /// The state after this, if what was seen agrees with it; what does not, otherwise.
    ///
    /// # Errors
    /// The first disagreement.
    pub fn agrees(&self, seen: &Seen) -> Result<State, Disagreement> {
        let mut after = self.after.clone();
        let returns = |thread| self.returns.iter().any(|other| other.thread == thread);
        if let Some((thread, registers)) = seen.iter().find(|(thread, _)| !returns(**thread)) {
            return Err(Disagreement::Wrong(format!("thread {thread} goes on with {:x?}", registers.x)));
        }
        for Return { thread, expects } in &self.returns {
            let registers = seen.get(thread).ok_or(Disagreement::Missing(*thread))?;
            let process = after.get::<Thread>(*thread).process;
            for expect in expects {
                settle_one(&mut after, process, expect, registers).map_err(|what| {
                    Disagreement::Wrong(format!("thread {thread}: {what}, where {expect:x?} was expected"))
                })?;
            }
        }
        Ok(after)
    }
}

fn settle_one(state: &mut State, process: Id, expect: &Expect, seen: &Registers) -> Result<(), String> {
    let is = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    match *expect {
        Expect::X(register, value) => is(seen.x[register] == value, format!("x{register} is {:#x}", seen.x[register])),
        Expect::Data(word, value) => is(seen.data[word] == value, format!("word {word} is {:#x}", seen.data[word])),
        Expect::Success => is((seen.x[0] as i64) >= 0, format!("x0 is {:#x}", seen.x[0])),
        Expect::Handle(register, entry) => {
            let number = seen.x[register];
            let fits = number > state.machine.reserved.into() && number <= HANDLES.into();
            let handles = &mut state.get_mut::<Process>(process).handles;
            is(fits && !handles.contains_key(&(number as u32)), format!("x{register} is {number:#x}"))?;
            handles.insert(number as u32, entry);
            Ok(())
        }
        Expect::Identifier(register, new) => {
            let number = seen.x[register];
            let fits = match state.get::<Process>(new).identifier {
                0 => state.all::<Process>().all(|(_, other)| other.identifier < number),
                known => known == number,
            };
            is(fits, format!("x{register} is {number}"))?;
            state.get_mut::<Process>(new).identifier = number;
            Ok(())
        }
        Expect::Place(bytes, ref pages) => {
            let (start, page) = (seen.x[0], PAGE_SIZE as u64);
            let end = start.saturating_add(bytes);
            let mapped = &mut state.get_mut::<Process>(process).pages;
            let fits = start.is_multiple_of(page) && start >= MAP_BASE as u64 && end <= USER_END as u64;
            is(fits && mapped.range(start..end).next().is_none(), format!("x0 is {start:#x}"))?;
            mapped.extend(pages.iter().map(|&(offset, content)| (start + offset, content)));
            Ok(())
        }
    }
}

impl State {
    pub(crate) fn is<T: Kind>(&self, id: Id) -> bool {
        self.objects.get(&id).is_some_and(|object| T::of(object).is_some())
    }
}
