//! How a process ended, and how a thread did.

use core::fmt;

/// How a process ended, in one register: the kind in bits 32 and up, the code in bits 31–0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called `exit` with this code.
    Exited(i32),
    /// It did something that no program may do; the console has the full report.
    Faulted(FaultKind),
    /// Another process ended it with this code.
    Killed(i32),
}

macro_rules! faults {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// What ended a process that did not end itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum FaultKind { $(#[doc = $message] $name = $code,)* }

        impl FaultKind {
            /// Every kind there is.
            pub const ALL: &'static [FaultKind] = &[$(FaultKind::$name,)*];

            /// The kind with this number.
            pub const fn from_code(code: u32) -> Option<FaultKind> {
                match code { $($code => Some(FaultKind::$name),)* _ => None }
            }

            /// What happened, for a person.
            pub const fn message(self) -> &'static str {
                match self { $(FaultKind::$name => $message,)* }
            }
        }
    };
}

faults! {
    Unmapped = 1, "touched an address where nothing is mapped";
    ReadDenied = 2, "read memory that it may not read";
    WriteDenied = 3, "wrote to memory that it may not write";
    ExecuteDenied = 4, "jumped into memory that is not executable";
    KernelAddress = 5, "touched an address of the kernel";
    StackOverflow = 6, "overflowed its stack";
    OutOfMemory = 7, "needed memory when none was left";
    Undefined = 8, "executed an undefined or privileged instruction";
    Unaligned = 9, "used an address that is not aligned as the instruction demands";
    Breakpoint = 10, "executed a breakpoint instruction";
    ForeignCall = 11, "made a call of another system without a supervisor to answer it";
    Machine = 12, "met a hardware error";
}

/// What becomes of a thread whose fault its supervisor answers: the first word of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum FaultAnswer {
    /// It goes on with the registers that it has: the instruction is tried again, a foreign call has been made.
    GoOn = 0,
    /// As if a call had returned the answer's second word in `x0`.
    Return = 1,
    /// Its process ends, as it would without a supervisor. So does every other number.
    End = 2,
    /// It goes on at the address in the answer's second word.
    GoOnAt = 3,
}

/// Words of a thread's registers: `x0` to `x30`, the stack pointer, the program counter, the flags.
pub const REGISTERS: usize = 34;

impl ExitStatus {
    /// Packs the status for a register.
    pub const fn to_register(self) -> u64 {
        match self {
            ExitStatus::Exited(code) => code as u32 as u64,
            ExitStatus::Faulted(kind) => 1 << 32 | kind as u64,
            ExitStatus::Killed(code) => 2 << 32 | code as u32 as u64,
        }
    }

    /// Unpacks a status; `None` for a value that no kernel of this version stores.
    pub const fn from_register(value: u64) -> Option<ExitStatus> {
        match value >> 32 {
            0 => Some(ExitStatus::Exited(value as u32 as i32)),
            1 => match FaultKind::from_code(value as u32) {
                Some(kind) => Some(ExitStatus::Faulted(kind)),
                None => None,
            },
            2 => Some(ExitStatus::Killed(value as u32 as i32)),
            _ => None,
        }
    }

    /// Whether the process ended itself with code 0.
    pub const fn is_success(self) -> bool {
        matches!(self, ExitStatus::Exited(0))
    }

    /// The status as a shell shows it in `$?`: the code itself, 128 + kind for a fault, 137 when killed.
    pub const fn shell_code(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Faulted(kind) => 128 + kind as i32,
            ExitStatus::Killed(_) => 137,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exited with {code}"),
            ExitStatus::Faulted(kind) => write!(f, "ended: it {}", kind.message()),
            ExitStatus::Killed(code) => write!(f, "killed with {code}"),
        }
    }
}

/// How a thread ended, in the two registers with which `thread_join` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadEnd {
    /// It called `thread_exit` with this value.
    Exited(u64),
    /// Its process ended with this status and took the thread along.
    WithProcess(ExitStatus),
}

impl ThreadEnd {
    /// `x0` and `x1`.
    pub const fn to_registers(self) -> [u64; 2] {
        match self {
            ThreadEnd::Exited(value) => [0, value],
            ThreadEnd::WithProcess(status) => [1, status.to_register()],
        }
    }

    /// Unpacks `x0` and `x1`; `None` for what no kernel of this version answers.
    pub const fn from_registers([x0, x1]: [u64; 2]) -> Option<ThreadEnd> {
        match (x0, ExitStatus::from_register(x1)) {
            (0, _) => Some(ThreadEnd::Exited(x1)),
            (1, Some(status)) => Some(ThreadEnd::WithProcess(status)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_thread_survives_the_registers() {
        let with = |status| ThreadEnd::WithProcess(status);
        for end in [ThreadEnd::Exited(0), ThreadEnd::Exited(u64::MAX), with(ExitStatus::Killed(-1))] {
            assert_eq!(ThreadEnd::from_registers(end.to_registers()), Some(end));
        }
        assert_eq!(ThreadEnd::from_registers([1, u64::MAX]), None);
        assert_eq!(ThreadEnd::from_registers([2, 0]), None);
    }

    #[test]
    fn every_status_survives_the_register() {
        let mut all = std::vec![ExitStatus::Exited(0), ExitStatus::Exited(-1), ExitStatus::Killed(i32::MIN)];
        all.extend(FaultKind::ALL.iter().map(|&kind| ExitStatus::Faulted(kind)));
        for status in all {
            assert_eq!(ExitStatus::from_register(status.to_register()), Some(status));
        }
        assert_eq!(ExitStatus::from_register(1 << 32), None);
        assert_eq!(ExitStatus::from_register(u64::MAX), None);
    }
}
