//! Processes whose threads make random calls, with arguments of the right types and wild ones, on objects that they
//! share and on those that earlier calls have made: they may end in any way that a program can end in, and the machine
//! goes on.
//!
//! The same seed makes the same calls, as far as threads that run at once let it; `ICOUNT=1 SMP=1` repeats a run
//! exactly.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use graft_rt::abi::{Call, MAP_BASE, PAGE_SIZE, ProcessState, SVC_IMMEDIATE, SVC_MESSAGE, USER_END, USER_START};
use graft_rt::memory::Shared;
use graft_rt::message::Endpoint;
use graft_rt::notification::Notification;
use graft_rt::process::{self, sleep};
use graft_rt::test::{Bare, Numbers, Report, claim_success};
use graft_rt::{Error, Handle, Permissions, Process, Region, Share, claim, println, thread, time};

/// Processes at a time, and threads of each, which make all of their calls on the same objects.
const PROCESSES: usize = 4;
const THREADS: u64 = 3;
/// What one process makes of the calls at most, so that there are many beginnings.
const CALLS_OF_ONE: u64 = 2_000;
/// Calls that are made in the place of a stopped thread.
const ON_BEHALF: [Call; 10] = [
    Call::Map,
    Call::MapObject,
    Call::Unmap,
    Call::Protect,
    Call::Discard,
    Call::Move,
    Call::ThreadCreate,
    Call::Fork,
    Call::Snapshot,
    Call::Restore,
];
/// How often a process is looked at that makes no call, before it is taken for stuck.
const LOOKS: u32 = 40;

/// Objects that all processes of the storm have.
struct Common {
    /// A word for each process: how many calls it has made.
    counts: Region,
    objects: [Handle; 8],
}

impl Common {
    fn count(&self, process: usize) -> &AtomicU64 {
        // SAFETY: a word of the region, which is used in this way alone; a child that unmaps it ends.
        unsafe { AtomicU64::from_ptr((self.counts.address() as *mut u64).add(process)) }
    }
}

/// Makes `calls` calls, from this seed on.
pub(crate) fn run(report: &Report, calls: u64, seed: u64) -> Result<(), Error> {
    println!("storm: {calls} calls, seed {seed}: t-calls {calls} {seed}");
    let endpoints = [Endpoint::new()?, Endpoint::new()?];
    let connections = [endpoints[0].connect(1)?, endpoints[1].connect(2)?];
    let notifications = [Notification::new()?, Notification::new()?];
    let memory = Shared::new(4 * PAGE_SIZE)?;
    let common = Common {
        counts: Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?,
        objects: [
            endpoints[0].handle(),
            endpoints[1].handle(),
            connections[0].handle(),
            connections[1].handle(),
            notifications[0].handle(),
            notifications[1].handle(),
            memory.handle(),
            Handle::SELF,
        ],
    };
    let mut next_seed = seed;
    let mut start = |at: usize| {
        common.count(at).store(0, Ordering::SeqCst);
        next_seed += 1;
        let share = Share::ALL[next_seed as usize % Share::ALL.len()];
        Process::fork_into(share, || storm(&common, at, next_seed))
    };
    let mut running = [start(0)?, start(1)?, start(2)?, start(3)?];
    let mut seen = [(0, 0); PROCESSES];
    let (mut made, mut ended, mut survivors) = (0, 0_u64, 0_u64);
    while made < calls {
        sleep(Duration::from_millis(1));
        for (at, child) in running.iter_mut().enumerate() {
            let count = common.count(at).load(Ordering::SeqCst);
            seen[at] = if count == seen[at].0 { (count, seen[at].1 + 1) } else { (count, 0) };
            let over = child.info()?.state == ProcessState::Ended as u32;
            // One may wait for what never comes, be its own supervisor, or go back to a snapshot for ever.
            if !over && seen[at].1 < LOOKS && count < 2 * CALLS_OF_ONE {
                continue;
            }
            let _ = child.kill(1);
            survivors += u64::from(child.wait()?.is_success());
            made += count.min(2 * CALLS_OF_ONE);
            ended += 1;
            *child = start(at)?;
            seen[at] = (0, 0);
        }
    }
    for child in &running {
        let _ = child.kill(1);
        child.wait()?;
    }
    drop(running);
    claim!(report, survivors > 0, "seed {seed}: of {ended} processes that make random calls {survivors} got through");
    let child = Process::fork_into(Share::default(), || 0)?;
    claim_success(report, &child, format_args!("seed {seed}: a child after the storm"));
    report
        .done(format_args!("{ended} processes of {THREADS} threads made {made} random calls, {survivors} got through"));
    Ok(())
}

fn storm(common: &Common, at: usize, seed: u64) -> i32 {
    // What they bind to it would stay for as long as this program's own handle. `t-console` has calls for its server.
    let _ = process::close(Handle::CONSOLE);
    let own = process::identify();
    let Ok(region) = Region::new(16 * PAGE_SIZE) else { return 1 };
    let region = &region;
    thread::scope(|scope| {
        for index in 1..THREADS {
            let _ = scope.spawn(move || make_calls(common, at, seed * THREADS + index, own, region));
        }
        make_calls(common, at, seed * THREADS, own, region);
    });
    0
}

/// What a thread draws its arguments from.
struct Source<'a> {
    numbers: Numbers,
    common: &'a Common,
    /// Where there is memory.
    near: u64,
    /// What its last calls have answered: many are handles.
    answers: [u64; 16],
}

fn make_calls(common: &Common, at: usize, seed: u64, own: u64, region: &Region) {
    let near = region.address() as u64;
    let mut source = Source { numbers: Numbers::new(seed), common, near, answers: [0; 16] };
    for _ in 0..CALLS_OF_ONE / THREADS {
        let number = match source.numbers.below(30) {
            0 => source.numbers.next(),
            _ => source.numbers.choose(Call::ALL) as u64,
        };
        let call = Call::from_number(number);
        let mut arguments = source.arguments(call);
        if !is_made(call, &mut arguments, &mut source.numbers) {
            continue;
        }
        let by_message =
            matches!(call, Some(Call::Call | Call::Receive | Call::Reply | Call::ReplyReceive | Call::Send))
                != (source.numbers.below(20) == 0);
        common.count(at).fetch_add(1, Ordering::SeqCst);
        // SAFETY: none for the process, which may unmap or overwrite itself; that ends it only.
        let [x0, x1] = unsafe { make(number, &arguments, by_message) };
        source.answers[source.numbers.below(16)] = x0;
        if matches!(call, Some(Call::Fork | Call::Snapshot | Call::Restore)) {
            if process::identify() != own {
                // A child, of the process or of a snapshot: it does not go on with the storm.
                process::exit(0);
            }
            if x1 != 0 {
                // Back at a snapshot: from here on other calls.
                source.numbers = Numbers::new(common.count(at).load(Ordering::SeqCst) ^ seed << 32);
            }
        }
    }
}

/// Whether a call is made, which would otherwise stop the storm or take what all need. Changes arguments that would.
fn is_made(call: Option<Call>, arguments: &mut [u64; 9], numbers: &mut Numbers) -> bool {
    let rarely = numbers.below(500) == 0;
    match call {
        Some(Call::Exit | Call::ThreadExit) => rarely,
        Some(Call::Kill) => arguments[0] != u64::from(Handle::SELF.0) || rarely,
        Some(Call::Sleep) => {
            arguments[0] %= 100_000;
            true
        }
        // They have no deadline; what they wait for may go on for as long as the storm.
        Some(Call::Wait | Call::ThreadJoin) => rarely,
        // A program that has unmapped its text makes no further call; a few may try that.
        Some(Call::Unmap | Call::Protect | Call::Discard | Call::Move) => arguments[0] >= MAP_BASE as u64 || rarely,
        // One must not take all of the machine's memory; sizes that no machine has are refused anyway.
        Some(Call::MemoryCreate) => !(64 * PAGE_SIZE as u64..1 << 42).contains(&arguments[0]),
        // A thread with a wild entry point ends the process: most of them get one that ends the thread instead.
        Some(Call::ThreadCreate) => {
            let begins = arguments[0].is_multiple_of(4) && (USER_START as u64..USER_END as u64).contains(&arguments[0]);
            if begins && !rarely {
                arguments[0] = Bare::End.entry();
            }
            true
        }
        _ => true,
    }
}

impl Source<'_> {
    /// Arguments of the types that a call has, with a wild one among them now and then. The last is `x9`.
    fn arguments(&mut self, call: Option<Call>) -> [u64; 9] {
        let mut arguments = core::array::from_fn(|_| self.wild());
        let right = |source: &mut Self| source.numbers.below(8) != 0;
        let Some(call) = call else { return arguments };
        let share = self.numbers.below(4) as u64;
        let bytes = (1 + self.numbers.below(4) as u64) * PAGE_SIZE as u64;
        let flags = self.numbers.below(2) as u64;
        let typed: [Option<u64>; 9] = {
            let (object, other, soon) = (Some(self.object()), Some(self.object()), Some(self.soon()));
            let (page, pointer) = (Some(self.near + self.numbers.below(16) as u64 * PAGE_SIZE as u64), self.pointer());
            let (bytes, pointer, bits) = (Some(bytes), Some(pointer), Some(self.numbers.next()));
            let permissions = Some(self.numbers.below(4) as u64);
            let mut typed = [None; 9];
            let behalf = self.numbers.choose(&ON_BEHALF) as u64;
            let first: &[Option<u64>] = match call {
                Call::OnBehalf => &[object, Some(behalf), page, bytes, permissions],
                Call::Fork | Call::Snapshot => &[object, Some(share), Some(flags)],
                Call::Restore => &[Some(Handle::SELF.0.into()), object, Some(1)],
                Call::Map => &[Some(0), bytes, permissions, Some(flags)],
                Call::Unmap | Call::Discard => &[page, bytes],
                Call::Protect => &[page, bytes, permissions],
                Call::Move => &[page, bytes, Some(0)],
                Call::MapObject => &[object, Some(0), permissions],
                Call::MemoryCreate => &[bytes],
                Call::Spawn | Call::Exec => &[pointer],
                Call::SpawnWarm => &[pointer, object],
                Call::Close | Call::EndpointCreate | Call::NotificationCreate => &[object],
                Call::Duplicate => &[object, Some(u64::from(u32::MAX))],
                Call::ConnectionCreate | Call::ReplyCreate | Call::Notify => &[object, bits],
                Call::ProcessInfo
                | Call::ThreadInfo
                | Call::Trace
                | Call::Tables
                | Call::MemorySizes
                | Call::SystemInfo => &[object, pointer],
                Call::Call | Call::Receive | Call::Reply | Call::ReplyReceive | Call::Send => {
                    let handle = if share == 0 { other } else { Some(0) };
                    &[object, bits, bits, bits, bits, bits, bits, handle, soon]
                }
                Call::NotificationWait => &[object, soon],
                Call::NotificationBind => &[object, bits, other],
                Call::WaitOn => &[page, Some(0), soon],
                Call::Wake => &[page],
                Call::TraceSwitch => &[object, Some(flags)],
                Call::Schedule => &[object, Some(share + flags), Some(share)],
                Call::Supervise => &[object, other],
                Call::FaultRegisters => &[object, pointer, Some(flags)],
                Call::ProcessRead | Call::ProcessWrite => &[object, pointer, page, bytes],
                _ => &[object, bits],
            };
            typed[..first.len()].copy_from_slice(first);
            typed
        };
        for (argument, typed) in arguments.iter_mut().zip(typed) {
            if let Some(typed) = typed
                && right(self)
            {
                *argument = typed;
            }
        }
        // What waits does so until a moment that comes.
        match call {
            Call::Call | Call::Receive | Call::ReplyReceive => arguments[8] = self.soon(),
            Call::NotificationWait => arguments[1] = self.soon(),
            Call::WaitOn => arguments[2] = self.soon(),
            _ => {}
        }
        arguments
    }

    /// A handle: to what all share, or to what this thread has made, or a small number.
    fn object(&mut self) -> u64 {
        match self.numbers.below(4) {
            0 | 1 => self.numbers.choose(&self.common.objects).0.into(),
            2 => self.numbers.choose(&self.answers),
            _ => 1 + self.numbers.below(60) as u64,
        }
    }

    fn soon(&mut self) -> u64 {
        (time::clock().as_nanos() as u64).saturating_sub(1_000) + self.numbers.below(200_000) as u64
    }

    fn pointer(&mut self) -> u64 {
        self.near + self.numbers.below(16 * PAGE_SIZE) as u64
    }

    /// An argument that has a good chance of being nearly right for something.
    fn wild(&mut self) -> u64 {
        let (page, numbers) = (PAGE_SIZE as u64, &mut self.numbers);
        match numbers.below(8) {
            0 => numbers.next(),
            1 => 1 << numbers.below(64),
            2 => (1_u64 << numbers.below(64)).wrapping_sub(1),
            3 => numbers.below(8) as u64,
            4 => numbers.choose(&[u64::from(Handle::SELF.0), USER_START as u64, USER_END as u64, u64::MAX, 0, page]),
            5 => self.near + numbers.below(16) as u64 * page,
            6 => self.near + numbers.below(16 * PAGE_SIZE) as u64,
            _ => numbers.below(64) as u64 * page,
        }
    }
}

/// Makes a call with `x0` to `x7` and `x9`. Returns `x0` and `x1`.
///
/// # Safety
/// As [`graft_rt::call::raw`].
unsafe fn make(number: u64, arguments: &[u64; 9], by_message: bool) -> [u64; 2] {
    let [mut x0, mut x1, x2, x3, x4, x5, x6, x7, x9] = *arguments;
    macro_rules! enter {
        ($immediate:expr) => {
            // SAFETY: the kernel preserves x18-x30 and sp; what it does not preserve is declared. The rest is the
            // caller's contract.
            unsafe {
                asm!(
                    "svc #{immediate}", immediate = const $immediate,
                    inlateout("x0") x0, inlateout("x1") x1, inlateout("x2") x2 => _, inlateout("x3") x3 => _,
                    inlateout("x4") x4 => _, inlateout("x5") x5 => _, inlateout("x6") x6 => _, inlateout("x7") x7 => _,
                    inlateout("x8") number => _, inlateout("x9") x9 => _,
                    lateout("x10") _, lateout("x11") _, lateout("x12") _, lateout("x13") _, lateout("x14") _,
                    lateout("x15") _, lateout("x16") _, lateout("x17") _, options(nostack),
                )
            }
        };
    }
    if by_message {
        enter!(SVC_MESSAGE)
    } else {
        enter!(SVC_IMMEDIATE)
    }
    [x0, x1]
}
