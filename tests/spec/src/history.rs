//! Random histories: which thread makes which call next.
//!
//! A step is a number. What it means depends on the state in which it is taken, and it means something in every state: so
//! each part of a history is a history, and one that fails can be cut short.

use crate::handle::is_self;
use crate::request::{Deadline, Request, Trap};
use crate::state::{
    Connection, Endpoint, Entry, Id, Job, Kind, Memory, Notification, Process, Reply, Snapshot, State, Thread, Wait,
};
use alloc::vec::Vec;
use graft_abi::{Call, Handle, PAGE_SIZE, USER_END};

/// Where histories map memory: two neighbouring tables.
pub const AREA: u64 = 0x5000_0000;
const PAGE: u64 = PAGE_SIZE as u64;
/// Pages that histories use: neighbours, and the two sides of a table's end.
const PAGES: [u64; 6] = [0, 1, 2, 510, 511, 512];
/// Handles that a process holds at most before it closes some.
const MANY: usize = 40;

/// Numbers that look random (xorshift64*), the same for each seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence with this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// What the driver of a history offers.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// Where a new thread begins.
    pub entry: u64,
    /// Tops of stacks that every process has.
    pub stacks: &'a [u64],
    /// How many threads there can be at a time.
    pub slots: u64,
}

/// The thread that makes the next call, and the call; [`None`] if every thread waits or has ended.
pub fn next(state: &State, stage: &Stage<'_>, step: u64) -> Option<(Id, Request)> {
    let mut random = Random::new(step);
    let idle = state.idle();
    if idle.is_empty() {
        return None;
    }
    let thread = random.pick(&idle);
    let mut chooser = Chooser { state, stage, random, thread, alone: idle.len() == 1 };
    Some((thread, chooser.request()))
}

struct Chooser<'a> {
    state: &'a State,
    stage: &'a Stage<'a>,
    random: Random,
    thread: Id,
    /// No other thread can make a call.
    alone: bool,
}

impl Chooser<'_> {
    fn process(&self) -> &Process {
        self.state.get(self.state.get::<Thread>(self.thread).process)
    }

    /// Mostly a handle of this kind; sometimes another one, or none.
    fn handle<T: Kind>(&mut self) -> u64 {
        let numbers = |kind: bool, state: &State, process: &Process| -> Vec<u64> {
            let fits = |entry: &Entry| !kind || state.is::<T>(entry.object);
            process.handles.iter().filter(|(_, entry)| fits(entry)).map(|(&number, _)| number.into()).collect()
        };
        let own = u64::from(Handle::SELF.0);
        let chance = self.random.below(40);
        let all = numbers(chance >= 3, self.state, self.process());
        match chance {
            0 => self.random.pick(&[0, 199, 250, 1 << 32 | 5, own - 1, own, u64::MAX]),
            _ if all.is_empty() => self.random.pick(&[0, 199]),
            _ => self.random.pick(&all),
        }
    }

    /// Mostly one for which this holds, if there is one.
    fn handle_where<T: Kind>(&mut self, holds: impl Fn(&State, &T) -> bool) -> u64 {
        let fits = |entry: &Entry| self.state.is::<T>(entry.object) && holds(self.state, self.state.get(entry.object));
        let handles = &self.process().handles;
        let all: Vec<u64> = handles.iter().filter(|(_, entry)| fits(entry)).map(|(&number, _)| number.into()).collect();
        if all.is_empty() || self.random.one_in(5) { self.handle::<T>() } else { self.random.pick(&all) }
    }

    /// Mostly a reply that keeps a call.
    fn open_reply(&mut self) -> u64 {
        self.handle_where(|_, reply: &Reply| reply.open.is_some())
    }

    /// Mostly one that keeps a call which lends memory.
    fn lending_reply(&mut self) -> u64 {
        self.handle_where(|state, reply: &Reply| {
            reply.open.is_some_and(|(caller, _)| state.get::<Thread>(caller).lent.is_some())
        })
    }

    fn lacks<T: Kind>(&self) -> bool {
        !self.process().handles.values().any(|entry| self.state.is::<T>(entry.object))
    }

    /// Something that the process does not have, so that more of the other calls are granted.
    fn stock(&mut self) -> Option<Request> {
        let endpoint = self.handle::<Endpoint>();
        if self.lacks::<Endpoint>() {
            Some(Request::new(Call::EndpointCreate, &[]))
        } else if self.lacks::<Connection>() {
            Some(Request::new(Call::ConnectionCreate, &[endpoint, self.random.number()]))
        } else if self.lacks::<Reply>() {
            Some(Request::new(Call::ReplyCreate, &[endpoint]))
        } else if self.lacks::<Notification>() {
            Some(Request::new(Call::NotificationCreate, &[]))
        } else if self.process().pages.is_empty() {
            Some(Request::new(Call::Map, &[AREA, 2 * PAGE, 2, 0]))
        } else {
            None
        }
    }

    /// Of a process: sometimes one's own.
    fn process_handle(&mut self) -> u64 {
        if self.random.one_in(3) { Handle::SELF.0.into() } else { self.handle::<Process>() }
    }

    /// One's own, mostly without a handle.
    fn own_handle(&mut self) -> u64 {
        if self.random.one_in(8) { self.handle::<Process>() } else { Handle::SELF.0.into() }
    }

    fn thread_handle(&mut self) -> u64 {
        if self.random.one_in(3) { Handle::SELF.0.into() } else { self.handle::<Thread>() }
    }

    fn rarely(&mut self, usual: u64, wrong: &[u64]) -> u64 {
        if self.random.one_in(20) { self.random.pick(wrong) } else { usual }
    }

    fn page(&mut self) -> u64 {
        let usual = AREA + self.random.pick(&PAGES) * PAGE;
        let end = USER_END as u64;
        self.rarely(usual, &[PAGE, AREA + 1, AREA + 8, end - PAGE, end, end + PAGE, 1 << 63, u64::MAX - PAGE + 1])
    }

    /// One that something is mapped at, if there is one.
    fn mapped(&mut self) -> u64 {
        let pages: Vec<u64> = self.process().pages.keys().copied().collect();
        if pages.is_empty() || self.random.one_in(10) {
            // No other memory is looked at: the program's own is not known here.
            let page = AREA + self.random.pick(&PAGES) * PAGE;
            return self.rarely(page, &[0, PAGE, USER_END as u64, 1 << 63]);
        }
        self.random.pick(&pages)
    }

    fn place(&mut self) -> u64 {
        if self.random.one_in(6) { 0 } else { self.page() }
    }

    fn bytes(&mut self) -> u64 {
        let usual = self.random.pick(&[1, 1, 1, 2, 3]) * PAGE;
        self.rarely(usual, &[0, 1, PAGE + 8, USER_END as u64 + PAGE, 1 << 63])
    }

    fn share(&mut self) -> u64 {
        let usual = self.random.pick(&[0, 1, 2, 3]);
        self.rarely(usual, &[4, 1 << 32, u64::MAX])
    }

    fn deadline(&mut self) -> Deadline {
        let all = [Deadline::Never, Deadline::Never, Deadline::Never, Deadline::Past, Deadline::Soon];
        match self.random.pick(&all) {
            // Somebody has to go on.
            Deadline::Never if self.alone => Deadline::Past,
            chosen => chosen,
        }
    }

    fn words(&mut self) -> [u64; 6] {
        // The first ones answer a fault: to go on, to return, or to end.
        core::array::from_fn(|_| self.random.pick(&[0, 1, 1, 2, 7, 1 << 40]))
    }

    fn permissions(&mut self) -> u64 {
        let usual = self.random.pick(&[0, 1, 2, 2, 2, 3]);
        self.rarely(usual, &[4, 1 << 32 | 1, u64::MAX])
    }

    fn rights(&mut self) -> u64 {
        let all = u64::from(u32::MAX) ^ (1 << 7);
        if self.random.one_in(3) { self.random.number() } else { self.random.pick(&[all, all, u64::MAX, 0x7f, 0x70]) }
    }

    fn buffer(&mut self) -> u64 {
        let buffer = self.state.machine.buffer;
        self.rarely(buffer, &[0, PAGE, USER_END as u64, 1 << 63])
    }

    /// A slot that no thread has.
    fn slot(&self) -> Option<u64> {
        let taken = |slot| self.state.all::<Thread>().any(|(_, thread)| thread.ended.is_none() && thread.slot == slot);
        (0..self.stage.slots).find(|&slot| !taken(slot))
    }

    /// A stack that no thread of the process runs on.
    fn stack(&self) -> Option<u64> {
        let process = self.state.get::<Thread>(self.thread).process;
        let threads = self.state.threads_of(process);
        let taken = |stack| threads.iter().any(|&thread| self.state.get::<Thread>(thread).stack == stack);
        self.stage.stacks.iter().copied().find(|&stack| !taken(stack))
    }

    fn request(&mut self) -> Request {
        if self.process().handles.len() > MANY {
            return self.close();
        }
        if self.random.one_in(4)
            && let Some(request) = self.stock()
        {
            return request;
        }
        match self.random.below(100) {
            0..10 => self.of_handles(),
            10..22 => self.of_processes(),
            22..24 => self.of_jobs(),
            24..32 => self.of_threads(),
            32..46 => self.of_memory(),
            46..54 => self.of_contents(),
            54..82 => self.of_messages(),
            82..98 => self.of_notifications(),
            98 => Request {
                number: self.random.pick(&[23, 63, 103, 1 << 32, u64::MAX]),
                ..Request::new(Call::Yield, &[])
            },
            _ => Request::new(self.random.pick(&[Call::Identify, Call::Clock, Call::Yield, Call::Sleep]), &[0]),
        }
    }

    fn close(&mut self) -> Request {
        let numbers: Vec<u64> = self.process().handles.keys().map(|&number| number.into()).collect();
        let number = if numbers.is_empty() { 0 } else { self.random.pick(&numbers) };
        let number = self.rarely(number, &[0, 199, 1 << 32 | 5, u32::MAX.into()]);
        Request::new(Call::Close, &[number])
    }

    fn of_handles(&mut self) -> Request {
        if self.random.one_in(2) {
            return self.close();
        }
        let numbers: Vec<u64> = self.process().handles.keys().map(|&number| number.into()).collect();
        let own = u64::from(Handle::SELF.0);
        let number = if numbers.is_empty() || self.random.one_in(12) { own } else { self.random.pick(&numbers) };
        let number = self.rarely(number, &[0, 199, 1 << 32 | 5]);
        let rights = self.rights();
        Request::new(Call::Duplicate, &[number, rights])
    }

    fn of_processes(&mut self) -> Request {
        match self.random.below(14) {
            0..5 => {
                let handle = if self.random.one_in(4) { self.handle::<Snapshot>() } else { self.own_handle() };
                let (share, flags) = (self.share(), self.rarely(0, &[2, 1 << 63]));
                match self.slot() {
                    Some(newcomer) => Request { newcomer, ..Request::new(Call::Fork, &[handle, share, flags]) },
                    // One that is refused.
                    None => Request::new(Call::Fork, &[handle, 9, flags]),
                }
            }
            5 => {
                let (handle, share, flags) = (self.own_handle(), self.share(), self.rarely(0, &[1]));
                Request::new(Call::Snapshot, &[handle, share, flags])
            }
            6..8 => {
                let (own, snapshot, value) = (self.own_handle(), self.handle::<Snapshot>(), self.rarely(17, &[0]));
                Request::new(Call::Restore, &[own, snapshot, value])
            }
            8 => self.end_of_process(),
            9 => {
                let handle = self.handle::<Process>();
                let waits = self.alone && self.waits_for_end::<Process>(handle);
                Request::new(Call::Wait, &[if waits { 0 } else { handle }])
            }
            10..12 => {
                let (handle, buffer) = (self.process_handle(), self.buffer());
                Request::new(Call::ProcessInfo, &[handle, buffer])
            }
            12 => {
                let (process, connection) = (self.process_handle(), self.handle::<Connection>());
                let connection = if self.random.one_in(6) { 0 } else { connection };
                Request::new(Call::Supervise, &[process, connection])
            }
            _ => self.foreign_call(),
        }
    }

    fn of_jobs(&mut self) -> Request {
        let job = self.handle::<Job>();
        match self.random.below(6) {
            0 | 1 => Request::new(Call::JobCreate, &[]),
            2..5 => Request::new(Call::JobEnter, &[if self.random.one_in(6) { 0 } else { job }]),
            _ => {
                let (operation, code) = (self.random.pick(&[0, 0, 0, 2, 3, 1 << 32]), self.random.number());
                Request::new(Call::JobControl, &[job, operation, code])
            }
        }
    }

    /// Whether this handle names something that has not ended.
    fn waits_for_end<T: Kind>(&self, handle: u64) -> bool {
        let entry = u32::try_from(handle).ok().and_then(|number| self.process().handles.get(&number));
        entry.is_some_and(|entry| self.state.is::<T>(entry.object))
    }

    fn end_of_process(&mut self) -> Request {
        let code = self.random.number();
        let target = self.handle::<Process>();
        let ends_self = is_self(target) || {
            let entry = u32::try_from(target).ok().and_then(|number| self.process().handles.get(&number));
            entry.is_some_and(|entry| entry.object == self.state.get::<Thread>(self.thread).process)
        };
        let others = self
            .state
            .idle()
            .iter()
            .any(|&idle| self.state.get::<Thread>(idle).process != self.state.get::<Thread>(self.thread).process);
        match self.random.below(4) {
            0 if others => Request::new(Call::Exit, &[code]),
            _ if ends_self && !others => Request::new(Call::Identify, &[]),
            _ => Request::new(Call::Kill, &[target, code]),
        }
    }

    fn foreign_call(&mut self) -> Request {
        if self.alone || self.process().supervisor.is_none() && !self.random.one_in(10) {
            return Request::new(Call::Yield, &[]);
        }
        let mut request = Request::new(Call::Yield, &[5, 6, 7]);
        (request.trap, request.number) = (Trap::Foreign, self.random.pick(&[1, 64, 221]));
        request
    }

    fn of_threads(&mut self) -> Request {
        match self.random.below(8) {
            0..3 => {
                let (Some(slot), Some(stack)) = (self.slot(), self.stack()) else {
                    return Request::new(Call::ThreadCreate, &[self.stage.entry + 1, 16]);
                };
                let entry = self.rarely(self.stage.entry, &[2, 0, USER_END as u64, 1 << 63]);
                let stack = self.rarely(stack, &[8, 0, 16, USER_END as u64 + 16, 1 << 63]);
                Request::new(Call::ThreadCreate, &[entry, stack, slot])
            }
            3 if !self.alone => Request::new(Call::ThreadExit, &[self.random.number()]),
            3 | 4 => {
                let handle = self.handle::<Thread>();
                let waits = self.alone && self.waits_for_end::<Thread>(handle);
                Request::new(Call::ThreadJoin, &[if waits { 0 } else { handle }])
            }
            5 => {
                let handle = self.thread_handle();
                let priority = self.random.pick(&[1, 3, 10, 15, 16, 17, 20, 31, 32, 1 << 8, 1 << 32]);
                let online = u64::from(self.state.machine.cores);
                let cores = self.random.pick(&[0, 0, online, 1, 1 << 20, 1 << 40]);
                Request::new(Call::Schedule, &[handle, priority, cores])
            }
            _ => {
                let (handle, buffer) = (self.thread_handle(), self.buffer());
                Request::new(Call::ThreadInfo, &[handle, buffer])
            }
        }
    }

    fn of_memory(&mut self) -> Request {
        let (page, bytes, permissions) = (self.page(), self.bytes(), self.permissions());
        match self.random.below(14) {
            0..4 => {
                let (place, flags) = (self.place(), self.random.pick(&[0, 0, 0, 1, 1]));
                let flags = self.rarely(flags, &[2, 1 << 63]);
                Request::new(Call::Map, &[place, bytes, permissions, flags])
            }
            4 | 5 => Request::new(Call::Unmap, &[page, bytes]),
            6 | 7 => Request::new(Call::Protect, &[page, bytes, permissions]),
            8 => Request::new(Call::Discard, &[page, bytes]),
            9 | 10 => {
                let place = self.place();
                Request::new(Call::Move, &[page, bytes, place])
            }
            11 => Request::new(Call::MemoryCreate, &[self.rarely(bytes, &[1 << 41])]),
            _ => {
                let (handle, place) = (self.handle::<Memory>(), self.place());
                let permissions = if self.random.one_in(4) { permissions } else { self.random.pick(&[1, 2, 2]) };
                Request::new(Call::MapObject, &[handle, place, permissions])
            }
        }
    }

    fn of_contents(&mut self) -> Request {
        let data = 1 + self.random.number() % 9;
        let (process, address, buffer) = (self.process_handle(), self.mapped(), self.buffer());
        let bytes = self.rarely(8, &[0]);
        let call = self.random.pick(&[Call::ProcessRead, Call::ProcessWrite, Call::ProcessWrite]);
        Request { data, ..Request::new(call, &[process, address, buffer, bytes]) }
    }

    fn message(&mut self, call: Call, to: u64) -> Request {
        let mut request = Request::new(call, &[to]);
        request.x[1..7].copy_from_slice(&self.words());
        if self.random.one_in(3) {
            let all: Vec<u64> = self.process().handles.keys().map(|&number| number.into()).collect();
            let handle = if all.is_empty() { 199 } else { self.random.pick(&all) };
            request.x[7] = self.rarely(handle, &[199, 1 << 32 | 5, u32::MAX.into()]);
        }
        request.deadline = self.deadline();
        request
    }

    /// Whether the call that this reply keeps is a fault's: what goes with its answer is not seen.
    fn keeps_fault(&self, handle: u64) -> bool {
        let entry = u32::try_from(handle).ok().and_then(|number| self.process().handles.get(&number));
        let Some(entry) = entry.filter(|entry| self.state.is::<Reply>(entry.object)) else { return false };
        let open = self.state.get::<Reply>(entry.object).open;
        open.is_some_and(|(caller, _)| self.state.get::<Thread>(caller).stopped.is_some())
    }

    fn of_messages(&mut self) -> Request {
        match self.random.below(28) {
            0 => Request::new(Call::EndpointCreate, &[]),
            1 | 2 => {
                let (endpoint, badge) = (self.handle::<Endpoint>(), self.random.number());
                Request::new(Call::ConnectionCreate, &[endpoint, badge])
            }
            3 | 4 => {
                let endpoint = self.handle::<Endpoint>();
                Request::new(Call::ReplyCreate, &[endpoint])
            }
            5..10 => {
                let to = self.handle::<Connection>();
                self.message(Call::Call, to)
            }
            10 | 11 => {
                let to = self.handle::<Connection>();
                let (read, write) = (self.mapped(), self.mapped());
                let bytes = self.random.pick(&[0, 4, 8, 16]);
                Request { lent: [read, bytes, write, 8], ..self.message(Call::CallLending, to) }
            }
            12 | 13 => {
                let to = self.handle::<Connection>();
                Request { deadline: Deadline::Never, ..self.message(Call::Send, to) }
            }
            14..19 => {
                let reply = self.handle::<Reply>();
                Request { deadline: self.deadline(), ..Request::new(Call::Receive, &[reply]) }
            }
            19..25 => {
                let call = self.random.pick(&[Call::Reply, Call::ReplyReceive]);
                let reply = self.open_reply();
                let mut request = self.message(call, reply);
                if self.keeps_fault(reply) {
                    request.x[7] = 0;
                }
                if call == Call::Reply {
                    request.deadline = Deadline::Never;
                }
                request
            }
            _ => {
                let call = self.random.pick(&[Call::LentRead, Call::LentWrite]);
                let (reply, buffer, data) = (self.lending_reply(), self.buffer(), 1 + self.random.number() % 9);
                let (offset, bytes) = (self.rarely(0, &[1 << 40, u64::MAX]), self.rarely(8, &[0]));
                Request { data, ..Request::new(call, &[reply, offset, buffer, bytes]) }
            }
        }
    }

    fn of_notifications(&mut self) -> Request {
        let bits = self.random.pick(&[0, 1, 2, 4, 6, 1 << 63]);
        match self.random.below(16) {
            0 | 1 => Request::new(Call::NotificationCreate, &[]),
            2..5 => Request::new(Call::Notify, &[self.handle::<Notification>(), bits]),
            5..8 => {
                let handle = self.handle::<Notification>();
                Request { deadline: self.deadline(), ..Request::new(Call::NotificationWait, &[handle]) }
            }
            8..12 => {
                let notification = self.handle::<Notification>();
                let source = match self.random.below(5) {
                    0 => self.handle::<Endpoint>(),
                    1 | 2 => self.handle::<Connection>(),
                    3 => self.handle::<Thread>(),
                    _ => self.handle::<Process>(),
                };
                Request::new(Call::NotificationBind, &[notification, bits, source])
            }
            12 | 13 => {
                let address = self.mapped();
                let address = self.rarely(address, &[AREA + 2, 1]);
                let (expected, wrong) = (self.expected(address), self.random.one_in(8));
                let expected = if wrong { self.random.pick(&[expected + 1, expected | 1 << 32]) } else { expected };
                Request { deadline: self.deadline(), ..Request::new(Call::WaitOn, &[address, expected]) }
            }
            _ => Request::new(Call::Wake, &[self.word()]),
        }
    }

    /// What is there now.
    fn expected(&self, address: u64) -> u64 {
        let page = self.process().pages.get(&address).map(|page| page.content);
        page.map_or(0, |content| match content {
            crate::state::Content::Private(word) | crate::state::Content::NoInherit(word) => word,
            crate::state::Content::Shared(object, number) => self.state.get::<Memory>(object).words[number],
        })
    }

    /// Mostly a word that a thread of the process waits on.
    fn word(&mut self) -> u64 {
        let waits = |thread: &Id| match self.state.get::<Thread>(*thread).wait {
            Some(Wait::Word(address)) => Some(address),
            _ => None,
        };
        let words: Vec<u64> = self.process().words.iter().filter_map(waits).collect();
        if words.is_empty() || self.random.one_in(4) { self.mapped() } else { self.random.pick(&words) }
    }
}
