//! Layouts of what calls read from and write to a program's memory.
//!
//! Every field is an integer of fixed size and every bit pattern of it is valid, so that the kernel
//! can copy these byte for byte and check the values afterwards.

use crate::CORES_MAX;

/// What may be done with memory. Writable and executable at once does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Permissions {
    /// Reserved addresses that fault on any access.
    None = 0,
    /// Read only.
    Read = 1,
    /// Read and write.
    ReadWrite = 2,
    /// Read and execute.
    ReadExecute = 3,
}

impl Permissions {
    /// The permissions with this number.
    pub const fn from_number(number: u64) -> Option<Permissions> {
        match number {
            0 => Some(Permissions::None),
            1 => Some(Permissions::Read),
            2 => Some(Permissions::ReadWrite),
            3 => Some(Permissions::ReadExecute),
            _ => None,
        }
    }
}

/// How much of the parent's translation tables `fork` shares with the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u64)]
pub enum Share {
    /// No table: all are copied, pages become copy-on-write.
    Copy = 0,
    /// Level-3 tables (2 MiB each): the default.
    #[default]
    L3 = 3,
    /// Level-2 tables (1 GiB each).
    L2 = 2,
    /// Level-1 tables (512 GiB each): fork takes constant time.
    L1 = 1,
}

impl Share {
    /// Every depth, from copying all to sharing most.
    pub const ALL: [Share; 4] = [Share::Copy, Share::L3, Share::L2, Share::L1];

    /// The depth with this number.
    pub const fn from_number(number: u64) -> Option<Share> {
        match number {
            0 => Some(Share::Copy),
            1 => Some(Share::L1),
            2 => Some(Share::L2),
            3 => Some(Share::L3),
            _ => None,
        }
    }

    /// The name on command lines and in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Share::Copy => "copy",
            Share::L3 => "l3",
            Share::L2 => "l2",
            Share::L1 => "l1",
        }
    }

    /// The depth with this name.
    pub fn from_name(name: &str) -> Option<Share> {
        Share::ALL.into_iter().find(|share| share.name() == name)
    }
}

/// A run of bytes in the caller's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Text {
    /// Address of the first byte.
    pub address: u64,
    /// Number of bytes.
    pub length: u64,
}

/// A part of a new program's memory: whole pages, bytes that are copied there, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Address of the first page.
    pub start: u64,
    /// Bytes of the pages, which are zeroes at first. 0 for none: then the bytes go to memory that is there.
    pub size: u64,
    /// The [`Permissions`] that the pages have once the bytes are there.
    pub permissions: u64,
    /// Where the bytes go. Memory there has to be writable until they are there.
    pub address: u64,
    /// The bytes.
    pub bytes: Text,
}

/// Argument of `spawn`, `spawn_warm` and `exec`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SpawnRequest {
    /// Address of an array of [`Segment`], which are made in their order.
    pub segments: u64,
    /// How many of them there are.
    pub segment_count: u64,
    /// The address of the first instruction.
    pub entry: u64,
    /// The stack pointer to begin with.
    pub stack: u64,
    /// `x0` and `x1` to begin with: by convention, address and length of the arguments. Each of these is ended by a zero
    /// byte; the first is the program's name.
    pub arguments: [u64; 2],
    /// Address of `u32` handles to duplicate into the new process, where they become 1, 2, 3 …
    pub handles: u64,
    /// How many.
    pub handle_count: u32,
    /// For `spawn` and `spawn_warm`: a handle to a connection through which the process's faults go from its first instruction on,
    /// as with [`Supervise`](crate::Call::Supervise), or 0. Without any segment, that instruction is the first fault.
    pub supervisor: u32,
    /// The program's name for people, padded with zero bytes.
    pub name: [u8; 32],
}

/// What the archive's `init` begins with, which the kernel starts: [`Segment`]s follow, whose bytes lie at offsets in
/// the file, and then those bytes. The program's arguments are put below [`STACK_TOP`](crate::STACK_TOP).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FirstProgram {
    /// [`FirstProgram::MAGIC`].
    pub magic: u64,
    /// The address of the first instruction.
    pub entry: u64,
    /// How many segments follow.
    pub segment_count: u64,
}

impl FirstProgram {
    /// "graft", and the number of the format.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"graft\0\0\x01");
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProcessState {
    /// It runs or could run.
    Ready = 0,
    /// It waits for something.
    Blocked = 1,
    /// It has ended; its status is kept while a process holds a handle to it.
    Ended = 2,
    /// It runs no more until a job that it is in is resumed.
    Suspended = 3,
}

impl ProcessState {
    /// The state with this number.
    pub const fn from_number(number: u32) -> Option<ProcessState> {
        match number {
            0 => Some(ProcessState::Ready),
            1 => Some(ProcessState::Blocked),
            2 => Some(ProcessState::Ended),
            3 => Some(ProcessState::Suspended),
            _ => None,
        }
    }
}

/// Most jobs that a process is in: each within the one before.
pub const JOB_LEVELS: usize = 4;

/// What [`JobControl`](crate::Call::JobControl) does to all processes in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum JobOperation {
    /// Ends them, as [`Kill`](crate::Call::Kill) does, with the code that is given.
    Kill = 0,
    /// Lets none of their threads run in its program. One that waits goes on waiting, and gets what it waits for; what
    /// it does in the kernel is done. They can be ended meanwhile.
    Suspend = 1,
    /// Lets them go on, but for those that another job has suspended.
    Resume = 2,
}

impl JobOperation {
    /// The operation with this number.
    pub const fn from_number(number: u64) -> Option<JobOperation> {
        match number {
            0 => Some(JobOperation::Kill),
            1 => Some(JobOperation::Suspend),
            2 => Some(JobOperation::Resume),
            _ => None,
        }
    }
}

/// Result of `process_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ProcessInfo {
    /// Process identifier, never used twice.
    pub identifier: u64,
    /// Identifier of the process that made it, 0 for the first.
    pub parent: u64,
    /// A [`ProcessState`].
    pub state: u32,
    /// Threads that have not ended.
    pub threads: u32,
    /// The highest priority of these, a caller's included that one of them works for; 0 if there are none.
    pub priority: u32,
    /// 0.
    pub padding: u32,
    /// Pages present in its tables, shared ones included, in pages.
    pub resident_pages: u64,
    /// Demand-zero pages reserved and not yet backed, in pages.
    pub reserved_pages: u64,
    /// Translation tables that its root reaches, itself included, shared ones included, in frames.
    pub tables: u64,
    /// Processor time that its threads have used, in nanoseconds, those that have ended included.
    pub processor_time: u64,
    /// How much of it they have worked for callers: from a call's receipt to its answer.
    pub caller_time: u64,
    /// Write faults answered by making a copy of a table.
    pub table_splits: u64,
    /// Write faults answered by making a copy of a page.
    pub page_copies: u64,
    /// Write faults answered by taking over a page or table that was no longer shared.
    pub reuses: u64,
    /// Faults answered with a fresh demand-zero page.
    pub demand_zero: u64,
    /// All faults taken, spurious ones included.
    pub faults: u64,
    /// A packed [`ExitStatus`](crate::ExitStatus), once the state is `Ended`.
    pub exit_status: u64,
    /// The program's name, padded with zero bytes.
    pub name: [u8; 32],
}

/// Argument of `trace`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TraceRequest {
    /// The core whose events are wanted: the one that the caller runs on.
    pub core: u64,
    /// In: the number of the first event wanted; each core numbers its events from 0. Out: where the next call goes on.
    pub next: u64,
    /// Address of an array of [`TraceEvent`].
    pub events: u64,
    /// How many of them it can hold.
    pub capacity: u64,
    /// Out: how many events from the wanted one on are not there any more.
    pub lost: u64,
}

/// Something that has happened on a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceEvent {
    /// When, in nanoseconds since the machine's counter started.
    pub time: u64,
    /// A [`TraceKind`].
    pub kind: u64,
    /// The process that the core runs then; 0 for none.
    pub process: u64,
    /// What the kind says.
    pub what: u64,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum TraceKind {
    /// The core goes on with a thread of another process, or of the same.
    Switch = 1,
    /// It goes straight from a caller, whose process is `what`, to the server that has its call or its fault.
    Call = 2,
    /// It goes straight from a server, whose process is `what`, to the caller that has the answer.
    Answer = 3,
    /// It has nothing to run.
    Idle = 4,
    /// An interrupt of the timer (`what` is 0), of another core (1), of the console (2), of line n (16 + n).
    Interrupt = 5,
    /// The process has made a copy of itself or of a snapshot, whose identifier is `what`.
    Fork = 6,
    /// The process has started a program in a new one, whose identifier is `what`.
    Spawn = 7,
    /// The process has ended, with the packed [`ExitStatus`](crate::ExitStatus) in `what`.
    End = 8,
    /// A store at the address `what` has made a copy of a table, and of a page if that was shared, too.
    Split = 9,
    /// A store has made a copy of a page.
    Copy = 10,
    /// A store has taken over a page or a table that was no longer shared.
    Reuse = 11,
    /// The first access to memory of zeroes.
    DemandZero = 12,
    /// What the program did at the address `what` goes to its supervisor, or ends it.
    Fault = 13,
}

impl TraceKind {
    /// All of them, by their numbers.
    pub const ALL: &'static [TraceKind] = &[
        TraceKind::Switch,
        TraceKind::Call,
        TraceKind::Answer,
        TraceKind::Idle,
        TraceKind::Interrupt,
        TraceKind::Fork,
        TraceKind::Spawn,
        TraceKind::End,
        TraceKind::Split,
        TraceKind::Copy,
        TraceKind::Reuse,
        TraceKind::DemandZero,
        TraceKind::Fault,
    ];

    /// The kind with this number.
    pub fn from_number(number: u64) -> Option<TraceKind> {
        TraceKind::ALL.iter().copied().find(|kind| *kind as u64 == number)
    }
}

/// Result of `thread_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ThreadInfo {
    /// Processor time that it has used for itself, in nanoseconds.
    pub own_time: u64,
    /// And for callers: from the receipt of each call to its answer.
    pub caller_time: u64,
    /// Up to which moment that is, as [`Clock`](crate::Call::Clock) counts.
    pub clock: u64,
    /// The priority that counts: its own, or that of a caller for which it works.
    pub priority: u32,
    /// Its own.
    pub own_priority: u32,
    /// The highest that it may give.
    pub limit: u32,
    /// The cores that it may run on, a bit for each.
    pub cores: u32,
}

/// Result of `system_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SystemInfo {
    /// Frames that the allocator manages, free or not.
    pub total_frames: u64,
    /// Frames free now, without those that are kept back for the pages of processes in no job.
    pub free_frames: u64,
    /// Frames in use as translation tables.
    pub table_frames: u64,
    /// Frames in use as pages of programs.
    pub page_frames: u64,
    /// Frames in use for kernel objects: processes, threads and the like.
    pub object_frames: u64,
    /// Of the free frames, those that are kept for the copies which guaranteed forks may cause.
    pub committed_frames: u64,
    /// Processor cores that run.
    pub cores: u64,
    /// How often a core has found a lock of the kernel's taken.
    pub lock_waits: u64,
    /// How often it has then looked again.
    pub lock_turns: u64,
    /// Processes that have not ended.
    pub processes: u64,
    /// The moment of all this, as [`Clock`](crate::Call::Clock) counts: nanoseconds since the machine's counter
    /// started.
    pub clock: u64,
    /// For each core how long it has run by then, in nanoseconds; 0 for one that there is not.
    pub core_times: [u64; CORES_MAX],
    /// How long of that it has had no thread to run.
    pub idle_times: [u64; CORES_MAX],
    /// The processor time of processes that have ended and that no handle names any more, in nanoseconds. With the time
    /// of all others and the idle times, it is the sum of the cores' times.
    pub gone_time: u64,
    /// What the device tree calls the machine, padded with zero bytes.
    pub machine: [u8; 32],
}

/// As `flags` of `fork`: every split and every page copy that the fork can ever cause must find memory; refuse it
/// otherwise.
pub const FORK_GUARANTEED: u64 = 1 << 0;

/// Argument of `memory_sizes`: how much of a process's memory is its own. What several processes share belongs to each
/// of them in part, so that the proportional sizes of all add up to what is in use.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct MemorySizes {
    /// In: 0 to begin with. Out: where the next call goes on; at or past [`USER_END`](crate::USER_END) when it is
    /// complete. Give the value back as it is.
    pub cursor: u64,
    /// Pages that no other process reaches are added here, in pages.
    pub private_pages: u64,
    /// Pages that others reach as well, by themselves or through a shared table, in pages.
    pub shared_pages: u64,
    /// Tables below the root that no other process reaches, in frames.
    pub private_tables: u64,
    /// Tables that others reach, too, in frames.
    pub shared_tables: u64,
    /// The process's own part of all of these, in units of one frame divided by
    /// 2^[`PART_BITS`](MemorySizes::PART_BITS).
    pub parts: u64,
}

impl MemorySizes {
    /// log2 of the parts of one frame.
    pub const PART_BITS: u32 = 24;

    /// The process's own part in bytes, rounded down: its proportional size.
    pub const fn proportional_bytes(&self) -> u64 {
        ((self.parts as u128 * crate::PAGE_SIZE as u128) >> MemorySizes::PART_BITS) as u64
    }
}

/// As [`TablesRequest::deepest`]: descend to the pages.
pub const ENTRY_ANY_LEVEL: u32 = 3;

/// Argument of `tables`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TablesRequest {
    /// In: the first address of interest. Out: where the next call goes on; at or past `end` when
    /// nothing is left. Records come in the order of addresses, a table before what is below it.
    ///
    /// In, bits 3–0 must be zero. Out, they hold the level to resume at; give the value back as it is.
    pub cursor: u64,
    /// One past the last address of interest.
    pub end: u64,
    /// Deepest level whose descriptors are wanted: 0, 1, 2 or 3.
    pub deepest: u32,
    /// Must be 0.
    pub padding: u32,
    /// Address of an array of [`EntryRecord`].
    pub records: u64,
    /// How many of them it can hold.
    pub capacity: u64,
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Leads to a table of the next level.
    Table = 1,
    /// Maps a page of ordinary private memory.
    Page = 2,
    /// Maps the shared page of zeroes, until the first write.
    ZeroPage = 3,
    /// Maps a page of a memory object, which stays one and the same across `fork`.
    SharedPage = 4,
    /// Maps a page that a child does not get.
    NoInheritPage = 5,
    /// Maps memory that the frame allocator does not own: a device or the archive.
    ForeignPage = 6,
    /// Maps nothing yet: demand-zero memory.
    Reserved = 7,
}

impl EntryKind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<EntryKind> {
        match number {
            1 => Some(EntryKind::Table),
            2 => Some(EntryKind::Page),
            3 => Some(EntryKind::ZeroPage),
            4 => Some(EntryKind::SharedPage),
            5 => Some(EntryKind::NoInheritPage),
            6 => Some(EntryKind::ForeignPage),
            7 => Some(EntryKind::Reserved),
            _ => None,
        }
    }
}

/// One descriptor, as `tables` reports it. Empty descriptors are not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EntryRecord {
    /// First address that the descriptor covers.
    pub address: u64,
    /// The raw 64 bits.
    pub descriptor: u64,
    /// Physical address of the table that holds the descriptor.
    pub table: u64,
    /// References to the table or page it leads to; 0 where none are counted.
    pub references: u32,
    /// Level of the table that holds the descriptor, 0 to 3.
    pub level: u8,
    /// An [`EntryKind`].
    pub kind: u8,
    /// A [`Permissions`]: what the program may do, once faults have been answered.
    pub permissions: u8,
    /// 1 if a store through this descriptor works now, without a fault, as far as this and the
    /// levels above tell; 0 if not.
    pub writable_now: u8,
    /// Table: pages present below it. Otherwise 0.
    pub pages_below: u32,
    /// Table: tables below it. Otherwise 0.
    pub tables_below: u32,
}
