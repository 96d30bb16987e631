//! Handles and the rights they carry.

/// Names an object in the calling process's own handle table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Handle(pub u32);

impl Handle {
    /// No object: what `fork` answers in the child. Never a valid name.
    pub const NONE: Handle = Handle(0);
    /// The calling process itself; not an entry of the table, always valid, all rights.
    pub const SELF: Handle = Handle(u32::MAX);
    /// The console, in every program that the shell or `init` starts: a connection to its server; the kernel's own
    /// writer in the first program.
    pub const CONSOLE: Handle = Handle(1);
    /// The archive of programs, a read-only memory object.
    pub const ARCHIVE: Handle = Handle(2);
    /// The whole system, for tools that look at all processes and at memory.
    pub const SYSTEM: Handle = Handle(3);
}

/// A set of rights, one bit each. `duplicate` can only take rights away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Rights(pub u32);

impl Rights {
    /// No right at all.
    pub const NONE: Rights = Rights(0);
    /// Process or thread: wait for its end.
    pub const WAIT: Rights = Rights(1 << 0);
    /// Process: end it.
    pub const KILL: Rights = Rights(1 << 1);
    /// Process or system: read statistics and tables.
    pub const INSPECT: Rights = Rights(1 << 2);
    /// Process: fork it.
    pub const FORK: Rights = Rights(1 << 3);
    /// Memory object: map it to read. Endpoint and reply: receive from it. Interrupt: be told of
    /// it, and acknowledge it.
    pub const READ: Rights = Rights(1 << 4);
    /// The kernel's console: write to it. Memory object: map it to write, together with the right to read. Connection:
    /// call through it. Reply: answer with it.
    pub const WRITE: Rights = Rights(1 << 5);
    /// Any object: make another handle to it, or pass it to a spawned process.
    pub const DUPLICATE: Rights = Rights(1 << 6);
    /// The handle does not follow into a forked child. A mark rather than a right: `duplicate`
    /// may add it and never takes it away.
    pub const NO_INHERIT: Rights = Rights(1 << 7);
    /// Thread: change its priority and the cores that it runs on.
    pub const SCHEDULE: Rights = Rights(1 << 8);
    /// Process: be told of its faults, and read and write its memory.
    pub const SUPERVISE: Rights = Rights(1 << 9);
    /// System: make objects of interrupts and devices, and memory for devices to use. A device may store anywhere, so
    /// this is the right to everything.
    pub const DEVICES: Rights = Rights(1 << 10);
    /// Every right, without the no-inherit mark.
    pub const ALL: Rights = Rights(0x77f);

    /// Whether every right of `other` is in this set.
    pub const fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    /// The rights in both sets.
    #[must_use]
    pub const fn and(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }

    /// The rights in either set.
    #[must_use]
    pub const fn or(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }
}
