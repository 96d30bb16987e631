//! Servers that heal: one that faults goes back to its last snapshot, and goes on.
//!
//! ```text
//!   server                                              supervisor
//!   Keeper::granted, ready ───────────────────────────▶ where the state is, and the call that goes back
//!   receive, note_call, work, checkpoint, answer
//!   a fault ──────────────────────────────────────────▶ the snapshot and the number of the call, out of the state
//!   checkpoint returns again ◀── restore ◀───────────── registers of that call, and go on there
//!   the open call is answered: again
//! ```
//!
//! A server that takes a [`checkpoint`](Keeper::checkpoint) *before* it answers a call that has changed something makes
//! each call a transaction: a client that is told "again" may rely on nothing having been done. A fault between the
//! checkpoint and the answer is told apart by the number of the call, and then the answer stands.
//!
//! What is not memory does not go back: handles above all. What the server had got since the checkpoint is closed by
//! [`checkpoint`](Keeper::checkpoint) itself, which knows the handles that the server keeps.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use graft_abi::{Call, Error, FaultAnswer, Handle, Rights, Share};

use crate::grants;
use crate::grants::Grants;
use crate::message::{Connection, Endpoint, Message, Receiver};
use crate::process::{Process, close};
use crate::snapshot::{Snapshot, Taken, take};
use crate::store::Kept;
use crate::supervise::{Fault, Registers, answer};
use crate::sync::Mutex;

/// The first word of the message that says that a server is ready: no fault has this number.
pub const READY: u64 = u64::MAX;
/// Handles that a server may have got since its last checkpoint, at most.
const FRESH: u32 = 8;

/// What the supervisor reads when the server stands still: the handle of the snapshot, the number of the call.
static STATE: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(1)];

/// What a server goes back by.
#[derive(Debug)]
pub struct Keeper {
    /// Handles that belong to the server; the snapshot comes and goes.
    handles: Vec<Handle>,
    keeps: bool,
}

/// Which return of [`Keeper::checkpoint`] this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The checkpoint has been taken.
    Taken,
    /// After a fault. `same_call` says whether it was before the answer of the very call that took the checkpoint: then
    /// that answer stands. The open call of the server, otherwise, is to be answered with "again".
    Restored {
        /// The call is the same.
        same_call: bool,
    },
}

/// Makes the call whose number and arguments are in the registers; the supervisor sends a thread here. It returns only
/// if the kernel refuses, and then faults once more.
#[cfg(target_os = "none")]
#[unsafe(naked)]
extern "C" fn go_back() {
    core::arch::naked_asm!("svc #{immediate}", "udf #0", immediate = const graft_abi::SVC_IMMEDIATE)
}

#[cfg(not(target_os = "none"))]
extern "C" fn go_back() {}

impl Keeper {
    /// With the supervisor that the program was granted as `heal`, and these handles of its own besides the standard
    /// ones. Without that grant, checkpoints cost nothing, and a fault is the end.
    pub fn granted(handles: &[Handle]) -> Keeper {
        let mut own: Vec<Handle> = crate::process::STANDARD_HANDLES.into();
        own.extend_from_slice(handles);
        let heal = grants::handle("heal");
        own.extend(heal);
        Keeper { handles: own, keeps: heal.is_some() }
    }

    /// Says that the server is ready. From the first [`checkpoint`](Self::checkpoint) on it heals.
    ///
    /// # Errors
    /// [`Error::Gone`] without a supervisor at the other end.
    pub fn ready(&self) -> Result<(), Error> {
        let Some(handle) = grants::handle("heal") else { return Ok(()) };
        let supervisor = Connection::from_handle(handle);
        let state = STATE.as_ptr().addr() as u64;
        let answer = supervisor.call(Message::words([READY, state, go_back as *const () as u64, 0, 0, 0]));
        // It stays the program's.
        let _ = supervisor.into_handle();
        answer.map(drop)
    }

    /// Keeps the server as it is now. Returns again after each fault.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: the checkpoint before stands.
    pub fn checkpoint(&mut self, answer: Handle) -> Result<Checkpoint, Error> {
        if !self.keeps {
            return Ok(Checkpoint::Taken);
        }
        let older = STATE[0].load(Ordering::Relaxed);
        match take(Share::default())? {
            Taken::Now(snapshot) => {
                STATE[0].store(forget(snapshot).0.into(), Ordering::Relaxed);
                if older != 0 {
                    let _ = close(Handle(older as u32));
                }
                Ok(Checkpoint::Taken)
            }
            Taken::Again(snapshot, call) => {
                let snapshot = forget(snapshot);
                let same_call = STATE[1].load(Ordering::Relaxed) == call;
                STATE[0].store(snapshot.0.into(), Ordering::Relaxed);
                STATE[1].store(call, Ordering::Relaxed);
                self.close_others(&[snapshot, if same_call { answer } else { Handle::NONE }]);
                Ok(Checkpoint::Restored { same_call })
            }
            // No process is made of this snapshot.
            Taken::Child => Err(Error::NotAllowed),
        }
    }

    /// Closes what came after the checkpoint. Handles are numbers that are given out from below.
    fn close_others(&self, kept: &[Handle]) {
        let own = || self.handles.iter().chain(kept).copied();
        let last = own().map(|handle| handle.0).max().unwrap_or(0) + FRESH;
        for handle in (1..=last).map(Handle) {
            if !own().any(|own| own == handle) {
                let _ = close(handle);
            }
        }
    }
}

/// Counts a call that the server begins to work on.
pub fn note_call() {
    STATE[1].store(STATE[1].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The handle of a snapshot that is not closed here.
fn forget(snapshot: Snapshot) -> Handle {
    core::mem::ManuallyDrop::new(snapshot).handle()
}

/// What a server's [`ready`](Keeper::ready) has told: how to send it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    state: usize,
    go_back: u64,
}

impl Way {
    /// Out of the message that says so.
    pub fn of(message: &Message) -> Option<Way> {
        let [READY, state, go_back, ..] = message.words else { return None };
        Some(Way { state: usize::try_from(state).ok()?, go_back })
    }

    /// Sends the thread whose fault this receiver keeps back to the last checkpoint. The result is what the fault is to
    /// be answered with.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no checkpoint, or what faulted was the way back itself.
    pub fn back(&self, process: &Process, receiver: &Receiver) -> Result<Message, Error> {
        let mut bytes = [0; 16];
        process.read_memory(self.state, &mut bytes)?;
        let word = |index: usize| u64::from_le_bytes(bytes[index..index + 8].try_into().unwrap_or_default());
        let (snapshot, call) = (word(0), word(8));
        let Registers(mut words) = receiver.registers()?;
        if snapshot == 0 || words[Registers::PC] == self.go_back + 4 {
            return Err(Error::NotFound);
        }
        words[..3].copy_from_slice(&[Handle::SELF.0.into(), snapshot, call.max(1)]);
        words[8] = Call::Restore as u64;
        receiver.set_registers(&Registers(words))?;
        Ok(answer(FaultAnswer::GoOnAt, self.go_back))
    }
}

/// A server and its supervisor.
#[derive(Debug)]
pub struct Guarded {
    /// Where clients' calls arrive: it outlives the server, so that connections do.
    serve: Endpoint,
    /// For what the server says, by a connection of its own each time it is started, and for its faults.
    endpoint: Endpoint,
    faults: Connection,
    receiver: Receiver,
    /// What outlives it beside.
    kept: Option<Kept>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    process: Process,
    way: Option<Way>,
    /// How often it has been started: the badge by which it speaks, so that the last word of one that was killed is not
    /// taken for the next one's.
    starts: u64,
}

/// What the supervisor has seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server is ready.
    Ready,
    /// It has faulted, and goes on from its last checkpoint.
    Healed(Fault),
    /// It has faulted and ends: it had no checkpoint, or the kernel refused to bring it back.
    Ended(Fault),
    /// It has said what to keep for it.
    Kept,
    /// It has sent a message that means nothing, or [`Guarded::stop_tending`] has.
    Ignored,
}

/// Badges at the supervisor, beside those of the servers: faults, and what is nobody's word.
const FAULTED: u64 = u64::MAX;
const NOBODY: u64 = 0;

impl Guarded {
    /// Starts a server. What it serves arrives where it finds `serve`; `grants` are what else it gets.
    ///
    /// # Errors
    /// As [`Process::spawn_image`].
    pub fn start(image: &[u8], arguments: &[&str], grants: Grants) -> Result<Guarded, Error> {
        Guarded::start_with(image, arguments, grants, None)
    }

    /// The same; the server finds what is kept for it, now and when it is started once more, in its
    /// [store](crate::store). It has to be [tended](Self::tend) from its start on.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(image: &[u8], arguments: &[&str], grants: Grants, kept: Option<Kept>) -> Result<Guarded, Error> {
        let (serve, endpoint) = (Endpoint::new()?, Endpoint::new()?);
        let (faults, receiver) = (endpoint.connect(FAULTED)?, endpoint.receiver()?);
        let own = Own { serve: &serve, endpoint: &endpoint, faults: &faults, kept: kept.as_ref() };
        let process = own.begin(image, arguments, grants, 1)?;
        Ok(Guarded { serve, endpoint, faults, receiver, kept, now: Mutex::new(Now { process, way: None, starts: 1 }) })
    }

    /// Starts it once more, after its end. Its connections stay, and what is kept for it; what it had in its memory is
    /// gone.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&self, image: &[u8], arguments: &[&str], grants: Grants) -> Result<(), Error> {
        let mut now = self.now.lock();
        now.way = None;
        now.starts += 1;
        let Guarded { serve, endpoint, faults, kept, .. } = self;
        let own = Own { serve, endpoint, faults, kept: kept.as_ref() };
        now.process = own.begin(image, arguments, grants, now.starts)?;
        Ok(())
    }

    /// A connection to the server.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::HandlesExhausted`].
    pub fn connect(&self) -> Result<Connection, Error> {
        self.connect_as(0)
    }

    /// The same with a badge.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_as(&self, badge: u64) -> Result<Connection, Error> {
        self.serve.connect(badge)
    }

    /// A handle to the process, to look at it, wait for it or end it.
    ///
    /// # Errors
    /// [`Error::HandlesExhausted`].
    pub fn process(&self) -> Result<Process, Error> {
        self.now.lock().process.duplicate(Rights::WAIT.or(Rights::KILL).or(Rights::INSPECT).or(Rights::DUPLICATE))
    }

    /// Has the thread that [tends](Self::tend) get [`Event::Ignored`], so that it can end.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::HandlesExhausted`].
    pub fn stop_tending(&self) -> Result<(), Error> {
        self.endpoint.connect(NOBODY)?.call(Message::default()).map(drop)
    }

    /// Waits for the next thing that the server says or does, and sees to it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn tend(&self) -> Result<Event, Error> {
        let received = self.receiver.receive()?;
        let mut now = self.now.lock();
        let is_said = received.badge == now.starts;
        if is_said && self.kept.as_ref().is_some_and(|kept| kept.take(&received.message)) {
            drop(now);
            let _ = self.receiver.reply(Message::default());
            return Ok(Event::Kept);
        }
        // Nothing else comes with a handle.
        received.message.into_words();
        let (event, message) = match (received.badge, Fault::of(&received)) {
            (FAULTED, Some(fault)) => {
                match now.way.ok_or(Error::NotFound).and_then(|way| way.back(&now.process, &self.receiver)) {
                    Ok(message) => (Event::Healed(fault), message),
                    Err(_) => (Event::Ended(fault), answer(FaultAnswer::End, 0)),
                }
            }
            _ => match Way::of(&received.message).filter(|_| is_said) {
                Some(way) => {
                    now.way = Some(way);
                    (Event::Ready, Message::default())
                }
                None => (Event::Ignored, Message::default()),
            },
        };
        drop(now);
        // Killed meanwhile: there is nothing to answer.
        let _ = self.receiver.reply(message);
        Ok(event)
    }
}

/// What every server is started with that is started for the same clients.
struct Own<'a> {
    serve: &'a Endpoint,
    endpoint: &'a Endpoint,
    faults: &'a Connection,
    kept: Option<&'a Kept>,
}

impl Own<'_> {
    fn begin(&self, image: &[u8], arguments: &[&str], mut grants: Grants, badge: u64) -> Result<Process, Error> {
        let said = self.endpoint.connect(badge)?;
        grants.add("serve", "", &[self.serve.handle()]);
        grants.add("heal", "", &[said.handle()]);
        if let Some(kept) = self.kept {
            kept.grant(&mut grants);
        }
        let process = grants.spawn(image, arguments)?;
        process.supervise(Some(self.faults))?;
        Ok(process)
    }
}
