//! The threads of a history: each waits for its bell, makes the call that the conductor has put on the board, and tells
//! what it finds in its registers.

use crate::program::{DATA, Program};
use graft_abi::Call;
use graft_kernel::arch::processor::{Effect, User};
use graft_spec::{Registers, Request, Trap};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

/// Threads at a time.
pub const SLOTS: usize = 8;
/// The number of a slot, in a register that calls leave alone; and of the call that is under way.
const SLOT: usize = 19;
const NUMBER: usize = 24;
const TRAP: usize = 25;

/// What conductor and actors tell each other.
pub struct Board {
    pub slots: [Mutex<Slot>; SLOTS],
    /// The slot of the thread that makes a call, and of the one that it may make.
    pub active: AtomicU64,
    pub newcomer: AtomicU64,
}

#[derive(Default)]
pub struct Slot {
    pub request: Option<Request>,
    pub answer: Option<Registers>,
}

impl Board {
    pub fn new() -> Board {
        Board { slots: Default::default(), active: AtomicU64::new(0), newcomer: AtomicU64::new(0) }
    }

    /// Forgets what threads of an earlier history have left.
    pub fn clear(&self) {
        (0..SLOTS as u64).for_each(|slot| *self.slot(slot) = Slot::default());
    }

    pub fn slot(&self, number: u64) -> MutexGuard<'_, Slot> {
        self.slots[number as usize].lock().expect("no actor panics")
    }

    /// Has an actor's registers ask for its call.
    fn begin(&self, user: &mut User) -> Result<(), graft_kernel::arch::Failure> {
        // The instruction is run again when its store has faulted: nothing is taken before.
        let request = self.slot(user.x[SLOT]).request.expect("the conductor rings");
        user.store(DATA, request.data)?;
        user.x[..10].copy_from_slice(&request.x);
        user.x[20..24].copy_from_slice(&request.lent);
        // A call of another system may have a number of ours.
        let native = if request.trap == Trap::Foreign { u64::MAX } else { request.number };
        (user.x[8], user.x[NUMBER], user.x[TRAP]) = (request.number, native, request.trap as u64);
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
pub fn actor(board: &Arc<Board>) -> (Program, u64) {
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
