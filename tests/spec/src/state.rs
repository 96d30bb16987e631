//! What there is: objects of nine kinds, and the handles that name them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use graft_abi::{Permissions, Rights};

/// Names an object of the specification.
pub type Id = u32;

/// What a handle leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The object.
    pub object: Id,
    /// What may be done with it.
    pub rights: Rights,
}

/// What the driver of a history has set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The cores that run, a bit for each.
    pub cores: u32,
    /// Handles up to this number are the driver's own.
    pub reserved: u32,
    /// A buffer that every process has at this address.
    pub buffer: u64,
}

/// Bits of a notification that are set when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(crate) notification: Id,
    pub(crate) bits: u64,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// 0 until the driver has seen it.
    pub identifier: u64,
    pub(crate) parent: u64,
    /// By number.
    pub handles: BTreeMap<u32, Entry>,
    pub(crate) pages: BTreeMap<u64, Page>,
    /// Packed, once it has ended.
    pub status: Option<u64>,
    pub(crate) bound: Option<Binding>,
    pub(crate) supervisor: Option<Id>,
    /// The jobs that it is in, the outermost first, and the one below them that its children are born into.
    pub(crate) jobs: Vec<Id>,
    pub(crate) births: Option<Id>,
    /// Threads that wait on a word, in the order in which they came.
    pub(crate) words: Vec<Id>,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub process: Id,
    /// The driver's number for it.
    pub slot: u64,
    /// The stack that it runs on.
    pub stack: u64,
    pub(crate) own: u8,
    /// The priority that counts.
    pub(crate) counts: u8,
    pub(crate) limit: u8,
    pub(crate) cores: u32,
    pub(crate) wait: Option<Wait>,
    /// The registers that it lends until its call has been answered.
    pub(crate) lent: Option<[u64; 4]>,
    /// At a fault: its `x0`.
    pub(crate) stopped: Option<u64>,
    /// What `thread_join` answers.
    pub(crate) ended: Option<[u64; 2]>,
    pub(crate) bound: Option<Binding>,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The end of a process or a thread.
    End(Id),
    /// A receiver for its message, which came through this connection.
    Receiver(Id, Message),
    /// The answer to this call, by its number.
    Answer(u64),
    /// A message, to be kept in this reply.
    Message(Id),
    /// Bits of this notification.
    Bits(Id),
    /// A [`Wake`](graft_abi::Call::Wake) for this address.
    Word(u64),
}

/// Six words, of which one may be anything, and a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub(crate) words: [Option<u64>; 6],
    pub(crate) handle: u64,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) closed: bool,
    /// Threads with a message, in the order in which they came.
    pub(crate) callers: Vec<Id>,
    /// Threads without.
    pub(crate) receivers: Vec<Id>,
    pub(crate) bound: Option<Binding>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub(crate) endpoint: Id,
    pub(crate) badge: u64,
    pub(crate) bound: Option<Binding>,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub(crate) endpoint: Id,
    /// The call that it keeps: the caller, and the number of its call.
    pub(crate) open: Option<(Id, u64)>,
}

/// A notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    pub(crate) bits: u64,
    pub(crate) waiters: Vec<Id>,
}

/// A memory object: the first word of each page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub(crate) words: Vec<u64>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) pages: BTreeMap<u64, Page>,
    pub(crate) stack: u64,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The jobs that it is in, the outermost first.
    pub(crate) outer: Vec<Id>,
}

/// What is mapped at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub(crate) permissions: Permissions,
    pub(crate) content: Content,
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The process's own: this first word, and zeroes.
    Private(u64),
    /// The same, which a child does not get.
    NoInherit(u64),
    /// This page of a memory object.
    Shared(Id, usize),
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A process.
    Process(Process),
    /// A thread.
    Thread(Thread),
    /// An endpoint.
    Endpoint(Endpoint),
    /// A connection.
    Connection(Connection),
    /// A reply.
    Reply(Reply),
    /// A notification.
    Notification(Notification),
    /// A memory object.
    Memory(Memory),
    /// A snapshot.
    Snapshot(Snapshot),
    /// A job.
    Job(Job),
}

/// One of the kinds.
pub trait Kind: Sized + 'static {
    /// The object, if it is of this kind.
    fn of(object: &Object) -> Option<&Self>;
    /// The same to change it.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    /// The other way.
    fn into_object(self) -> Object;
}

macro_rules! kinds {
    ($($kind:ident)*) => { $(
        impl Kind for $kind {
            fn of(object: &Object) -> Option<&Self> {
                if let Object::$kind(object) = object { Some(object) } else { None }
            }
            fn of_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$kind(object) = object { Some(object) } else { None }
            }
            fn into_object(self) -> Object {
                Object::$kind(self)
            }
        }
    )* };
}
kinds! { Process Thread Endpoint Connection Reply Notification Memory Snapshot Job }

/// All objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// By name.
    pub objects: BTreeMap<Id, Object>,
    /// What the driver has set up.
    pub machine: Machine,
    next: Id,
    calls: u64,
}

impl State {
    /// A first process with this identifier and its parent's, whose thread has a slot, a stack, a priority and a limit.
    pub fn new(machine: Machine, identifiers: [u64; 2], slot: u64, stack: u64, [own, limit]: [u8; 2]) -> State {
        let mut state = State { objects: BTreeMap::new(), machine, next: 0, calls: 0 };
        let [identifier, parent] = identifiers;
        let process = state.add(Process { identifier, ..Process::new(parent) });
        state.add(Thread::new(process, slot, stack, (own, limit, 0xff)));
        state
    }

    /// The object with this name.
    ///
    /// # Panics
    /// If there is none of this kind.
    pub fn get<T: Kind>(&self, id: Id) -> &T {
        T::of(&self.objects[&id]).expect("an object of this kind")
    }

    pub(crate) fn get_mut<T: Kind>(&mut self, id: Id) -> &mut T {
        T::of_mut(self.objects.get_mut(&id).expect("an object")).expect("an object of this kind")
    }

    /// The thread that the driver knows by this number.
    pub fn in_slot(&self, slot: u64) -> Option<Id> {
        self.all().find(|(_, thread): &(Id, &Thread)| thread.slot == slot && thread.is_alive()).map(|(id, _)| id)
    }

    /// All of a kind.
    pub fn all<T: Kind>(&self) -> impl Iterator<Item = (Id, &T)> {
        self.objects.iter().filter_map(|(&id, object)| T::of(object).map(|object| (id, object)))
    }

    pub(crate) fn add<T: Kind>(&mut self, object: T) -> Id {
        self.next += 1;
        self.objects.insert(self.next, object.into_object());
        self.next
    }

    pub(crate) fn call_number(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Threads of a process that have not ended.
    pub fn threads_of(&self, process: Id) -> Vec<Id> {
        let lives = |&(_, thread): &(Id, &Thread)| thread.process == process && thread.ended.is_none();
        self.all::<Thread>().filter(lives).map(|(id, _)| id).collect()
    }

    /// Threads that can make a call.
    pub fn idle(&self) -> Vec<Id> {
        let idle = |&(_, thread): &(Id, &Thread)| thread.wait.is_none() && thread.ended.is_none();
        self.all::<Thread>().filter(idle).map(|(id, _)| id).collect()
    }
}

impl Process {
    pub(crate) fn new(parent: u64) -> Process {
        Process {
            identifier: 0,
            parent,
            handles: BTreeMap::new(),
            pages: BTreeMap::new(),
            status: None,
            bound: None,
            supervisor: None,
            jobs: Vec::new(),
            births: None,
            words: Vec::new(),
        }
    }
}

impl Thread {
    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn new(process: Id, slot: u64, stack: u64, (own, limit, cores): (u8, u8, u32)) -> Thread {
        Thread {
            process,
            slot,
            stack,
            own,
            counts: own,
            limit,
            cores,
            wait: None,
            lent: None,
            stopped: None,
            ended: None,
            bound: None,
        }
    }
}
