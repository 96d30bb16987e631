//! A call as a thread makes it, and what it finds in its registers afterwards.

use core::fmt;
use graft_abi::Call;

/// Words of the caller's own buffer that are looked at after a call.
pub const DATA: usize = 16;

/// With which instruction a thread enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `svc #1`.
    Call,
    /// `svc #2`: `x6`, `x7` and `x9` are arguments, too.
    Message,
    /// `svc #0`: a call of another system.
    Foreign,
}

/// Until when a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// For ever.
    Never,
    /// It may not.
    Past,
    /// Until a moment that comes before anything else happens.
    Soon,
}

/// The registers with which a thread enters the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// How.
    pub trap: Trap,
    /// `x8`.
    pub number: u64,
    /// `x0` to `x9`.
    pub x: [u64; 10],
    /// `x20` to `x23`.
    pub lent: [u64; 4],
    /// What the first word of the caller's buffer holds.
    pub data: u64,
    /// The driver puts the moment into the register in which the call has it.
    pub deadline: Deadline,
    /// The number that the driver gives to a thread which the call makes.
    pub newcomer: u64,
}

impl Request {
    /// A call with these first arguments.
    pub fn new(call: Call, arguments: &[u64]) -> Request {
        let mut x = [0; 10];
        x[..arguments.len()].copy_from_slice(arguments);
        let carries = matches!(
            call,
            Call::Call | Call::CallLending | Call::Receive | Call::Reply | Call::ReplyReceive | Call::Send
        );
        let trap = if carries { Trap::Message } else { Trap::Call };
        let (number, deadline) = (call as u64, Deadline::Never);
        Request { trap, number, x, lent: [0; 4], data: 0, deadline, newcomer: 0 }
    }

    /// The register that holds the deadline, if the call has one.
    pub fn deadline_register(&self) -> Option<usize> {
        match Call::from_number(self.number)? {
            Call::Call | Call::CallLending | Call::Receive | Call::ReplyReceive => Some(9),
            Call::NotificationWait => Some(1),
            Call::WaitOn => Some(2),
            _ => None,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Call::from_number(self.number) {
            _ if self.trap == Trap::Foreign => write!(f, "foreign call {}", self.number)?,
            Some(call) => write!(f, "{call:?}")?,
            None => write!(f, "call {}", self.number)?,
        }
        let used = self.x.iter().rposition(|&register| register != 0).map_or(0, |last| last + 1);
        write!(f, " {:x?}", &self.x[..used])?;
        match self.deadline {
            Deadline::Never => Ok(()),
            other => write!(f, ", until {other:?}"),
        }
    }
}

/// What a thread finds when it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// `x0` to `x9`.
    pub x: [u64; 10],
    /// Its own buffer.
    pub data: [u64; DATA],
}
